"""What a comparison says about several series: the error of the middle series, and intervals with their coverage.

Every forecast gets its intervals in the same way, split-conformal from its errors on the validation part, so coverage
compares networks and statistical baselines alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qkan.forecasting.evaluation.conformal import fewest_scores, fit_conformal
from qkan.forecasting.evaluation.frames import KEYS
from qkan.forecasting.evaluation.metrics import accuracy
from qkan.forecasting.evaluation.window_frame import window_frame

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

LEVEL = 90
"""Of the intervals, in percent."""

METRICS: tuple[str, ...] = ("median_mae", "coverage", "width")
"""What :func:`panel_scores` gives."""

Forecasts = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Forecasts of the validation and of the test part, (N, horizon) each, by name."""


def panel_scores(data: ForecastData, forecasts: Forecasts) -> dict[str, dict[str, float]]:
    """Return, by name, what the targets of several series say about forecasts.

    Args:
        data: The windows.
        forecasts: Original units, one row per window of the part.

    Returns:
        ``median_mae``, the median over series of their mean absolute errors; ``coverage``, the percentage of all test
        targets inside their 90 % interval; ``width``, the median over series of the intervals' mean width. Coverage
        and width are NaN where a series has fewer than 9 validation errors of a step; all are NaN where a forecast is.
    """
    validation = window_frame(data, "validation", {name: both[0] for name, both in forecasts.items()})
    test = window_frame(data, "test", {name: both[1] for name, both in forecasts.items()})
    return {name: _scores(validation, test, name) for name in forecasts}


def _scores(validation: pd.DataFrame, test: pd.DataFrame, name: str) -> dict[str, float]:
    if validation[name].isna().any() or test[name].isna().any():
        return dict.fromkeys(METRICS, float("nan"))
    keys = [*KEYS, "step", "y", name]
    counts = validation.groupby(["unique_id", "step"]).size()
    missing = len(counts) < test[["unique_id", "step"]].drop_duplicates().shape[0]
    if missing or counts.min() < fewest_scores(LEVEL):
        mae = accuracy(test[keys]).median["mae"].iloc[0]
        return {"median_mae": float(mae), "coverage": float("nan"), "width": float("nan")}
    intervals = fit_conformal(validation[keys], levels=(LEVEL,)).apply(test[keys])
    scored = accuracy(intervals, levels=(LEVEL,))
    return {
        "median_mae": float(scored.median["mae"].iloc[0]),
        "coverage": float(scored.pooled[f"coverage-{LEVEL}"].iloc[0]),
        "width": float(scored.median[f"width-{LEVEL}"].iloc[0]),
    }
