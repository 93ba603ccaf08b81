"""What a trained run says: errors on the test part, and values beyond the end of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from qkan.forecasting.config.options import HORIZON, OPTIONS
from qkan.forecasting.data.load import cut_windows, long_enough, spread_windows
from qkan.forecasting.evaluation.metrics import (
    METRICS,
    Scores,
    mase_scale,
    median_scores,
    score,
    score_series,
)
from qkan.forecasting.evaluation.window_frame import window_frame
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.runs.conformal import chosen_levels, with_adaptive
from qkan.forecasting.runs.evaluation import evaluate_model, forecast_windows
from qkan.forecasting.runs.forecast_table import check_finite, forecast_table, say_where_intervals_end, with_split
from qkan.forecasting.runs.run_data import Trained, scaler_for, series_of

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Series
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.runs.run import Run


_FAR = 10.0
"""Scaled values that the training, between -1 and 1, says nothing about."""
_OF_FUTURE = ("time_col", "id_col", "sep", "decimal", "encoding")
"""Options that hold for a file of future covariates too."""


def evaluate(run: Run, data: str | Path | Series | None = None, *, new_series: str = "refuse") -> Scores:
    """Return the metrics of the test part, beside those of naive forecasts of the same targets.

    Args:
        run: A loaded run.
        data: Name or file of other data with the same series, split and windowed as in training and scaled by the
            run's scaler; ``None`` takes the data that the run was trained on.
        new_series: ``"scale"`` takes series that the run was not trained on, and other steps, too: each scaled by its
            own training part.

    Returns:
        By name, the model's (such as ``"QKAN-LSTM"``) first, the metrics of
        :func:`qkan.forecasting.evaluation.metrics.forecast_metrics`.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or other data holds series that the run does not know.

    Examples:
        >>> from qkan.forecasting import evaluate, load_run
        >>> scores = evaluate(load_run("runs/demo"))
    """
    return scores_of(run, data, new_series)[0]


def scores_of(
    run: Run, data: str | Path | Series | None = None, new_series: str = "refuse"
) -> tuple[Scores, Scores | None, int]:
    """Return what :func:`evaluate` does, the medians over several series, and how many of them have no MASE.

    On the run's own data, the errors of the baselines are those that the training left in the run.
    """
    return scores_of_all([run], data, new_series)


def scores_of_all(
    runs: Sequence[Run], data: str | Path | Series | None = None, new_series: str = "refuse"
) -> tuple[Scores, Scores | None, int]:
    """Return what :func:`scores_of` does of several runs that are tested on the same targets, the models first.

    Seasons, and with them MASE and the baselines, are those of the first run. Models of one name have the names of
    their folders behind it.

    Raises:
        DataError, RunError: as :func:`evaluate`; or the runs are tested on different targets.
    """
    first, name = runs[0], names_of(runs)
    kept = _kept_baselines(first) if data is None else None
    windows = windows_for(first, data, new_series=new_series)
    found = evaluate_model(first.model, name[0], windows, baselines=kept is None)
    others = {}
    for place, run in enumerate(runs[1:], start=1):
        own = windows_for(run, data, new_series=new_series)
        check_same_targets((first, windows), (run, own))
        others[name[place]] = forecast_windows(run.model, own)
    scores = _first(found.scores, score(windows, others), {} if kept is None else kept[0])
    if found.medians is None:
        return scores, None, found.without_mase
    of_others = median_scores(score_series(windows, others))
    return scores, _first(found.medians, of_others, {} if kept is None else kept[1]), found.without_mase


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return what the models of some runs are called beside each other."""
    names = [run.config.model_name for run in runs]
    return [f"{name} ({run.path})" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)]


def _first(found: Scores, others: Scores, baselines: Scores) -> Scores:
    """The model of ``found``, other models, and then all baselines."""
    model, *rest = found
    return {model: found[model], **others, **{name: found[name] for name in rest}, **baselines}


def check_same_targets(one: tuple[Run, ForecastData], other: tuple[Run, ForecastData]) -> None:
    """Refuse to compare errors of different targets.

    Raises:
        RunError: the test parts of two runs differ.
    """
    ours, theirs = one[1], other[1]
    if ours.ids == theirs.ids and all(
        np.array_equal(getattr(ours, what)("test"), getattr(theirs, what)("test"))
        for what in ("target_times", "target_values", "target_observed")
    ):
        return
    raise RunError(
        f"the runs {one[0].path} and {other[0].path} are tested on different targets, so their errors do not compare; "
        "evaluate them one by one, or train them on the same data with the same horizon and split"
    )


def _kept_baselines(run: Run) -> tuple[Scores, Scores] | None:
    """The errors of the baselines in ``metrics.json``, pooled and as medians; ``None`` if they are not all there."""
    several = len(run.scaler.ids) > 1
    found = [run.metrics.get(name) for name in ("test", *(["test_median"] if several else []))]
    kept: list[Scores] = []
    for scores in found:
        if not isinstance(scores, dict) or len(scores) < 2:
            return None
        kept.append({name: row for name, row in scores.items() if name != run.config.model_name})
        if not all(isinstance(row, dict) and set(METRICS) <= set(row) for row in kept[-1].values()):
            return None
    return kept[0], kept[-1]


def validation_frame(model: RecurrentForecaster, config: TrainConfig, data: ForecastData) -> pd.DataFrame | None:
    """Return what conformal intervals are made of: the forecasts of the validation part.

    Returns:
        A cross-validation frame with the columns unique_id, ds, cutoff, step, y, the model's name and ``unit``, the
        mean seasonal change of the series' training part (NaN if it has none); targets that nobody observed have no
        row. Windows of large parts are thinned: see
        :func:`spread_windows`. ``None`` if there is no validation part
        that holds a whole horizon.
    """
    whole = data.with_validation_horizon(config.horizon)
    if not len(whole.validation):
        return None
    whole = replace(whole, validation=whole.validation.pick(spread_windows(whole.validation)))
    frame = window_frame(whole, "validation", {config.model_name: forecast_windows(model, whole, "validation")})
    unit = dict(zip(data.ids, mase_scale(data), strict=True))
    return frame.assign(unit=frame["unique_id"].map(unit))


def windows_for(run: Run, data: str | Path | Series | None = None, *, new_series: str = "refuse") -> ForecastData:
    """Return the windows of the run's data or of other data, scaled as in training; raises as :func:`evaluate`."""
    series = series_of(run, data)
    return cut_windows(series, run.config, scaler_for(run, series, new_series))


def predict(
    run: Trained,
    *,
    data: str | Path | Series | None = None,
    horizon: int | None = None,
    future: str | Path | None = None,
    level: Sequence[float] | float | None = None,
    conformal: bool = False,
    intervals: str = "split",
    new_series: str = "refuse",
) -> pd.DataFrame:
    """Forecast what follows the last value of every series.

    A horizon beyond the one that the model predicts is reached recursively: predictions become inputs. Times go on as
    ``Series.future_times`` says, so a series with daily sessions goes on in the next session.

    Args:
        run: A loaded run or exported program.
        data: Name or file of other data with the same series, at least one window long; ``None`` takes the data that
            the run was trained on. Rows without a value at the end of a series hold its future covariates.
        horizon: Steps to predict; ``None`` takes the trained horizon.
        future: File with future covariates, instead of those in the data.
        level: Intervals in percent. If the model was trained for all of them (by the quantile loss), they are its own;
            otherwise they are split-conformal, from its errors on the validation part of its data. ``None`` takes the
            model's own.
        conformal: Whether all intervals are split-conformal, also those that the model was trained for.
        intervals: ``"split"``: conformal intervals are made of the errors on the validation part of the training.
            ``"adaptive"``: of the errors on all that ``data`` holds behind its training part, so that coverage holds
            when the level has moved; only a run can do that. All intervals are conformal then.
        new_series: ``"refuse"`` series that the run was not trained on, and steps of another size than it was; or
            ``"scale"`` each such series by its own last window. They have no conformal intervals.

    Returns:
        Columns ``unique_id``, ``ds``, the model's name (original units) and for every level ``NAME-lo-LEVEL`` and
        ``NAME-hi-LEVEL``; ids and times as the data writes them, series in its order. Intervals of steps beyond the
        trained horizon would ignore the uncertainty of the steps before, so they are NaN, as a `DataNotice` says.

    Raises:
        DataError: the data cannot be used, a series is shorter than the window, future covariates are missing, or a
            forecast is not a finite number.
        RunError: the run's data has changed since, other data holds series that the run does not know, or there are too
            few errors for an interval.
        ValueError: the horizon or a level is out of range.

    Examples:
        >>> from qkan.forecasting import load_run, predict
        >>> predict(load_run("runs/demo"), horizon=3, level=[80]).shape
        (3, 5)
    """
    from qkan.datasets import read_future

    config = run.config
    HORIZON.check("horizon", config.horizon if horizon is None else horizon)
    OPTIONS["intervals"].check("intervals", intervals)
    chosen_levels(config, level, conformal or intervals == "adaptive")
    series = series_of(run, data, grown=True)
    if future is not None:
        given = {name: getattr(config, name) for name in _OF_FUTURE}
        series = series.with_futr_exog(read_future(future, series, **given))
    table = forecast(
        run, series, horizon=horizon, level=level, conformal=conformal, intervals=intervals, new_series=new_series
    )
    return series.give_back(table)


def forecast(
    run: Trained,
    series: Series,
    *,
    horizon: int | None = None,
    level: Sequence[float] | float | None = None,
    conformal: bool = False,
    intervals: str = "split",
    new_series: str = "refuse",
) -> pd.DataFrame:
    """Return what :func:`predict` does, ids as text and times as inside, sorted by series and time."""
    from qkan.datasets import last_windows
    from qkan.forecasting.data.batches import recursive_forecast

    config = run.config
    steps = config.horizon if horizon is None else horizon
    own, others = chosen_levels(config, level, conformal or intervals == "adaptive")
    say_where_intervals_end(steps, config.trained_horizon if own else config.horizon if others else steps)
    why = f"shorter than the {config.context} steps that the model reads"
    series, _ = long_enough(series, series.lengths < config.context, why)
    scaler = scaler_for(run, series, new_series, last=config.context)
    values, futr_exog = last_windows(
        series,
        window=config.context,
        steps=steps,
        scaler=scaler,
        calendar=config.calendar,
        seasons=config.seasons,
        numbered=bool(config.per_series),
    )
    _say_far(run, series, values[:, :, 0])
    with torch.inference_mode():
        given = torch.from_numpy(values), torch.from_numpy(futr_exog)
        scaled = recursive_forecast(run.model, given[0], given[1], steps, masked=config.missing == "mask").numpy()
    check_finite(run, series, scaled)
    forecasts = scaler.inverse_transform(scaled, np.arange(len(series.ids)))
    table = forecast_table(run, series, forecasts, own)
    if not others:
        return table
    if intervals == "adaptive":
        return with_adaptive(run, cut_windows(series, config, scaler), table, others)
    return with_split(run, series, table, others)


def _say_far(run: Trained, series: Series, windows: np.ndarray) -> None:
    """Say it where the scaled values of a window, (series, window), are mostly far beyond those of the training."""
    from qkan.datasets import notice

    sizes = np.median(np.abs(windows), axis=1)
    scaled = run.config.scaler in ("minmax", "standard")
    far = np.flatnonzero((sizes > _FAR) & scaled)
    if len(far):
        others = f" and {len(far) - 1} more" if len(far) > 1 else ""
        notice(
            f"the last values of series {series.ids[far[0]]!r}{others} lie {sizes[far[0]]:.0f} times as far from the "
            f"middle as those that {run.path} was trained on, so expect little of the forecast; train on newer data"
        )
