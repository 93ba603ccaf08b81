"""Which backend a layer takes: whether and how it can be expanded, and which engine is the cheapest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from qkan.kernels import backend_cost as cost
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.common.host_sync import bounds, cannot_sync, largest
from qkan.kernels.registry import Registry
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral import sum_frequencies as sums

Radius = float | Callable[[], float] | None
#: A Chebyshev expansion on a much smaller domain would divide the rounding of its slopes by that domain's size.
MIN_RADIUS = 2**-4
#: From here on a radius, rounded up, may overflow in single precision.
MAX_RADIUS = 2.0**127


class Plan(NamedTuple):
    """How a layer is expanded: the kind, circuit evaluations per circuit, and half the domain's width for Chebyshev."""

    kind: Literal["fourier", "sums", "chebyshev"]
    points: int
    radius: float = math.inf

    def __str__(self) -> str:
        kinds = {"fourier": "Fourier, exact", "sums": "sums of pre-activations, exact"}
        kind = kinds.get(self.kind, f"Chebyshev on [-{self.radius:.3g}, {self.radius:.3g}]")
        return f"{self.points} points per circuit, {kind}"


def plan_expansion(
    theta: Tensor,
    weight: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
    x: Tensor | None = None,
    radius: Radius = None,
    sums: bool = True,
    bandwidth: float | None = None,
    harmonics: int | None = None,
) -> Plan | str:
    """How to expand a layer for the inputs ``x``, or for all up to ``radius``, or the reason why that is impossible.

    ``sums`` says whether features at sums of pre-activations are allowed. With ``bandwidth``, a limit of every sum of
    |w_l| that the caller guards, and a number for ``radius`` no value is read. ``harmonics`` is as of
    :class:`qkan.kernels.layer.CircuitLayer`.
    """
    reason = spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=theta.dim() > 4)
    if reason is not None:
        return reason
    if weight is None:
        return Plan("fourier", 2 * reps + 1)
    if (whole := fourier_plan(harmonics)) is not None:
        return whole
    by_sums = Plan("sums", 3**reps) if sums and sums_apply(weight, reps) else None
    by_chebyshev = _plan_chebyshev(theta, weight, x, radius, bandwidth) if by_sums is None or reps > 1 else ""
    if isinstance(by_chebyshev, str):
        return by_sums or by_chebyshev
    return by_sums if by_sums is not None and by_sums.points <= by_chebyshev.points else by_chebyshev


def fourier_plan(harmonics: int | None) -> Plan | None:
    """The plan for whole pre-activation weights whose sizes sum up to ``harmonics``, if they are and few enough."""
    if harmonics is None or 2 * harmonics + 1 > spectral.MAX_TERMS:
        return None
    return Plan("fourier", 2 * harmonics + 1)


def sums_apply(weight: Tensor, reps: int) -> bool:
    """Whether features at sums of pre-activations exist: one w per input, and not too many of them."""
    return weight.shape[0] == 1 and reps <= sums.MAX_REPS


def _plan_chebyshev(
    theta: Tensor, weight: Tensor, x: Tensor | None, radius: Radius, bandwidth: float | None
) -> Plan | str:
    if bandwidth is None and cannot_sync(theta):
        return "the number of terms of trained pre-activations depends on their values, which cannot be read here"
    bound = radius() if callable(radius) else radius
    if bound is None and x is not None and bandwidth is None and x.device.type != "cpu":
        read = bounds(x, weight)  # one wait for the device, not two
        if read is not None:
            return chebyshev_plan(*read, torch.finfo(theta.dtype).eps)
    if bound is None and x is not None:
        bound = largest(x)
    width = largest(weight.detach().abs().sum(-1), finite=False) if bandwidth is None else bandwidth
    if bound is None or width is None:
        return "its pre-activations are trained and no bound on its inputs is known"
    return chebyshev_plan(bound, width, torch.finfo(theta.dtype).eps)


def chebyshev_plan(bound: float, width: float, eps: float) -> Plan | str:
    """The plan for inputs up to ``bound`` and sums of |w_l| up to ``width``, or the reason why there is none."""
    if not bound < MAX_RADIUS:
        return f"its inputs are bounded by {bound} only"
    # One part in 32 wider than the inputs: the slopes of Chebyshev polynomials, and the rounding of coefficients with
    # them, grow like K at a point inside but like K^2 at the ends. Rounded up to a number exact in single precision.
    mantissa, exponent = math.frexp(max(bound * (1 + 2**-5), MIN_RADIUS))
    bound = math.ldexp(math.ceil(mantissa * 2**20), exponent - 20)
    # The expansion may err as much as the rounding of a sum of a few terms does: 1e-6 in single precision.
    terms = spectral.chebyshev_terms(width, bound, 8 * eps)
    if terms is None:
        return (
            f"its pre-activation weights and inputs are so large (or not finite) that {spectral.MAX_TERMS} terms are "
            "not enough"
        )
    return Plan("chebyshev", terms, bound)


@dataclass(frozen=True)
class Candidate:
    """A backend that was considered: its estimated seconds and a note, or the reason why it cannot run."""

    backend: str
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """The backend that runs, why, and all that were considered."""

    backend: str
    reason: str
    candidates: tuple[Candidate, ...]
    plan: Plan | None

    def __str__(self) -> str:
        lines = [f"{self.backend}: {self.reason}"]
        for candidate in self.candidates:
            if candidate.seconds is None:
                lines.append(f"  {candidate.backend:9s} cannot run: {candidate.note}")
            else:
                cost = f"{1e3 * candidate.seconds:.3g} ms"
                note = f"  ({candidate.note})" if candidate.note else ""
                lines.append(f"  {candidate.backend:9s} about {cost} forward and backward{note}")
        return "\n".join(lines)


class Case(NamedTuple):
    """What is asked of the engines of a layer.

    Attributes:
        work: sizes.
        device: ``"cpu"``, ``"cuda"``, ...
        plan: how the layer can be expanded, or why not.
        triton: why the Triton kernels of circuits cannot run, or None if they can.
    """

    work: cost.Work
    device: str
    plan: Plan | str
    triton: str | None


class LayerEngine(NamedTuple):
    """A way to compute a layer; see :class:`qkan.kernels.registry.Engine`."""

    name: str
    unsupported_reason: Callable[[Case, tuple[Tensor | None, ...]], str | None]


def _plan_reason(case: Case, _: tuple[Tensor | None, ...]) -> str | None:
    return case.plan if isinstance(case.plan, str) else None


def _seconds(engine: LayerEngine, case: Case, _: tuple[Tensor | None, ...]) -> float:
    points = case.plan.points if isinstance(case.plan, Plan) else 0
    device = case.device if case.device == "cpu" else "other" if case.triton is not None else "cuda"
    return cost.seconds(case.work, engine.name, device, points)


#: ``auto`` chooses between spectral, triton and bloch; ``reference`` is the slow ground truth.
LAYERS: Registry[LayerEngine] = Registry(
    "this layer",
    (
        LayerEngine("spectral", _plan_reason),
        LayerEngine("triton", lambda case, _: case.triton),
        LayerEngine("bloch", lambda case, _: None),
    ),
    cost=_seconds,
)


@lru_cache(maxsize=4096)
def cheapest(case: Case) -> str:
    """The backend that ``auto`` takes."""
    return LAYERS.choose("auto", case, ()).name


def explain(case: Case) -> Choice:
    """Which backend ``auto`` takes, and what it has considered."""
    candidates = []
    for engine in LAYERS.engines:
        reason = LAYERS.unsupported_reason(engine, "auto", case, ())
        if reason is not None:
            candidates.append(Candidate(engine.name, None, reason))
        else:
            note = str(case.plan) if engine.name == "spectral" else ""
            candidates.append(Candidate(engine.name, _seconds(engine, case, ()), note))
    plan = None if isinstance(case.plan, str) else case.plan
    return Choice(cheapest(case), "the lowest estimate", tuple(candidates), plan)
