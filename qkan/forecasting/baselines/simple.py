"""Forecasts that need no training, on the same windows as every model; any useful model beats them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part


def repeat_season(values: np.ndarray, first: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """Repeat the whole season before each first target; (N, horizon), dtype of the values.

    Args:
        values: Known values and targets, oldest first, (points,).
        first: Row of the first target of every forecast, at least ``season``; integers (N,).
        season: Period in steps; 1 repeats the last value.
        horizon: Steps to forecast.
    """
    steps = np.arange(horizon)
    return values[first[:, None] + steps - season * (steps // season + 1)]


def naive(data: ForecastData, part: Part = "test") -> np.ndarray:
    """Repeat the last value that the window shows; float64 (N, horizon), original units."""
    return repeat_season(data.series.values, data.target_rows(part)[:, 0], 1, data.horizon)


def seasonal_naive(data: ForecastData, season: int, part: Part = "test") -> np.ndarray:
    """Repeat the last whole season before the targets; float64 (N, horizon), original units.

    Args:
        data: The windows; a value one season back may lie before the window.
        season: Period in steps.
        part: The part whose targets are forecast.

    Raises:
        ValueError: a target lies in the first season of its series, so there is nothing to repeat.
    """
    first = data.part(part).target_index
    if len(first) and int(first.min()) < season:
        raise ValueError(
            f"season {season} is longer than the {int(first.min())} values before the first {part} target; "
            "use a shorter season"
        )
    return repeat_season(data.series.values, data.target_rows(part)[:, 0], season, data.horizon)


def drift(data: ForecastData, part: Part = "test") -> np.ndarray:
    """Draw on the line from the first value of a series to the last one known; float64 (N, horizon), original units.

    A target in second place has one known value only, hence no slope: the value is repeated.
    """
    rows, known = data.target_rows(part), data.part(part).target_index
    first, last = data.series.values[rows[:, 0] - known], data.series.values[rows[:, 0] - 1]
    slope = (last - first) / np.maximum(known - 1, 1)
    return last[:, None] + slope[:, None] * np.arange(1, data.horizon + 1)


def naive_forecasts(data: ForecastData, part: Part = "test") -> dict[str, np.ndarray]:
    """Return every rule that the data allows, by name: naive, drift, seasonal naive for each season that fits."""
    forecasts = {"naive": naive(data, part), "drift": drift(data, part)}
    known = int(data.part(part).target_index.min())
    for season in data.series.season:
        if season <= known:
            forecasts[f"seasonal naive ({season})"] = seasonal_naive(data, season, part)
    return forecasts
