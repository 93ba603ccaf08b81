"""DARUAN layers on the Bloch sphere, with a hand-written adjoint backward.

A single-qubit pure state is a unit vector s = (X, Y, Z) and every gate rotates it, so the circuit needs no complex
numbers and <Z> is simply Z. Nothing but the arguments is kept between the passes: the backward pass runs the circuit
again. With lambda = d loss / d s behind a rotation about axis a by angle t, turning lambda back by -t gives the one in
front of it, and d loss / d t = lambda . (a x s) there as well as here.

On CPUs a fused kernel does all this (:mod:`qkan.kernels.circuits.bloch.numba_cpu`). The code in here is for everything
else: other devices, vmap, derivatives of derivatives, compilers and exporters.

The work is done in pieces of the batch and of the outputs that fit a processor's cache. Beyond arguments, outputs and
gradients the memory in use is one piece (backward: with the states behind its rotations) and the sine and cosine of all
trained angles. A piece is down to :data:`PIECE_SAMPLES` samples of one output only at very many repetitions or inputs.
Under a compiler, which fuses by itself, there is one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch import numba_cpu as bloch_numba
from qkan.kernels.circuits.bloch.evaluate import Circuit, Inputs, Piece
from qkan.kernels.circuits.bloch.rotations import Adjoint, Vector, minus, read, read_slope
from qkan.kernels.common.host_sync import plain_needed
from qkan.kernels.common.tensors import check_readable, piece_elements
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed

#: Fewest samples in a piece (if there are as many): parameters are read once per piece.
PIECE_SAMPLES = 16


def _pieces(x: Tensor, outputs: int, reps: int) -> Iterator[Piece]:
    """Cut (samples, outputs, inputs) into pieces; one piece under a compiler, which fuses by itself."""
    samples, inputs = x.shape
    if torch.compiler.is_compiling() or samples == 0:
        yield slice(0, samples), slice(0, outputs)
        return
    # The backward pass of a piece keeps the states and the sines and cosines of its encodings.
    elements = max(1, piece_elements(x.device) // (6 + 2 * reps))
    rows = max(1, inputs)
    take = _share(samples, max(PIECE_SAMPLES, elements // (rows * outputs)))
    wide = _share(outputs, max(1, elements // (rows * take)))
    for low in range(0, outputs, wide):
        for first in range(0, samples, take):
            yield slice(first, min(first + take, samples)), slice(low, min(low + wide, outputs))


def _share(total: int, most: int) -> int:
    """The size of equal parts of ``total`` (but for rounding) of at most ``most``."""
    return -(-total // -(-total // min(total, most)))


def _forward(x: Tensor, circuit: Circuit, edge_weight: Tensor | None, outputs: int, options: Options) -> Tensor:
    samples, features = x.shape
    shape = (samples, outputs) if options.reduce else (samples, outputs, features)
    out = x.new_empty(shape, dtype=circuit.dtype)
    for piece in _pieces(x, outputs, options.reps):
        value = read(circuit.run(circuit.inputs(x, piece)), options.readout)
        if not options.reduce:
            out[piece] = value
            continue
        if edge_weight is not None:
            value = value * edge_weight[piece[1]]
        out[piece] = value.expand(piece[0].stop - piece[0].start, -1, features).sum(-1)
    return out


class _Gradients:
    """Sums of gradients over the pieces, None where none is needed; entries that no rotation feeds stay zero."""

    def __init__(self, needs: Sequence[bool], *tensors: Tensor | None) -> None:
        x, theta, weight, bias, edge_weight = (t if need else None for t, need in zip(tensors, needs, strict=True))
        self.x = None if x is None else torch.zeros_like(x)
        # Parameters first, so that each (outputs, inputs) matrix is contiguous while pieces add to it.
        self.theta = None if theta is None else theta.new_zeros((*theta.shape[-2:], *theta.shape[:-2]))
        self.weight, self.bias = (
            None if t is None else t.new_zeros((t.shape[-1], *t.shape[:-1])) for t in (weight, bias)
        )
        self.edge_weight = None if edge_weight is None else torch.zeros_like(edge_weight)

    def results(self) -> tuple[Tensor | None, ...]:
        theta = None if self.theta is None else self.theta.movedim((0, 1), (-2, -1))
        weight, bias = (None if t is None else t.movedim(0, -1) for t in (self.weight, self.bias))
        return self.x, theta, weight, bias, self.edge_weight


def _add(total: Tensor, circuit: Circuit, piece: Piece, gradient: Tensor) -> None:
    """Add a (samples, outputs, inputs) gradient to that of a parameter, summed over samples unless that has them."""
    if circuit.per_sample and total.dim() == 3:
        if total.shape[0] == 1:
            total[:, piece[1]] += gradient.sum(0, keepdim=True)
        else:
            total[piece] += gradient
    else:
        total[piece[1]] += gradient if gradient.dim() == 2 else gradient.sum(0)


def _backward_piece(
    circuit: Circuit, inputs: Inputs, states: list[Vector], adjoint: Adjoint, total: _Gradients
) -> None:
    piece = inputs.piece
    for k in reversed(range(circuit.prefix, len(circuit.steps))):
        circuit.undo(adjoint, k, inputs)
        _add_angle(circuit, inputs, k, states.pop(), adjoint, total)
    if not circuit.per_sample:
        # In front of the first encoding the state is the same for all samples, so lambda may be summed over them.
        adjoint = [None if part is None else part.sum(0) if part.dim() == 3 else part for part in adjoint]
    vector: Vector = [circuit.part(component, piece) for component in circuit.start]
    for k in reversed(range(circuit.prefix)):
        circuit.undo(adjoint, k, inputs)
        circuit.undo(vector, k, inputs)  # type: ignore[arg-type]
        _add_angle(circuit, inputs, k, vector, adjoint, total)


def _add_angle(circuit: Circuit, inputs: Inputs, k: int, vector: Vector, adjoint: Adjoint, total: _Gradients) -> None:
    """Add d loss / d angle of rotation ``k`` to what makes up the angle; both vectors stand in front of it."""
    step = circuit.steps[k]
    first, second = (step.axis + 1) % 3, (step.axis + 2) % 3
    up, down = adjoint[second], adjoint[first]
    if step.half_turn:
        return
    if up is None:
        if down is None:
            return
        gradient = minus(down, vector[second])
    elif down is None:
        gradient = up * vector[first]
    else:
        gradient = torch.addcmul(up * vector[first], down, vector[second], value=-1)
    if total.theta is not None:
        for row, column in step.thetas:
            _add(total.theta[row, column], circuit, inputs.piece, gradient)
    for index in step.encodings:
        slope = inputs.map_slope(index)
        _add_encoding(circuit, inputs, index, gradient if slope is None else gradient * slope, total)


def _add_encoding(circuit: Circuit, inputs: Inputs, index: int, gradient: Tensor, total: _Gradients) -> None:
    piece = inputs.piece
    if total.bias is not None:
        _add(total.bias[index], circuit, piece, gradient)
    if total.weight is not None:
        _add(total.weight[index], circuit, piece, gradient * inputs.x)
    if total.x is not None:
        if circuit.weight is not None:
            gradient = gradient * circuit.part(circuit.weight[..., index], piece)
        total.x[piece[0]] += gradient.sum(1)


@dataclass
class _Kept:
    """What a forward pass of one piece leaves for its backward pass."""

    inputs: Inputs
    states: list[Vector]
    z: Tensor


@dataclass(frozen=True)
class Options:
    """What :func:`circuits` is told beside tensors."""

    ansatz: Ansatz
    reps: int
    readout: str
    reduce: bool

    def case(self, x: Tensor, theta: Tensor, *others: Tensor | None) -> bloch_numba.Case:
        """The arguments of :func:`circuits` for the fused CPU kernel."""
        ansatz, reps, readout, reduce = self.ansatz, self.reps, self.readout, self.reduce
        return bloch_numba.Case(x, theta, *others, ansatz=ansatz, reps=reps, readout=readout, reduce=reduce)

    def fused(self, x: Tensor, theta: Tensor, *others: Tensor | None) -> Tensor:
        """The values of :func:`circuits` from the fused kernel."""
        values = self.case(x, theta, *others).values()
        return values if self.reduce else values.view(x.shape[0], *theta.shape[-4:-2])


def _edges_first(tensor: Tensor) -> Tensor:
    """(outputs, inputs, ...) as (edges, 1, ...), edges ordered (inputs, outputs), each parameter contiguous."""
    edges = tensor.permute(*range(2, tensor.dim()), 1, 0).contiguous().flatten(-2)
    return edges.movedim(edges.dim() - 1, 0).unsqueeze(1)  # an exporter to ONNX writes -1 down as it is


def plain_circuits(
    options: Options, x: Tensor, theta: Tensor, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None
) -> Tensor:
    """:func:`circuits` in differentiable operations, without pieces: for vmap, second derivatives and exporters."""
    circuit = Circuit(x, theta, weight, bias, options.ansatz, options.reps)
    value = read(circuit.run(circuit.inputs(x, (slice(None), slice(None)))), options.readout)
    if options.reduce:
        value = (value if edge_weight is None else value * edge_weight).expand(-1, -1, theta.shape[-3]).sum(-1)
    return value


class _BlochCircuits(torch.autograd.Function):
    """phi of every (sample, output, input), summed over inputs with weights ``edge_weight`` if ``reduce``."""

    @staticmethod
    def forward(x, theta, weight, bias, edge_weight, options: Options, keep: bool):
        if bloch_numba.numba_supported(x, theta, weight, bias, edge_weight):
            return options.fused(x, theta, weight, bias, edge_weight), None
        circuit = Circuit(x, theta, weight, bias, options.ansatz, options.reps)
        if not keep:
            return _forward(x, circuit, edge_weight, theta.shape[-4], options), None
        inputs = circuit.inputs(x, (slice(0, x.shape[0]), slice(0, theta.shape[-4])))
        states: list[Vector] = []
        z = circuit.run(inputs, states)
        return read(z, options.readout).clone(), _Kept(inputs, states, z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.options, _ = inputs
        ctx.save_for_backward(*tensors)
        ctx.kept = output[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None):
        needs, tensors = ctx.needs_input_grad[:5], ctx.saved_tensors
        check_readable(*tensors)
        if stand_for_batch(grad):
            return *vjp_needed(partial(plain_circuits, ctx.options), tensors, needs, grad), None, None
        return *_BlochGradients.apply(grad, *tensors, ctx.options, ctx.kept, needs), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any):
        *tensors, options, _ = args
        run = torch.vmap(lambda *t: plain_circuits(options, *t), in_dims[:5], randomness=info.randomness)
        return (run(*tensors), None), (0, None)


class _FusedCircuits(torch.autograd.Function):
    """:class:`_BlochCircuits` where the fused kernel takes the tensors.

    A context in ``forward`` keeps PyTorch from binding a signature at every call: that takes longer than a small layer.
    """

    @staticmethod
    def forward(ctx: Any, x, theta, weight, bias, edge_weight, options: Options):
        ctx.save_for_backward(x, theta, weight, bias, edge_weight)
        ctx.options = options
        return options.fused(x, theta, weight, bias, edge_weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        needs, tensors = ctx.needs_input_grad[:5], ctx.saved_tensors
        check_readable(*tensors)
        if stand_for_batch(grad):
            return *vjp_needed(partial(plain_circuits, ctx.options), tensors, needs, grad), None
        if torch.is_grad_enabled() or not bloch_numba.numba_supported(grad):  # second derivatives and the like
            return *_BlochGradients.apply(grad, *tensors, ctx.options, None, needs), None
        return *ctx.options.case(*tensors).gradients(grad, needs), None


class _BlochGradients(torch.autograd.Function):
    """Gradients of :class:`_BlochCircuits`; those not needed are None."""

    @staticmethod
    def forward(
        grad, x, theta, weight, bias, edge_weight, options: Options, kept: _Kept | None, needs: tuple[bool, ...]
    ):
        if kept is None and bloch_numba.numba_supported(grad, x, theta, weight, bias, edge_weight):
            return options.case(x, theta, weight, bias, edge_weight).gradients(grad, needs)
        total = _Gradients(needs, x, theta, weight, bias, edge_weight)
        if kept is not None:
            _add_piece(kept.inputs.circuit, kept, grad, None, options, total)
            return total.results()
        circuit = Circuit(x, theta, weight, bias, options.ansatz, options.reps)
        for piece in _pieces(x, theta.shape[-4], options.reps):
            inputs = circuit.inputs(x, piece)
            states: list[Vector] = []
            z = circuit.run(inputs, states)
            _add_piece(circuit, _Kept(inputs, states, z), grad, edge_weight, options, total)
        return total.results()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.options, _, ctx.needs = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        present, tensors = [t is not None for t in ctx.saved_tensors], [t for t in ctx.saved_tensors if t is not None]
        check_readable(*tensors)

        def first(*given: Tensor) -> tuple[Tensor, ...]:
            some = iter(given)
            values = _plain_gradients(ctx.options, [next(some) if there else None for there in present])
            return tuple(v for v, need in zip(values, ctx.needs, strict=True) if need and v is not None)

        vjp = torch.func.vjp(first, *tensors)[1]
        gradients = iter(vjp(tuple(g for g, need in zip(grads, ctx.needs, strict=True) if need)))
        return *(next(gradients) if there else None for there in present), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any):
        *tensors, options, _, needs = args

        def given(*t: Tensor) -> tuple[Tensor | None, ...]:
            return tuple(v for v, need in zip(_plain_gradients(options, t), needs, strict=True) if need)

        run = torch.vmap(given, in_dims[:6], randomness=info.randomness)
        values = iter(run(*tensors))
        return tuple(next(values) if need else None for need in needs), tuple(0 if need else None for need in needs)


def _plain_gradients(options: Options, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """From the upstream gradient and the tensors of :func:`plain_circuits` to gradients in those that are there."""
    grad, *arguments = tensors

    def run(*given: Tensor) -> Tensor:
        some = iter(given)
        return plain_circuits(options, *(None if t is None else next(some) for t in arguments))  # type: ignore[arg-type]

    vjp = torch.func.vjp(run, *(t for t in arguments if t is not None))[1]
    gradients = iter(vjp(grad))
    return tuple(None if t is None else next(gradients) for t in arguments)


def _add_piece(
    circuit: Circuit, kept: _Kept, grad: Tensor, edge_weight: Tensor | None, options: Options, total: _Gradients
) -> None:
    """Add what one piece contributes to the gradients."""
    piece, z = kept.inputs.piece, kept.z
    upstream = grad[piece].unsqueeze(-1) if options.reduce else grad[piece]
    if total.edge_weight is not None:
        total.edge_weight[piece[1]] += (upstream * read(z, options.readout)).sum(0)
    if edge_weight is not None:
        upstream = upstream * edge_weight[piece[1]]
    slope = read_slope(z, options.readout)
    upstream = upstream if slope is None else upstream * slope
    _backward_piece(circuit, kept.inputs, list(kept.states), [None, None, upstream], total)


def circuits(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    edge_weight: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
    reduce: bool,
    keep: bool = False,
) -> Tensor:
    """Evaluate every edge circuit of a layer.

    Args:
        x: (samples, inputs), real.
        theta: (outputs, inputs, rows, angles), or (samples or 1, outputs, inputs, rows, angles) for circuits that
            differ between samples.
        weight, bias: pre-activation (outputs, inputs, reps), or None for weight 1 and bias 0.
        edge_weight: (outputs, inputs) weights of the sum over inputs, or None for ones; only with ``reduce``.
        ansatz, reps: the circuit.
        readout: ``"z"`` or ``"amplitude"``.
        reduce: sum over inputs.
        keep: keep the states of a forward pass for the backward pass instead of running the circuit again: faster,
            where 6 reps numbers per sample, output and input are affordable. Not with ``reduce``.

    Returns:
        (samples, outputs) if ``reduce``, else (samples, outputs, inputs); the dtype is that of the arguments, which
        must agree. First and second derivatives and vmap work.
    """
    options = Options(ansatz, reps, readout, reduce)
    if bloch_numba.numba_supported(x, theta, weight, bias, edge_weight):
        return _FusedCircuits.apply(x, theta, weight, bias, edge_weight, options)
    if plain_needed():
        return plain_circuits(options, x, theta, weight, bias, edge_weight)
    tensors = (None if t is None else t.resolve_neg() for t in (x, theta, weight, bias, edge_weight))
    return _BlochCircuits.apply(*tensors, options, keep)[0]  # PyTorch makes no tensors like one yet to be negated


def at_points(
    points: Tensor, theta: Tensor, weight: Tensor | None, bias: Tensor | None, *, ansatz: Ansatz, reps: int, keep: bool
) -> Tensor:
    """<Z> of every edge circuit of a layer at the same points.

    Args:
        points: (points,), real, perhaps with more digits than the parameters.
        theta, weight, bias, ansatz, reps: as in :func:`circuits`, without samples.
        keep: as in :func:`circuits`.

    Returns:
        (points, edges) in the dtype of theta, edges in the order (inputs, outputs).
    """
    x = points.unsqueeze(-1)
    # Edges stand where a layer has outputs, and there is one input.
    theta = _edges_first(theta)
    weight, bias = (None if t is None else _edges_first(t) for t in (weight, bias))
    values = circuits(x, theta, weight, bias, None, ansatz=ansatz, reps=reps, readout="z", reduce=False, keep=keep)
    return values.squeeze(-1)
