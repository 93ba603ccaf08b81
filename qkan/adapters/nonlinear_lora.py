"""NonlinearLoRA: a nonlinear low-rank path beside a linear layer (arXiv 2411.13901), which cannot be merged."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.adapters.adapter import Adapter, draw_input_side
from qkan.kan.jhcg import LATENTS, build_latent, reset_latent
from qkan.layers.options import CircuitOptions, finite_float


class NonlinearLoRA(Adapter):
    """A linear layer plus scale B latent(A x): LoRA's encoder and decoder with a network of ``rank`` numbers between.

    As in arXiv 2411.13901, whose latent is a spline KAN. The change is no linear function of x, so it cannot be merged
    into the weight and costs its time in every use: :func:`qkan.merge_adapters` refuses it. B starts at zero, so adding
    it changes nothing.

    Parameters: ``lora_a`` (rank, in), ``lora_b`` (out, rank), and those of ``network``, the latent.

    Args:
        linear, rank, dropout: as of :class:`qkan.adapters.Adapter`.
        latent: a name of :class:`qkan.JHCGNet`: ``"qkan"`` (circuits), ``"spline"``, ``"fourier"``, ``"chebyshev"``,
            ``"rff"``, ``"gr-kan"``, ``"mlp"``, ``"tanh"``; ``"linear"`` is plain LoRA.
        reps: repetitions of the circuits of ``"qkan"``.
        scale: above 0.
        generator: draws initial values; None for torch's default one.

    Raises:
        ValueError, TypeError: as of :class:`qkan.adapters.Adapter`; an option outside its range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from qkan import NonlinearLoRA
        >>> linear, x = nn.Linear(6, 4), torch.rand(3, 6)
        >>> torch.equal(NonlinearLoRA(linear, 2, latent="spline")(x), linear(x))
        True
    """

    options: ClassVar = ("latent", "reps", "scale")

    def __init__(
        self,
        linear: nn.Module,
        rank: int,
        *,
        latent: str = "qkan",
        reps: int = 1,
        scale: float = 1.0,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(linear, rank, dropout)
        if latent not in LATENTS:
            raise ValueError(f"unknown latent {latent!r}; use one of {', '.join(LATENTS)}")
        if latent != "qkan" and reps != 1:
            raise ValueError(f"latent {latent!r} has no circuit, so reps={reps} has no effect; leave it out")
        self.latent, self.reps = latent, reps
        self.scale = finite_float("scale", scale, positive=True)
        factory = self.factory()
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, **factory))
        options: CircuitOptions = {"device": factory["device"], "dtype": factory["dtype"]}
        if latent == "qkan":
            options |= {"reps": reps, "base_activation": None}
        self.network = build_latent(latent, rank, options)
        self.lora_b = nn.Parameter(torch.empty(self.out_features, rank, **factory))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again with a change of zero."""
        draw_input_side(self.lora_a, generator)
        reset_latent(self.network, generator)
        nn.init.zeros_(self.lora_b)

    @property
    def weight(self) -> Tensor:
        """The weight of the layer: the change is none of it."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer and add the change, for ``x`` (..., in_features)."""
        dropped = F.dropout(x, self.dropout, self.training).to(self.lora_a.dtype)
        y = self.base(x)
        change = F.linear(self.network(F.linear(dropped, self.lora_a)), self.lora_b)
        return y + (self.scale * change).to(y.dtype)
