"""A whole layer on the CPU as one node of autograd's graph, in five Numba kernels: two forward and three backward.

Coefficients are written where the product reads them, and their gradients are read where threads have left them, so
that nothing is laid out again between the kernels. A small layer costs what Python does around the kernels: frames are
made once and copied, with the addresses of a call filled in. Nothing but arguments and the weights of the derivative is
kept for the backward pass. Derivatives of derivatives and transforms go through the formulas in PyTorch.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.tensors import address_of, check_readable
from qkan.kernels.common.vjp import vjp_needed
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.matmul import Sum, plain_sum
from qkan.kernels.spectral.numba_coefficients import CircuitKernels, PointRule, point_rule
from qkan.kernels.spectral.numba_cpu import ROWS, SHARD_WORK, kernel_params, padded

#: Most threads of a call, so that the size of scratch memory is bounded.
MOST_THREADS = 64


@lru_cache(maxsize=256)
def layer_kernels(
    rule: PointRule, outputs: int, inputs: int, base: str | None, given: tuple[bool, ...], dtype: torch.dtype
) -> LayerKernels:
    """The kernels of layers of a size; ``given``: which of the six tensors of a layer are there."""
    return LayerKernels(rule, outputs, inputs, base, given, dtype)


class LayerKernels:
    """Forward and backward pass of layers of one kind and size.

    The tensors of a layer are theta (outputs, inputs, rows, angles), pre-activation weight and bias (outputs, inputs,
    reps), weights of the sum (outputs, inputs), base weights (outputs, inputs) and an offset (outputs,); contiguous, of
    one dtype, all but theta may be None.
    """

    def __init__(
        self, rule: PointRule, outputs: int, inputs: int, base: str | None, given: tuple[bool, ...], dtype: torch.dtype
    ) -> None:
        from qkan.kernels.spectral import numba_kernels as features

        self.outputs, self.inputs, self.dtype, self.features = outputs, inputs, dtype, features
        basis, number = rule.basis(1.0, base), dtype.itemsize
        self.terms = rule.points - 1 + (base is not None)
        lanes = features.COLUMNS
        wide, high = padded(outputs, lanes), padded(inputs, ROWS)
        depth = self.terms * inputs
        self.matrix, self.derivative = depth * wide, padded(depth, lanes) * outputs
        self.copy = self.terms * high * wide
        packed = (depth * lanes, inputs * lanes, lanes, outputs, 1, inputs, 0)
        copies = (lanes, high * wide, wide, 0, 1, 0, 0)
        self.circuits = CircuitKernels(rule, outputs, inputs, given, packed, copies, (self.copy, outputs), dtype)
        head = (0, 0, 1)
        params, functions = kernel_params(basis, False, inputs), rule.points - 1
        chunk = features.CHUNK
        self.workspace_sizes = (
            chunk * (wide + (2 * functions + 4) * inputs),
            chunk * (wide + (functions + 4) * high),
            chunk * (outputs + padded(depth) + (functions + 3) * inputs),
        )
        sizes = ((outputs, 0), (outputs, 0), (outputs, depth))
        self._products, self._matrix_gradients, self._input_gradients = (
            array("q", (*head, *params, 0, *size, numbers, *(0, 0) * 9))
            for size, numbers in zip(sizes, self.workspace_sizes, strict=True)
        )
        self._unit_radius = self._radius_bits(1.0)
        self.bytes = number

    def _radius_bits(self, radius: float) -> int:
        """The bits of the radius in the dtype, in the lower bytes of an integer."""
        code, whole = ("f", "i") if self.dtype == torch.float32 else ("d", "q")
        (bits,) = struct.unpack(whole, struct.pack(code, radius))
        return bits

    def _threads(self, work: int, most: int) -> int:
        return max(1, min(torch.get_num_threads(), MOST_THREADS, most, work // SHARD_WORK))

    def _features_frame(
        self, template: array[int], rows: int, shards: int, radius: float, workspace: int
    ) -> array[int]:
        """A frame of a kernel of features with its radius, which stands in the frame itself."""
        jit, frame = self.features, template[:]
        frame[2], frame[jit.COUNT] = shards, rows
        frame[-1] = self._unit_radius if radius == 1.0 else self._radius_bits(radius)
        frame[jit.RADIUS], frame[jit.RADIUS + 1] = frame.buffer_info()[0] + 8 * (len(frame) - 1), 1
        frame[jit.ROOM], frame[jit.ROOM + 1] = workspace, frame[jit.ROOM_SIZE] * shards
        return frame

    def forward(
        self, x: Tensor, tensors: Sequence[Tensor | None], radius: float, *, slopes: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs (samples, outputs) for x (samples, inputs), contiguous.

        Args:
            x: inputs.
            tensors: the six of the layer.
            radius: half the width of the domain of Chebyshev polynomials, 1 for Fourier.
            slopes: whether the gradient of x will be asked for.

        Returns:
            the outputs, and what :meth:`backward` needs for the gradient of x.
        """
        rows, number = x.shape[0], self.bytes
        work, chunks = rows * self.terms * self.inputs * self.outputs, max(1, rows // self.features.CHUNK)
        workers, edges = self._threads(work, chunks), self.inputs * self.outputs
        # One block: matrix, constants and scratch memory.
        workspace = x.new_empty(self.matrix + edges + self.workspace_sizes[0] * workers)
        matrix = workspace.data_ptr()
        constant = matrix + number * self.matrix
        spare = constant + number * edges
        # Zeros: what stands behind the last column of a panel is multiplied, and denormal numbers would take long.
        derivative = x.new_zeros(self.derivative) if slopes else None
        self.circuits.coefficients(tensors, radius, (matrix, self.matrix, constant, edges), derivative)
        out = x.new_empty(rows, self.outputs)
        frame = self._features_frame(self._products, rows, workers, radius, spare)
        at = self.features.ARRAYS[0]
        arrays = (address_of(x), x.numel(), constant, edges, 0, 0, matrix, self.matrix, address_of(out), out.numel())
        frame[at : at + 10] = array("q", arrays)
        self.features.PRODUCTS.run(self.dtype, frame, workers)
        return out, derivative

    def backward(
        self,
        x: Tensor,
        tensors: Sequence[Tensor | None],
        radius: float,
        derivative: Tensor | None,
        grad: Tensor,
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of x and of the six tensors from that of the outputs, None where ``needs`` says so.

        Args:
            x, tensors, radius: as of :meth:`forward`.
            derivative: what it gave.
            grad: (samples, outputs), contiguous.
            needs: seven flags.
        """
        rows = x.shape[0]
        work, chunks = rows * self.terms * self.inputs * self.outputs, max(1, rows // self.features.CHUNK)
        workers = self._threads(work, chunks)
        of_x = None
        if needs[0] and derivative is not None:
            of_x = torch.zeros_like(x)
            workspace = x.new_empty(self.workspace_sizes[2] * workers)
            frame = self._features_frame(self._input_gradients, rows, workers, radius, workspace.data_ptr())
            at, total = self.features.ARRAYS[0], grad.numel()
            arrays = (0, 0, address_of(derivative), self.derivative, address_of(x), x.numel(), grad.data_ptr(), total)
            frame[at : at + 12] = array("q", (*arrays, address_of(of_x), x.numel(), 0, 0))
            self.features.INPUT_GRADIENTS.run(self.dtype, frame, workers)
        found = [
            torch.empty_like(t) if need and t is not None else None for t, need in zip(tensors, needs[1:], strict=True)
        ]
        if any(needs[1:]):
            self._parameter_gradients(x, tensors, radius, grad, workers, found)
        return [of_x, *found]

    def _parameter_gradients(
        self,
        x: Tensor,
        tensors: Sequence[Tensor | None],
        radius: float,
        grad: Tensor,
        workers: int,
        found: list[Tensor | None],
    ) -> None:
        """Write the gradients of the tensors to ``found``."""
        rows, copies = x.shape[0], (self.copy + self.outputs) * workers
        of_matrix, workspace = x.new_zeros(copies), x.new_zeros(self.workspace_sizes[1] * workers)
        frame = self._features_frame(self._matrix_gradients, rows, workers, radius, workspace.data_ptr())
        at, matrix, total = self.features.ARRAYS[0], address_of(of_matrix), grad.numel()
        bias = matrix + self.bytes * self.copy * workers
        sizes = self.copy * workers, self.outputs * workers
        arrays = (0, 0, address_of(x), x.numel(), grad.data_ptr(), total, matrix, sizes[0], bias, sizes[1])
        frame[at : at + 10] = array("q", arrays)
        self.features.MATRIX_GRADIENTS.run(self.dtype, frame, workers)
        offset = found[5]
        if offset is not None:
            torch.sum(of_matrix[sizes[0] :].view(workers, self.outputs), 0, out=offset)
        self.circuits.gradients(tensors, radius, (matrix, sizes[0], bias, sizes[1]), workers, found)


LayerParameters = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class Expanded(NamedTuple):
    """How a layer is expanded.

    Attributes:
        kind, points, radius: as of :class:`qkan.kernels.backend_choice.Plan`.
        ansatz, reps: the circuits.
        base: the name of a base activation, or None.
    """

    kind: str
    points: int
    radius: float
    ansatz: Ansatz
    reps: int
    base: str | None


class _WholeLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, theta, weight, bias, edge_weight, base_weight, offset, kernels: LayerKernels, how):
        tensors = (theta, weight, bias, edge_weight, base_weight, offset)
        out, ctx.derivative = kernels.forward(x, tensors, how.radius, slopes=ctx.needs_input_grad[0])
        ctx.save_for_backward(x, *tensors)
        ctx.kernels, ctx.how = kernels, how
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, *tensors = saved = ctx.saved_tensors
        check_readable(*saved)
        needs = ctx.needs_input_grad[:7]
        if torch.is_grad_enabled() or not numba_supported(grad):
            return *vjp_needed(lambda *given: plain_layer(ctx.how, *given), saved, needs, grad), None, None
        grad = grad.contiguous()
        return *ctx.kernels.backward(x, tensors, ctx.how.radius, ctx.derivative, grad, needs), None, None


def plain_layer(
    how: Expanded,
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    edge_weight: Tensor | None,
    base_weight: Tensor | None,
    offset: Tensor | None,
) -> Tensor:
    """:func:`whole_layer` in differentiable operations."""
    if how.kind == "fourier" or weight is None:
        circuit: dict[str, Any] = {"ansatz": how.ansatz, "reps": how.reps, "weight": weight, "degree": how.points // 2}
        expansion = spectral.fourier(theta, bias, edge_weight, **circuit)
    else:
        expansion = spectral.chebyshev(
            theta, weight, bias, edge_weight, ansatz=how.ansatz, reps=how.reps, radius=how.radius, terms=how.points
        )
    if base_weight is not None and how.base is not None:
        expansion = expansion.with_base(how.base, base_weight)
    constant = expansion.constant.sum(0)
    constant = constant if offset is None else constant + offset
    return plain_sum(Sum(expansion.basis), x, expansion.matrix, constant)


def whole_layer(how: Expanded, x: Tensor, tensors: LayerParameters) -> Tensor:
    """A layer with a circuit for every edge, expanded and summed.

    Args:
        how: the expansion.
        x: (samples, inputs), a tensor that the CPU kernels take, as those of ``tensors`` are, all of one dtype.
        tensors: theta (outputs, inputs, rows, angles); pre-activation weight and bias (outputs, inputs, reps), weights
            of the sum (outputs, inputs), base weights (outputs, inputs) and an offset (outputs,), or None.

    Returns:
        (samples, outputs); first and second derivatives work.
    """
    if not x.is_contiguous():
        x = x.contiguous()
    given = [False] * 6
    for place, tensor in enumerate(tensors):
        if tensor is not None:
            given[place] = True
            if not tensor.is_contiguous():
                tensors = (*tensors[:place], tensor.contiguous(), *tensors[place + 1 :])  # type: ignore[assignment]
    theta = tensors[0]
    rule = point_rule(how.kind, how.points, how.ansatz, how.reps, given[1], given[2], theta.dtype)
    kernels = layer_kernels(rule, theta.shape[0], theta.shape[1], how.base, tuple(given), theta.dtype)
    if torch.is_grad_enabled():
        return _WholeLayer.apply(x, *tensors, kernels, how)
    return kernels.forward(x, tensors, how.radius, slopes=False)[0]
