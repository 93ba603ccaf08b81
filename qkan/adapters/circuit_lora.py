"""CircuitLoRA: a low-rank change of a weight that a circuit shapes; one repetition is sine-LoRA (arXiv 2403.19243)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.adapters.adapter import Adapter, draw_input_side
from qkan.adapters.weight_change import Form, adapted_linear, changed, weight_change
from qkan.kernels.circuits.ansatz import get_ansatz
from qkan.kernels.common.tensors import without_autocast
from qkan.kernels.spectral import coefficients as spectral
from qkan.layers.daruan import DARUAN
from qkan.layers.options import finite_float

#: Most repetitions: dW takes a pass over as many numbers as the weight has for each.
MAX_REPS = 32


class CircuitLoRA(Adapter):
    """A linear layer with the weight W + dW, dW = scale / frequency [phi(frequency B A) - phi(0)] element by element.

    phi is a DARUAN circuit of one angle, a Fourier polynomial of degree ``reps``. One repetition is a sine, so the
    published sine-LoRA (arXiv 2403.19243, dW = sin(omega B A) / g) is ``frequency=omega, scale=omega / g``. Beside
    LoRA's B A, of rank ``rank``, dW has nearly any rank, and a sine is at most scale / frequency. B
    starts at zero and phi(0) is taken off, so dW is exactly zero at the start; there its slope in B A is ``scale``
    times that of phi, which starts as a sine, so learning rates of LoRA serve. It merges: ``weight`` is W + dW.

    Cost: beside its input nothing is kept for the backward pass, which makes dW again. Each pass takes one sine and
    cosine for every number of the weight, and needs room for about ``2 reps + 4`` matrices as large as the weight for a
    moment, for one layer at a time.

    Parameters: ``lora_a`` (rank, in), ``lora_b`` (out, rank), and where the circuit is trained ``phi.theta``.

    Args:
        linear, rank, dropout: as of :class:`qkan.adapters.Adapter`. Dropout costs a second product with the input.
        reps: repetitions of the circuit, at most 32; 0 for none, phi(x) = x, which is plain LoRA, its control.
        frequency: above 0; a small one is nearly LoRA. None takes 1 / (3 r), r the root mean square of the weight, so
            that a sine changes no number by more than 3 r scale.
        scale: above 0; alpha / rank of LoRA.
        circuit_trainable: train the angles of the circuit, else phi stays the sine that it starts as.
        ansatz: the name of one with a near-linear start: ``"pz"`` or ``"mix"``.
        generator: draws A and the angles; None for torch's default one.

    Raises:
        ValueError, TypeError: as of :class:`qkan.adapters.Adapter`; an option outside its range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from qkan import CircuitLoRA
        >>> linear, x = nn.Linear(6, 4), torch.rand(3, 6)
        >>> adapted = CircuitLoRA(linear, 2)
        >>> torch.equal(adapted(x), linear(x)), adapted.weight_change().shape
        (True, torch.Size([4, 6]))
    """

    options: ClassVar = ("reps", "frequency", "scale", "circuit_trainable", "ansatz")

    def __init__(
        self,
        linear: nn.Module,
        rank: int,
        *,
        reps: int = 1,
        frequency: float | None = None,
        scale: float = 1.0,
        circuit_trainable: bool = False,
        ansatz: str = "pz",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(linear, rank, dropout)
        if isinstance(reps, bool) or not isinstance(reps, int):
            raise TypeError(f"reps must be an int, got {type(reps).__name__}")
        if not 0 <= reps <= MAX_REPS:
            raise ValueError(f"reps {reps} is outside [0, {MAX_REPS}]; 0 is plain LoRA")
        if circuit_trainable and not reps:
            raise ValueError("reps=0 has no circuit to train; leave circuit_trainable out, or use reps=1 and more")
        known = get_ansatz(ansatz)
        if not isinstance(ansatz, str) or known.near_linear is None:
            raise ValueError(f"ansatz {ansatz!r} has no near-linear start by name; use 'pz' or 'mix'")
        self.reps, self.ansatz, self.circuit_trainable = reps, ansatz, bool(circuit_trainable)
        frequency = _default_frequency(self.base.weight) if frequency is None else frequency
        self.frequency = finite_float("frequency", frequency, positive=True)
        self.scale = finite_float("scale", scale, positive=True)
        factory = self.factory()
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, **factory))
        self.lora_b = nn.Parameter(torch.empty(self.out_features, rank, **factory))
        self.phi = DARUAN(1, reps, ansatz=ansatz, init="near_linear", **factory) if reps else None
        if self.phi is not None:
            self.phi.requires_grad_(self.circuit_trainable)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again with a change of zero; A is drawn from ``generator``, or from torch's default one."""
        draw_input_side(self.lora_a, generator)
        with torch.no_grad():
            self.lora_b.zero_()
            if self.phi is None:
                return
            ansatz, theta = self.phi.ansatz, self.phi.theta
            if self.circuit_trainable:  # a little noise, or angles that must move together would have no slope
                self.phi.reset_parameters(generator)
                theta[..., 1, ansatz.slope] += math.pi / 2 - 1
                return
            theta.zero_()
            theta[..., 1, ansatz.slope] = math.pi / 2
            theta[..., 1 if ansatz.encoding == "rz" else -1, :] += theta.new_tensor(ansatz.near_linear)

    def coefficients(self) -> Tensor | None:
        """Those of phi: of cos x, ..., cos reps x, then of sin x, ..., sin reps x; None without a circuit."""
        if self.phi is None:
            return None
        phi = self.phi
        with without_autocast(phi.theta.device):
            theta = phi.theta.to(torch.promote_types(phi.theta.dtype, torch.float32)).unsqueeze(0)
            return spectral.fourier(theta, None, None, ansatz=phi.ansatz, reps=phi.reps).matrix.flatten()

    def weight_change(self) -> Tensor:
        """dW (out_features, in_features), at least in single precision."""
        return weight_change(self._form, self.lora_a, self.lora_b, self.coefficients())

    @property
    def weight(self) -> Tensor:
        """W + dW in the layout and dtype of W."""
        return changed(self._form, self.base.weight, self.weight_change())

    @property
    def _form(self) -> Form:
        return Form(self.frequency, self.scale, self.transposed)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer with the weight W + dW to ``x`` (..., in_features)."""
        changes = self.lora_a, self.lora_b, self.coefficients()
        if self.training and self.dropout:
            dropped = F.dropout(x, self.dropout)
            return self.base(x) + adapted_linear(self._form, dropped, None, None, *changes)
        return adapted_linear(self._form, x, self.base.weight, self.bias, *changes)


def _default_frequency(weight: Tensor) -> float:
    size = 0.0 if weight.is_meta else float(weight.detach().double().square().mean().sqrt())
    return 1 / (3 * size) if 0 < size < math.inf else 1.0
