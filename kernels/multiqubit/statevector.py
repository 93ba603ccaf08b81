"""The circuits of QLSTM as state vectors: all circuits and samples in one batch of 2^n complex amplitudes each.

Autograd keeps the states. Undoing the gates in the backward pass instead (the adjoint method) costs a product more than
it saves: on one core it took 1.5 times as long at 8 and 1.8 times at 12 qubits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.multiqubit.circuit import Engine, Prepared, cnots, encoding_angles, integers, layers_of

#: Rotations of so many qubits are joined to one matrix of 2^k rows: one product instead of k passes.
_JOINED = 4


class Tables(NamedTuple):
    """Of the basis states, as integers on the CPU.

    Attributes:
        sources: where the amplitude of each comes from when one layer's CNOTs have acted, (2^qubits,).
        values: Z_q of each, 1 or -1, (2^qubits, qubits).
    """

    sources: Tensor
    values: Tensor


def matrices(theta: Tensor) -> list[list[Tensor]]:
    """The rotations of each layer, those of up to four neighbouring qubits joined: what depends on angles alone.

    Args:
        theta: angles in radians, (circuits, qubits, 3 layers - 1).

    Returns:
        For each layer complex matrices (circuits, 2^k, 2^k), from the first qubits to the last.
    """
    return [
        [_joined_matrix(part) for part in layer.split(_JOINED, 1)] for layer in _rotations(layers_of(theta)).unbind(1)
    ]


def expectations(z: Tensor, rotations: list[list[Tensor]], table: Tables) -> Tensor:
    """<Z_q> of all qubits behind all circuits, which read the same inputs.

    Args:
        z: real, (batch, qubits).
        rotations: of :func:`matrices`.
        table: of :func:`tables`, on the device of ``z``.

    Returns:
        (batch, circuits * qubits), in the real dtype of the wider of both.
    """
    first = rotations[0][0]
    state = _encoded(z.to(torch.promote_types(z.dtype, first.real.dtype))).expand(first.shape[0], -1, -1)
    for layer in rotations:
        state = _rotated(state.index_select(-1, table.sources), layer)
    chances = state.real.square() + state.imag.square()
    values = chances @ table.values.to(chances.dtype)
    return values.transpose(0, 1).flatten(1)


def kept_bytes(rows: int, theta: Tensor) -> int:
    """At least how much autograd keeps for the backward pass through ``rows`` inputs of these circuits."""
    circuits, qubits, angles = theta.shape
    layers = (angles + 1) // 3
    kept = layers * (1 + -(-qubits // _JOINED))  # states: behind the CNOTs, and behind each product
    return rows * circuits * kept * 2**qubits * 2 * torch.promote_types(theta.dtype, torch.float32).itemsize


def _encoded(z: Tensor) -> Tensor:
    """Product states of the encoding, (batch, 2^qubits): RY(t) turns H|0> to angle t / 2 + pi / 4, RZ gives phases."""
    tilt, phase = encoding_angles(z)
    half = tilt / 2 + torch.pi / 4
    pairs = torch.stack((_polar(half.cos(), -phase / 2), _polar(half.sin(), phase / 2)), -1)
    return _joined(pairs.unbind(1))


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    """radius exp(i angle); torch.polar has a wrong slope where the radius is negative, and here it may be."""
    return torch.complex(radius * angle.cos(), radius * angle.sin())


def _joined(factors: tuple[Tensor, ...]) -> Tensor:
    """Tensor product of vectors (batch, ...) over their last dimension, the first factor most significant."""
    product = factors[0]
    for factor in factors[1:]:
        product = (product.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
    return product


def _joined_matrix(gates: Tensor) -> Tensor:
    """Tensor product of one-qubit gates, (circuits, 2^k, 2^k) of (circuits, k, 2, 2)."""
    matrix = gates[:, 0]
    for place in range(1, gates.shape[1]):
        outer = matrix[:, :, None, :, None] * gates[:, place, None, :, None, :]
        matrix = outer.flatten(3).flatten(1, 2)
    return matrix


def _rotated(state: Tensor, layer: list[Tensor]) -> Tensor:
    """``state`` (circuits, batch, 2^qubits) behind one layer's rotations."""
    circuits, batch, size = state.shape
    for matrix in layer:
        rows = matrix.shape[-1]
        # The joined qubits come first and go last, so that the next ones come first.
        parts = state.reshape(circuits, batch, rows, size // rows).transpose(-1, -2)
        state = (parts @ matrix.transpose(-1, -2).unsqueeze(1)).reshape(circuits, batch, size)
    return state


def _rotations(angles: Tensor) -> Tensor:
    """RZ(c) RY(b) RZ(a), (..., 2, 2), of angles (a, b, c) in radians, (..., 3)."""
    a, b, c = (angles / 2).unbind(-1)
    cos, sin = b.cos(), b.sin()
    first = torch.stack((_polar(cos, -a - c), -_polar(sin, a - c)), -1)
    second = torch.stack((_polar(sin, c - a), _polar(cos, a + c)), -1)
    return torch.stack((first, second), -2)


@lru_cache(maxsize=64)
def tables(qubits: int) -> Tables:
    """Build the tables of circuits of that size."""
    sources = [0] * 2**qubits
    for number in range(2**qubits):
        moved = number
        for control, target in cnots(qubits):
            moved ^= (moved >> (qubits - 1 - control) & 1) << (qubits - 1 - target)
        sources[moved] = number
    values = [[1 - 2 * (number >> place & 1) for place in range(qubits - 1, -1, -1)] for number in range(2**qubits)]
    return Tables(integers(sources), integers(values))


def _prepare(theta: Tensor, table: tuple[Tensor, ...]) -> Prepared:
    rotations, own = matrices(theta), Tables(*table)
    return lambda z: expectations(z, rotations, own), None


ENGINE = Engine("state", lambda size, tensors: None, lambda qubits, layers: tables(qubits), _prepare)
