"""What a regression of a practitioner knows: lags, seasonal lags, the phase of every season, and covariates.

All values are scaled as for the networks and taken less the last known one. What is known is what every model may know.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.interface import CannotFit, Origins
from qkan.forecasting.baselines.simple import ahead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qkan.datasets import ForecastData

MOST_HARMONICS = 6
"""At most so many harmonics of every season."""
MOST_ROWS, MOST_TARGETS, FEWEST_ROWS = 50_000, 1_000_000, 5_000
"""At most so many training origins, evenly spread, and so many targets of them; but not fewer origins than the last."""


class LagFeatures:
    """Features of the values to forecast, of all series.

    Args:
        data: The windows.

    Raises:
        CannotFit: no training part is long enough for a window and its targets.
    """

    def __init__(self, data: ForecastData) -> None:
        self.data, self.horizon, self.starts = data, data.horizon, data.series.starts
        longest = int(data.boundaries[:, 0].max())
        self.seasons = tuple(season for season in data.series.season if 2 * season <= longest)
        self.values = data.train.values[:, 0].astype(np.float64)
        covariates = data.train.futr_exog[:, : data.train.futr_exog.shape[1] - len(data.seasons) - data.numbered]
        covariates = _names_apart(covariates, data.scaler.categories)
        self.known = np.column_stack([covariates, self._waves(data.series.times)]).astype(np.float64)
        self.after: np.ndarray | None = None
        self.train = self._training_origins()

    def _waves(self, times: np.ndarray) -> np.ndarray:
        """Sines and cosines of the phase of every season, float64 (times, waves)."""
        from qkan.datasets.windows import season_phases, season_waves

        return season_waves(season_phases(self.data.series, times, self.seasons), self.seasons, MOST_HARMONICS)

    def _after(self) -> np.ndarray:
        """What is known of the steps behind every series, (series, horizon, columns)."""
        from qkan.datasets.windows import futr_exog_after

        if self.after is None:
            series = self.data.series
            covariates = futr_exog_after(series, self.data.scaler, self.data.calendar, self.horizon)
            covariates = _names_apart(covariates, self.data.scaler.categories)
            waves = self._waves(series.all_future_times(self.horizon).ravel()).reshape(*covariates.shape[:2], -1)
            self.after = np.concatenate([covariates, waves], axis=2).astype(np.float64)
        return self.after

    def _training_origins(self) -> Origins:
        """Origins whose targets all lie in the training part of their series."""
        series, data = self.data.series, self.data
        counts = np.maximum(data.boundaries[:, 0] - self.horizon + 1 - data.window, 0)
        owner = np.repeat(np.arange(len(counts)), counts)
        known = data.window + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.starts[owner] + known
        if series.observed is not None:
            seen = np.concatenate([[0], np.cumsum(series.observed)])
            useful = seen[rows + self.horizon] - seen[rows] == self.horizon
            if series.missing == "interpolate":  # a filled last value lies on a line to a target
                useful &= series.observed[rows - 1]
            owner, known = owner[useful], known[useful]
        if not len(owner):
            raise CannotFit("no training part holds a window and its targets")
        most = max(FEWEST_ROWS, min(MOST_ROWS, MOST_TARGETS // self.horizon))
        if len(owner) > most:
            kept = np.linspace(0, len(owner) - 1, most).astype(np.int64)
            owner, known = owner[kept], known[kept]
        return Origins(owner, known)

    def last(self, origins: Origins) -> np.ndarray:
        """The last known value of every origin, (N,)."""
        return self.values[origins.rows(self.data.series) - 1]

    def targets(self, origins: Origins, step: int) -> np.ndarray:
        """The value ``step`` steps behind the first target, less the last known one, (N,)."""
        return self.values[origins.rows(self.data.series) + step] - self.last(origins)

    def of_window(self, origins: Origins, lags: int) -> np.ndarray:
        """The values 2 to ``lags`` steps back, (N, lags - 1); before its first value a series repeats it."""
        rows = origins.rows(self.data.series)[:, None] - np.arange(2, lags + 1)
        rows = np.maximum(rows, self.starts[origins.series][:, None])
        return self.values[rows] - self.last(origins)[:, None]

    def of_step(self, origins: Origins, step: int) -> np.ndarray:
        """Seasonal lags of one target and of the last value, covariates and phases of the target, (N, columns)."""
        rows, last = origins.rows(self.data.series), self.last(origins)
        begin = self.starts[origins.series]
        columns = []
        for season in self.seasons:
            back = season * math.ceil((step + 1) / season)
            for at in (rows + step - back, rows - 1 - season):  # before the target, and before the last value
                columns.append((self.values[np.maximum(at, begin)] - last)[:, None])
        beyond = (origins.known + step >= self.data.series.lengths[origins.series]).any()
        target = Origins(origins.series, origins.known + step)
        if beyond:
            after = self._after()
            known = ahead(self.known, after, self.starts, target, 1)[:, 0]
        else:
            known = self.known[target.rows(self.data.series)]
        return np.concatenate([*columns, known], axis=1)

    def original(self, changes: np.ndarray, origins: Origins) -> np.ndarray:
        """Forecasts in original units from scaled changes since the last value, (N, horizon)."""
        return self.data.inverse(changes + self.last(origins)[:, None], origins.series)


def _names_apart(known: np.ndarray, categories: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Channels (..., channels) with one for every name in the place of the codes of categories, which come last."""
    begin = known.shape[-1] - len(categories)
    names = [known[..., [begin + place]] == np.arange(len(own)) for place, own in enumerate(categories.values())]
    return np.concatenate([known[..., :begin], *names], axis=-1)
