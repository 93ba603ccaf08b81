"""An LSTM whose gates are circuits, on the CPU, as one node of the autograd graph.

A small LSTM costs what PyTorch takes to start operations and to note them for the backward pass. So the way from the
circuits' parameters to the outputs is one node: circuits become coefficients
(:mod:`qkan.kernels.spectral.numba_coefficients`), which are written where the walk over time reads them
(:mod:`qkan.kernels.recurrence.numba_cpu`), and so are the weights of the derivative. Nothing is kept from call to call
but what depends on sizes alone, so that a write to a parameter can never be missed. Second derivatives and transforms
of the backward pass go through plain operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.tensors import address_of, check_readable
from qkan.kernels.common.vjp import vjp_needed
from qkan.kernels.recurrence import numba_cpu, reference
from qkan.kernels.recurrence.types import Layout, Spec, Tape, Weights
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.basis import Basis
from qkan.kernels.spectral.numba_coefficients import CircuitKernels, contiguous, point_rule
from qkan.kernels.spectral.numba_cpu import ROWS, matrix_gradient_copies, padded


class Parameters(NamedTuple):
    """Parameters of the gates and the projection; what is not trained is None.

    Attributes:
        theta_x, theta_h: angles of the circuits of the inputs (G, I, rows, angles) and of the state (G, H, ...).
        weight_x, weight_h, phase_x, phase_h: of their pre-activations, (G, I, reps) and (G, H, reps).
        bias: (G,), of the gates.
        projection: (P, H).
    """

    theta_x: Tensor
    theta_h: Tensor
    weight_x: Tensor | None
    weight_h: Tensor | None
    phase_x: Tensor | None
    phase_h: Tensor | None
    bias: Tensor | None
    projection: Tensor | None


_KNOWN: dict[tuple[Any, ...], GateCircuits] = {}
_MOST_KNOWN = 256


def gate_circuits(
    ansatz: Ansatz, reps: int, kind: str, points: int, sizes: tuple[int, int, int], given: tuple[bool, bool, bool],
    dtype: torch.dtype,
) -> GateCircuits:  # fmt: skip
    """:class:`GateCircuits` of that kind and size, made once; it keeps the ansatz, so no other has its identity."""
    key = (id(ansatz), reps, kind, points, sizes, given, dtype)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        known = _KNOWN[key] = GateCircuits(ansatz, reps, kind, points, sizes, given, dtype)
    return known


class GateCircuits:
    """The circuits of gates of one kind and size, their coefficients, and gradients of both.

    Args:
        ansatz, reps: of the circuits, which must be band-limited.
        kind, points: of the expansion, see :class:`qkan.kernels.spectral.numba_coefficients.PointRule`.
        sizes: G, I and H.
        given: whether there are weights and phases of pre-activations, and a bias of the gates.
        dtype: float32 or float64.
    """

    def __init__(
        self, ansatz: Ansatz, reps: int, kind: str, points: int, sizes: tuple[int, int, int],
        given: tuple[bool, bool, bool], dtype: torch.dtype,
    ) -> None:  # fmt: skip
        from qkan.kernels.spectral.numba_kernels import COLUMNS

        (gates, inputs, states), (weighted, phased, biased) = sizes, given
        self.ansatz, self.reps, self.fourier = ansatz, reps, Spec("lstm", Basis("fourier", points // 2), inputs=inputs)
        rule = point_rule(kind, points, ansatz, reps, weighted, phased, dtype)
        terms, width, blocks = points - 1, inputs + states, rule.slopes[1]
        wide, high, depth = padded(gates, COLUMNS), padded(width, ROWS), terms * width
        #: Sizes of the matrix and of the weights of its derivative, and numbers of both in panels.
        self.size, self.size_back = (terms, width, gates), (blocks, width, gates)
        self._lengths = depth * wide, padded(blocks * width, COLUMNS) * gates
        self._steps, self._bytes = (COLUMNS, wide), dtype.itemsize
        copies, gradients = (terms * high * wide, gates), (COLUMNS, high * wide, wide, 0, 1, 0, 0)
        panels = (depth * COLUMNS, width * COLUMNS, COLUMNS, gates, 1, width)
        self._parts: list[tuple[CircuitKernels, int]] = []
        for first, count, offset in ((0, inputs, biased), (inputs, states, False)):
            there = (True, weighted, phased, False, False, offset)
            kernels = CircuitKernels(rule, gates, count, there, (*panels, first), gradients, copies, dtype)
            self._parts.append((kernels, first))

    def expand(self, parameters: Parameters, radius: float, slopes: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """The matrix in panels, the bias (G,), and with ``slopes`` the derivative's weights, transposed, in panels."""
        theta, (length, length_back), gates = parameters.theta_x, self._lengths, self.size[2]
        matrix, constant = theta.new_empty(length), theta.new_empty(self.size[1:])
        # Zeros: what stands behind the last column of a panel is multiplied, and denormal numbers would take long.
        derivative = theta.new_zeros(length_back) if slopes else None
        at, rows = address_of(matrix), address_of(constant)
        for k, (kernels, first) in enumerate(self._parts):
            skip, row, offset = first * self._steps[0], first * gates, parameters.bias if k == 0 else None
            places = at + self._bytes * skip, length - skip, rows + self._bytes * row, constant.numel() - row
            kernels.coefficients((*parameters[k:6:2], None, None, offset), radius, places, derivative)
        return matrix, constant.sum(0), derivative

    def circuit_gradients(
        self, parameters: Parameters, radius: float, copies: tuple[Tensor, Tensor], needs: Sequence[bool]
    ) -> list[Tensor | None]:
        """Gradients of the first six of :class:`Parameters` that need one, from copies of those of matrix and bias."""
        (of_matrix, of_bias), given = copies, parameters[:6]
        found = [torch.empty_like(t) if need and t is not None else None for t, need in zip(given, needs, strict=True)]
        at, length, bias = address_of(of_matrix), of_matrix.numel(), (address_of(of_bias), of_bias.numel())
        for k, (kernels, first) in enumerate(self._parts):
            skip = first * self._steps[1]
            places = (at + self._bytes * skip, length - skip, *bias)
            kernels.gradients((*given[k::2], None), radius, places, len(of_matrix), (*found[k::2], None, None))
        return found


def run(
    circuits: GateCircuits,
    spec: Spec,
    layout: Layout,
    x: Tensor,
    states: tuple[Tensor, ...],
    parameters: Parameters,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Walk an LSTM over time.

    Args:
        circuits: of the gates, for the kind, sizes and dtype of ``parameters``.
        spec: of the recurrence, with ``inputs``; its basis holds for all x and h.
        layout: of the rows.
        x: (rows, I), float32 or float64 on the CPU like everything else.
        states: (h_0, c_0), (B, P) and (B, H).
        parameters: of gates and projection.

    Returns:
        h behind every step (rows, P), and the final states.
    """
    tensors = (x, *states, *parameters)
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                outputs, h_n, c_n = _Node.apply(circuits, spec, layout, *tensors)
                return outputs, (h_n, c_n)
    outputs, h_n, c_n, *_ = _forward(circuits, spec, layout, tensors, False)
    return outputs, (h_n, c_n)


def _forward(
    circuits: GateCircuits, spec: Spec, layout: Layout, tensors: tuple[Any, ...], keep: bool
) -> tuple[Any, ...]:
    """Outputs, h_n and c_n, then what the backward pass needs: the derivative's weights and the tape."""
    x, h_0, c_0, *fields = tensors
    parameters = Parameters(*contiguous(fields))
    matrix, bias, derivative = circuits.expand(parameters, spec.basis.radius, keep)
    weights = Weights(matrix, bias, projection=parameters.projection)
    given = (x.contiguous(), weights, h_0.contiguous(), c_0.contiguous())
    ran = numba_cpu.forward(spec, layout, *given, keep, circuits.size)
    return ran.outputs, ran.h_n, ran.c_n, derivative, ran.tape


def _concat(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat((first, second), 1)


def _plain(circuits: GateCircuits, spec: Spec, layout: Layout, *tensors: Any) -> tuple[Tensor, ...]:
    """:func:`run` in differentiable operations."""
    x, h_0, c_0, *fields = tensors
    p, basis = Parameters(*fields), spec.basis
    theta = torch.cat((p.theta_x, p.theta_h), 1)
    weight, phase = _concat(p.weight_x, p.weight_h), _concat(p.phase_x, p.phase_h)
    circuit: dict[str, Any] = {"ansatz": circuits.ansatz, "reps": circuits.reps}
    if basis.kind == "fourier" or weight is None:
        found = spectral.fourier(theta, phase, None, weight=weight, degree=basis.size, **circuit)
    else:
        found = spectral.chebyshev(theta, weight, phase, None, radius=basis.radius, terms=basis.size, **circuit)
    bias = found.constant.sum(0) if p.bias is None else found.constant.sum(0) + p.bias
    weights = Weights(found.matrix, bias, projection=p.projection)
    return tuple(t for t in reference.run(spec, layout, x, weights, h_0, c_0) if t is not None)


class _Node(torch.autograd.Function):
    """:func:`run`: gradients of inputs, states and parameters from those of outputs and final states."""

    @staticmethod
    def forward(ctx: Any, circuits: GateCircuits, spec: Spec, layout: Layout, *tensors: Tensor | None):
        outputs, h_n, c_n, derivative, tape = _forward(circuits, spec, layout, tensors, True)
        ctx.told = circuits, spec, layout
        ctx.save_for_backward(*tensors, derivative, *tape)
        return outputs, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor):
        circuits, spec, layout = ctx.told
        saved = ctx.saved_tensors  # read once: under checkpointing a second reading is an error
        check_readable(*saved)
        tensors, (derivative, gates, carry, z) = saved[:11], saved[11:]
        needs = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or not numba_supported(*grads):

            def plain(*values: Any) -> tuple[Tensor, ...]:
                return _plain(circuits, spec, layout, *values)

            return None, None, None, *vjp_needed(plain, tensors, needs, grads)
        parameters, kept = Parameters(*contiguous(tensors[3:])), Tape(gates, carry, z)
        weights = Weights(derivative, derivative, projection=parameters.projection)
        of_outputs, of_h, of_c = (grad.contiguous() for grad in grads)
        of_walk = numba_cpu.backward(spec, layout, weights, kept, z, of_outputs, of_h, of_c, circuits.size_back)
        copies = matrix_gradient_copies(spec.basis, circuits.size, None, z, of_walk.inner)
        of_circuits = circuits.circuit_gradients(parameters, spec.basis.radius, copies, needs[3:9])
        of_bias = copies[1][0] if len(copies[1]) == 1 else copies[1].sum(0)
        of_projection = None if of_walk.hidden is None else of_walk.hidden.mT @ kept.units()
        found = (of_walk.steps, of_walk.h_0, of_walk.c_0, *of_circuits, of_bias, of_projection)
        return None, None, None, *(grad if need else None for grad, need in zip(found, needs, strict=True))
