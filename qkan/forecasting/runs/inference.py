"""What a trained run says: errors on the test part, and values beyond the end of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from qkan.forecasting.baselines.plain import plain_forecasts
from qkan.forecasting.config import FRAME, OPTIONS
from qkan.forecasting.config.options import HORIZON
from qkan.forecasting.data.load import cut_windows, load_series_of, tensors
from qkan.forecasting.evaluation.intervals import interval_columns, median
from qkan.forecasting.evaluation.metrics import METRICS, Scores, median_scores, score, score_series
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.build import RecurrentForecaster

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Scaler, Series
    from qkan.datasets.windows import Part
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.data.batches import Forward
    from qkan.forecasting.runs.run import Run


_FAR = 10.0
"""Scaled values that the training, between -1 and 1, says nothing about."""
_OF_FUTURE = ("time_col", "id_col", "sep", "decimal", "encoding")
"""Options that hold for a file of future covariates too."""


class Trained(Protocol):
    """What can forecast: a :class:`~qkan.forecasting.Run` or an :class:`~qkan.forecasting.Exported` program.

    Attributes:
        path: Where it was read from.
        config: The options it was trained with.
        model: The forecaster itself.
        scaler: Scales every series as in training.
        data: What is known of the data that it was trained on, with its ``fingerprint``.
        margin: Up to how many times the largest values of that data the model holds; ``None`` for any.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def config(self) -> TrainConfig: ...  # noqa: D102
    @property
    def model(self) -> Forward: ...  # noqa: D102
    @property
    def scaler(self) -> Scaler: ...  # noqa: D102
    @property
    def data(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def margin(self) -> float | None: ...  # noqa: D102


def forecast_quantiles(model: RecurrentForecaster, data: ForecastData, part: Part = "test") -> np.ndarray:
    """Return the quantiles that the model forecasts of every target of a part, original units.

    Returns:
        float64 (N, horizon, quantiles), ascending; a single one for a model of the value alone.
    """
    from qkan.forecasting.data.batches import predict_windows

    return data.inverse(predict_windows(model, tensors(data.part(part))).numpy(), data.part(part).series)


def forecast_windows(model: RecurrentForecaster, data: ForecastData, part: Part = "test") -> np.ndarray:
    """Return the model's forecast of every target of a part, its median; float64 (N, horizon), original units."""
    return median(forecast_quantiles(model, data, part))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a trained forecaster and the baselines are worth on the test part.

    Attributes:
        quantiles: As of :func:`forecast_quantiles`.
        forecasts: Point forecasts by name, ``"model"`` and then the baselines: original units, (N, horizon).
        scores: Metrics by forecast, pooled over all series.
        by_series: As of :func:`score_series`.
        medians: Medians of the metrics over the series; ``None`` for a single one.
    """

    quantiles: np.ndarray
    forecasts: dict[str, np.ndarray]
    scores: Scores
    by_series: pd.DataFrame
    medians: Scores | None


def evaluate_model(model: RecurrentForecaster, data: ForecastData, *, baselines: bool = True) -> Evaluation:
    """Forecast the test part and compute the errors, in original units.

    Args:
        model: What forecasts.
        data: Its windows.
        baselines: Whether to forecast with the baselines as well, and give their errors on the same targets.
    """
    quantiles = forecast_quantiles(model, data)
    forecasts = {"model": median(quantiles), **(plain_forecasts(data, "test")["test"] if baselines else {})}
    by_series = score_series(data, forecasts)
    medians = median_scores(by_series) if len(data.ids) > 1 else None
    return Evaluation(quantiles, forecasts, score(data, forecasts), by_series, medians)


def evaluate(run: Run, data: str | Path | Series | None = None, *, new_series: str = "refuse") -> Scores:
    """Return the metrics of the test part, beside those of naive forecasts of the same targets.

    Args:
        run: A loaded run.
        data: Name or file of other data with the same series, split and windowed as in training and scaled by the
            run's scaler; ``None`` takes the data that the run was trained on.
        new_series: ``"scale"`` takes series that the run was not trained on, and other steps, too: each scaled by its
            own training part.

    Returns:
        For ``"model"`` and every baseline the metrics of :func:`qkan.forecasting.evaluation.metrics.forecast_metrics`.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or other data holds series that the run does not know.
    """
    return scores_of(run, data, new_series)[0]


def scores_of(
    run: Run, data: str | Path | Series | None = None, new_series: str = "refuse"
) -> tuple[Scores, Scores | None]:
    """Return what :func:`evaluate` does, and the medians over several series.

    On the run's own data, the errors of the baselines are those that the training left in the run.
    """
    kept = _kept_baselines(run) if data is None else None
    found = evaluate_model(run.model, windows_for(run, data, new_series=new_series), baselines=kept is None)
    if kept is None:
        return found.scores, found.medians
    pooled, medians = kept
    return found.scores | pooled, None if found.medians is None else found.medians | medians


def _kept_baselines(run: Run) -> tuple[Scores, Scores] | None:
    """The errors of the baselines in ``metrics.json``, pooled and as medians; ``None`` if they are not all there."""
    several = len(run.scaler.ids) > 1
    found = [run.metrics.get(name) for name in ("test", *(["test_median"] if several else []))]
    kept: list[Scores] = []
    for scores in found:
        if not isinstance(scores, dict) or len(scores) < 2:
            return None
        kept.append({name: row for name, row in scores.items() if name != "model"})
        if not all(isinstance(row, dict) and set(METRICS) <= set(row) for row in kept[-1].values()):
            return None
    return kept[0], kept[-1]


def windows_for(
    run: Run, data: str | Path | Series | None = None, *, new_series: str = "refuse", whole_horizon: bool = False
) -> ForecastData:
    """Return the windows of the run's data or of other data, scaled as in training; raises as :func:`evaluate`.

    Args:
        run, data, new_series: As of :func:`evaluate`.
        whole_horizon: Give windows for training and validation the horizon of the test too, where the strategy is
            recursive and they have one step.
    """
    series = series_of(run, data)
    config = replace(run.config, strategy="direct") if whole_horizon else run.config
    return cut_windows(series, config, scaler_for(run, series, new_series))


def predict(
    run: Trained,
    *,
    data: str | Path | Series | None = None,
    horizon: int | None = None,
    future: str | Path | None = None,
    level: Sequence[float] | float | None = None,
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
        level: Intervals in percent, of those that the model was trained for; ``None`` takes them all.
        new_series: ``"refuse"`` series that the run was not trained on, and steps of another size than it was; or
            ``"scale"`` each such series by its own last window.

    Returns:
        Columns ``unique_id``, ``ds``, ``yhat`` (original units) and for every level ``yhat-lo-LEVEL`` and
        ``yhat-hi-LEVEL``; ids and times as the data writes them, series in its order. Intervals of steps that were
        reached recursively would ignore the uncertainty of the steps before, so they are NaN.

    Raises:
        DataError: the data cannot be used, a series is shorter than the window, future covariates are missing, or a
            forecast is not a finite number.
        RunError: the run's data has changed since, or other data holds series that the run does not know.
        ValueError: the horizon is out of range, or the model was not trained for a level.
    """
    from qkan.datasets import read_future

    config = run.config
    HORIZON.check("horizon", config.horizon if horizon is None else horizon)
    interval_columns(config, level)
    series = series_of(run, data)
    if future is not None:
        series = series.with_futr_exog(
            read_future(future, series, **{name: getattr(config, name) for name in _OF_FUTURE})
        )
    return series.give_back(forecast(run, series, horizon=horizon, level=level, new_series=new_series))


def forecast(
    run: Trained,
    series: Series,
    *,
    horizon: int | None = None,
    level: Sequence[float] | float | None = None,
    new_series: str = "refuse",
) -> pd.DataFrame:
    """Return what :func:`predict` does, ids as text and times as inside, sorted by series and time."""
    import pandas as pd

    from qkan.datasets import last_windows
    from qkan.forecasting.data.batches import recursive_forecast

    config = run.config
    steps = config.horizon if horizon is None else horizon
    columns = interval_columns(config, level)
    scaler = scaler_for(run, series, new_series, last=config.context)
    values, futr_exog = last_windows(
        series, window=config.context, steps=steps, scaler=scaler, calendar=config.calendar, seasons=config.seasons
    )
    _say_far(run, series, values[:, :, 0])
    with torch.inference_mode():
        given = torch.from_numpy(values), torch.from_numpy(futr_exog)
        scaled = recursive_forecast(run.model, given[0], given[1], steps, masked=config.missing == "mask").numpy()
    _check_finite(run, series, scaled)
    forecasts = scaler.inverse_transform(scaled, np.arange(len(series.ids)))
    forecasts[:, config.trained_horizon :, list(columns.values())] = np.nan
    names = {"yhat": len(config.quantiles) // 2, **{f"yhat{ending}": place for ending, place in columns.items()}}
    return pd.DataFrame(
        {
            "unique_id": [name for name in series.ids for _ in range(steps)],
            "ds": series.all_future_times(steps).ravel(),
            **{name: forecasts[:, :, place].ravel() for name, place in names.items()},
        }
    )


def series_of(run: Trained, data: str | Path | Series | None) -> Series:
    """Return the series to forecast: the given one, the one that is named, or that of the run.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or is not there any more.
    """
    from qkan.datasets import Series, names_file

    if isinstance(data, Series):
        return data
    own = run.config.data
    if data is None and own == FRAME:
        raise RunError(f"{run.path} was trained on a data frame, which it does not hold; give the data to go on from")
    if data is None and names_file(own) and not Path(own).exists():
        raise RunError(
            f"the file {own!r} that {run.path} was trained on is not there any more; "
            "to use other values, name them: data=... (--data on the command line)"
        )
    series = load_series_of(run.config, data, None if data is None else run.data["frequency"])
    if data is None and series.fingerprint() != run.data["fingerprint"]:
        raise RunError(
            f"the data {run.config.data!r} has changed since {run.path} was trained; "
            "to use the new values, name them: data=... (--data on the command line)"
        )
    return series


def _check_finite(run: Trained, series: Series, scaled: np.ndarray) -> None:
    """Refuse forecasts (series, steps, quantiles) that are no numbers; programs give NaN beyond their domain."""
    from qkan.datasets import DataError

    series_index, steps, _ = np.nonzero(~np.isfinite(scaled))
    if not series_index.size:
        return
    first = f"the forecast of series {series.ids[series_index[0]]!r} is not a finite number at step {steps[0] + 1}"
    if run.margin is None:
        raise DataError(
            f"{first}: the numbers inside the model overflow; check whether the last {run.config.window} values of "
            "the series are like those that the model was trained on, or train on newer data"
        )
    raise DataError(
        f"{first}: the last {run.config.window} values, or forecasts that were fed back, go beyond what {run.path} was "
        f"exported for, {run.margin:g} times the largest values of its data; check the values, export the run again "
        "with a larger margin (--margin), or predict with the run itself"
    )


def _say_far(run: Trained, series: Series, windows: np.ndarray) -> None:
    """Say it where the scaled values of a window, (series, window), are mostly far beyond those of the training."""
    from qkan.datasets import notice

    sizes = np.median(np.abs(windows), axis=1)
    far = np.flatnonzero(sizes > _FAR) if run.config.scaler in ("minmax", "standard") else ()
    if len(far):
        others = f" and {len(far) - 1} more" if len(far) > 1 else ""
        notice(
            f"the last values of series {series.ids[far[0]]!r}{others} lie {sizes[far[0]]:.0f} times as far from the "
            f"middle as those that {run.path} was trained on, so expect little of the forecast; train on newer data"
        )


def scaler_for(run: Trained, series: Series, new_series: str = "refuse", *, last: int | None = None) -> Scaler:
    """Return the run's scaler in the order of the series' ids, after a check of the step between their times.

    A series whose data names no ids belongs to a run of one series.

    Args:
        run: What was trained.
        series: What it is to forecast.
        new_series: ``"refuse"`` series that the run does not know and steps of another size; or ``"scale"`` such series
            by values of their own.
        last: How many of the newest values; ``None`` takes the training part.

    Raises:
        RunError: the run does not know a series, or the step is another one.
    """
    from qkan.datasets import SplitFractions, fit_scaler

    OPTIONS["new_series"].check("new_series", new_series)
    known = run.scaler
    if new_series == "refuse":
        _check_step(run, series)
    if len(known.ids) == len(series.ids) == 1 and (known.ids == series.ids or not series.form.named):
        return known.pick([0], series.ids)
    place = {name: index for index, name in enumerate(known.ids)}
    unknown = [name for name in series.ids if name not in place]
    if not unknown:
        return known.pick([place[name] for name in series.ids], series.ids)
    if new_series == "refuse":
        raise RunError(
            f"the run {run.path} was not trained on series {unknown[0]!r}; it knows {len(place)} series, "
            f"{known.ids[0]!r} the first of them: leave out the others, train on them, or scale each by its own last "
            "window with new_series='scale'"
        )
    lengths = series.lengths
    if last is None:
        split = SplitFractions(*run.config.split)
        ends, begins = np.array([split.boundaries(int(length))[0] for length in lengths]), np.zeros_like(lengths)
    else:
        ends, begins = lengths, np.maximum(lengths - last, 0)
    return fit_scaler(series, ends, known.kind, begins).with_numbers_of(known)


def _check_step(run: Trained, series: Series) -> None:
    """Refuse times whose step has another size than that of the run's data.

    Raises:
        RunError: it has.
    """
    from qkan.datasets import step_size

    trained, found = run.data["frequency"], series.frequency
    numbers = run.data.get("step"), series.step
    same = step_size(trained) == step_size(found)
    if trained is None and found is None:
        same = None in numbers or numbers[0] == numbers[1]
    if not same:
        raise RunError(
            f"the run {run.path} was trained on {_in_words(trained, numbers[0])}, but the data has "
            f"{_in_words(found, numbers[1])}; "
            "resample the data, train on it, or forecast it all the same with new_series='scale'"
        )


def _in_words(frequency: str | None, number: int | None) -> str:
    return (
        f"steps of {frequency}" if frequency is not None else f"whole-number steps of {1 if number is None else number}"
    )
