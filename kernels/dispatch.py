"""The seam between layers and the ways to evaluate their circuits: one ``backend`` name, one function."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels import bloch, reference, spectral
from qkan.kernels.ansatz import Ansatz

READOUTS = ("z", "amplitude")
Radius = float | Callable[[], float] | None
#: ``auto`` chooses between the two below it; ``reference`` is the slow ground truth.
BACKENDS = ("auto", "spectral", "bloch", "reference")
#: A Chebyshev expansion on a much smaller domain would divide the rounding of its slopes by that domain's size.
MIN_RADIUS = 2**-4


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None if it can run here, else the reason why not."""
    return dict.fromkeys(BACKENDS[1:])


def check_backend(backend: str, ansatz: Ansatz, readout: str) -> str:
    """Return ``backend`` if it names one that can run such circuits.

    Raises:
        ValueError: it does not, or no input would ever let it run.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
    if backend == "spectral":
        _refuse_spectral(spectral.why_not(ansatz=ansatz, readout=readout, per_sample=False))
    return backend


def _refuse_spectral(reason: str | None) -> None:
    if reason is not None:
        raise ValueError(f"backend 'spectral' cannot run this layer: {reason}; use 'bloch' or 'auto'")


def check_readout(readout: str) -> str:
    """Return ``readout`` if it names one.

    Raises:
        ValueError: it does not.
    """
    if readout not in READOUTS:
        raise ValueError(f"unknown readout {readout!r}; use z (the expectation <Z>) or amplitude (|alpha| - |beta|)")
    return readout


def domain(x: Tensor, backend: str) -> Radius:
    """A bound on |x| read from ``x`` itself, where a backend asked for by name needs one; ``"auto"`` does not wait."""
    if backend != "spectral":
        return None
    return lambda: float(x.detach().abs().max()) if x.numel() else 0.0


def _without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """No autocast on ``device``, if it has one at all (the meta device has none)."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


class Circuits:
    """The circuits of a layer, ready to be applied to inputs once or many times.

    Computed in the dtype of ``theta``, at least in float32, also under autocast: angles need the digits. What depends
    on parameters alone is computed once, at the first call.

    Args:
        theta: (outputs, inputs, rows, angles) in radians, (1, inputs, ...) for one circuit per input that serves all
            outputs of ``mix``, or with leading dimensions equal to those of ``x`` (per-sample circuits).
        preact_weight, preact_bias: (outputs, inputs, reps), or None for weight 1 and bias 0.
        mix: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps, readout: the circuit and what is read from it.
        backend: one of :data:`BACKENDS`. ``"spectral"`` needs fixed pre-activation weights or a ``radius``. ``"auto"``
            takes it where it applies and runs fewer circuits than there are samples, else ``"bloch"``.
        radius: a bound on every |x| that will come, or a function that finds one, if one is known; with it trained
            pre-activations can be expanded too.

    Raises:
        ValueError: ``backend="spectral"`` for a layer that is not band-limited; the message says why and what works.
    """

    def __init__(
        self,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        mix: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str = "z",
        backend: str = "auto",
        radius: Radius = None,
    ) -> None:
        self.dtype = theta.dtype
        self.compute = torch.promote_types(theta.dtype, torch.float32)
        self.theta = theta.to(self.compute)
        self.weight, self.bias, self.mix = (
            None if t is None else t.to(self.compute) for t in (preact_weight, preact_bias, mix)
        )
        self.ansatz, self.reps, self.readout, self.backend = ansatz, reps, readout, backend
        self._expansion: spectral.Expansion | None = None
        self._terms: int | None = None
        self._sum: Callable[[Tensor], Tensor] | None = None
        self._radius = math.inf
        self._no_expansion = self._why_no_expansion(radius)
        if backend == "spectral":
            _refuse_spectral(self._no_expansion)

    def _why_no_expansion(self, radius: Radius) -> str | None:
        if self.backend not in ("auto", "spectral"):
            return f"backend {self.backend!r} was asked for"
        reason = spectral.why_not(ansatz=self.ansatz, readout=self.readout, per_sample=self.theta.dim() > 4)
        if reason is not None or self.weight is None:
            return reason
        if radius is None:
            return "its pre-activations are trained and no bound on its inputs is known"
        if torch.compiler.is_compiling():
            return "the number of terms of trained pre-activations depends on their values, which a compiler cannot see"
        self._radius = max(radius() if callable(radius) else radius, MIN_RADIUS)
        # The expansion may err as much as the rounding of a sum of a few terms does: 1e-6 in single precision.
        tolerance = 8 * torch.finfo(self.compute).eps
        self._terms = spectral.chebyshev_terms(spectral.bandwidth(self.weight), self._radius, tolerance)
        if self._terms is None:
            return (
                f"its pre-activation weights and inputs are so large (or not finite) that {spectral.MAX_TERMS} terms "
                "are not enough"
            )
        return None

    @property
    def points(self) -> int:
        """Circuits per edge that an expansion runs."""
        return 2 * self.reps + 1 if self._terms is None else self._terms

    def _expand(self) -> spectral.Expansion:
        if self._expansion is None:
            options = {"ansatz": self.ansatz, "reps": self.reps}
            if self.weight is None or self._terms is None:
                self._expansion = spectral.fourier(self.theta, self.bias, self.mix, **options)  # type: ignore[arg-type]
            else:
                self._expansion = spectral.chebyshev(
                    self.theta,
                    self.weight,
                    self.bias,
                    self.mix,
                    radius=self._radius,
                    terms=self._terms,
                    **options,  # type: ignore[arg-type]
                )
        return self._expansion

    def _takes_expansion(self, samples: int) -> bool:
        if self._no_expansion is not None:
            return False
        return self._expansion is not None or self.backend == "spectral" or samples >= self.points

    def prepare(self) -> Circuits:
        """Compute now what depends on parameters alone, whatever the batch: for many calls, as in a recurrence."""
        if self._no_expansion is None:
            with _without_autocast(self.theta.device):
                self._sum = self._expand().prepared()
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over inputs: (..., inputs) to (..., outputs), in the dtype of ``theta``."""
        with _without_autocast(x.device):
            x = x.to(self.compute)
            if self._sum is not None:
                return self._sum(x).to(self.dtype)
            if self._takes_expansion(x.numel() // max(1, x.shape[-1])):
                return self._expand()(x).to(self.dtype)
            if self.mix is not None and self.mix.shape[0] > self.theta.shape[-4]:
                return F.linear(self._run(x, None, reduce=False).squeeze(-2), self.mix).to(self.dtype)
            return self._run(x, self.mix, reduce=True).to(self.dtype)

    def edges(self, x: Tensor) -> Tensor:
        """Without the sum: (..., inputs) to (..., outputs, inputs)."""
        with _without_autocast(x.device):
            x = x.to(self.compute)
            if self.backend == "spectral":
                return self._expand().edges(x).to(self.dtype)
            y = self._run(x, None, reduce=False)
            return (y if self.mix is None else y * self.mix).to(self.dtype)

    def _run(self, x: Tensor, mix: Tensor | None, *, reduce: bool) -> Tensor:
        lead, theta = x.shape[:-1], self.theta
        if theta.dim() > 4:
            theta = theta.expand(*lead, *theta.shape[-4:]).reshape(-1, *theta.shape[-4:])
        flat = x.reshape(-1, x.shape[-1])
        options = {"ansatz": self.ansatz, "reps": self.reps, "readout": self.readout}
        if self.backend == "reference":
            y = reference.phi(flat.unsqueeze(-2), theta, self.weight, self.bias, **options)  # type: ignore[arg-type]
            y = y if mix is None else y * mix
            y = y.sum(-1) if reduce else y
        else:
            y = bloch.circuits(flat, theta, self.weight, self.bias, mix, reduce=reduce, **options)  # type: ignore[arg-type]
        return y.reshape(*lead, *y.shape[1:])
