"""Errors as the papers on a benchmark give them; :mod:`qkan.datasets.read.protocols` has its files and parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.metrics import Scores, point_losses, seasonal_change

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

PROTOCOL_METRICS = {"ltsf": ("mse", "mae"), "m4": ("mase", "smape")}
"""The errors of every protocol."""


def protocol_scores(protocol: str, data: ForecastData, forecasts: Mapping[str, np.ndarray]) -> Scores:
    """Return the errors of forecasts of the test part, by name.

    ``ltsf``: ``mse`` and ``mae`` of values that are standardised by the mean and the standard deviation of their
    channel's training part, averaged over all channels, windows and steps. ``m4``: ``mase``, scaled by the mean
    absolute seasonal change of all values before the test part, and ``smape``, in percent (0 to 200), averaged over
    steps and then over series (Makridakis et al. 2020).

    Args:
        protocol: ``ltsf`` or ``m4``.
        data: Its windows.
        forecasts: Original units, (N, horizon) each, one row per window of the test part.
    """
    find = {"ltsf": _standardised, "m4": _m4}[protocol]
    return {name: find(data, values) for name, values in forecasts.items()}


def official_metrics(protocol: str | None) -> tuple[str, ...]:
    """Return what the errors of a protocol are called beside others, ``ltsf_mse`` and so on; none without one."""
    return () if protocol is None else tuple(f"{protocol}_{name}" for name in PROTOCOL_METRICS[protocol])


def official_scores(protocol: str | None, data: ForecastData, forecasts: Mapping[str, np.ndarray]) -> Scores:
    """Return :func:`protocol_scores` under the names of :func:`official_metrics`; nothing without a protocol."""
    if protocol is None:
        return {}
    names = dict(zip(PROTOCOL_METRICS[protocol], official_metrics(protocol), strict=True))
    found = protocol_scores(protocol, data, forecasts)
    return {model: {names[name]: value for name, value in errors.items()} for model, errors in found.items()}


def _standardised(data: ForecastData, forecasts: np.ndarray) -> dict[str, float | None]:
    ends = data.boundaries[:, 0]
    deviations = np.array([data.series.values_of(place)[:end].std() for place, end in enumerate(ends)])
    scale = np.where(deviations > 0, deviations, 1.0)[data.test.series][:, None]
    errors = (forecasts - data.target_values("test")) / scale
    return {"mse": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean())}


def _m4(data: ForecastData, forecasts: np.ndarray) -> dict[str, float | None]:
    season, ends = data.series.mase_season or 1, data.boundaries[:, 1]
    units = np.array([seasonal_change(data.series.values_of(place)[:end], season) for place, end in enumerate(ends)])
    losses = point_losses(data.target_values("test"), forecasts, units[data.test.series][:, None])
    return {"mase": float(np.nanmean(losses["mase"].mean(axis=1))), "smape": float(losses["smape"].mean())}
