"""Forecasts that need no training, on the same windows as every model; any useful model beats them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.config import model_name

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


def season_mean(data: ForecastData, season: int, part: Part = "test") -> np.ndarray:
    """Repeat the mean season of the training part; float64 (N, horizon), original units.

    Args:
        data: The windows.
        season: Period in steps, of which the training part of every series holds a whole one.
        part: The part whose targets are forecast.
    """
    from qkan.datasets.windows import season_phases

    series, rows = data.series, data.target_rows(part)
    turns = season_phases(series, series.times, (season,))[:, 0].astype(np.float64) / (2 * np.pi)
    place = np.round(turns * season).astype(np.int64) % season
    means = np.full((len(data.ids), season), np.nan)
    for index, (start, end) in enumerate(zip(series.starts[:-1], data.boundaries[:, 0], strict=True)):
        values, own = series.values[start : start + end], place[start : start + end]
        counts = np.bincount(own, minlength=season)
        means[index] = np.where(counts > 0, np.bincount(own, values, season) / np.maximum(counts, 1), values.mean())
    return means[data.part(part).series[:, None], place[rows]]


def drift(data: ForecastData, part: Part = "test") -> np.ndarray:
    """Draw on the line from the first value of a series to the last one known; float64 (N, horizon), original units.

    A target in second place has one known value only, hence no slope: the value is repeated.
    """
    rows, known = data.target_rows(part), data.part(part).target_index
    first, last = data.series.values[rows[:, 0] - known], data.series.values[rows[:, 0] - 1]
    slope = (last - first) / np.maximum(known - 1, 1)
    return last[:, None] + slope[:, None] * np.arange(1, data.horizon + 1)


def naive_forecasts(data: ForecastData, part: Part = "test") -> dict[str, np.ndarray]:
    """Return every rule that the data allows, by name: the last value, the drift, the last season for each that fits,
    and the mean of the longest season that the training part holds twice."""
    forecasts = {model_name("naive"): naive(data, part), model_name("drift"): drift(data, part)}
    known = int(data.part(part).target_index.min())
    for season in data.series.season:
        if season <= known:
            forecasts[model_name("seasonal-naive", season)] = seasonal_naive(data, season, part)
    shortest = int(data.boundaries[:, 0].min())
    whole = [season for season in data.series.season if 2 * season <= shortest]
    if whole:
        forecasts[model_name("seasonal-mean", whole[-1])] = season_mean(data, whole[-1], part)
    return forecasts
