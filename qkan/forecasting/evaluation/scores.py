"""Errors of forecasts, and how good their intervals are: per series, pooled, and the median over series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.frames import (
    bounds,
    check_frame,
    check_levels,
    check_models,
    interval_levels_of_all,
    require_columns,
)

if TYPE_CHECKING:
    import pandas as pd

ERRORS = ("mae", "rmse", "smape", "mase")


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Tables of errors; NaN where a number is not defined.

    The columns of all three tables: ``model``; ``mae``, ``rmse`` (unit of y), ``smape`` (percent, 0 to 200), ``mase``;
    for every level L ``coverage-L`` (percent of the values inside), ``width-L`` and ``winkler-L`` (unit of y); and
    ``quantile_loss`` (unit of y).

    Attributes:
        per_series: One row per series and model, with ``unique_id`` and ``n``, the number of forecasts.
        pooled: One row per model over all forecasts, with ``series`` and ``n``: a model that lacks a series is
            averaged over the others, so compare it only with models that have as many.
        median: One row per model, with ``series``: the median of ``per_series`` over the series.
    """

    per_series: pd.DataFrame
    pooled: pd.DataFrame
    median: pd.DataFrame


def mase_scales(training: pd.DataFrame, season: int = 1) -> dict[str, float]:
    """Return, per series, the mean absolute seasonal difference of its training part (Hyndman and Koehler, 2006).

    Args:
        training: Columns unique_id, ds, y: the values before the first origin. Missing values are left out.
        season: Period in steps.

    Returns:
        By series a number in the unit of y; NaN for a series that is not longer than the season or repeats itself.

    Raises:
        ValueError: the frame lacks a column or is empty, or the season is no whole number of at least 1.
    """
    require_columns(training, ("unique_id", "ds", "y"))
    if isinstance(season, bool) or not isinstance(season, int | np.integer) or season < 1:
        raise ValueError(f"season {season!r} must be a whole number of steps, at least 1 (1 means no season)")
    scales = {}
    for name, own in training.sort_values("ds", kind="stable").groupby("unique_id"):
        values = own["y"].to_numpy(np.float64)
        changes = np.abs(values[season:] - values[:-season])
        changes = changes[np.isfinite(changes)]
        scales[str(name)] = float(changes.mean()) if changes.size and changes.mean() > 0 else float("nan")
    return scales


def accuracy(
    frame: pd.DataFrame,
    *,
    scales: Mapping[str, float] | None = None,
    models: Sequence[str] | None = None,
    levels: Iterable[float] | None = None,
) -> Accuracy:
    """Return the errors of every model of a cross-validation frame.

    With e = y - forecast: ``mae`` mean |e|; ``rmse`` root of mean e^2; ``smape`` mean 200 |e| / (|y| + |forecast|), 0
    where both are 0; ``mase`` mean |e| / scale. For a central interval [l, u] of level 100 (1 - a): the Winkler or
    interval score (Gneiting and Raftery, 2007, eq. 43) is u - l + (2 / a) (l - y)+ + (2 / a) (y - u)+.
    ``quantile_loss`` is the mean over the quantiles q of 2 (q - 1[y < f_q]) (y - f_q), with f_q the ends of the
    intervals and, for q = 0.5, the point forecast: with ever more levels it tends to the CRPS.

    Args:
        frame: Forecasts and values; see :mod:`qkan.forecasting.evaluation.frames`.
        scales: From :func:`mase_scales`; without it, or without a series in it, there is no MASE.
        models: Some of the models; ``None`` takes all.
        levels: Levels to score in percent; ``None`` takes every level that a model of the frame has. A model without
            one of them has no ``quantile_loss``: means over different quantiles do not compare.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; a level is out of range, or no model has a forecast.
    """
    import pandas as pd

    checked = check_frame(frame, models)
    names = check_models(checked, models)
    wanted = interval_levels_of_all(checked) if levels is None else check_levels(levels)
    scale = checked["unique_id"].map(dict(scales or {})).to_numpy(np.float64, na_value=np.nan)
    losses = pd.concat(
        [_losses(checked, name, scale, wanted).assign(unique_id=checked["unique_id"], model=name) for name in names],
        ignore_index=True,
    )
    losses = losses[losses["mae"].notna()]
    if len(losses) == 0:
        raise ValueError("no model of the frame has a forecast of any series; leave out the models that have none")
    order = {name: place for place, name in enumerate(names)}
    per_series, pooled = _means(losses, ["unique_id", "model"]), _means(losses, ["model"])
    for table, by in ((per_series, ["unique_id", "model"]), (pooled, ["model"])):
        table["rmse"] = np.sqrt(table["rmse"])
        table.insert(len(by), "n", losses.groupby(by).size().to_numpy())
    median = _means(per_series.drop(columns="n"), ["model"], "median")
    for table in (pooled, median):
        table.insert(1, "series", table["model"].map(per_series.groupby("model").size()))

    def ordered(table: pd.DataFrame) -> pd.DataFrame:
        keys = ["unique_id", "model"] if "unique_id" in table else ["model"]
        return table.sort_values(
            keys, key=lambda own: own.map(order) if own.name == "model" else own, ignore_index=True
        )

    return Accuracy(ordered(per_series), ordered(pooled), ordered(median))


def _losses(frame: pd.DataFrame, model: str, scale: np.ndarray, levels: Sequence[float]) -> pd.DataFrame:
    """Return one row of losses for every forecast; means over rows are the metrics (``rmse`` still squared)."""
    import pandas as pd

    y, forecast = frame["y"].to_numpy(), frame[model].to_numpy()
    error = np.abs(y - forecast)
    sizes = np.abs(y) + np.abs(forecast)
    found = {
        "mae": error,
        "rmse": np.square(error),
        "smape": 200 * np.divide(error, sizes, out=np.zeros_like(error), where=sizes != 0),
        "mase": error / scale,
    }
    quantiles = [error]
    for level in levels:
        names = bounds(model, level)
        if not set(names) <= set(frame.columns):
            low = high = np.full(len(frame), np.nan)
        else:
            low, high = (frame[name].to_numpy() for name in names)
        missing, tail = np.isnan(low), (100 - level) / 200
        below, above = np.maximum(low - y, 0), np.maximum(y - high, 0)
        found[f"coverage-{level:g}"] = np.where(missing, np.nan, 100.0 * ((y >= low) & (y <= high)))
        found[f"width-{level:g}"] = high - low
        found[f"winkler-{level:g}"] = high - low + (below + above) / tail
        quantiles += [_pinball(y, low, tail), _pinball(y, high, 1 - tail)]
    found["quantile_loss"] = np.mean(quantiles, axis=0) if levels else np.full(len(frame), np.nan)
    return pd.DataFrame(found)


def _pinball(y: np.ndarray, forecast: np.ndarray, quantile: float) -> np.ndarray:
    """Return twice the quantile loss, so that at 0.5 it is the absolute error."""
    return 2 * np.maximum(quantile * (y - forecast), (quantile - 1) * (y - forecast))


def _means(losses: pd.DataFrame, by: list[str], centre: str = "mean") -> pd.DataFrame:
    """Return means (or medians) by group; NaN where a number is missing in the group.

    An average over the forecasts for which a number happens to be defined would flatter the model.
    """
    groups = losses.groupby(by)
    size = groups.size()
    numbers = [name for name in losses if name not in ("unique_id", "model")]
    whole = groups[numbers].count().eq(size, axis=0)
    return groups[numbers].agg(centre).where(whole).reset_index()
