"""One way to try anything: fit it before the origins, forecast from them, and later fit it again on everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qkan.forecasting.automatic.budget import Budget, OutOfTime, Stage
from qkan.forecasting.automatic.options import NETWORKS, REGRESSIONS, AutoConfig
from qkan.forecasting.automatic.parts import Parts
from qkan.forecasting.baselines import Baseline, CannotFit, Fitting, Origins, fit_baselines
from qkan.forecasting.baselines.interface import known_values
from qkan.forecasting.baselines.long_season import long_season
from qkan.forecasting.baselines.per_series import fit_one
from qkan.forecasting.baselines.statistical import MAX_FIT
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.load import as_cut
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.runs.inference import forecast
from qkan.forecasting.runs.run import Run
from qkan.forecasting.training.fitting import Fitted, fit_forecaster
from qkan.forecasting.training.progress import Silent

LEAST_EPOCHS = 5
"""Of the last fit of a network, which trains for as many epochs as the best one of the judged fit."""
FEWEST_EPOCHS = 8
"""A network that does not fit into the time with all its epochs trains for as many as do, but not for fewer."""
_MARGIN = 0.9  # of the epochs that would just fit
_LAST_FIT = 0.5
"""What fitting again takes of the time of the judged fit: settings, forms and orders are chosen by then."""
_SAMPLE = 4
"""A model of one series is fitted to its newest quarter first, to see how long the whole takes on this machine."""


class Candidate(ABC):
    """Something that was fitted before the origins.

    Attributes:
        asked: The word that asks for it.
        name: What its column is called.
        judged: Its forecasts from the origins, original units, (N, horizon); NaN for series that it does not have.
        seconds: What fitting and judging it took.
        last_fit: What fitting it again will take, about, in seconds.
        parameters: Numbers that were estimated; ``None`` where nobody counts them.
        options: What it was made with, JSON-able.
        note: What a user would not expect of it; else empty.
        closed: Whether it only repeats the last value, as its validation part shows no gain over that.
    """

    asked: str
    name: str
    judged: np.ndarray
    seconds: float
    last_fit: float
    parameters: int | None
    options: Mapping[str, Any]
    note: str = ""
    closed: bool = False

    @abstractmethod
    def kept(self, parts: Parts) -> np.ndarray:
        """Forecast what follows every series with what was learned before the origins: (series, horizon)."""

    @abstractmethod
    def again(self, parts: Parts, budget: Budget) -> np.ndarray:
        """Fit it again on everything, and forecast what follows every series: original units, (series, horizon).

        Raises:
            OutOfTime: the budget ended before it was done.
        """


class FittedBaseline(Candidate):
    """A rule, a regression or a statistical model."""

    def __init__(self, asked: str, fitted: Baseline, parts: Parts, stage: Stage) -> None:
        self.asked, self.name, self.fitted = asked, fitted.name, fitted
        self.judged = parts.possible(fitted.forecast(parts.origins).mean)
        self.seconds, self.parameters = stage.seconds, fitted.parameters
        self.last_fit = _LAST_FIT * self.seconds
        self.options = {"settings": fitted.settings, "choices": fitted.choices, "failures": fitted.failures}

    def kept(self, parts: Parts) -> np.ndarray:
        """Go on from the end of every series."""
        return parts.possible_after(self.fitted.forecast(Origins.at_end(parts.final.series)).mean)

    def again(self, parts: Parts, budget: Budget) -> np.ndarray:
        """Fit it again with the settings that were chosen; series whose estimation goes astray keep the judged fit."""
        given = {self.asked: self.fitted.settings} if self.fitted.settings else {}
        fitting = Fitting(settings=given, step=partial(budget.check, 0.0))
        found = {own.name: own for own in fit_baselines(parts.final, [self.asked], fitting)}
        kept = self.kept(parts)
        if self.name not in found:
            return kept
        own = found[self.name]
        future = parts.possible_after(own.forecast(Origins.at_end(parts.final.series)).mean)
        return np.where(astray(own, self, parts)[:, None], kept, future)


def astray(own: Baseline, judged: FittedBaseline, parts: Parts) -> np.ndarray:
    """Tell of every series whether a fit that has seen the origins forecasts worse from them than the judged fit did.

    Then its estimation went astray. The newest origins tell: a model of one series is fitted to its newest values only.
    bool (series,).
    """
    seen = parts.errors(parts.possible(own.forecast(parts.origins).mean), MAX_FIT // 2)
    before = parts.errors(judged.judged, MAX_FIT // 2)
    return ~(seen <= before) & ~np.isnan(before)


class FittedNetwork(Candidate):
    """A recurrent cell in the forecaster.

    Attributes:
        run: The network that forecasts.
        history: Its epochs.
    """

    def __init__(self, asked: str, fitted: Fitted, parts: Parts, stage: Stage) -> None:
        metrics = fitted.metrics()
        self.asked, self.name = asked, fitted.config.model_name
        self.judged = parts.possible(forecast_windows(fitted.model, fitted.data))
        self.seconds, self.parameters = stage.seconds, metrics["parameters"]
        self.closed = metrics.get("gate") == "closed"
        self.config = replace(fitted.config, epochs=max(LEAST_EPOCHS, metrics["best_epoch"]))
        self.options = {"train": fitted.config.to_dict(), "epochs_of_the_last_fit": self.config.epochs}
        more = len(parts.final.train) / len(fitted.data.train)
        self.last_fit = self.seconds * more * self.config.epochs / fitted.config.epochs
        self._take(fitted)

    def _take(self, fitted: Fitted) -> None:
        self.run, self.history = Run.of(fitted, Path("(in memory)")), fitted.result.history

    def kept(self, parts: Parts) -> np.ndarray:
        """Go on from the end of every series."""
        table = forecast(self.run, parts.final.series)
        return parts.possible_after(table[self.name].to_numpy().reshape(len(parts.final.ids), -1))

    def again(self, parts: Parts, budget: Budget) -> np.ndarray:
        """Train it again, for as many epochs as turned out best."""
        fitted = fit_forecaster(self.config, parts.final, progress=_Until(budget))
        fitted.check_converged()
        self._take(fitted)
        return self.kept(parts)


def fit_candidate(asked: str, parts: Parts, config: AutoConfig, budget: Budget) -> list[Candidate]:
    """Fit a candidate before the origins; some words ask for one a season.

    Raises:
        CannotFit: the data do not allow it.
        OutOfTime: it would not fit into the time left.
        RunError: the training diverged.
    """
    if asked == "double-sarima" and not long_season(parts.judged.series.season):
        raise CannotFit("the data have no season that holds the shortest several times")
    if asked != "naive":  # the measure of all takes no time
        budget.check(expected_seconds(asked, parts, budget) * (1 + _LAST_FIT))
    stage = Stage(budget)
    if asked in NETWORKS:
        return [_network(asked, parts, config, stage)]
    data = parts.judged if asked in REGRESSIONS else parts.fixed
    reasons: dict[str, str] = {}
    fitting = Fitting(
        told=lambda name, done, total: stage.at(done / total, _LAST_FIT),
        left_out=reasons.__setitem__,
        step=lambda: stage.watch(_LAST_FIT),
    )
    found = fit_baselines(data, [asked], fitting)
    if not found:
        raise CannotFit(reasons[asked])
    if asked in REGRESSIONS:  # chosen by the validation part, then fitted on it, too
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
        stage = Stage(stage.budget)  # the time of the first try is spent, and not given back
        fitted = fit_forecaster(replace(own, epochs=epochs), parts.judged, progress=_Watched(stage))
    fitted.check_converged()
    found = FittedNetwork(cell, fitted, parts, stage)
    if fitted.config.epochs < own.epochs:
        found.note = f"{fitted.config.epochs} of {own.epochs} epochs, as many as the time allowed"
    return found


class _Watched(Silent):
    """Ends a training that would not fit into the time left."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.total, self.done, self.warm = stage, 1, 0, False

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Count from here: what came before, mostly kernels that are compiled once per installation, is given back."""
        self.stage.budget.seconds += self.stage.seconds
        self.stage.begun = self.stage.budget.clock()
        self.total = max(epochs * steps, 1)

    def step(self, loss: float, count: int = 1) -> None:
        """Look at the time; the first steps tell no pace, since they warm up."""
        if not self.warm:
            self.warm, self.total, self.stage.begun = True, max(self.total - count, 1), self.stage.budget.clock()
            self.stage.watch()
            return
        self.done += count
        self.stage.at(min(1.0, self.done / self.total))


class _Until(Silent):
    """Ends a training when the budget does."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def step(self, loss: float, count: int = 1) -> None:
        """Look at the time."""
        self.budget.check(0.0)


def expected_seconds(asked: str, parts: Parts, budget: Budget) -> float:
    """Return about how long fitting takes, where that is known beforehand: 0 for what is fast or tells as it goes.

    Raises:
        OutOfTime: finding it out would take all the time that is left.
    """
    if asked not in ("sarima", "double-sarima", "ets"):
        return 0.0
    ends = parts.judged.boundaries[:, 1]
    longest = int(ends.argmax())
    known = known_values(parts.judged, longest)[max(0, ends[longest] - MAX_FIT) : ends[longest]]
    sample, stage = known[-len(known) // _SAMPLE :], Stage(budget)
    fit_one(asked, sample, tuple(parts.judged.series.season), step=stage.watch)
    return stage.seconds * float(np.minimum(ends, MAX_FIT).sum()) / len(sample)
