"""How good forecasts are: the one set of formulas for runs, comparisons, reports and validation.

Forecasts come as arrays on the windows of data (:func:`forecast_metrics`, :func:`score`, :func:`score_series`) or as a
cross-validation frame (:func:`accuracy`); both average the losses of :func:`point_losses`.

The formulas are written out, because torchmetrics compares with absolute tolerances in between (its ``r2_score`` is 1
for any squared error below 1e-4), which is wrong for series of small values; the tests compare with it elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.frames import (
    MAX_MAGNITUDE,
    bounds,
    check_frame,
    check_levels,
    check_models,
    check_season,
    interval_levels_of_all,
    require_columns,
    unit_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part

METRICS: tuple[str, ...] = ("mae", "mse", "rmse", "r2", "smape", "mase", "scaled_mse")
"""What :func:`forecast_metrics` gives."""

_ROUNDING = 1e-13  # of values: differences below this share of them are none

Scores = dict[str, dict[str, float | None]]
"""Metrics by forecast: ``"model"`` first, then the baselines."""


def seasonal_change(values: np.ndarray, season: int, observed: np.ndarray | None = None) -> float:
    """Return the unit of MASE: the mean absolute seasonal difference of a series' training part.

    Hyndman and Koehler (2006), "Another look at measures of forecast accuracy", eq. for q_t.

    Args:
        values: float64 (points,); differences with a missing one do not count.
        season: Period in steps.
        observed: bool (points,), False where a value was filled; ``None`` means nowhere. Filled values do not count.

    Returns:
        A number in the unit of the values; NaN if no two values are one season apart, or all differences are 0 up to
        rounding.
    """
    changes = np.abs(values[season:] - values[:-season])
    known = np.isfinite(changes)
    if observed is not None:
        known &= observed[season:] & observed[:-season]
    mean = float(changes[known].mean()) if known.any() else 0.0
    return mean if mean > _ROUNDING * float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) else math.nan


def point_losses(y: np.ndarray, forecast: np.ndarray, scale: np.ndarray | float) -> dict[str, np.ndarray]:
    """Return, for every forecast, the losses whose means are the metrics.

    With e = y - forecast: ``mae`` |e|; ``mse`` e^2; ``smape`` 200 |e| / (|y| + |forecast|), 0 where both are 0;
    ``mase`` |e| / scale.

    Args:
        y: Values, float64 (forecasts,).
        forecast: Their forecasts, float64 (forecasts,).
        scale: From :func:`seasonal_change`, one for all or (forecasts,).
    """
    with np.errstate(over="ignore"):  # of forecasts beyond all values: their losses are infinite
        error, sizes = np.abs(y - forecast), np.abs(y) + np.abs(forecast)
        return {
            "mae": error,
            "mse": np.square(error),
            "smape": 200 * np.divide(error, sizes, out=np.zeros_like(error), where=sizes != 0),
            "mase": error / scale,
        }


def mean_mase(losses: np.ndarray, series: np.ndarray) -> float:
    """Return the MASE of several series: the mean of theirs, of those that have one; NaN if none has.

    Hyndman and Koehler (2006), section 5, and the M4 competition average over series, so that a long one counts no
    more than a short one.

    Args:
        losses: ``mase`` of :func:`point_losses`, (forecasts,); NaN where the series has no scale.
        series: Which series each belongs to, (forecasts,).
    """
    import pandas as pd

    own = pd.Series(losses).groupby(np.asarray(series)).mean()
    return float(own.mean())


def without_mase(scales: Iterable[float]) -> int:
    """Return how many series have no MASE, given those of :func:`seasonal_change`: their training part repeats itself,
    or is too short."""
    return sum(not math.isfinite(scale) for scale in scales)


def pinball_loss(y: np.ndarray, forecast: np.ndarray, quantile: float) -> np.ndarray:
    """Return twice the quantile loss, so that at 0.5 it is the absolute error."""
    return 2 * np.maximum(quantile * (y - forecast), (quantile - 1) * (y - forecast))


def mase_season(data: ForecastData) -> int:
    """Return the period of the naive forecast that MASE compares with: that of the protocol, else the shortest season
    that fits, or 1."""
    shortest = int(data.boundaries[:, 0].min())
    asked = data.series.mase_season
    fitting = [season for season in ((asked,) if asked else data.series.season) if season < shortest]
    return fitting[0] if fitting else 1


def mase_scale(data: ForecastData) -> np.ndarray:
    """Return :func:`seasonal_change` of the training part of every series; float64 (series,)."""
    season, observed = mase_season(data), data.series.observed
    scales = []
    for index, end in enumerate(data.boundaries[:, 0]):
        seen = None if observed is None else observed[data.series.starts[index] :][:end]
        scales.append(seasonal_change(data.series.values_of(index)[:end], season, seen))
    return np.array(scales)


def forecast_metrics(data: ForecastData, predictions: np.ndarray, part: Part = "test") -> dict[str, float | None]:
    """Return the errors of a forecast of all observed targets of a part, pooled over series, windows and steps.

    Only MASE is that of :func:`mean_mase`.

    Args:
        data: The windows.
        predictions: Original units, (N, horizon), one row per window of the part.
        part: The part whose targets were forecast.

    Returns:
        ``mae``, ``rmse`` in the unit of the series, ``mse`` in its square, ``r2``, ``smape`` in percent (0 to 200),
        ``mase`` (against the seasonal naive forecast of the training part), ``scaled_mse`` (of scaled values).
        ``None`` where one is not defined: ``r2`` of constant targets, ``mase`` where the training part of every series
        repeats itself; or where it is no float64, as the ``mse`` of a forecast of 1e200.

    Raises:
        ValueError: the shape of the predictions is not that of the targets.
    """
    return _metrics(losses_of(data, predictions, part, mase_scale(data)), slice(None))


def score(data: ForecastData, forecasts: Mapping[str, np.ndarray], part: Part = "test") -> Scores:
    """Return the :func:`forecast_metrics` of several forecasts of the same targets, by name."""
    return {name: forecast_metrics(data, values, part) for name, values in forecasts.items()}


def score_series(
    data: ForecastData,
    forecasts: Mapping[str, np.ndarray],
    part: Part = "test",
    scales: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the same metrics for every series: ``unique_id``, ``forecast`` (its name), then one column a metric.

    A metric that is not defined is NaN. Series without an observed target in the part have no row. ``scales`` are those
    of :func:`mase_scale` where they are known already.
    """
    import pandas as pd

    scales, rows = mase_scale(data) if scales is None else scales, []
    for forecast, values in forecasts.items():
        losses = losses_of(data, values, part, scales)
        edges = np.searchsorted(losses["series"], np.arange(len(data.ids) + 1))  # windows come series by series
        rows += [
            {"unique_id": name, "forecast": forecast, **_metrics(losses, slice(begin, end))}
            for name, begin, end in zip(data.ids, edges[:-1], edges[1:], strict=True)
            if end > begin
        ]
    return pd.DataFrame(rows, columns=["unique_id", "forecast", *METRICS]).astype(dict.fromkeys(METRICS, "float64"))


def median_scores(table: pd.DataFrame) -> Scores:
    """Return the median over series of the table of :func:`score_series`; ``None`` where no series has the metric."""
    medians = table.groupby("forecast", sort=False)[list(METRICS)].median()
    return {
        str(name): {metric: None if math.isnan(value) else float(value) for metric, value in row.items()}
        for name, row in medians.to_dict("index").items()
    }


def losses_of(data: ForecastData, predictions: np.ndarray, part: Part, scales: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per observed target, (targets,) each: ``series``, ``y``, the losses and ``scaled_mse``.

    Args:
        data: The windows.
        predictions: As of :func:`forecast_metrics`.
        part: The part whose targets were forecast.
        scales: From :func:`mase_scale`.

    Raises:
        ValueError: the shape of the predictions is not that of the targets.
    """
    targets = data.target_values(part)
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions must have the shape of the targets {targets.shape}, got {predictions.shape}")
    series, seen = data.part(part).series, data.target_observed(part)
    owner = np.repeat(series[:, None], targets.shape[1], axis=1)[seen]
    scaled, scaled_predictions = (data.scaler.transform(values, series)[seen] for values in (targets, predictions))
    y, forecast = targets[seen], np.asarray(predictions, dtype=np.float64)[seen]
    losses = point_losses(y, forecast, scales[owner])
    with np.errstate(over="ignore"):
        return {"series": owner, "y": y, **losses, "scaled_mse": np.square(scaled_predictions - scaled)}


def _metrics(losses: Mapping[str, np.ndarray], rows: slice) -> dict[str, float | None]:
    y, errors = losses["y"][rows], losses["mae"][rows]
    with np.errstate(over="ignore", invalid="ignore"):
        found = {name: float(losses[name][rows].mean()) for name in ("mae", "mse", "smape", "scaled_mse")}
        found["mase"] = mean_mase(losses["mase"][rows], losses["series"][rows])
        unit, own = unit_of(errors), unit_of(y - y.mean())
        square, variance = float(np.square(errors / unit).mean()), float(np.square((y - y.mean()) / own).mean())
        found["rmse"] = math.sqrt(square) * unit
        found["r2"] = 1 - square / variance * (unit / own) * (unit / own) if np.ptp(y) > 0 else math.nan
    return {name: found[name] if math.isfinite(found[name]) else None for name in METRICS}


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Tables of errors; NaN where a number is not defined.

    The columns of all three tables: ``model``; ``mae``, ``rmse`` (unit of y), ``smape`` (percent, 0 to 200), ``mase``;
    for every level L ``coverage-L`` (percent of the values inside), ``width-L`` and ``winkler-L`` (unit of y); and
    ``quantile_loss`` (unit of y).

    Attributes:
        per_series: One row per series and model, with ``unique_id`` and ``n``, the number of forecasts.
        pooled: One row per model over all forecasts, with ``series`` and ``n``: a model that lacks a series is
            averaged over the others, so compare it only with models that have as many. ``mase`` is that of
            :func:`mean_mase`, and numbers of intervals are those of the series that have one.
        median: One row per model, with ``series``: the median of ``per_series`` over the series.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import accuracy
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> found = accuracy(frame)
        >>> len(found.per_series), list(found.pooled.columns)[:3]
        (2, ['model', 'series', 'n'])
    """

    per_series: pd.DataFrame
    pooled: pd.DataFrame
    median: pd.DataFrame


def mase_scales(training: pd.DataFrame, season: int = 1) -> dict[str, float]:
    """Return :func:`seasonal_change` of every series of a frame.

    Args:
        training: Columns unique_id, ds, y: the values before the first origin. Missing values are left out.
        season: Period in steps.

    Returns:
        By series a number in the unit of y; NaN for a series that is not longer than the season or repeats itself.

    Raises:
        ValueError: the frame lacks a column, is empty or has a value beyond +-1e100, or the season is no whole number
            of at least 1.

    Examples:
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import mase_scales
        >>> mase_scales(pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 2, 4, 1, 2, 4]}), season=1)
        {'a': 1.8}
    """
    require_columns(training, ("unique_id", "ds", "y"))
    check_season(season)
    large = training["y"].abs() > MAX_MAGNITUDE
    if large.any():
        raise ValueError(
            f"column 'y' is {training['y'][large].iloc[0]:g}, outside +-{MAX_MAGNITUDE:g}; choose a larger unit"
        )
    groups = training.sort_values("ds", kind="stable").groupby("unique_id")["y"]
    return {str(name): seasonal_change(own.to_numpy(np.float64), season) for name, own in groups}


def accuracy(
    frame: pd.DataFrame,
    *,
    scales: Mapping[str, float] | None = None,
    models: Sequence[str] | None = None,
    levels: Iterable[float] | None = None,
) -> Accuracy:
    """Return the errors of every model of a cross-validation frame.

    ``mae``, ``rmse``, ``smape`` and ``mase`` are means of :func:`point_losses` (and a root of one). For a central
    interval [l, u] of level 100 (1 - a): the Winkler or interval score (Gneiting and Raftery, 2007, eq. 43) is u - l +
    (2 / a) (l - y)+ + (2 / a) (y - u)+. ``quantile_loss`` is the mean over the quantiles q of 2 (q - 1[y < f_q]) (y -
    f_q), with f_q the ends of the intervals and, for q = 0.5, the point forecast: with ever more levels it tends to the
    CRPS.

    Args:
        frame: Forecasts and values; see :mod:`qkan.forecasting.evaluation.frames`.
        scales: From :func:`mase_scales`; without it, or without a series in it, there is no MASE.
        models: Some of the models; ``None`` takes all.
        levels: Levels to score in percent; ``None`` takes every level that a model of the frame has. A model without
            one of them has no ``quantile_loss``: means over different quantiles do not compare.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; a level is out of range, or no model has a forecast.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import accuracy
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> accuracy(frame).pooled["mae"].round(2).to_dict()
        {0: 0.63, 1: 0.65}
    """
    import pandas as pd

    checked = check_frame(frame, models)
    names = check_models(checked, models)
    wanted = interval_levels_of_all(checked) if levels is None else check_levels(levels)
    scale = checked["unique_id"].map(dict(scales or {})).to_numpy(np.float64, na_value=np.nan)
    unit = unit_of([checked["y"] - checked[name] for name in names])
    losses = pd.concat([_frame_losses(checked, name, scale, wanted, unit) for name in names], ignore_index=True)
    losses = losses[losses["mae"].notna()]
    if len(losses) == 0:
        raise ValueError("no model of the frame has a forecast of any series; leave out the models that have none")
    losses["model"] = pd.Categorical(losses["model"], names)  # tables keep the order of the models
    per_series, pooled = _means(losses, ["unique_id", "model"]), _means(losses, ["model"])
    for table in (per_series, pooled):
        table["rmse"] *= unit
    own = losses.groupby("model", observed=True, sort=True)[["mase", "unique_id"]]
    pooled["mase"] = [mean_mase(group["mase"].to_numpy(), group["unique_id"].to_numpy()) for _, group in own]
    series = per_series.groupby("model", observed=True).size()
    median = _means(per_series.drop(columns=["unique_id", "n"]), ["model"], "median").drop(columns="n")
    for table in (pooled, median):
        table.insert(1, "series", table["model"].map(series).astype(np.int64))
    for table in (per_series, pooled, median):
        table["model"] = table["model"].astype(str)
    return Accuracy(per_series, pooled, median)


def _frame_losses(
    frame: pd.DataFrame, model: str, scale: np.ndarray, levels: Sequence[float], unit: float
) -> pd.DataFrame:
    """Return unique_id, model and the losses of every forecast, whose means are the metrics.

    That of ``rmse`` is squared, and of errors in a unit.
    """
    import pandas as pd

    y, forecast = frame["y"].to_numpy(), frame[model].to_numpy()
    found = point_losses(y, forecast, scale)
    quantiles = [found["mae"]]
    intervals = {}
    for level in levels:
        names, tail = bounds(model, level), (100 - level) / 200
        if set(names) <= set(frame.columns):
            low, high = (frame[name].to_numpy() for name in names)
        else:
            low = high = np.full(len(frame), np.nan)
        below, above = np.maximum(low - y, 0), np.maximum(y - high, 0)
        inside = 100.0 * ((y >= low) & (y <= high))
        intervals[f"coverage-{level:g}"] = np.where(np.isnan(low), np.nan, inside)
        intervals[f"width-{level:g}"] = high - low
        intervals[f"winkler-{level:g}"] = high - low + (below + above) / tail
        quantiles += [pinball_loss(y, low, tail), pinball_loss(y, high, 1 - tail)]
    intervals["quantile_loss"] = np.mean(quantiles, axis=0) if levels else np.full(len(frame), np.nan)
    squares = np.square(found["mae"] / unit)
    found = {"mae": found["mae"], "rmse": squares, "smape": found["smape"], "mase": found["mase"]}
    return pd.DataFrame({"unique_id": frame["unique_id"], "model": model, **found, **intervals})


def _means(losses: pd.DataFrame, by: list[str], centre: str = "mean") -> pd.DataFrame:
    """Return size ``n`` and means (or medians) by group, of the series that have a number; NaN where none has it.

    What a model may lack, it lacks for whole series (:func:`check_frame` sees to it): MASE where the training part has
    no scale, intervals where there was nothing to calibrate them with.
    """
    numbers = [name for name in losses if name not in ("unique_id", "model")]
    groups = losses.groupby(by, observed=True)
    size = groups.size()
    table = groups[numbers].agg(centre)
    if centre == "mean":
        table["rmse"] = np.sqrt(table["rmse"])
    table.insert(0, "n", size)
    return table.reset_index()
