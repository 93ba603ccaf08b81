"""Which route a layer takes: whether and how it can be expanded, and which backend is the cheapest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qkan.kernels import backend_cost as cost
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.common.host_sync import cannot_sync, largest
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral import sum_frequencies as sums

Radius = float | Callable[[], float] | None
#: A Chebyshev expansion on a much smaller domain would divide the rounding of its slopes by that domain's size.
MIN_RADIUS = 2**-4


@dataclass(frozen=True)
class Plan:
    """How a layer is expanded: how, circuit evaluations per circuit, and half the domain's width for Chebyshev."""

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
) -> Plan | str:
    """How to expand a layer for the inputs ``x``, or for all up to ``radius``, or the reason why that is impossible.

    ``sums`` says whether features at sums of pre-activations are allowed. With ``bandwidth``, a limit of every sum of
    |w_l| that the caller guards, and a number for ``radius`` no value is read.
    """
    reason = spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=theta.dim() > 4)
    if reason is not None:
        return reason
    if weight is None:
        return Plan("fourier", 2 * reps + 1)
    by_sums = Plan("sums", 3**reps) if sums and sums_apply(weight, reps) else None
    by_chebyshev = _plan_chebyshev(theta, weight, x, radius, bandwidth) if by_sums is None or reps > 1 else ""
    if isinstance(by_chebyshev, str):
        return by_sums or by_chebyshev
    return by_sums if by_sums is not None and by_sums.points <= by_chebyshev.points else by_chebyshev


def sums_apply(weight: Tensor, reps: int) -> bool:
    """Whether features at sums of pre-activations exist: one w per input, and not too many of them."""
    return weight.shape[0] == 1 and reps <= sums.MAX_REPS


def _plan_chebyshev(
    theta: Tensor, weight: Tensor, x: Tensor | None, radius: Radius, bandwidth: float | None
) -> Plan | str:
    if bandwidth is None and cannot_sync(theta):
        return "the number of terms of trained pre-activations depends on their values, which cannot be read here"
    bound = radius() if callable(radius) else radius
    if bound is None and x is not None:
        bound = largest(x)
    width = largest(weight.detach().abs().sum(-1), finite=False) if bandwidth is None else bandwidth
    if bound is None or width is None:
        return "its pre-activations are trained and no bound on its inputs is known"
    if not math.isfinite(bound):
        return f"its inputs are bounded by {bound} only"
    mantissa, exponent = math.frexp(max(bound, MIN_RADIUS))
    bound = math.ldexp(math.ceil(mantissa * 2**20), exponent - 20)  # a little wider, and exact in single precision
    # The expansion may err as much as the rounding of a sum of a few terms does: 1e-6 in single precision.
    terms = spectral.chebyshev_terms(width, bound, 8 * torch.finfo(theta.dtype).eps)
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


def choose(work: cost.Work, device: str, plan: Plan | str, triton: str | None) -> Choice:
    """The cheapest backend for ``work`` on a device type.

    Args:
        work: sizes.
        device: ``"cpu"``, ``"cuda"``, ...
        plan: how the layer can be expanded, or why not.
        triton: why the Triton kernel cannot run, or None if it can.
    """
    candidates = [
        Candidate("spectral", None, plan)
        if isinstance(plan, str)
        else Candidate("spectral", cost.seconds(work, "spectral", device, plan.points), str(plan)),
        Candidate("triton", None, triton)
        if triton is not None
        else Candidate("triton", cost.seconds(work, "triton", device)),
        Candidate("bloch", cost.seconds(work, "bloch", device)),
    ]
    best = min((c for c in candidates if c.seconds is not None), key=lambda c: c.seconds or 0.0)
    return Choice(best.backend, "the lowest estimate", tuple(candidates), None if isinstance(plan, str) else plan)
