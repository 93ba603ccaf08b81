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
from qkan.kernels.common.tensors import address_of
from qkan.kernels.spectral.basis import Basis, chebyshev_nodes, chebyshev_rule, fourier_rule
from qkan.kernels.spectral.numba_cpu import ROWS, addresses, padded, threads_for

#: Addresses and lengths of a matrix and of constants.
Places = Sequence[int]
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
    arrays = (address_of(x), sizes[0], address_of(weight), sizes[1], found.buffer_info()[0], 2 * threads)
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
        slopes: the same of the matrix to the derivative's weights, and its rows.
        kept: the tensors at those addresses.
    """

    kind: str
    points: int
    rotations: int
    columns: int
    reps: int
    given: tuple[int, ...]
    slopes: tuple[tuple[int, int], int]
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
        program, times = _program(ansatz, reps, weighted, biased)
        angles = torch.tensor(times, dtype=torch.float64, device="cpu").unsqueeze(-1) * nodes
        trig = torch.stack((angles.cos(), angles.sin()), -1)
        full = full @ analysis[1:]
        matrices = [_padded_rows(m, ROWS).to(dtype) for m in (analysis, analysis.mT, full)]
        integers = torch.tensor(program, dtype=torch.int64, device="cpu")
        kept = (integers, nodes.contiguous(), trig.to(dtype).contiguous(), *matrices)
    given = tuple(addresses(*kept))
    slopes = (given[10], given[11]), len(full)
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
        layout: PANEL, TERM, ROW, CONSTANT_ROW, WHOLE, TURNED, FIRST.
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


class CircuitKernels:
    """Circuits of one kind and size whose coefficients, and the gradients of those, lie in larger arrays.

    Its tensors are theta (outputs, inputs, rows, angles), pre-activation weight and bias (outputs, inputs, reps),
    weights of the sum (outputs, inputs), base weights (outputs, inputs) and an offset (outputs,), which the constants
    of the first input take; contiguous, of one dtype, all but theta may be None.

    Args:
        rule: of the circuits, in that dtype.
        outputs, inputs: sizes; there is a circuit for each pair.
        given: which of the six tensors are there.
        coefficients, gradients: how both lie, the layout of :func:`sizes_of`.
        copies: from a copy of the gradients to the next, in the matrix and in the constants.
        per_input: as of :func:`sizes_of`.
    """

    def __init__(
        self,
        rule: PointRule,
        outputs: int,
        inputs: int,
        given: Sequence[bool],
        coefficients: tuple[int, ...],
        gradients: tuple[int, ...],
        copies: tuple[int, int],
        dtype: torch.dtype,
        per_input: bool = False,
    ) -> None:
        from qkan.kernels.spectral import numba_point_kernels as jit

        forward, backward = (sizes_of(rule, outputs, inputs, way, per_input) for way in (coefficients, gradients))
        self._jit, self._rule, self._dtype = jit, rule, dtype
        self._exact, self._scratch, self._work = forward.exact, forward.scratch, forward.work
        per_edge = (rule.columns, rule.reps, rule.reps, 1, 1)
        self._lengths = [n * inputs * outputs if there else 0 for n, there in zip(per_edge, given, strict=False)]
        self._lengths.append(outputs if given[5] else 0)
        more, empty = (0, 1, *copies, bits_of(1.0)), (0, 0) * 17
        self._forward = array("q", (0, 0, 1, *forward.integers, *more, *rule.given, *empty))
        self._backward = array("q", (0, 0, 1, *backward.integers, *more, *rule.given, *empty))

    def _run(
        self, kernel: Any, frame: array[int], tensors: Sequence[Tensor | None], radius: float, places: Places
    ) -> None:
        """Run a kernel with a frame that holds all else."""
        jit, threads = self._jit, threads_for(self._work, 16)
        exact, scratch = self._exact * threads, self._scratch * threads
        memory = torch.empty(8 * exact + self._dtype.itemsize * scratch, dtype=torch.uint8, device="cpu")
        frame[2], at = threads, memory.data_ptr()
        if radius != 1.0:
            frame[jit.RADIUS_BITS] = bits_of(radius)
        self._enter(frame, tensors, jit.THETA)
        frame[jit.MATRIX : jit.MATRIX + 4] = array("q", places)
        frame[jit.SCRATCH : jit.SCRATCH + 4] = array("q", (at + 8 * exact, scratch, at, exact))
        kernel.run(self._dtype, frame, threads)

    def _enter(self, frame: array[int], tensors: Sequence[Tensor | None], at: int) -> None:
        """Enter addresses and lengths of tensors.

        Raises:
            ValueError: a tensor of another size than the kernels were made for; they would use memory of others.
        """
        for tensor, length in zip(tensors, self._lengths, strict=False):
            if tensor is not None:
                if tensor.numel() != length:
                    raise ValueError(f"a parameter of shape {tuple(tensor.shape)} does not fit: circuits need {length}")
                frame[at], frame[at + 1] = tensor.data_ptr() or address_of(tensor), length  # a call less, mostly
            at += 2

    def coefficients(
        self, tensors: Sequence[Tensor | None], radius: float, places: Places, derivative: Tensor | None = None
    ) -> None:
        """Write the coefficients.

        Args:
            tensors: the six.
            radius: half the width of the domain; 1 for Fourier.
            places: address and length of the matrix and of the constants.
            derivative: where to write the weights of the derivative, panels of the transposed matrix, or None.
        """
        jit, frame = self._jit, self._forward[:]
        if derivative is not None:
            analysis, frame[jit.SLOPES] = self._rule.slopes
            frame[jit.SLOPE_ANALYSIS], frame[jit.SLOPE_ANALYSIS + 1] = analysis
            frame[jit.SLOPE_MATRIX], frame[jit.SLOPE_MATRIX + 1] = address_of(derivative), derivative.numel()
        self._run(jit.COEFFICIENTS, frame, tensors, radius, places)

    def gradients(
        self,
        tensors: Sequence[Tensor | None],
        radius: float,
        places: Places,
        copies: int,
        found: Sequence[Tensor | None],
    ) -> None:
        """Write the gradients of the first five tensors to those of ``found`` that are there.

        Args:
            tensors, radius: as of :meth:`coefficients`.
            places: address and length of the gradients of matrix and constants, ``copies`` of them.
            copies: how many are summed.
            found: contiguous, shaped as the tensors.
        """
        jit, frame = self._jit, self._backward[:]
        frame[jit.COPIES] = copies
        self._enter(frame, found[:5], jit.OF_THETA)
        # On as many threads as forward, though it is three times the work: a small layer should not wait for a core.
        self._run(jit.COEFFICIENT_GRADIENTS, frame, tensors[:4], radius, places)


@lru_cache(maxsize=256)
def _plain_kernels(
    rule: PointRule, outputs: int, inputs: int, given: tuple[bool, ...], dtype: torch.dtype
) -> CircuitKernels:
    """Kernels for coefficients (terms, inputs, outputs) and constants (inputs, outputs)."""
    from qkan.kernels.spectral import numba_point_kernels as jit

    row = 0 if outputs == 1 else outputs
    layout = (jit.LANES, inputs * outputs, row, row, 0, 0, 0)
    sizes = (rule, outputs, inputs, (*given, False, False))
    return CircuitKernels(*sizes, layout, layout, (0, 0), dtype, per_input=outputs == 1)


def _kernels_of(rule: PointRule, circuits: CircuitTensors) -> CircuitKernels:
    theta, given = circuits.theta, tuple(tensor is not None for tensor in circuits)
    return _plain_kernels(rule, theta.shape[-4], theta.shape[-3], given, theta.dtype)


def contiguous(tensors: Sequence[Tensor | None]) -> list[Any]:
    """The tensors, copied if they are not contiguous; None stays None."""
    return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]


def coefficients(rule: PointRule, radius: float, circuits: CircuitTensors) -> tuple[Tensor, Tensor]:
    """Weights of the features of every circuit.

    Args:
        rule: made for circuits of that kind and dtype.
        radius: half the width of the domain; 1 for Fourier.
        circuits: contiguous, theta (outputs, inputs, rows, angles), the others with the same outputs.

    Returns:
        (terms, inputs, outputs) for the features and (inputs, outputs) for the constant.
    """
    theta = circuits.theta
    outputs, inputs = theta.shape[-4:-2]
    matrix, constant = theta.new_empty(rule.points - 1, inputs, outputs), theta.new_empty(inputs, outputs)
    _kernels_of(rule, circuits).coefficients(circuits, radius, addresses(matrix, constant))
    return matrix, constant


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
    found = [None if t is None or not need else torch.empty_like(t) for t, need in zip(circuits, needs, strict=True)]
    _kernels_of(rule, circuits).gradients(circuits, radius, addresses(of_matrix, of_constant), 1, found)
    return tuple(found)
