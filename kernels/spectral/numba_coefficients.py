"""Circuits at a few points and their coefficients on the CPU in Numba kernels, without autograd.

:func:`coefficients` and :func:`coefficient_gradients` lead from the parameters of a layer to the weights of
its features and back; :mod:`qkan.kernels.spectral.whole_layer` does a whole layer. The kernels are in
:mod:`qkan.kernels.spectral.numba_point_kernels`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.evaluate import without_angles_in_first_encoding
from qkan.kernels.spectral.basis import Basis, chebyshev_nodes, chebyshev_rule, fourier_rule
from qkan.kernels.spectral.numba_cpu import ROWS, addresses, padded, threads_for

#: What one rotation of one circuit at one point costs, in multiply-adds.
ROTATION_WORK = 16


class CircuitTensors(NamedTuple):
    """Parameters of the circuits of a layer: theta, pre-activation weights and biases, weights of the sum; or None."""

    theta: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    edge_weight: Tensor | None = None


def bounds(x: Tensor, weight: Tensor) -> tuple[float, float]:
    """The largest finite |x| and the largest sum of |w| over the repetitions, the last size; NaN if any sum is.

    Both are contiguous tensors of one dtype that the CPU kernels take.
    """
    from qkan.kernels.spectral import numba_point_kernels as jit

    reps, sizes = weight.shape[-1], (x.numel(), weight.numel())
    threads = threads_for(sum(sizes), 16)
    found = array("f" if x.dtype == torch.float32 else "d", (0.0,) * (2 * threads))
    arrays = (x.data_ptr(), sizes[0], weight.data_ptr(), sizes[1], found.buffer_info()[0], 2 * threads)
    jit.BOUNDS.run(x.dtype, array("q", (0, 0, threads, reps, *arrays)), threads)
    if threads == 1:
        return found[0], found[1]
    widths = found[1::2]
    return max(found[0::2]), sum(widths) if any(width != width for width in widths) else max(widths)


@dataclass(frozen=True, eq=False)
class PointRule:
    """How circuits become coefficients: run at some points, multiplied with a matrix.

    Attributes:
        kind: ``"fourier"`` or ``"chebyshev"``, the features whose weights the coefficients are.
        points: how many, and how many coefficients with that of the constant.
        rotations: of the circuit.
        columns, reps: numbers of theta, and of pre-activation weights, per circuit.
        given: addresses and lengths of the constant tensors, as kernels take them, but for the last.
        slopes: the same of the matrix to the derivative's weights, and its rows, for layers and for activations.
        kept: the tensors at those addresses.
    """

    kind: str
    points: int
    rotations: int
    columns: int
    reps: int
    given: tuple[int, ...]
    slopes: tuple[tuple[tuple[int, int], int], tuple[tuple[int, int], int]]
    kept: tuple[Tensor, ...]

    def basis(self, radius: float, base: str | None) -> Basis:
        """The features on [-radius, radius]."""
        if self.kind == "fourier":
            return Basis("fourier", self.points // 2, base=base)
        return Basis("chebyshev", self.points, radius, base)


def _program(ansatz: Ansatz, reps: int, weighted: bool, biased: bool) -> tuple[list[int], list[int]]:
    """The circuit as the kernels take it, and how many inputs every rotation encodes."""
    from qkan.kernels.spectral import numba_circuits as jit

    steps = without_angles_in_first_encoding(ansatz.program(reps))
    prefix = next((k for k, step in enumerate(steps) if step.encodings), len(steps))
    rotations: list[int] = []
    for step in steps:
        if step.half_turn:
            kind = jit.HALF_TURN
        elif not step.encodings:
            kind = jit.TRAINED
        else:
            kind = jit.ENCODED if step.thetas or weighted or biased else jit.ENCODED_ONLY
        rotations += (step.axis, kind)
    thetas = [(k, row * ansatz.angles + column) for k, step in enumerate(steps) for row, column in step.thetas]
    codes = [(k, code) for k, step in enumerate(steps) for code in step.encodings]
    initial = [bits_of(component) for component in ansatz.initial]
    flat = [number for pair in thetas + codes for number in pair]
    return [len(steps), prefix, len(thetas), len(codes), *rotations, *flat, *initial], [len(s.encodings) for s in steps]


def bits_of(number: float) -> int:
    """The bits of a number in double precision."""
    (bits,) = struct.unpack("q", struct.pack("d", number))
    return bits


@lru_cache(maxsize=256)
def point_rule(
    kind: str, points: int, ansatz: Ansatz, reps: int, weighted: bool, biased: bool, dtype: torch.dtype
) -> PointRule:
    """The rule for circuits of an ansatz.

    Args:
        kind: ``"fourier"``, exact for fixed pre-activations, or ``"chebyshev"``, which needs trained ones.
        points: circuit evaluations per circuit, odd for Fourier.
        ansatz, reps: the circuit.
        weighted, biased: whether it has pre-activation weights and biases.
        dtype: float32 or float64.
    """

    with torch.inference_mode(False), torch.no_grad():
        if kind == "fourier":
            nodes, analysis = fourier_rule(points // 2)
        else:
            (nodes,), (analysis,) = chebyshev_nodes(points), chebyshev_rule(points)
        weights = torch.eye(points - 1, dtype=torch.float64, device="cpu")
        basis = Basis("fourier", points // 2) if kind == "fourier" else Basis("chebyshev", points)
        derivative, constant = basis.differentiate(weights)
        full = derivative if constant is None else torch.cat((constant.unsqueeze(0), derivative))
        plain = torch.cat((torch.zeros_like(full[:1]), full)) if constant is None else full
        program, times = _program(ansatz, reps, weighted, biased)
        angles = torch.tensor(times, dtype=torch.float64, device="cpu").unsqueeze(-1) * nodes
        trig = torch.stack((angles.cos(), angles.sin()), -1)
        full, plain = full @ analysis[1:], plain @ analysis[1:]
        matrices = [_padded_rows(m, ROWS).to(dtype) for m in (analysis, analysis.mT, full, plain)]
        integers = torch.tensor(program, dtype=torch.int64, device="cpu")
        kept = (integers, nodes.contiguous(), trig.to(dtype).contiguous(), *matrices)
    given = tuple(addresses(*kept))
    slopes = ((given[10], given[11]), len(full)), ((given[12], given[13]), len(plain))
    columns = ansatz.rows(reps) * ansatz.angles
    return PointRule(kind, points, program[0], columns, reps, given[:10], slopes, kept)


def _padded_rows(matrix: Tensor, unit: int) -> Tensor:
    rows = padded(len(matrix), unit)
    return torch.cat((matrix, matrix.new_zeros(rows - len(matrix), matrix.shape[1]))).contiguous()


class Sizes(NamedTuple):
    """The first integers of a frame, scratch memory of a worker (numbers of the dtype, doubles), and the work."""

    integers: tuple[int, ...]
    scratch: int
    exact: int
    work: int


@lru_cache(maxsize=1024)
def sizes_of(rule: PointRule, outputs: int, inputs: int, layout: tuple[int, ...], per_input: bool = False) -> Sizes:
    """What a frame holds first.

    Args:
        rule, outputs, inputs: the circuits.
        layout: PANEL, TERM, ROW, CONSTANT_ROW, WHOLE, TURNED.
        per_input: whether lanes are inputs, of one output, instead of outputs.
    """
    from qkan.kernels.spectral import numba_circuits as jit

    grid = (1, inputs, 0, 1) if per_input else (inputs, outputs, 1, inputs)
    count, rotations, high = rule.points, rule.rotations, padded(rule.points, ROWS)
    scratch = 2 * rotations * (2 * jit.LANES + jit.PLANE) + 10 * jit.LANES + 6 * jit.PLANE + 2 * high * jit.LANES
    exact = 2 * rotations * jit.LANES + jit.PLANE
    integers = (*grid, *layout, rule.columns, rule.reps, count, count - 1, scratch, exact)
    lanes = grid[0] * padded(grid[1], jit.LANES)
    return Sizes(integers, scratch, exact, lanes * count * (rotations * ROTATION_WORK + 2 * count))


def _run(kernel: Any, dtype: torch.dtype, rule: PointRule, sizes: Sizes, more: tuple[int, ...], arrays: Any) -> None:
    """``more``: the rest of the integers; ``arrays``: all but the constants and the scratch memory, flat."""
    threads = threads_for(sizes.work, 16)
    exact, scratch = sizes.exact * threads, sizes.scratch * threads
    memory = torch.empty(exact + scratch, dtype=torch.float64, device="cpu")
    at = memory.data_ptr()
    frame = (*sizes.integers, *more, *rule.given, *arrays, at + 8 * exact, scratch, at, exact)
    kernel(dtype, frame, threads, threads)


def _plain_layout(outputs: int, inputs: int) -> tuple[int, ...]:
    """Coefficients (terms, inputs, outputs), constants (inputs, outputs)."""
    from qkan.kernels.spectral import numba_circuits as jit

    one = outputs == 1
    return (jit.LANES, inputs * outputs, 0 if one else outputs, 0 if one else outputs, 0, 0)


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The tensors, copied if they are not contiguous."""
    return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]


def coefficients(
    rule: PointRule, radius: float, circuits: CircuitTensors, *, slopes: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Weights of the features of every circuit.

    Args:
        rule: made for circuits of that kind and dtype.
        radius: half the width of the domain; 1 for Fourier.
        circuits: contiguous, theta (outputs, inputs, rows, angles), the others with the same outputs.
        slopes: whether the weights of derivatives are asked for.

    Returns:
        (terms, inputs, outputs) for the features, (inputs, outputs) for the constant, and the derivative's weights,
        (terms + 1 or terms, inputs, outputs), the constant function first, or None.
    """
    from qkan.kernels.spectral import numba_point_kernels as jit

    theta = circuits.theta
    outputs, inputs = theta.shape[-4:-2]
    matrix, constant = theta.new_empty(rule.points - 1, inputs, outputs), theta.new_empty(inputs, outputs)
    analysis, rows = rule.slopes[1] if slopes else ((0, 0), 0)
    derivative = theta.new_empty(rows, inputs, outputs) if slopes else None
    sizes = sizes_of(rule, outputs, inputs, _plain_layout(outputs, inputs), outputs == 1)
    arrays = (*analysis, *addresses(*circuits, None, None, matrix, constant, derivative), *(0,) * 10)
    _run(jit.COEFFICIENTS, theta.dtype, rule, sizes, (rows, 0, 0, 0, bits_of(radius)), arrays)
    return matrix, constant, derivative


def coefficient_gradients(
    rule: PointRule,
    radius: float,
    circuits: CircuitTensors,
    of_matrix: Tensor,
    of_constant: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of the circuits' parameters from those of their coefficients; None where ``needs`` says so.

    Args:
        rule, radius, circuits: as of :func:`coefficients`.
        of_matrix, of_constant: (terms, inputs, outputs) and (inputs, outputs), contiguous.
        needs: whether theta, weight, bias and edge_weight need a gradient.
    """
    from qkan.kernels.spectral import numba_point_kernels as jit

    theta = circuits.theta
    outputs, inputs = theta.shape[-4:-2]
    sizes = sizes_of(rule, outputs, inputs, _plain_layout(outputs, inputs), outputs == 1)
    found = [None if t is None or not need else torch.empty_like(t) for t, need in zip(circuits, needs, strict=True)]
    arrays = (0, 0, *addresses(*circuits, None, None, of_matrix, of_constant, None, *found, None))
    _run(jit.COEFFICIENT_GRADIENTS, theta.dtype, rule, sizes, (0, 1, 0, 0, bits_of(radius)), arrays)
    return tuple(found)
