"""The baseline that a practitioner writes in five lines: ridge regression on lags, seasonal lags and the phase.

One regression per target step for all series together. The penalty of every step, and the number of lags, are those of
the smallest error on the validation part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.features import LagFeatures
from qkan.forecasting.baselines.interface import (
    ALL_SERIES,
    Baseline,
    Fitting,
    Forecasts,
    Origins,
    Tuned,
    best_of_trials,
    validation_origins,
)
from qkan.forecasting.config import model_name

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

PENALTIES = (1e-2, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Candidates, in units of one training row of features with variance 1. All of one Gram matrix: they cost no trial."""
DEFAULT_PENALTY = 1.0
"""Where there is no validation part."""
LAGS = (60, 24, 120, 12, 200, 6, 30)
"""Numbers of lags that are tried after that of the window, which is the first trial, but at most 60."""
MOST_LAGS = 60


class Ridge(Tuned):
    """Ridge regressions of one data set.

    Args:
        features: Of the data, fitted on its training part.
        lags: Values of the window that it sees.
        penalties: One for each target step, or ``None`` to choose on the validation part.
    """

    def __init__(self, features: LagFeatures, lags: int, penalties: list[float] | None = None) -> None:
        self.features, self.lags = features, lags
        held = validation_origins(features.data)
        self.penalties: list[float] = []
        window = features.of_window(features.train, lags)
        held_window = None if held is None else features.of_window(held[0], lags)
        self.weights = []
        self.error = 0.0
        for step in range(features.horizon):
            asked = (
                (penalties[step],) if penalties is not None else PENALTIES if held is not None else (DEFAULT_PENALTY,)
            )
            weights = self._fit(step, window, asked)
            errors = [0.0]
            if held is not None and held_window is not None:
                x, y = self._design(held_window, held[0], step), features.targets(held[0], step)
                errors = [float(np.abs(x @ own - y)[held[2][:, step]].sum()) / len(y) for own in weights]
            best = int(np.argmin(errors))
            self.error += errors[best] / features.horizon
            self.penalties.append(float(asked[best]))
            self.weights.append(weights[best])
        super().__init__(model_name("ridge"), sum(len(own) for own in self.weights))
        self.settings = {"lags": lags, "penalties": self.penalties}
        self.choices = {ALL_SERIES: f"{lags} lags, penalties {min(self.penalties):g} to {max(self.penalties):g}"}

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin."""
        window = self.features.of_window(origins, self.lags)
        steps = [self._design(window, origins, step) @ own for step, own in enumerate(self.weights)]
        return Forecasts(self.features.original(np.stack(steps, axis=1), origins))

    def _design(self, window: np.ndarray, origins: Origins, step: int) -> np.ndarray:
        return np.column_stack([window, self.features.of_step(origins, step), np.ones(len(origins.known))])

    def _fit(self, step: int, window: np.ndarray, penalties: tuple[float, ...]) -> list[np.ndarray]:
        """Weights of the features of one target step, for every penalty."""
        x, y = self._design(window, self.features.train, step), self.features.targets(self.features.train, step)
        middle, scale = x.mean(axis=0), x.std(axis=0)
        middle[-1], scale[scale < 1e-12] = 0.0, 1.0
        x = (x - middle) / scale
        gram, moment = x.T @ x, x.T @ y
        penalised = np.ones(len(gram))
        penalised[-1] = 0.0  # the constant is free
        found = []
        for penalty in penalties:
            weights = np.linalg.solve(gram + np.diag(penalty * penalised + 1e-9 * len(x)), moment) / scale
            weights[-1] -= middle @ weights
            found.append(weights)
        return found


def fit_ridge(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """The ridge regression whose number of lags has the smallest validation error.

    Raises:
        CannotFit: no training part holds a window and its targets.
    """
    features, name = LagFeatures(data), model_name("ridge")
    given = fitting.settings.get("ridge")
    if given is not None:
        return [Ridge(features, int(given["lags"]), list(given["penalties"]))]
    tried = tuple(dict.fromkeys((min(MOST_LAGS, data.window), *LAGS)))
    return best_of_trials(name, tried, lambda lags: Ridge(features, lags), data, fitting)
