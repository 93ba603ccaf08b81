"""What a search judges by, and what it fits in the end: the newest values are held out, and then they train, too."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.automatic.lowest import lowest_forecasts
from qkan.forecasting.baselines import Origins
from qkan.forecasting.config.reading import MANY_PERIODS
from qkan.forecasting.data.load import cut_windows, with_found_seasons
from qkan.forecasting.evaluation.metrics import mase_scale

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Series
    from qkan.forecasting.config import TrainConfig

HELD_HORIZONS, HELD_VALUES, HELD_SHARE = 20, 1000, 0.25
"""The newest values that judge: 20 horizons or 1,000 values, whichever is more, but at most a quarter of the series."""
MOST_ORIGINS = 5000
"""Of all series together, evenly spread."""
_PERIODS, _STEPS = 30, 1000  # at most so many seasons and steps in the window, where the horizon is longer than one


@dataclass(frozen=True, eq=False)
class Parts:
    """Windows to judge by and windows to forecast with.

    Attributes:
        config: Options that the windows were cut by; the seasons are those that were found.
        judged: The newest values are its test part: the origins. A validation part before them chooses settings.
        final: Everything trains.
        learning: Whether there is enough for methods that learn from windows: ridge and networks.
        units: What errors of every series are divided by, above 0: float64 (series,).
        lowest: Below what no forecast of a series is, as far as known before the origins: float64 (series,).
        lowest_after: The same with all values known.
    """

    config: TrainConfig
    judged: ForecastData
    final: ForecastData
    learning: bool
    units: np.ndarray
    lowest: np.ndarray
    lowest_after: np.ndarray

    @property
    def fixed(self) -> ForecastData:
        """The judged data where all values before the origins train: for methods that choose nothing by validation."""
        return replace(self.judged, boundaries=np.repeat(self.judged.boundaries[:, 1:], 2, axis=1))

    @property
    def origins(self) -> Origins:
        """The moments that everything is judged from."""
        return Origins.of(self.judged)

    def possible(self, forecasts: np.ndarray) -> np.ndarray:
        """Forecasts from the origins, (N, horizon), raised to the lowest possible value of their series."""
        return np.maximum(forecasts, self.lowest[self.origins.series][:, None])

    def possible_after(self, forecasts: np.ndarray) -> np.ndarray:
        """Forecasts of what follows every series, (series, horizon), raised to the lowest possible value."""
        return np.maximum(forecasts, self.lowest_after[:, None])

    def errors(self, forecasts: np.ndarray, newest: int | None = None) -> np.ndarray:
        """Mean absolute error of every series, original units, (series,); NaN where one has no target or forecast.

        Args:
            forecasts: From the origins, original units, (N, horizon).
            newest: Only so many of the newest origins of every series count; ``None`` for all.
        """
        observed, owner, count = self.judged.target_observed("test"), self.origins.series, len(self.units)
        if newest is not None:
            last = self.judged.series.lengths[owner] - self.judged.horizon
            observed = observed & (self.origins.known > last - newest)[:, None]
        errors = np.where(observed, np.abs(forecasts - self.judged.target_values("test")), 0.0).sum(axis=1)
        sums, counts = np.bincount(owner, errors, count), np.bincount(owner, observed.sum(axis=1), count)
        return np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)

    def target_weights(self) -> np.ndarray:
        """What an error at every target counts in the mean over the series, each in its unit: (N, horizon).

        In all, the targets of every series count the inverse of its unit; what was not observed counts 0.
        """
        observed, owner = self.judged.target_observed("test"), self.origins.series
        counts = np.bincount(owner, observed.sum(axis=1), len(self.units))
        return np.where(observed, 1 / (self.units * np.maximum(counts, 1))[owner][:, None], 0.0)


def make_parts(series: Series, config: TrainConfig, nonnegative: bool | None = None) -> Parts | None:
    """Cut a series for a search, or return ``None`` if it is too short to judge anything by.

    Series of a panel that are too short are left out, with a notice.

    Args:
        series: The data.
        config: How; window and horizon are those to use where the series are long enough.
        nonnegative: As of :class:`~qkan.forecasting.automatic.options.AutoConfig`.

    Raises:
        DataError: the data cannot be used.
    """
    from qkan.datasets import DataNotice, LastSteps

    length, horizon = int(np.median(series.lengths)), config.horizon
    test = max(horizon, min(max(HELD_HORIZONS * horizon, HELD_VALUES), int(HELD_SHARE * length)))
    known = length - test
    validation = max(horizon, round(known / 10))
    room = known - validation - horizon  # for a window, so that one training window is there
    learning = room >= 2 * max(1, min(config.window, horizon))
    if not learning:
        validation = 0
        room = known - horizon
    if room < 1:
        return None
    config = replace(config, window=min(config.window, max(1, room // 2)) if learning else 1)
    judged = cut_windows(series, config, split=LastSteps(validation, test=test))
    config = _with_window(config, judged)
    if learning and config.window != judged.window:
        judged = cut_windows(series, config, split=LastSteps(validation, test=test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNotice)
        final = cut_windows(judged.series, config, split=LastSteps(0))
    lowest = lowest_forecasts(judged.series, nonnegative, judged.boundaries[:, 1])
    lowest_after = lowest_forecasts(judged.series, nonnegative)
    return Parts(config, _thinned(judged), final, learning, _units(judged), lowest, lowest_after)


def _with_window(config: TrainConfig, data: ForecastData) -> TrainConfig:
    """Return the options with the seasons of the data; where the horizon holds one, the window has many if they fit."""
    config = with_found_seasons(config, data.seasons)
    if not data.seasons or config.horizon < data.seasons[0] or data.window < 2:
        return config
    season, known = data.seasons[0], int(np.median(data.boundaries[:, 0]))
    periods = min(_PERIODS, _STEPS // season, (known - config.horizon) // (2 * season))
    return replace(config, window=periods * season) if periods >= MANY_PERIODS else config


def _thinned(data: ForecastData) -> ForecastData:
    """The data with at most :data:`MOST_ORIGINS` origins, the newest among them."""
    count = len(data.test)
    if count <= MOST_ORIGINS:
        return data
    rows = np.unique(np.linspace(0, count - 1, MOST_ORIGINS).round().astype(np.int64))
    return replace(data, test=data.test.pick(rows))


def _units(data: ForecastData) -> np.ndarray:
    """Mean seasonal change of every series before the origins; 1 where there is none."""
    known = mase_scale(replace(data, boundaries=np.repeat(data.boundaries[:, 1:], 2, axis=1)))
    found: np.ndarray = np.where(np.isfinite(known) & (known > 0), known, 1.0)
    return found
