"""The circuits of QLSTM (Chen, Yoo, Fang, arXiv 2009.01783, Figure 5): what every way to simulate them shares.

A circuit has n qubits, numbered from 0; qubit 0 is the most significant bit of a basis state's number.

1. Encoding of n real numbers z: H, RY(arctan z_q), RZ(arctan z_q^2) on qubit q. The state is a product state.
2. Layers: CNOTs from every qubit to its neighbour in the ring, then CNOTs to the next but one, then
   R(a, b, c) = RZ(c) RY(b) RZ(a) with trained angles on every qubit.
3. The values <Z_q> of all qubits.

The c of the last layer turns about the axis that is measured; no value depends on it, so it is no parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

MAX_QUBITS = 12
MAX_LAYERS = 64

#: Distances in the ring of qubits that one layer's CNOTs bridge, in this order.
_DISTANCES = (1, 2)


#: A function from (batch, qubits) to (batch, K), and a matrix (K, circuits * qubits) that is still to be multiplied.
Prepared = tuple[Callable[[Tensor], Tensor], Tensor | None]


class Engine(NamedTuple):
    """A way to evaluate circuits.

    Attributes:
        name: the ``backend`` under which users ask for it.
        unsupported_reason: ((qubits, circuit layers), tensors) to None if it can run circuits of that size, else the
            reason in words; the tensors do not matter.
        tables: (qubits, layers) to what depends on nothing else, integers on the CPU.
        prepare: (angles (circuits, qubits, 3 layers - 1), tables on their device) to the circuits as a function of z;
            without a matrix its values are all <Z_q>.
    """

    name: str
    unsupported_reason: Callable[[tuple[int, int], tuple[Any, ...]], str | None]
    tables: Callable[[int, int], tuple[Tensor, ...]]
    prepare: Callable[[Tensor, tuple[Tensor, ...]], Prepared]


def cnots(qubits: int) -> list[tuple[int, int]]:
    """(control, target) of one layer's CNOTs, first to last; none for one qubit, two for two, 2 n otherwise."""
    return [(q, (q + step) % qubits) for step in _DISTANCES if step % qubits for q in range(qubits)]


def integers(numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
    """A table on the CPU, whatever the modes of torch in which it is asked for first."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.int64, device="cpu")


def check_size(qubits: int, layers: int) -> None:
    """Check the size of a circuit.

    Raises:
        TypeError: not an int.
        ValueError: more than can be simulated, or less than a circuit.
    """
    for name, value, most, why in (
        ("qubits", qubits, MAX_QUBITS, "each qubit doubles the amplitudes of every gate and sample"),
        ("circuit_layers", layers, MAX_LAYERS, "time grows with the layers"),
    ):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        if not 1 <= value <= most:
            raise ValueError(f"{name} {value} is outside [1, {most}]: {why}; choose a number in this range")


def angles_of(qubits: int, layers: int) -> tuple[int, int]:
    """Shape of one circuit's trained angles: (qubits, 3 layers - 1), on every qubit a, b, c, a, b, c, ..., a, b."""
    return qubits, 3 * layers - 1


def layers_of(theta: Tensor) -> Tensor:
    """Angles by layer, (circuits, layers, qubits, 3), with the last layer's unseen c at 0, of (circuits, *angles_of).

    Angles of less than single precision are widened to it: a rounded angle would be off by a part of a turn.
    """
    wide = torch.promote_types(theta.dtype, torch.float32)
    full = torch.nn.functional.pad(theta.to(wide), (0, 1))
    return full.unflatten(-1, (-1, 3)).transpose(1, 2)


def encoding_angles(z: Tensor) -> tuple[Tensor, Tensor]:
    """Angles of RY and RZ, (arctan z, arctan z^2), shaped like ``z``."""
    return torch.atan(z), torch.atan(z * z)


def encoded_bloch(z: Tensor) -> Tensor:
    """(1, X, Y, Z) of every encoded qubit, without a trigonometric function.

    RY(t) takes the Bloch vector (1, 0, 0) of H|0> to (cos t, 0, -sin t), then RZ(p) turns it to
    (cos t cos p, cos t sin p, -sin t). With t = arctan z and p = arctan z^2 that is
    (r q, r q z^2, -r z), r = (1 + z^2)^(-1/2), q = (1 + z^4)^(-1/2).

    Args:
        z: real, (..., qubits).

    Returns:
        (..., qubits, 4).
    """
    z = z.clamp(-1e9, 1e9)  # z^4 must not overflow in single precision; the vector is at its limit long before
    square = z * z
    r = torch.rsqrt(square + 1)
    x = r * torch.rsqrt(square * square + 1)
    return torch.stack((torch.ones_like(z), x, x * square, -r * z), -1)
