"""Errors of data that are looked at group by group: the means over all of them, without all in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qkan.forecasting.evaluation.metrics import METRICS

_SUMMED = ("mae", "mse", "smape", "scaled_mse")


class Pool:
    """The errors of one forecast, as of :func:`qkan.forecasting.evaluation.metrics.forecast_metrics`."""

    def __init__(self) -> None:
        self.count, self.sums = 0, dict.fromkeys(_SUMMED, 0.0)
        self.mean, self.squares = 0.0, 0.0  # of the targets; squares of their deviations from the mean
        self.low, self.high = np.inf, -np.inf

    def add(self, losses: Mapping[str, np.ndarray]) -> None:
        """Add those of a group, as of :func:`qkan.forecasting.evaluation.metrics.losses_of`."""
        y, count = losses["y"], len(losses["y"])
        if not count:
            return
        for name in _SUMMED:
            self.sums[name] += float(losses[name].sum())
        apart, whole = float(y.mean()) - self.mean, self.count + count
        # Chan, Golub and LeVeque (1983): the variance of two parts together.
        self.squares += float(y.var()) * count + apart**2 * self.count * count / whole
        self.mean += apart * count / whole
        self.count, self.low, self.high = whole, min(self.low, float(y.min())), max(self.high, float(y.max()))

    def metrics(self, mase: float) -> dict[str, float | None]:
        """Return the metrics over all groups; ``mase`` is the mean of those of the series, NaN if none has one."""
        found = {name: total / self.count for name, total in self.sums.items()}
        variance = self.squares / self.count
        more = {
            "rmse": found["mse"] ** 0.5,
            "r2": 1 - found["mse"] / variance if self.high > self.low and variance > 0 else None,
            "mase": None if np.isnan(mase) else mase,
        }
        every: dict[str, float | None] = {**found, **more}
        return {name: every[name] for name in METRICS}
