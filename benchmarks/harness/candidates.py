"""Candidates measured on one piece of work: errors and memory of each, then times in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness.measure import Limits, Step, TooLargeError, cost_within, inference, reason_of, time_in_turns

#: Families of candidates.
OURS, CLASSICAL, CIRCUITS, SPLINES = "qkan", "classical", "peer circuits", "peer splines"


@dataclass(frozen=True)
class Errors:
    """How far a candidate is from the truth.

    Attributes:
        output: largest absolute error of an output.
        gradient: largest error of a gradient, over the largest entry of that gradient; the worst gradient counts. None
            where there is none.
        output_limit, gradient_limit: what they may be.
    """

    output: float
    gradient: float | None
    output_limit: float
    gradient_limit: float | None

    @property
    def too_large(self) -> bool:
        """Tell whether one of them is beyond its limit; what is not a number is."""
        if self.gradient is not None and self.gradient_limit is not None and not self.gradient <= self.gradient_limit:
            return True
        return not self.output <= self.output_limit


@dataclass(frozen=True)
class Prepared:
    """A candidate that was built.

    Attributes:
        parameters: trained numbers.
        step_of: makes a training step of the first so many rows of the work.
        errors: compares it with the truth, if there is one.
        detail: what the name does not say, such as sizes.
        repeats: how often the step does the same; its times are divided by that.
    """

    parameters: int
    step_of: Callable[[int], Step]
    errors: Callable[[], Errors] | None = None
    detail: str = ""
    repeats: int = 1


@dataclass(frozen=True)
class Candidate:
    """Something to measure: in this process (``prepare``), in another (``ask``), or not at all (``reason``).

    Attributes:
        name, family: what it is; names are unique.
        prepare: builds it; a ValueError says that it refuses the work.
        ask: measures it elsewhere; returns what :mod:`benchmarks.harness.peer_worker` answers.
        reason: why it cannot run.
    """

    name: str
    family: str
    prepare: Callable[[], Prepared] | None = None
    ask: Callable[[], Mapping[str, Any]] | None = None
    reason: str | None = None


def module_candidate(
    name: str,
    family: str,
    make: Callable[[], nn.Module],
    x: Tensor,
    upstream: Tensor,
    *,
    errors: Callable[[nn.Module], Errors] | None = None,
    detail: str = "",
    batch_dim: int = 0,
) -> Candidate:
    """A module that maps ``x`` to the shape of ``upstream``, built when its turn comes.

    Args:
        name, family: of the candidate.
        make: builds the module; a ValueError says that it refuses the work.
        x, upstream: the input, and the gradient of its output.
        errors: compares the module with the truth.
        detail: what the name does not say.
        batch_dim: dimension whose entries are the rows.
    """

    def prepare() -> Prepared:
        module = make()

        def step_of(rows: int) -> Step:
            part = x.narrow(batch_dim, 0, rows).detach().requires_grad_()
            return Step(module, part, upstream.narrow(batch_dim, 0, rows))

        return Prepared(trained(module), step_of, None if errors is None else lambda: errors(module), detail)

    return Candidate(name, family, prepare)


def trained(module: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@dataclass
class Entry:
    """What was measured of one candidate.

    Attributes:
        seconds: of every timed step, of the better of its runs.
        medians: of all its runs, in seconds: two for a peer, before and after the others.
        inference: seconds of every timed forward pass without gradients, of the better of its runs; empty if that is
            not measured.
        extra_bytes: peak memory of a step beyond parameters, inputs and gradients.
        reason: why there are no times.
        wrong: it failed, or its errors are too large.
    """

    name: str
    family: str
    detail: str = ""
    parameters: int | None = None
    seconds: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    extra_bytes: int | None = None
    errors: Errors | None = None
    reason: str | None = None
    wrong: bool = False

    @property
    def median(self) -> float | None:
        """Median seconds of a step."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def inference_median(self) -> float | None:
        """Median seconds of a forward pass without gradients."""
        return statistics.median(self.inference) if self.inference else None

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """First and third quartile of the seconds of a step."""
        if len(self.seconds) < 2:
            return (self.seconds[0], self.seconds[0]) if self.seconds else None
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    def add_run(self, seconds: Sequence[float]) -> None:
        """Keep the times of a run if they are better than those of the runs before."""
        best = min(self.medians, default=float("inf"))
        self.medians.append(statistics.median(seconds))
        if self.medians[-1] < best:
            self.seconds = list(seconds)

    def add_inference(self, seconds: Sequence[float]) -> None:
        """Keep the times of a run without gradients if they are better than those of the run before."""
        if not self.inference or statistics.median(seconds) < statistics.median(self.inference):
            self.inference = list(seconds)


def run(
    candidates: Iterable[Candidate], rows: int, device: torch.device, limits: Limits, *, infer: bool = False
) -> list[Entry]:
    """Measure all candidates; peers before and after the others.

    Args:
        candidates: in the order of the result.
        rows: of the whole work.
        device, limits: where it runs, and what one candidate may take.
        infer: time the forward pass without gradients, too, when all training steps are timed.
    """
    candidates = list(candidates)
    entries = {one.name: Entry(one.name, one.family, reason=one.reason) for one in candidates}
    _ask_all(candidates, entries)
    steps: dict[str, Step] = {}
    repeats: dict[str, int] = {}
    for one in candidates:
        if one.prepare is not None:
            ready = _try(one.prepare, entries[one.name], rows, device, limits)
            if ready is not None:
                steps[one.name], repeats[one.name] = ready
    for name, seconds in time_in_turns(steps, device, limits).items():
        entries[name].add_run([each / repeats[name] for each in seconds])
    if infer:
        forward = {name: inference(step) for name, step in steps.items()}
        for name, seconds in time_in_turns(forward, device, limits).items():
            entries[name].add_inference(seconds)
    _ask_all(candidates, entries)
    return list(entries.values())


def _ask_all(candidates: Iterable[Candidate], entries: Mapping[str, Entry]) -> None:
    for one in candidates:
        entry = entries[one.name]
        if one.ask is None or entry.reason is not None:
            continue
        answer = one.ask()
        if "reason" in answer:
            entry.reason = None if entry.seconds else answer["reason"]
            continue
        entry.parameters, entry.extra_bytes = answer["parameters"], answer["extra_bytes"]
        entry.add_run(answer["seconds"])
        if answer.get("inference"):
            entry.add_inference(answer["inference"])


def _try(
    prepare: Callable[[], Prepared], entry: Entry, rows: int, device: torch.device, limits: Limits
) -> tuple[Step, int] | None:
    """Memory and errors of one candidate; return its step and repeats for the timing, or None if it cannot run."""
    try:
        prepared = prepare()
        entry.parameters, entry.detail = prepared.parameters, prepared.detail
        cost = cost_within(prepared.step_of, rows, device, limits)
        entry.extra_bytes = cost.extra_bytes
        if prepared.errors is not None:
            entry.errors = prepared.errors()
            entry.wrong = entry.errors.too_large
        return prepared.step_of(rows), prepared.repeats
    except (ValueError, TooLargeError) as refusal:
        entry.reason = reason_of(refusal).removeprefix("ValueError: ")
    except Exception as error:  # noqa: BLE001  (whatever stops a candidate is its result)
        entry.reason = reason_of(error)
        entry.wrong = entry.reason != "not enough memory"
    return None


def ratios(
    entries: Sequence[Entry], baselines: Sequence[str], of: Callable[[Entry], float | None] = lambda entry: entry.median
) -> dict[str, dict[str, float]]:
    """Median time of every candidate over those of the baselines and those of the best peers.

    Args:
        entries: what was measured.
        baselines: names of candidates.
        of: the number that is compared, if not the time.

    Returns:
        name -> {baseline, "best circuit peer", "best spline peer", "best peer" -> ratio}, with what was measured.
    """
    families = {"best circuit peer": {CIRCUITS}, "best spline peer": {SPLINES}, "best peer": {CIRCUITS, SPLINES}}
    against = {name: [entry for entry in entries if entry.name == name] for name in baselines}
    against |= {label: [entry for entry in entries if entry.family in names] for label, names in families.items()}
    best = {
        label: min((number for number in map(of, chosen) if number), default=None) for label, chosen in against.items()
    }
    found = {entry.name: of(entry) for entry in entries}
    return {
        name: {label: number / least for label, least in best.items() if least is not None}
        for name, number in found.items()
        if number is not None
    }
