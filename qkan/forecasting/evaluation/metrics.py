"""How good a forecast is: errors in original units, on the same targets for models and baselines.

The sums are written out, because torchmetrics compares with absolute tolerances in between (its ``r2_score`` is 1 for
any squared error below 1e-4), which is wrong for series of small values; the tests compare with it elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows.windows import Part

METRICS: tuple[str, ...] = ("mae", "mse", "rmse", "r2", "smape", "mase", "scaled_mse")


def mase_season(data: ForecastData) -> int:
    """Return the period of the naive forecast that MASE compares with: the shortest season that fits, or 1."""
    shortest = int(data.boundaries[:, 0].min())
    fitting = [season for season in data.series.season if season < shortest]
    return fitting[0] if fitting else 1


def mase_scale(data: ForecastData) -> np.ndarray:
    """Return, per series, the mean absolute seasonal difference of its training part; float64 (series,).

    Filled values do not count; a series that has no two observed values one season apart gets 0.
    Hyndman and Koehler (2006), "Another look at measures of forecast accuracy", eq. for q_t.
    """
    season = mase_season(data)
    observed = data.series.observed
    scales = []
    for index, end in enumerate(data.boundaries[:, 0]):
        values = data.series.values_of(index)[:end]
        differences = np.abs(values[season:] - values[:-season])
        if observed is not None:
            seen = observed[data.series.starts[index] :][:end]
            differences = differences[seen[season:] & seen[:-season]]
        scales.append(differences.mean() if differences.size else 0.0)
    return np.array(scales)


def forecast_metrics(data: ForecastData, predictions: np.ndarray, part: Part = "test") -> dict[str, float | None]:
    """Return the errors of a forecast of all observed targets of a part, pooled over series, windows and steps.

    Args:
        data: The windows.
        predictions: Original units, (N, horizon), one row per window of the part.
        part: The part whose targets were forecast.

    Returns:
        ``mae``, ``rmse`` in the unit of the series, ``mse`` in its square, ``r2``, ``smape`` in percent (0 to 200),
        ``mase`` (against the seasonal naive forecast of the training part), ``scaled_mse`` (of scaled values).
        ``None`` where one is not defined: ``r2`` of constant targets or ones whose squares are
        too small for a float64, ``mase`` of a series whose training part repeats itself.

    Raises:
        ValueError: the shape of the predictions is not that of the targets.
    """
    return _errors(*_compared(data, predictions, part)[1:])


def series_metrics(data: ForecastData, predictions: np.ndarray, part: Part = "test") -> pd.DataFrame:
    """Return the metrics of :func:`forecast_metrics` for every series: ``unique_id``, then one column a metric.

    A metric that is not defined is NaN. Series without an observed target in the part have no row.
    """
    import pandas as pd

    series, *compared = _compared(data, predictions, part)
    edges = np.searchsorted(series, np.arange(len(data.ids) + 1))  # windows come series by series
    rows = [
        {"unique_id": name, **_errors(*(values[begin:end] for values in compared))}
        for name, begin, end in zip(data.ids, edges[:-1], edges[1:], strict=True)
        if end > begin
    ]
    return pd.DataFrame(rows, columns=["unique_id", *METRICS]).astype(dict.fromkeys(METRICS, "float64"))


def _compared(data: ForecastData, predictions: np.ndarray, part: Part) -> tuple[np.ndarray, ...]:
    """Per observed target: series, target, prediction, both scaled, MASE's scale; each of shape (targets,)."""
    targets = data.target_values(part)
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions must have the shape of the targets {targets.shape}, got {predictions.shape}")
    series, seen = data.part(part).series, data.target_observed(part)
    owner = np.repeat(series[:, None], targets.shape[1], axis=1)
    scaled = (data.scaler.transform(values, series) for values in (targets, predictions))
    predictions = np.asarray(predictions, dtype=np.float64)
    return tuple(values[seen] for values in (owner, targets, predictions, *scaled, mase_scale(data)[owner]))


def _errors(
    targets: np.ndarray, predictions: np.ndarray, scaled: np.ndarray, scaled_predictions: np.ndarray, scale: np.ndarray
) -> dict[str, float | None]:
    errors = predictions - targets
    sizes = np.abs(targets) + np.abs(predictions)
    mse, variance = float(np.square(errors).mean()), float(targets.var())
    return {
        "mae": float(np.abs(errors).mean()),
        "mse": mse,
        "rmse": mse**0.5,
        "r2": 1 - mse / variance if np.ptp(targets) > 0 and variance > 0 else None,
        "smape": float(200 * np.divide(np.abs(errors), sizes, out=np.zeros_like(errors), where=sizes > 0).mean()),
        "mase": float((np.abs(errors) / scale).mean()) if (scale > 0).all() else None,
        "scaled_mse": float(np.square(scaled_predictions - scaled).mean()),
    }
