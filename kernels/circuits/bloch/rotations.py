"""Rotations of a Bloch vector s = (X, Y, Z) and of its adjoint d loss / d s, and what is read from Z at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: How an encoding becomes a cosine and a sine in the Triton kernels; :mod:`.triton_rotations` says what each means.
FIXED, LINEAR, ACOS = 0, 1, 2
#: Keeps the slope of the amplitude readout finite at the poles, where |alpha| or |beta| has a kink.
AMPLITUDE_FLOOR = 1e-12

Vector = list[Tensor]
#: d loss / d s; None is a component that is zero.
Adjoint = list[Tensor | None]


def turn(vector: Vector, axis: int, cos: Tensor, sin: Tensor, unused: int | None = None) -> None:
    """Rotate ``vector`` in place (the list, not its tensors) about a coordinate axis; any broadcastable shapes.

    The component ``unused``, which nobody reads afterwards, is left as it is.
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    u, v = vector[first], vector[second]
    if first != unused:
        vector[first] = torch.addcmul(cos * u, sin, v, value=-1)
    if second != unused:
        vector[second] = torch.addcmul(sin * u, cos, v)


def turn_back(vector: Adjoint, axis: int, cos: Tensor, sin: Tensor) -> None:
    """Undo :func:`turn`; None stands for a component that is zero."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    u, v = vector[first], vector[second]
    if u is None:
        if v is not None:
            vector[first], vector[second] = sin * v, cos * v
    elif v is None:
        vector[first], vector[second] = cos * u, minus(sin, u)
    else:
        vector[first] = torch.addcmul(cos * u, sin, v)
        vector[second] = torch.addcmul(cos * v, sin, u, value=-1)


def minus(a: Tensor, b: Tensor) -> Tensor:
    """- a b in one pass."""
    return torch.addcmul(a.new_zeros(()), a, b, value=-1)


def turn_to_z(vector: Vector, axis: int, cos: Tensor, sin: Tensor) -> Tensor:
    """The z component behind :func:`turn` about x or y."""
    if axis == 1:
        return torch.addcmul(cos * vector[2], sin, vector[0], value=-1)
    return torch.addcmul(cos * vector[2], sin, vector[1])


def half_turn(vector: Any, axis: int) -> None:
    """A Pauli gate: flips the two components of a vector or an adjoint across its axis; its own inverse."""
    for other in ((axis + 1) % 3, (axis + 2) % 3):
        part = vector[other]
        vector[other] = None if part is None else -part


def read(z: Tensor, readout: str) -> Tensor:
    """``"z"``: <Z> itself; ``"amplitude"``: |alpha| - |beta| = sqrt((1 + Z) / 2) - sqrt((1 - Z) / 2)."""
    if readout == "z":
        return z
    return ((1 + z) / 2).clamp_min(0).sqrt() - ((1 - z) / 2).clamp_min(0).sqrt()


def read_slope(z: Tensor, readout: str) -> Tensor | None:
    """d read / d Z, or None where it is 1."""
    if readout == "z":
        return None
    up = ((1 + z) / 2).clamp_min(AMPLITUDE_FLOOR).rsqrt()
    down = ((1 - z) / 2).clamp_min(AMPLITUDE_FLOOR).rsqrt()
    return (up + down) / 4
