"""The circuits of QLSTM in the Heisenberg picture: observables travel back to the encoding, states do not travel.

The values of a circuit are <Z_q> = <s| U* Z_q U |s> for a product state s. U* Z_q U is a real combination of Pauli
strings, and the expectation of a string in a product state is a product of components of the qubits' Bloch vectors. So

    <Z_q> = sum over strings P of c_qP prod over qubits k of s_k[P_k],   s_k = (1, X, Y, Z),

where c depends on the trained angles alone: it is computed once for all samples and time steps, and a sample costs a
few products and one matrix product. Everything is real.

One layer needs three strings per qubit, whatever their number: the rotations take Z_q to a combination of X_q, Y_q and
Z_q, and CNOTs take a Pauli string to one Pauli string, up to its sign (Gottesman, quant-ph/9807006). More layers mix
all 4^n strings.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.tensors import has_memory, without_autocast
from qkan.kernels.multiqubit.circuit import Engine, Prepared, cnots, encoded_bloch, integers, layers_of

#: Above, 4^n strings per circuit and sample take longer than 2^n amplitudes do.
MAX_DENSE_QUBITS = 6

_X, _Z = (0, 1, 1, 0), (0, 0, 1, 1)  # of the Paulis 1, X, Y, Z: whether they hold a factor X, a factor Z


class Tables(NamedTuple):
    """What CNOTs do to Pauli strings, as integers on the CPU.

    Attributes:
        signs: of the strings that one layer's CNOTs make of X_q, Y_q and Z_q, (qubits, 3).
        strings: for one layer, where the factors of these strings lie in flattened Bloch vectors, first factors of all
            strings first, (qubits * 3 qubits,); for more, the numbers of the strings, (qubits, 3).
        all_signs: of all strings under one layer's CNOTs, (4^qubits,); empty for one layer.
        sources: the string that becomes each string, (4^qubits,); empty for one layer.
    """

    signs: Tensor
    strings: Tensor
    all_signs: Tensor
    sources: Tensor


def unsupported_reason(size: tuple[int, int], tensors: tuple[Any, ...]) -> str | None:
    """None if this way is a good one for circuits of ``size`` (qubits, layers), else why it is not."""
    qubits, layers = size
    if layers == 1 or qubits <= MAX_DENSE_QUBITS:
        return None
    return (
        f"it takes at most {MAX_DENSE_QUBITS} qubits where circuits have several layers, got qubits={qubits} and "
        f"circuit_layers={layers}"
    )


def coefficients(theta: Tensor, table: Tables) -> Tensor:
    """The matrix c of the module's first lines.

    Args:
        theta: angles in radians, (circuits, qubits, 3 layers - 1).
        table: of :func:`tables`, on the device of ``theta``.

    Returns:
        (strings, circuits * qubits): 3 * qubits strings for one layer, 4^qubits for more.
    """
    if not torch.compiler.is_compiling():
        has_memory(theta)  # the sines of PyTorch would crash
    angles = layers_of(theta)
    circuits, layers, qubits, _ = angles.shape
    sin_a, sin_b, _ = angles[:, -1].sin().unbind(-1)
    cos_a, cos_b, _ = angles[:, -1].cos().unbind(-1)
    # The last row of the rotation RZ(c) RY(b) RZ(a) of Bloch vectors: Z_q before the last layer's CNOTs.
    row = torch.stack((-sin_b * cos_a, sin_b * sin_a, cos_b), -1)
    row = row * table.signs
    if layers == 1:
        return torch.diag_embed(row.permute(2, 0, 1)).permute(2, 0, 1, 3).flatten(2).flatten(0, 1)
    dense = row.new_zeros(circuits, qubits, 4**qubits)
    dense = dense.scatter(-1, table.strings.expand(circuits, -1, -1), row)
    with without_autocast(row.device):  # rounded turns would add up over the layers
        for layer in range(layers - 2, -1, -1):
            dense = (_turned(dense, angles[:, layer]) * table.all_signs).index_select(-1, table.sources)
    return dense.flatten(0, 1).t()


def features(z: Tensor, layers: int, table: Tables) -> Tensor:
    """Expectations of the strings in the encoded state.

    Args:
        z: (batch, qubits).
        layers: of the circuit.
        table: of :func:`tables`, on the device of ``z``.

    Returns:
        (batch, strings), to be multiplied by :func:`coefficients`.
    """
    bloch = encoded_bloch(z)
    batch, qubits, _ = bloch.shape
    if layers == 1:
        chosen = bloch.flatten(1).index_select(1, table.strings)
        factors = list(chosen.view(batch, qubits, 3 * qubits).unbind(1))
    else:
        factors = list(bloch.unbind(1))
    while len(factors) > 1:  # neighbours first: fewer and shorter products than one after the other
        pairs = zip(factors[::2], factors[1::2], strict=False)
        joined = [a * b if layers == 1 else (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(1) for a, b in pairs]
        factors = joined + factors[len(factors) // 2 * 2 :]
    return factors[0]


def _turned(dense: Tensor, angles: Tensor) -> Tensor:
    """Strings in front of a layer's rotations, (circuits, outputs, 4^qubits), of those behind them."""
    circuits, outputs, _ = dense.shape
    matrices = _rotations(angles).transpose(-1, -2)  # an observable is turned the other way
    for qubit in range(angles.shape[1]):
        parts = dense.view(circuits, outputs * 4**qubit, 4, -1)
        dense = (matrices[:, qubit, None] @ parts).view_as(dense)
    return dense


def _rotations(angles: Tensor) -> Tensor:
    """The turns of (1, X, Y, Z) by RZ(c) RY(b) RZ(a), (..., 4, 4), of angles (a, b, c) in radians, (..., 3)."""
    (sin_a, sin_b, sin_c), (cos_a, cos_b, cos_c) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    zero, one = torch.zeros_like(sin_a), torch.ones_like(sin_a)
    rows = (
        (one, zero, zero, zero),
        (zero, cos_c * cos_b * cos_a - sin_c * sin_a, -cos_c * cos_b * sin_a - sin_c * cos_a, cos_c * sin_b),
        (zero, sin_c * cos_b * cos_a + cos_c * sin_a, -sin_c * cos_b * sin_a + cos_c * cos_a, sin_c * sin_b),
        (zero, -sin_b * cos_a, sin_b * sin_a, cos_b),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _behind_cnots(string: list[int], qubits: int) -> tuple[list[int], int]:
    """C* P C for one layer's CNOTs C and a string P of Paulis 0..3, as another string and a sign."""
    x, z = [_X[p] for p in string], [_Z[p] for p in string]
    sign = 1
    for control, target in reversed(cnots(qubits)):
        if x[control] and z[target] and x[target] == z[control]:
            sign = -sign
        x[target] ^= x[control]
        z[control] ^= z[target]
    return [(0, 3, 1, 2)[2 * a + b] for a, b in zip(x, z, strict=True)], sign


def _number(string: list[int]) -> int:
    return sum(pauli * 4 ** (len(string) - 1 - place) for place, pauli in enumerate(string))


@lru_cache(maxsize=64)
def tables(qubits: int, layers: int) -> Tables:
    """Build the tables of circuits of that size; 4^qubits entries for more than one layer."""
    found = [
        [_behind_cnots([pauli if k == q else 0 for k in range(qubits)], qubits) for pauli in (1, 2, 3)]
        for q in range(qubits)
    ]
    signs = integers([[sign for _, sign in row] for row in found])
    if layers == 1:
        strings = [string for row in found for string, _ in row]
        entries = integers([4 * place + string[place] for place in range(qubits) for string in strings])
        return Tables(signs, entries, integers([]), integers([]))
    numbers = integers([[_number(string) for string, _ in row] for row in found])
    all_signs, sources = [0] * 4**qubits, [0] * 4**qubits
    for number in range(4**qubits):
        string = [number // 4 ** (qubits - 1 - place) % 4 for place in range(qubits)]
        moved, all_signs[number] = _behind_cnots(string, qubits)
        sources[_number(moved)] = number
    return Tables(signs, numbers, integers(all_signs), integers(sources))


def _prepare(theta: Tensor, table: tuple[Tensor, ...]) -> Prepared:
    layers, own = (theta.shape[-1] + 1) // 3, Tables(*table)
    matrix = coefficients(theta, own)
    return lambda z: features(z.to(matrix.dtype), layers, own), matrix


ENGINE = Engine("pauli", unsupported_reason, tables, _prepare)
