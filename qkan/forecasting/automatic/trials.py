"""The search: everything that fits into the time is judged from the same origins, and the choice is fitted again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qkan.forecasting.automatic.budget import Budget, OutOfTime
from qkan.forecasting.automatic.candidates import Candidate, fit_candidate
from qkan.forecasting.automatic.choice import combination_weights
from qkan.forecasting.automatic.options import FREE, NETWORKS, REGRESSIONS, AutoConfig, shown_name
from qkan.forecasting.automatic.parts import Parts, make_parts
from qkan.forecasting.baselines import CannotFit
from qkan.forecasting.config import model_name
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series


COMBINATION = "Combination"
"""What a weighted mean of several methods is called."""
_CLOSED = "its validation part shows no gain over the last value"


class SearchProgress(Protocol):
    """Watches a search, whose unit is one candidate."""

    def start(self, candidates: int, seconds: float | None) -> None:
        """The search begins: so many candidates, and the seconds that it may take."""

    def trying(self, name: str) -> None:
        """A candidate is tried, or the chosen ones are fitted again."""

    def tried(self, name: str, error: float | None, note: str = "") -> None:
        """It was tried: its mean absolute error, or ``None`` and in ``note`` why there is none."""

    def finish(self) -> None:
        """The forecast is there."""


class SilentSearch:
    """Reports nothing."""

    def start(self, candidates: int, seconds: float | None) -> None:
        """Do nothing."""

    def trying(self, name: str) -> None:
        """Do nothing."""

    def tried(self, name: str, error: float | None, note: str = "") -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


@dataclass(eq=False)
class Search:
    """What was tried, and what came of it.

    Attributes:
        config: What was asked for; window and horizon are those that were found.
        series: All of the data.
        parts: What was judged; ``None`` where the data are too short to judge anything.
        candidates: What was judged, the cheap ones first.
        errors: Their mean absolute errors in the unit of the series, over all observed targets of all origins.
        skipped: Why others were not, by name.
        weights: How much of each is in the forecast, in all 1: (candidates,).
        future: What follows every judged series, original units, (series, horizon).
        notes: Sentences about what a user would not expect.
        seconds: What the search took, fitting again included.
    """

    config: AutoConfig
    series: Series
    parts: Parts | None
    candidates: list[Candidate] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    future: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def members(self) -> list[tuple[Candidate, float]]:
        """What makes the forecast, with the weight of each, the largest first."""
        order = np.argsort(-self.weights, kind="stable")
        return [(self.candidates[place], float(self.weights[place])) for place in order if self.weights[place]]

    @property
    def name(self) -> str:
        """What the forecast is called: its method, or :data:`COMBINATION` of several."""
        names = [one.name for one, _ in self.members] or [model_name("naive")]
        return names[0] if len(names) == 1 else COMBINATION

    @property
    def judged(self) -> np.ndarray:
        """The forecasts of the choice from the origins, (N, horizon)."""
        return np.sum([weight * one.judged for one, weight in self.members], axis=0)

    @property
    def error(self) -> float | None:
        """The mean absolute error of the choice; ``None`` where nothing was judged."""
        if self.parts is None or not self.members:
            return None
        return mean_error(self.parts, self.judged)

    def frame(self) -> pd.DataFrame:
        """The cross-validation frame of all candidates and, last, of their combination.

        Raises:
            RunError: nothing was judged.
        """
        from qkan.forecasting.evaluation.window_frame import window_frame

        if self.parts is None:
            raise RunError("the data are too short to judge anything, so there are no origins; give more values")
        columns = {one.name: one.judged for one in self.candidates}
        return window_frame(self.parts.judged, "test", {**columns, self.name: self.judged})


def search(
    series: Series, config: AutoConfig, *, progress: SearchProgress | None = None, budget: Budget | None = None
) -> Search:
    """Try candidates over rolling origins, take the best, and fit it on everything.

    Args:
        series: The data.
        config: What to try; window and horizon as of :func:`with_sizes`.
        progress: Told about every candidate.
        budget: With a clock of its own; ``None`` makes that of ``config``.

    Raises:
        DataError: the data cannot be used.
    """
    budget, progress = budget or Budget(config.budget), progress or SilentSearch()
    parts = make_parts(series, config.train, config.nonnegative)
    found = Search(config, series, parts)
    progress.start(len(config.tried), config.budget)
    if parts is None:
        length = int(np.median(series.lengths))
        found.notes.append(
            f"{length} values are too few to judge anything over a horizon of {config.train.horizon}, so the forecast "
            f"repeats the last value; give at least {2 * config.train.horizon + 2} values, or a shorter horizon."
        )
    else:
        _check_future(parts)
        _try_all(found, parts, budget, progress)
        _fit_again(found, parts, budget, progress)
    found.seconds = budget.spent
    progress.finish()
    return found


def _check_future(parts: Parts) -> None:
    """Refuse data that lack future covariates before anything is tried.

    Raises:
        DataError: they do.
    """
    from qkan.datasets.windows import futr_exog_after

    data = parts.final
    futr_exog_after(data.series, data.scaler, data.calendar, data.horizon)


def _try_all(found: Search, parts: Parts, budget: Budget, progress: SearchProgress) -> None:
    targets, weights = parts.judged.target_values("test"), parts.target_weights()
    for asked in found.config.tried:
        name, reason, own = shown_name(asked), "", list[Candidate]()
        progress.trying(name)
        if asked in (*REGRESSIONS, *NETWORKS) and not parts.learning:
            reason = "the values before the origins are too few to learn from"
        else:
            try:
                own = fit_candidate(asked, parts, found.config, budget)
            except (CannotFit, OutOfTime, RunError) as error:
                reason = str(error)
        for one in own:
            reason = _CLOSED if one.closed else _fill(one, parts, found.candidates)
            if reason:
                continue
            found.candidates.append(one)
            found.errors.append(mean_error(parts, one.judged))
            progress.tried(one.name, found.errors[-1], one.note)
        if reason:
            found.skipped[name] = reason
            progress.tried(name, None, reason)
        found.weights = combination_weights([one.judged for one in found.candidates], targets, weights)
        budget.reserved = sum(one.last_fit for one, _ in found.members)


def _fill(one: Candidate, parts: Parts, before: Sequence[Candidate]) -> str:
    """Let a candidate forecast as the naive rule the series that it does not have; say why if it has none."""
    lacking = np.isin(parts.origins.series, np.unique(parts.origins.series[np.isnan(one.judged).any(axis=1)]))
    if lacking.all() or (lacking.any() and not before):
        failures = one.options.get("failures") or {}
        return next(iter(failures.values()), "it has no forecast")
    if lacking.any():
        one.judged = np.where(lacking[:, None], before[0].judged, one.judged)
    return ""


def _fit_again(found: Search, parts: Parts, budget: Budget, progress: SearchProgress) -> None:
    """Fit what makes the forecast on everything, as far as the time allows; else what was judged goes on."""
    from qkan.datasets import DataError

    futures = np.zeros((len(parts.final.ids), parts.final.horizon))
    budget.reserved, late = 0.0, list[str]()
    naive = found.candidates[0].again(parts, budget)
    for one, weight in found.members:
        progress.trying(f"{one.name}, on everything")
        try:
            if one.asked not in FREE:
                budget.check(one.last_fit)
            own = one.again(parts, budget)
        except OutOfTime:
            own = one.kept(parts)
            late.append(one.name)
        except (RunError, DataError) as error:
            own = one.kept(parts)
            found.notes.append(f"{one.name} could not be fitted to everything: {error}.")
        futures += weight * np.where(np.isnan(own).any(axis=1)[:, None], naive, own)
    found.future = futures
    if late:
        found.notes.append(f"For want of time, not fitted again to the newest values: {', '.join(late)}.")


def mean_error(parts: Parts, forecasts: np.ndarray) -> float:
    """Mean absolute error over all observed targets of the origins, in the unit of the series."""
    observed = parts.judged.target_observed("test")
    errors = np.abs(forecasts - parts.judged.target_values("test"))
    return float(errors[observed].mean())


def with_sizes(config: AutoConfig, series: Series, horizon: int | None) -> AutoConfig:
    """Return the options with the horizon that was asked for, or the season's, and the window that goes with it."""
    from qkan.datasets import LastSteps

    return replace(config, train=sized(config.train, series, {"horizon": horizon}, LastSteps()))
