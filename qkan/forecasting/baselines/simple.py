"""Forecasts that need no training; any useful model beats them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.interface import Baseline, CannotFit, Fitting, Forecasts, Origins
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


class SeasonalNaive(Baseline):
    """Repeats the last whole season; a season of 1 is the last value. NaN where no whole season is known."""

    def __init__(self, data: ForecastData, season: int = 1) -> None:
        super().__init__(model_name("naive") if season == 1 else model_name("seasonal-naive", season))
        self.series, self.horizon, self.season = data.series, data.horizon, season

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin."""
        enough = origins.known >= self.season
        first = np.where(enough, origins.rows(self.series), self.season)
        found = repeat_season(self.series.values, first, self.season, self.horizon)
        return Forecasts(np.where(enough[:, None], found, np.nan))


def naive(data: ForecastData, part: Part = "test") -> np.ndarray:
    """Repeat the last value that every window of a part shows; float64 (N, horizon), original units."""
    return SeasonalNaive(data).forecast(Origins.of(data, part)).mean


class Drift(Baseline):
    """Draws on the line from the first value of a series to the last one known.

    From a single known value there is no slope: the value is repeated.
    """

    def __init__(self, data: ForecastData) -> None:
        super().__init__(model_name("drift"))
        self.series, self.horizon = data.series, data.horizon

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin."""
        values, rows = self.series.values, origins.rows(self.series)
        first, last = values[rows - origins.known], values[rows - 1]
        slope = (last - first) / np.maximum(origins.known - 1, 1)
        return Forecasts(last[:, None] + slope[:, None] * np.arange(1, self.horizon + 1))


class SeasonalMean(Baseline):
    """Repeats the mean season of the training part of every series, which holds a whole one."""

    def __init__(self, data: ForecastData, season: int) -> None:
        super().__init__(model_name("seasonal-mean", season), season * len(data.ids))
        self.settings = {"season": season}
        self.series, self.horizon, self.season = data.series, data.horizon, season
        self.place = self._places(data.series.times)
        self.means = np.full((len(data.ids), season), np.nan)
        for index, (start, end) in enumerate(zip(self.series.starts[:-1], data.boundaries[:, 0], strict=True)):
            values, own = self.series.values[start : start + end], self.place[start : start + end]
            counts = np.bincount(own, minlength=season)
            sums = np.bincount(own, values, season)
            self.means[index] = np.where(counts > 0, sums / np.maximum(counts, 1), values.mean())

    def _places(self, times: np.ndarray) -> np.ndarray:
        from qkan.datasets.windows import season_phases

        turns = season_phases(self.series, times, (self.season,))[:, 0].astype(np.float64) / (2 * np.pi)
        return np.round(turns * self.season).astype(np.int64) % self.season

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin."""
        after = None
        if (origins.known + self.horizon > self.series.lengths[origins.series]).any():
            times = self.series.all_future_times(self.horizon)
            after = self._places(times.ravel())[:, None].reshape(*times.shape, 1)
        place = ahead(self.place[:, None], after, self.series.starts, origins, self.horizon)[:, :, 0]
        return Forecasts(self.means[origins.series[:, None], place])


def ahead(
    inside: np.ndarray, after: np.ndarray | None, starts: np.ndarray, origins: Origins, horizon: int
) -> np.ndarray:
    """Return what is known of the steps ahead of every origin: (N, horizon, columns).

    Args:
        inside: Of all rows, (rows, columns).
        after: Of the steps behind every series, (series, steps, columns); ``None`` where none is asked for.
        starts: First row of every series and the number of rows, (series + 1,).
        origins: The origins.
        horizon: Steps.
    """
    position = origins.known[:, None] + np.arange(horizon)
    length = np.diff(starts)[origins.series][:, None]
    rows = starts[origins.series][:, None] + np.minimum(position, length - 1)
    if after is None:
        return inside[rows]
    beyond = np.clip(position - length, 0, after.shape[1] - 1)
    return np.where((position < length)[:, :, None], inside[rows], after[origins.series[:, None], beyond])


def fit_naive(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """The last value."""
    return [SeasonalNaive(data)]


def fit_drift(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """The line through the first and the last value."""
    return [Drift(data)]


def fit_seasonal_naive(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """One forecast for each season that is known before the first origin of the test part.

    Raises:
        CannotFit: there is none.
    """
    known = int(data.boundaries[:, 1].min())
    whole = [season for season in _seasons(data) if season <= known]
    if not whole:
        raise CannotFit("the values before the first forecast of a series hold no whole season")
    return [SeasonalNaive(data, season) for season in whole]


def fit_seasonal_mean(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """The mean of the season of the settings, else of the longest one that every training part holds twice.

    Raises:
        CannotFit: there is none.
    """
    given = fitting.settings.get("seasonal-mean")
    if given is not None:
        return [SeasonalMean(data, int(given["season"]))]
    shortest = int(data.boundaries[:, 0].min())
    whole = [season for season in _seasons(data) if 2 * season <= shortest]
    if not whole:
        raise CannotFit("the training part of a series does not hold a season twice")
    return [SeasonalMean(data, whole[-1])]


def _seasons(data: ForecastData) -> list[int]:
    """The seasons of the data, in steps.

    Raises:
        CannotFit: there is none.
    """
    found = [season for season in data.series.season if season > 1]
    if not found:
        raise CannotFit("the data have no season")
    return found
