"""The baseline that a practitioner writes in five lines: ridge regression on lags, seasonal lags and the phase.

One regression per target step for all series together, of scaled values less the last known one. What it knows is what
every model may know; the penalty is chosen on the validation part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.model.parts import harmonics

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part

PENALTIES = (1e-2, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Candidates, in units of one training row of features with variance 1."""
MOST_LAGS, MOST_HARMONICS, MOST_ROWS = 60, 6, 50_000
"""At most so many lags of the window, harmonics of every season, and training rows, evenly spread."""


class RidgeBaseline:
    """Ridge regressions of one data set, fitted on its training part.

    Args:
        data: The windows.

    Raises:
        ValueError: no training part is long enough for the features and a target.
    """

    def __init__(self, data: ForecastData) -> None:
        from qkan.datasets.windows import season_phases

        self.data, self.horizon = data, data.horizon
        series = data.series
        longest = int(data.boundaries[:, 0].max())
        self.seasons = tuple(season for season in series.season if 2 * season <= longest)
        self.lags = min(MOST_LAGS, data.window)
        self.values = data.train.values[:, 0].astype(np.float64)
        ahead = data.train.futr_exog[:, : data.train.futr_exog.shape[1] - len(data.seasons) - data.numbered]
        phases = season_phases(series, series.times, self.seasons).astype(np.float64)
        waves = [
            wave(turn * phases[:, place])
            for place, season in enumerate(self.seasons)
            for turn in range(1, harmonics(season, MOST_HARMONICS) + 1)
            for wave in (np.sin, np.cos)
        ]
        self.known = np.column_stack([ahead, *waves]).astype(np.float64)
        self.starts = np.repeat(series.starts[:-1], series.lengths)  # of the series of every row
        train, validation = self._origins(0), self._origins(1)
        if not len(train):
            raise ValueError("no training part holds a window and its targets")
        self.weights = [self._fit(step, train, validation) for step in range(self.horizon)]

    def forecast(self, part: Part = "test") -> np.ndarray:
        """Forecast every target of a part; float64 (N, horizon), original units."""
        first = self.data.target_rows(part)[:, 0]
        scaled = np.stack([self._features(first, step) @ weights for step, weights in enumerate(self.weights)], axis=1)
        return self.data.inverse(scaled + self.values[first - 1][:, None], self.data.part(part).series)

    def _origins(self, part: int) -> np.ndarray:
        """Rows of first targets whose targets all lie in the training part (0) or in the validation part (1)."""
        series, rows = self.data.series, []
        for index, (start, length) in enumerate(zip(series.starts[:-1], series.lengths, strict=True)):
            ends = [0, *self.data.boundaries[index], length]
            rows.append(start + np.arange(max(ends[part], self.data.window), ends[part + 1] - self.horizon + 1))
        origins = np.concatenate(rows)
        if series.observed is not None:
            seen = np.concatenate([[0], np.cumsum(series.observed)])
            origins = origins[seen[origins + self.horizon] - seen[origins] == self.horizon]
            if series.missing == "interpolate":  # a filled last value lies on a line to a target
                origins = origins[series.observed[origins - 1]]
        if len(origins) > MOST_ROWS:
            origins = origins[np.linspace(0, len(origins) - 1, MOST_ROWS).astype(np.int64)]
        return origins.astype(np.int64)

    def _features(self, first: np.ndarray, step: int) -> np.ndarray:
        """Features (N, features) of the target ``step`` steps behind the rows ``first``."""
        last = self.values[first - 1][:, None]
        window = self.values[first[:, None] - 1 - np.arange(1, self.lags)] - last
        columns = [window]
        for season in self.seasons:
            back = season * math.ceil((step + 1) / season)
            for at in (first + step - back, first - 1 - season):  # before the target, and before the last value
                columns.append(self.values[np.maximum(at, self.starts[first])][:, None] - last)
        return np.column_stack([*columns, self.known[first + step], np.ones(len(first))])

    def _fit(self, step: int, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
        """Weights of the features of one target step, the penalty with the smallest error on the validation part."""
        x, y = self._features(train, step), self.values[train + step] - self.values[train - 1]
        middle, scale = x.mean(axis=0), x.std(axis=0)
        middle[-1], scale[scale < 1e-12] = 0.0, 1.0
        x = (x - middle) / scale
        gram, moment = x.T @ x, x.T @ y
        penalised = np.ones(len(gram))
        penalised[-1] = 0.0  # the constant is free
        found = []
        for penalty in PENALTIES if len(validation) else (1.0,):
            weights = np.linalg.solve(gram + np.diag(penalty * penalised + 1e-9 * len(x)), moment) / scale
            weights[-1] -= middle @ weights
            found.append(weights)
        if len(found) == 1:
            return found[0]
        held, truth = self._features(validation, step), self.values[validation + step] - self.values[validation - 1]
        errors = [np.abs(held @ weights - truth).mean() for weights in found]
        return found[int(np.argmin(errors))]
