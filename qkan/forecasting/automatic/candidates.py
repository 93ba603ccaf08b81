"""One way to try anything: fit it before the origins, forecast from them, and later fit it again on everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qkan.forecasting.automatic.budget import Budget, OutOfTime, Stage
from qkan.forecasting.automatic.options import NETWORKS, RULES, AutoConfig
from qkan.forecasting.automatic.parts import Parts
from qkan.forecasting.baselines import Baseline, CannotFit, Fitting, Origins, fit_baselines
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.load import as_cut
from qkan.forecasting.io.files import RunError
from qkan.forecasting.runs.inference import forecast, forecast_windows
from qkan.forecasting.runs.run import Run
from qkan.forecasting.training.fitting import Fitted, fit_forecaster
from qkan.forecasting.training.progress import Silent

LEAST_EPOCHS = 5
"""Of the last fit of a network, which trains for as many epochs as the best one of the judged fit."""
FEWEST_EPOCHS = 8
"""A network that does not fit into the time with all its epochs trains for as many as do, but not for fewer."""
_MARGIN = 0.9  # of the epochs that would just fit
_SARIMA, _ETS = 4e-6, 1.2e-3
"""Seconds per value and squared season, and per value: what one core takes about, so that an estimate is there before
the first series is done."""


class Candidate(ABC):
    """Something that was fitted before the origins.

    Attributes:
        asked: The word that asks for it.
        name: What its column is called.
        kind: How simple it is: 0 for rules, 1 for ridge, 2 for the mean season and statistical models, 3 for networks.
        judged: Its forecasts from the origins, original units, (N, horizon); NaN for series that it does not have.
        seconds: What fitting and judging it took.
        parameters: Numbers that were estimated; ``None`` where nobody counts them.
        options: What it was made with, JSON-able.
        note: What a user would not expect of it; else empty.
        closed: Whether it only repeats the last value, as its validation part shows no gain over that.
    """

    asked: str
    name: str
    kind: int
    judged: np.ndarray
    seconds: float
    parameters: int | None
    options: Mapping[str, Any]
    note: str = ""
    closed: bool = False

    @abstractmethod
    def future(self, parts: Parts) -> np.ndarray:
        """Fit it again on everything, and forecast what follows every series: original units, (series, horizon)."""


class FittedBaseline(Candidate):
    """A rule, ridge or a statistical model."""

    def __init__(self, asked: str, fitted: Baseline, parts: Parts, stage: Stage) -> None:
        self.asked, self.name, self.fitted = asked, fitted.name, fitted
        self.kind = 0 if asked in RULES else 1 if asked == "ridge" else 2
        self.judged = fitted.forecast(parts.origins).mean
        self.seconds, self.parameters = stage.seconds, fitted.parameters
        self.options = {"settings": fitted.settings, "choices": fitted.choices, "failures": fitted.failures}

    def future(self, parts: Parts) -> np.ndarray:
        """Fit it again with the settings that were chosen."""
        given = {self.asked: self.fitted.settings} if self.fitted.settings else {}
        found = fit_baselines(parts.final, [self.asked], Fitting(settings=given))
        by_name = {own.name: own for own in found}
        if self.name not in by_name:
            raise RunError("it cannot be fitted to all values")
        return by_name[self.name].forecast(Origins.at_end(parts.final.series)).mean


class FittedNetwork(Candidate):
    """A recurrent cell in the forecaster.

    Attributes:
        run: The network that was fitted again on everything, after :meth:`future`.
        history: Its epochs.
    """

    kind = 3

    def __init__(self, asked: str, fitted: Fitted, stage: Stage) -> None:
        metrics = fitted.metrics()
        self.asked, self.name = asked, fitted.config.model_name
        self.judged = forecast_windows(fitted.model, fitted.data)
        self.seconds, self.parameters = stage.seconds, metrics["parameters"]
        self.closed = metrics.get("gate") == "closed"
        self.config = replace(fitted.config, epochs=max(LEAST_EPOCHS, metrics["best_epoch"]))
        self.options = {"train": fitted.config.to_dict(), "epochs_of_the_last_fit": self.config.epochs}
        self.run: Run | None = None
        self.history: list[dict[str, float]] = []

    def future(self, parts: Parts) -> np.ndarray:
        """Train it again, for as many epochs as turned out best."""
        fitted = fit_forecaster(self.config, parts.final)
        fitted.check_converged()
        self.run, self.history = Run.of(fitted, Path("(in memory)")), fitted.result.history
        table = forecast(self.run, parts.final.series)
        return table[self.name].to_numpy().reshape(len(parts.final.ids), -1)


def fit_candidate(asked: str, parts: Parts, config: AutoConfig, budget: Budget) -> list[Candidate]:
    """Fit a candidate before the origins; some words ask for one a season.

    Raises:
        CannotFit: the data do not allow it.
        OutOfTime: it would not fit into the time left.
        RunError: the training diverged.
    """
    stage = Stage(budget)
    if asked != "naive":  # the measure of all takes no time
        budget.check(2 * expected_seconds(asked, parts))
    if asked in NETWORKS:
        return [_network(asked, parts, config, stage)]
    data = parts.judged if asked == "ridge" else parts.fixed
    reasons: dict[str, str] = {}
    fitting = Fitting(told=lambda name, done, total: stage.at(done / total), left_out=reasons.__setitem__)
    found = fit_baselines(data, [asked], fitting)
    if not found:
        raise CannotFit(reasons[asked])
    if asked == "ridge":  # chosen by the validation part, then fitted on it, too
        found = fit_baselines(parts.fixed, [asked], Fitting(settings={asked: found[0].settings})) or found
    return [FittedBaseline(asked, own, parts, stage) for own in found]


def _network(cell: str, parts: Parts, config: AutoConfig, stage: Stage) -> Candidate:
    own: TrainConfig = as_cut(config.network(cell, parts.config), parts.judged)
    try:
        fitted = fit_forecaster(own, parts.judged, progress=_Watched(stage))
    except OutOfTime as error:
        epochs = int(own.epochs * error.share * _MARGIN)
        if epochs < FEWEST_EPOCHS:
            raise
        fitted = fit_forecaster(replace(own, epochs=epochs), parts.judged, progress=_Watched(stage))
    fitted.check_converged()
    found = FittedNetwork(cell, fitted, stage)
    if fitted.config.epochs < own.epochs:
        found.note = f"{fitted.config.epochs} of {own.epochs} epochs, as many as the time allowed"
    return found


class _Watched(Silent):
    """Ends a training that would not fit into the time left."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.total, self.done = stage, 1, 0

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Count from here: kernels that were compiled before take no time again."""
        self.stage.begun = self.stage.budget.clock()
        self.total = max(epochs * steps, 1)

    def step(self, loss: float, count: int = 1) -> None:
        """Look at the time."""
        self.done += count
        self.stage.at(min(1.0, self.done / self.total))


def expected_seconds(asked: str, parts: Parts) -> float:
    """Return about how long fitting takes, where that is known beforehand: 0 for what is fast or tells as it goes."""
    data = parts.fixed
    if asked not in ("sarima", "ets"):
        return 0.0
    values = float(np.minimum(data.boundaries[:, 0], 2000).sum())
    season = data.series.season[0] if data.series.season else 1
    if asked == "ets":
        return _ETS * values
    own = 1 if season > 60 else season  # long seasons are harmonics
    return _SARIMA * values * max(own, 5) ** 2
