"""Which route a layer takes: whether and how it can be expanded, and which backend is the cheapest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qkan.kernels import cost, spectral
from qkan.kernels.ansatz import Ansatz

Radius = float | Callable[[], float] | None
#: A Chebyshev expansion on a much smaller domain would divide the rounding of its slopes by that domain's size.
MIN_RADIUS = 2**-4


@dataclass(frozen=True)
class Plan:
    """How a layer is expanded: circuit evaluations per circuit, and half the domain's width for Chebyshev."""

    points: int
    radius: float | None = None

    def __str__(self) -> str:
        kind = "Fourier, exact" if self.radius is None else f"Chebyshev on [-{self.radius:.3g}, {self.radius:.3g}]"
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
) -> Plan | str:
    """How to expand a layer for the inputs ``x``, or for all up to ``radius``, or the reason why that is impossible."""
    reason = spectral.why_not(ansatz=ansatz, readout=readout, per_sample=theta.dim() > 4)
    if reason is not None:
        return reason
    if weight is None:
        return Plan(2 * reps + 1)
    if torch.compiler.is_compiling():
        return "the number of terms of trained pre-activations depends on their values, which a compiler cannot see"
    bound = radius() if callable(radius) else radius
    if bound is None and x is not None:
        bound = largest(x)
    width = largest(weight.detach().abs().sum(-1), finite=False)
    if bound is None or width is None:
        return "its pre-activations are trained and no bound on its inputs is known"
    bound = max(bound, MIN_RADIUS)
    # The expansion may err as much as the rounding of a sum of a few terms does: 1e-6 in single precision.
    terms = spectral.chebyshev_terms(width, bound, 8 * torch.finfo(theta.dtype).eps)
    if terms is None:
        return (
            f"its pre-activation weights and inputs are so large (or not finite) that {spectral.MAX_TERMS} terms are "
            "not enough"
        )
    return Plan(terms, bound)


def largest(x: Tensor, *, finite: bool = True) -> float | None:
    """The largest (``finite``) |x|, or None where it cannot be read: in a CUDA graph, under vmap, without data."""
    if x.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return None
    if x.numel() == 0:
        return 0.0
    try:
        low, high = (float(end) for end in x.detach().aminmax())
        if finite and not math.isfinite(low + high):
            low, high = 0.0, float(x.detach().abs().nan_to_num(0.0, 0.0, 0.0).max())
    except RuntimeError:  # a tensor that stands for others (vmap, tracing, the meta device) has no value to read
        return None
    return max(-low, high)


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
        work: sizes; its ``points`` are taken from ``plan``.
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
