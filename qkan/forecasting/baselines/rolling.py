"""Statistical baselines over rolling origins, in the shape of every other forecast.

Parameters are estimated once per series, on what comes before its first origin; every later origin sees the values up
to it and the same parameters, as a trained network does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.baselines.interface import CannotFit
from qkan.forecasting.baselines.per_series import fit_one, reason_of
from qkan.forecasting.baselines.registry import AUTOMATIC, DOUBLE, STATISTICAL, check_installed
from qkan.forecasting.baselines.simple import repeat_season
from qkan.forecasting.baselines.statistical import Rolled
from qkan.forecasting.config import model_name
from qkan.forecasting.evaluation.frames import bounds, check_levels, check_season, require_columns
from qkan.forecasting.executors import start_executor

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("naive", "seasonal-naive", *STATISTICAL)
"""What ``models`` is unless asked for others. Columns of the result: Naive, SeasonalNaive(24), ETS, SARIMA, Theta.

Examples:
    >>> from qkan.forecasting.baselines import BASELINES
    >>> "ets" in BASELINES
    True
"""
ALLOWED = (*BASELINES, *DOUBLE, *AUTOMATIC)
"""What ``models`` may name."""
MOST_STEPS = 10_000
_WITHOUT_ERROR = ("theta",)


@dataclass(frozen=True, eq=False)
class BaselineForecasts:
    """Forecasts of the baselines, and what became of each.

    Attributes:
        frame: A cross-validation frame with a column ``step``. A baseline that could not be fitted to a series is NaN
            there; one that could be fitted to none has a column of NaN, too.
        failures: Columns model, unique_id, reason; one row for every baseline that a series does not have.
        choices: Columns model, unique_id, choice: the order of SARIMA, the form of ETS, the season of Theta.

    Examples:
        >>> from qkan.datasets import load_series
        >>> from qkan.forecasting.baselines import baseline_forecasts
        >>> df = load_series("damped-shm").frame
        >>> made = baseline_forecasts(df, df["ds"].iloc[-7:-6], horizon=6, models=("naive",))
        >>> len(made.failures), len(made.frame)
        (0, 6)
    """

    frame: pd.DataFrame
    failures: pd.DataFrame
    choices: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _Job:
    """One series for one process: its values, the rows of its first targets, and what to fit."""

    unique_id: str
    values: np.ndarray
    first: np.ndarray
    horizon: int
    seasons: tuple[int, ...]
    models: tuple[str, ...]
    levels: tuple[float, ...]


def baseline_forecasts(
    df: pd.DataFrame,
    cutoffs: Mapping[str, Iterable[Any]] | Iterable[Any],
    horizon: int,
    season: int | Sequence[int] = (),
    *,
    models: Sequence[str] = BASELINES,
    level: Iterable[float] = (80, 90),
    workers: int = 1,
) -> BaselineForecasts:
    """Forecast every series with statistical baselines, from every origin.

    Args:
        df: Columns ``unique_id``, ``ds``, ``y``: regular series, past and future of the origins. A missing ``y`` counts
            as a repetition of the value before it; a target that is missing gives no row.
        cutoffs: Times of the last known value of every forecast: by series, or the same for all.
        horizon: Values to forecast after each cutoff, 1 to 10,000; each must be in ``df``.
        season: Seasonal periods in steps. Each gives a seasonal naive forecast; the other baselines take the shortest.
        models: Some of :data:`ALLOWED`.
        level: Levels of central prediction intervals in percent; ETS and SARIMA give them.
        workers: Processes that fit at the same time, each one thread.

    Raises:
        TypeError: ``df`` is not a data frame.
        ValueError: ``df`` is empty, lacks a column or repeats a time, a cutoff is not one of its times or leaves too
            few values, or an argument is out of range.

    Examples:
        >>> from qkan.datasets import load_series
        >>> from qkan.forecasting.baselines import baseline_forecasts
        >>> df = load_series("damped-shm").frame
        >>> made = baseline_forecasts(df, df["ds"].iloc[-30:-6:6], horizon=6, models=("naive", "theta"))
        >>> made.frame.shape
        (24, 7)
    """
    import pandas as pd

    seasons = _seasons(season)
    levels = check_levels(level)
    _check_arguments(models, horizon, workers)
    series = _by_series(df)
    jobs, keys = [], []
    for name, own in series.items():
        first = _first_rows(name, own["ds"], cutoffs, horizon)
        rows = first[:, None] + np.arange(horizon)
        keys.append(_keys(own, name, rows))
        jobs.append(_Job(name, _carried_forward(own), first, horizon, seasons, tuple(dict.fromkeys(models)), levels))
    results = _run(jobs, workers)
    columns = _columns(models, seasons, levels)
    parts = [
        key.assign(**{name: result[0].get(name, np.full(len(key), np.nan)) for name in columns})
        for key, result in zip(keys, results, strict=True)
    ]
    frame = pd.concat(parts, ignore_index=True)
    tables = [
        pd.DataFrame([row for result in results for row in result[index]], columns=["model", "unique_id", last])
        for index, last in ((1, "reason"), (2, "choice"))
    ]
    return BaselineForecasts(frame[frame["y"].notna()].reset_index(drop=True), *tables)


def _seasons(season: int | Sequence[int]) -> tuple[int, ...]:
    given = (season,) if isinstance(season, int | np.integer) else tuple(season)
    for value in given:
        check_season(value)
    return tuple(sorted({int(value) for value in given if value > 1}))


def _check_arguments(models: Sequence[str], horizon: int, workers: int) -> None:
    if isinstance(models, str) or not models:
        raise ValueError(f"models must be a list of baselines, got {models!r}; choose from {', '.join(ALLOWED)}")
    unknown = [name for name in models if name not in ALLOWED]
    if unknown:
        raise ValueError(f"unknown baseline {unknown[0]!r}; choose from {', '.join(ALLOWED)}")
    check_installed(models)
    for name, value, most in (("horizon", horizon, MOST_STEPS), ("workers", workers, 1024)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number between 1 and {most:,}, got {value!r}")


def _by_series(df: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the checked series by name, each sorted by time."""
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"the series must be a pandas DataFrame, got {type(df).__name__}; build a long frame")
    require_columns(df, ("unique_id", "ds", "y"))
    for name in ("unique_id", "ds"):
        if df[name].isna().any():
            raise ValueError(f"column {name!r} of the series has missing values; drop these rows")
    own = pd.DataFrame({"unique_id": df["unique_id"].astype(str), "ds": df["ds"]})
    try:
        own["y"] = df["y"].astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"column 'y' of the series is {df['y'].dtype}; convert it to float64") from None
    if np.isinf(own["y"]).any():
        row = own[np.isinf(own["y"])].iloc[0]
        raise ValueError(
            f"column 'y' of the series is {row['y']} for series {row['unique_id']!r} at {row['ds']}; replace infinite "
            "values by NaN, or drop the rows"
        )
    repeated = own[own.duplicated(["unique_id", "ds"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise ValueError(f"series {row['unique_id']!r} has two values at {row['ds']}; keep one")
    own = own.sort_values(["unique_id", "ds"], kind="stable")
    return {str(name): part.reset_index(drop=True) for name, part in own.groupby("unique_id")}


def _first_rows(
    name: str, times: pd.Series, cutoffs: Mapping[str, Iterable[Any]] | Iterable[Any], horizon: int
) -> np.ndarray:
    """Return the row of the first target of every origin of a series, ascending, each once."""
    import pandas as pd

    if isinstance(cutoffs, Mapping):
        if name not in cutoffs:
            raise ValueError(f"cutoffs has no entry for series {name!r}; give one for every series of the data")
        wanted = list(cutoffs[name])
    else:
        wanted = list(cutoffs)
    if not wanted:
        raise ValueError(f"there is no cutoff for series {name!r}; give at least one time of the series")
    rows = pd.Index(times).get_indexer(pd.Index(wanted))
    for cutoff, row in zip(wanted, rows, strict=True):
        if row < 0:
            raise ValueError(f"cutoff {cutoff} is not a time of series {name!r}; take one of its own times")
        if row + horizon >= len(times):
            raise ValueError(
                f"series {name!r} has {len(times) - row - 1} values after cutoff {cutoff}, horizon {horizon} needs as "
                "many as it is long; use earlier cutoffs or a shorter horizon"
            )
    return np.unique(rows) + 1


def _keys(own: pd.DataFrame, name: str, rows: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    flat, horizon = rows.ravel(), rows.shape[1]
    return pd.DataFrame(
        {
            "unique_id": name,
            "ds": own["ds"].to_numpy()[flat],
            "cutoff": np.repeat(own["ds"].to_numpy()[rows[:, 0] - 1], horizon),
            "step": np.tile(np.arange(1, horizon + 1, dtype=np.int64), len(rows)),
            "y": own["y"].to_numpy()[flat],
        }
    )


def _carried_forward(own: pd.DataFrame) -> np.ndarray:
    """Return the values with gaps filled from the past; NaN where nothing is known yet."""
    return own["y"].ffill().to_numpy()


def _columns(models: Sequence[str], seasons: tuple[int, ...], levels: tuple[float, ...]) -> list[str]:
    names: list[str] = []
    for model in dict.fromkeys(models):
        if model == "naive":
            names.append(model_name(model))
        elif model == "seasonal-naive":
            names += [model_name(model, season) for season in seasons]
        else:
            name = model_name(model)
            names += [
                name,
                *([] if model in _WITHOUT_ERROR else [end for level in levels for end in bounds(name, level)]),
            ]
    return names


def _run(jobs: list[_Job], workers: int) -> list[tuple[dict[str, np.ndarray], list[Any], list[Any]]]:
    with start_executor(_forecast, None, workers=max(1, min(workers, len(jobs)))) as forecast_all:
        found = dict(forecast_all(jobs))
    return [found[place] for place in range(len(jobs))]


def _forecast(_: None, job: _Job) -> tuple[dict[str, np.ndarray], list[Any], list[Any]]:
    """Return the columns of one series, and rows of failures and of choices."""
    columns: dict[str, np.ndarray] = {}
    failures, choices = [], []
    for name, forecast in _forecasters(job):
        try:
            rolled, choice = forecast()
        except CannotFit as error:
            failures.append((name, job.unique_id, reason_of(error)))
            continue
        columns[name] = rolled.mean.ravel()
        columns.update(_ends(name, rolled, job.levels))
        if choice:
            choices.append((name, job.unique_id, choice))
    return columns, failures, choices


def _forecasters(job: _Job) -> list[tuple[str, Callable[[], tuple[Rolled, str]]]]:
    """Return names and functions that forecast for the baselines of a job."""
    known = int(job.first.min())
    found: list[tuple[str, Callable[[], tuple[Rolled, str]]]] = []
    for model in job.models:
        if model == "naive":
            found.append((model_name(model), partial(_repeated, job, 1, known)))
        elif model == "seasonal-naive":
            found += [(model_name(model, season), partial(_repeated, job, season, known)) for season in job.seasons]
        else:
            found.append((model_name(model), partial(_fitted, job, model, known)))
    return found


def _repeated(job: _Job, season: int, known: int) -> tuple[Rolled, str]:
    seen = int(np.isfinite(job.values[:known]).sum())
    if seen < 1:
        raise CannotFit("no value is known at the first origin")
    if seen < season:
        raise CannotFit(f"only {seen} values before the first origin, season {season} needs as many")
    return Rolled(repeat_season(job.values, job.first, season, job.horizon), None), ""


def _fitted(job: _Job, model: str, known: int) -> tuple[Rolled, str]:
    fitted = fit_one(model, job.values[:known], job.seasons)
    rolled = fitted.roll(job.values, job.first, job.horizon)
    if rolled is None or fitted.model is None:
        raise CannotFit(fitted.reason)
    return rolled, fitted.model.choice


def _ends(name: str, rolled: Rolled, levels: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Return the columns with the ends of normal intervals, if the model gives standard errors."""
    from scipy.stats import norm

    if rolled.error is None:
        return {}
    ends = {}
    for level in levels:
        width = norm.ppf(0.5 + level / 200) * rolled.error
        low, high = bounds(name, level)
        ends[low], ends[high] = (rolled.mean - width).ravel(), (rolled.mean + width).ravel()
    return ends
