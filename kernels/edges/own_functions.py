"""Functions that activations are sums of, as a family gives them or a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


def _as_many(size: int) -> int:
    return size


class BasisFunctions(NamedTuple):
    """Functions that activations are sums of, in plain PyTorch: what :class:`qkan.KANLayer` takes as its ``basis``.

    Attributes:
        values: (x, size, radius) to all functions of every element of ``x``, ``(terms, *x.shape)``. No element may
            depend on another one. ``radius`` is half the width of the interval that inputs are expected in.
        slopes: the same for their derivatives; None differentiates ``values``, which takes longer.
        terms: how many functions there are at a size; as many as the size unless told otherwise.

    Examples:
        >>> import torch
        >>> from qkan import BasisFunctions, KANLayer
        >>> def hats(x, size, radius):
        ...     places = torch.linspace(-radius, radius, size, dtype=x.dtype).view(-1, *[1] * x.dim())
        ...     return (1 - (x - places).abs() * (size - 1) / (2 * radius)).clamp_min(0)
        >>> KANLayer(3, 2, BasisFunctions(hats), terms=6)(torch.rand(5, 3)).shape
        torch.Size([5, 2])
    """

    values: Callable[[Tensor, int, float], Tensor]
    slopes: Callable[[Tensor, int, float], Tensor] | None = None
    terms: Callable[[int], int] = _as_many

    def differentiate(self, x: Tensor, size: int, radius: float) -> Tensor:
        """The derivatives of all functions, in the shape of their values."""
        if self.slopes is not None:
            return self.slopes(x, size, radius)
        return torch.func.jvp(lambda z: self.values(z, size, radius), (x,), (torch.ones_like(x),))[1]


def check_functions(functions: BasisFunctions, size: int, radius: float) -> None:
    """Check functions that a user gave on a few inputs.

    Raises:
        ValueError: values or slopes of another shape or that are not finite, or slopes that are not the derivatives of
            the values.
    """
    x = torch.linspace(-0.93 * radius, 0.89 * radius, 6, dtype=torch.float64, device="cpu").view(2, 3)
    shape = (functions.terms(size), *x.shape)
    found = {"values": functions.values(x, size, radius)}
    if functions.slopes is not None:
        found["slopes"] = functions.slopes(x, size, radius)
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor) or tensor.shape != shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"the {name} of this basis are {got} for an input of shape {tuple(x.shape)} and terms={size}; they "
                f"must be a tensor of shape {shape}, the functions first"
            )
        if not tensor.isfinite().all():
            raise ValueError(
                f"the {name} of this basis are not finite everywhere in [-{radius:g}, {radius:g}], where inputs are "
                "expected; use functions that are, or another radius"
            )
    if functions.slopes is not None:
        exact = functions._replace(slopes=None).differentiate(x, size, radius)
        off = float((found["slopes"] - exact).abs().max())
        if off > 1e-5 * max(1.0, float(exact.abs().max())):
            raise ValueError(
                f"the slopes of this basis differ from the derivatives of its values by up to {off:.2g}; correct them, "
                "or leave them out"
            )
