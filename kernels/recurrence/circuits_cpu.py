"""An LSTM whose gates are circuits, on the CPU, as one node of the autograd graph.

A small LSTM costs what PyTorch takes to start operations and to note them for the backward pass. So the way from the
circuits' parameters to the outputs is one node, forward in two kernels and backward in three: circuits at points become
coefficients, which are the matrix of the recurrence (:mod:`qkan.kernels.recurrence.numba_expand`), and a walk over time
(:mod:`qkan.kernels.recurrence.numba_cpu`). Nothing is kept from call to call but what depends on sizes alone, so
that a write to a parameter can never be missed. Second derivatives and transforms of the backward pass go through plain
operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.bytecode import program
from qkan.kernels.circuits.bloch.numba_cpu import SHARD_ROTATIONS, numba_supported
from qkan.kernels.common.constant_cache import constants
from qkan.kernels.common.vjp import vjp_needed
from qkan.kernels.recurrence import numba_cpu, reference
from qkan.kernels.recurrence.types import Layout, Spec, Tape, Weights
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.basis import Basis
from qkan.kernels.spectral.numba_cpu import addresses

#: Edges that a kernel evaluates side by side: shards are multiples of so many.
_LANES = 256


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


_KNOWN: dict[tuple[Any, ...], tuple[Ansatz, Circuits]] = {}
_MOST_KNOWN = 64


def circuits_of(ansatz: Ansatz, reps: int, parameters: Parameters) -> Circuits:
    """:class:`Circuits` of that kind, made once."""
    theta, states = parameters.theta_x, parameters.theta_h.shape[1]
    flags = (parameters.weight_x is None, parameters.phase_x is None)
    key = (id(ansatz), reps, *theta.shape, states, *flags, theta.dtype)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        known = _KNOWN[key] = ansatz, Circuits(ansatz, reps, parameters)  # kept, so that no other has its identity
    return known[1]


class Circuits:
    """What calls with gates of one kind and size share.

    Args:
        ansatz, reps: of the circuits, which must be band-limited.
        like: the parameters.
    """

    def __init__(self, ansatz: Ansatz, reps: int, like: Parameters) -> None:
        theta = like.theta_x
        self.ansatz, self.reps = ansatz, reps
        self.gates, self.inputs = theta.shape[:2]
        self.states = like.theta_h.shape[1]
        self.weighted, self.biased = like.weight_x is not None, like.phase_x is not None
        self.columns, self.dtype, self.size = theta.shape[-2] * theta.shape[-1], theta.dtype, theta.element_size()
        self.fourier = Spec("lstm", Basis("fourier", reps), inputs=self.inputs)
        self._program = [torch.from_numpy(table) for table in program(ansatz, reps, self.weighted, self.biased)]
        self._rules: dict[tuple[str, int], _Rule] = {}

    def rule(self, basis: Basis) -> _Rule:
        """How circuits become coefficients of ``basis``."""
        key = (basis.kind, basis.size)
        if key not in self._rules:
            like = self._program[7].new_empty(0, dtype=self.dtype)
            if basis.kind == "fourier":
                points, analysis = constants(spectral.fourier_rule, basis.size, like)
            else:
                points = constants(spectral.chebyshev_nodes, basis.size, like.double())[0]
                (analysis,) = constants(spectral.chebyshev_rule, basis.size, like)
            self._rules[key] = _Rule(self, points.double(), analysis.contiguous())
        return self._rules[key]

    def expand(self, basis: Basis, parameters: Parameters) -> Tensor:
        """Coefficients (terms, I + H, G); row 0 belongs to the constants."""
        from qkan.kernels.recurrence import numba_expand as jit

        rule, theta = self.rule(basis), parameters.theta_x
        points = rule.points if basis.kind == "fourier" else basis.radius * rule.points
        coefficients = theta.new_zeros(rule.terms, self.inputs + self.states, self.gates)
        values = theta.new_empty(coefficients.numel())
        given = [None if t is None else t.contiguous() for t in parameters[:6]]
        order = (given[0], given[2], given[4], given[1], given[3], given[5])
        arrays = (points, rule.analysis, *order, *(None,) * 6, values, coefficients, None)
        jit.EXPAND(self.dtype, (*rule.front, *addresses(*arrays)), rule.shards, rule.threads())
        return coefficients

    def circuit_gradients(
        self, basis: Basis, parameters: Parameters, of_matrix: Tensor, of_bias: Tensor
    ) -> list[Tensor | None]:
        """Gradients of the first six of :class:`Parameters` from those of matrix (terms - 1, I + H, G) and bias."""
        from qkan.kernels.recurrence import numba_expand as jit

        rule = self.rule(basis)
        points = rule.points if basis.kind == "fourier" else basis.radius * rule.points
        values = of_matrix.new_empty(rule.terms * (self.inputs + self.states) * self.gates)
        given = [None if t is None else t.contiguous() for t in parameters[:6]]
        found = [None if t is None else torch.zeros_like(t, memory_format=torch.contiguous_format) for t in given]
        order = (given[0], given[2], given[4], given[1], given[3], given[5])
        results = (found[0], found[2], found[4], found[1], found[3], found[5])
        arrays = (points, rule.analysis, *order, *results, values, of_matrix, of_bias)
        jit.PULL(self.dtype, (*rule.front, *addresses(*arrays)), rule.shards, rule.threads())
        return found


class _Rule:
    """Circuits of one size at some points: what their frames begin with."""

    def __init__(self, circuits: Circuits, points: Tensor, analysis: Tensor) -> None:
        self.points, self.analysis, self.terms = points, analysis, len(analysis)
        edges = [circuits.gates * count for count in (circuits.inputs, circuits.states)]
        work = sum(edges) * self.terms * circuits.reps
        self._threads = max(1, work // SHARD_ROTATIONS)
        each = max(1, sum(edges) // (_LANES * min(16, self._threads))) * _LANES
        self.shards = sum(-(-count // each) for count in edges)
        sizes = (circuits.gates, circuits.inputs, circuits.states, len(points), self.terms, circuits.columns)
        flags = (circuits.reps, int(circuits.weighted), int(circuits.biased), each, circuits.size)
        self.front = (*sizes, *flags, *addresses(*circuits._program))

    def threads(self) -> int:
        """Threads that evaluate the circuits."""
        return min(self._threads, self.shards, torch.get_num_threads())


def run(
    circuits: Circuits,
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


def _forward(circuits: Circuits, spec: Spec, layout: Layout, tensors: tuple[Any, ...], keep: bool) -> tuple[Any, ...]:
    """Outputs, h_n and c_n, then what the backward pass needs: the weights of the recurrence and the tape."""
    x, h_0, c_0, *fields = tensors
    parameters = Parameters(*fields)
    coefficients = circuits.expand(spec.basis, parameters)
    bias = coefficients[0].sum(0)
    if parameters.bias is not None:
        bias += parameters.bias
    projection = None if parameters.projection is None else parameters.projection.contiguous()
    weights = Weights(coefficients[1:], bias, None, None, projection)
    ran = numba_cpu.forward(spec, layout, x.contiguous(), weights, h_0.contiguous(), c_0.contiguous(), keep)
    return ran.outputs, ran.h_n, ran.c_n, weights, ran.tape


def _concat(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat((first, second), 1)


def _plain(circuits: Circuits, spec: Spec, layout: Layout, *tensors: Any) -> tuple[Tensor, ...]:
    """:func:`run` in differentiable operations."""
    x, h_0, c_0, *fields = tensors
    p, basis = Parameters(*fields), spec.basis
    theta = torch.cat((p.theta_x, p.theta_h), 1)
    weight, phase = _concat(p.weight_x, p.weight_h), _concat(p.phase_x, p.phase_h)
    circuit: dict[str, Any] = {"ansatz": circuits.ansatz, "reps": circuits.reps}
    if weight is None:
        found = spectral.fourier(theta, phase, None, **circuit)
    else:
        found = spectral.chebyshev(theta, weight, phase, None, radius=basis.radius, terms=basis.size, **circuit)
    bias = found.constant.sum(0) if p.bias is None else found.constant.sum(0) + p.bias
    weights = Weights(found.matrix, bias, projection=p.projection)
    return tuple(t for t in reference.run(spec, layout, x, weights, h_0, c_0) if t is not None)


class _Node(torch.autograd.Function):
    """:func:`run`: gradients of inputs, states and parameters from those of outputs and final states."""

    @staticmethod
    def forward(ctx: Any, circuits: Circuits, spec: Spec, layout: Layout, *tensors: Tensor | None):
        outputs, h_n, c_n, weights, tape = _forward(circuits, spec, layout, tensors, True)
        ctx.told = circuits, spec, layout
        ctx.save_for_backward(*tensors, outputs, weights.matrix, weights.bias, *tape)
        return outputs, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor):
        circuits, spec, layout = ctx.told
        saved = ctx.saved_tensors  # read once: under checkpointing a second reading is an error
        tensors, (_, matrix, bias, gates, carry, z) = saved[:11], saved[11:]
        needs = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or not numba_supported(*grads):

            def plain(*values: Any) -> tuple[Tensor, ...]:
                return _plain(circuits, spec, layout, *values)

            return None, None, None, *vjp_needed(plain, tensors, needs, grads)
        parameters, kept = Parameters(*tensors[3:]), Tape(gates, carry, z)
        projection = None if parameters.projection is None else parameters.projection.contiguous()
        weights = Weights(matrix, bias, None, None, projection)
        arriving = (grad.contiguous() for grad in grads)
        of_walk = numba_cpu.backward(spec, layout, weights, kept, z, *arriving)
        of_matrix, of_bias = numba_cpu.features(spec, weights, z, of_walk.inner)
        of_circuits = circuits.circuit_gradients(spec.basis, parameters, of_matrix, of_bias)
        of_projection = None if of_walk.hidden is None else of_walk.hidden.mT @ kept.units()
        found = (of_walk.steps, of_walk.h_0, of_walk.c_0, *of_circuits, of_bias, of_projection)
        return None, None, None, *(grad if need else None for grad, need in zip(found, needs, strict=True))
