"""Boosted trees of LightGBM on the features of the ridge regression, one model for all series and steps ahead.

Those are less the last value, which is a feature of its own here, so that trees know the level. The step to forecast is
a feature, too, so a horizon of a hundred steps needs no hundred models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    import lightgbm

    from qkan.datasets import ForecastData

MOST_PAIRS, MOST_JUDGED = 100_000, 50_000
"""At most so many pairs of an origin and a step are learnt from, and so many of the validation part judge: neighbours
tell nearly the same. With half as many and 63 bins a day of telecom is learnt in a third of the time, as well."""
MOST_ROUNDS, PATIENCE, ROUNDS_UNSEEN = 2000, 50, 100
"""Trees at most, trees without a smaller validation error that stop it, and trees where there is no validation part."""
_USUAL: dict[str, Any] = {"objective": "regression", "metric": "l1", "verbosity": -1, "seed": 0, "deterministic": True}
# Two threads on two cores that are busy otherwise take many times as long as one, which waits for nobody.
_USUAL["num_threads"] = 1
_FEWER_BINS = {"max_bin": 63}  # of a feature, where there are as many pairs as may be
TRIALS: tuple[dict[str, float], ...] = (
    {"lags": 0},  # those of the window; LightGBM's defaults
    {"lags": 60, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 50, "feature_fraction": 0.8},
    {"lags": 60, "learning_rate": 0.03, "num_leaves": 31, "min_child_samples": 100, "feature_fraction": 0.5},
    {"lags": 24, "learning_rate": 0.03, "num_leaves": 7, "min_child_samples": 20, "feature_fraction": 0.8},
    {"lags": 60, "learning_rate": 0.02, "num_leaves": 63, "min_child_samples": 200, "feature_fraction": 0.5},
    {"lags": 120, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 100, "feature_fraction": 0.3},
    {"lags": 0, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 100, "lambda_l2": 10.0},
    {"lags": 200, "learning_rate": 0.03, "num_leaves": 31, "min_child_samples": 200, "feature_fraction": 0.3},
)
"""What is tried: number of lags, learning rate, leaves, samples in a leaf, share of features, penalty."""


class LightGBM(Tuned):
    """A fitted ensemble of trees.

    Args:
        features: Of the data, whose training part it learns from.
        settings: ``lags`` and parameters of LightGBM; ``rounds``, if given, is the number of trees.
    """

    def __init__(self, features: LagFeatures, settings: dict[str, Any]) -> None:
        import lightgbm

        super().__init__(model_name("lightgbm"), None)
        self.features, self.lags = features, int(settings["lags"])
        tuned = {name: value for name, value in settings.items() if name not in ("lags", "rounds")}
        x, y = self._training_pairs()
        usual = _USUAL | (_FEWER_BINS if len(y) > MOST_PAIRS // 2 else {})
        train = lightgbm.Dataset(x, y, free_raw_data=True)
        held = None if "rounds" in settings else self._validation_pairs()
        options: dict[str, Any] = {"num_boost_round": int(settings.get("rounds", ROUNDS_UNSEEN))}
        if held is not None:
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            options = {"num_boost_round": MOST_ROUNDS, "callbacks": [stop]}
            options["valid_sets"] = [lightgbm.Dataset(*held, reference=train)]
        self.model: lightgbm.Booster = lightgbm.train({**usual, **tuned}, train, **options)
        self.error = self.model.best_score["valid_0"]["l1"] if held is not None else 0.0
        rounds = self.model.best_iteration if held is not None else options["num_boost_round"]
        self.settings = {**settings, "rounds": rounds}
        self.choices = {ALL_SERIES: ", ".join(f"{name} {value:g}" for name, value in self.settings.items())}

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin."""
        window = self.features.of_window(origins, self.lags)
        steps = [self.model.predict(self._pairs(window, origins, step)) for step in range(self.features.horizon)]
        return Forecasts(self.features.original(np.stack(steps, axis=1), origins))

    def _pairs(self, window: np.ndarray, origins: Origins, step: int) -> np.ndarray:
        number, level = np.full((len(window), 1), float(step)), self.features.last(origins)[:, None]
        return np.concatenate([window, self.features.of_step(origins, step), level, number], axis=1)

    def _training_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return self._sampled(self.features.train, None, MOST_PAIRS)

    def _validation_pairs(self) -> tuple[np.ndarray, np.ndarray] | None:
        held = validation_origins(self.features.data)
        return None if held is None else self._sampled(held[0], held[2], MOST_JUDGED)

    def _sampled(self, origins: Origins, observed: np.ndarray | None, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Features and targets of pairs of an origin and a step, origins spread evenly and shifted by the step."""
        stride = max(1, -(-len(origins.known) * self.features.horizon // most))
        x, y = [], []
        for step in range(self.features.horizon):
            place = np.arange(step % stride, len(origins.known), stride)
            if observed is not None:
                place = place[observed[place, step]]
            own = Origins(origins.series[place], origins.known[place])
            x.append(self._pairs(self.features.of_window(own, self.lags), own, step))
            y.append(self.features.targets(own, step))
        return np.concatenate(x), np.concatenate(y)


def fit_lightgbm(data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """The trees whose settings have the smallest validation error.

    Raises:
        CannotFit: no training part holds a window and its targets.
    """
    features, name = LagFeatures(data), model_name("lightgbm")
    given = fitting.settings.get("lightgbm")
    if given is not None:
        return [LightGBM(features, dict(given))]
    tried = [{**trial, "lags": int(trial["lags"]) or min(60, data.window)} for trial in TRIALS]
    return best_of_trials(name, tried, lambda settings: LightGBM(features, settings), data, fitting)
