"""DARUAN layers on the Bloch sphere, with a hand-written adjoint backward.

A single-qubit pure state is a unit vector s = (X, Y, Z) and every gate rotates it, so the circuit needs no complex
numbers and <Z> is simply Z. Nothing but the arguments is kept between the passes: the backward pass runs the circuit
again. With lambda = d loss / d s behind a rotation about axis a by angle t, turning lambda back by -t gives the one in
front of it, and d loss / d t = lambda . (a x s) there as well as here.

The work is done in pieces of the batch and of the outputs that fit a processor's cache. Beyond arguments, outputs and
gradients the memory in use is one piece (in the backward pass with the states behind its rotations) and the sine and
cosine of every trained angle. A piece does not grow with the batch, the outputs or the repetitions, until at very many
repetitions or inputs it is down to :data:`PIECE_SAMPLES` samples of one output. Under a compiler, which fuses by
itself, there is one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qkan.kernels.ansatz import Ansatz, Rotation

#: Elements (samples x outputs x inputs) of one piece at one repetition: half a megabyte in single precision, so that
#: what a rotation touches stays in the caches. On two cores 2 ** 16 and 2 ** 18 are slower (docs/decisions.md).
PIECE_ELEMENTS = 2**17
#: Fewest samples in a piece (if there are as many): parameters are read once per piece.
PIECE_SAMPLES = 16
#: Keeps the slope of the amplitude readout finite at the poles, where |alpha| or |beta| has a kink.
AMPLITUDE_FLOOR = 1e-12

Vector = list[Tensor]
#: d loss / d s; None is a component that is zero.
Adjoint = list[Tensor | None]


def turn(vector: Vector, axis: int, cos: Tensor, sin: Tensor) -> None:
    """Rotate ``vector`` in place (the list, not its tensors) about a coordinate axis; any broadcastable shapes."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    u, v = vector[first], vector[second]
    vector[first] = torch.addcmul(cos * u, sin, v, value=-1)
    vector[second] = torch.addcmul(sin * u, cos, v)


def turn_back(vector: Adjoint, axis: int, cos: Tensor, sin: Tensor) -> None:
    """Undo :func:`turn`; None stands for a component that is zero."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    u, v = vector[first], vector[second]
    if u is None and v is None:
        return
    if v is None:
        vector[first], vector[second] = cos * u, -sin * u
    elif u is None:
        vector[first], vector[second] = sin * v, cos * v
    else:
        vector[first] = torch.addcmul(cos * u, sin, v)
        vector[second] = torch.addcmul(cos * v, sin, u, value=-1)


def turn_to_z(vector: Vector, axis: int, cos: Tensor, sin: Tensor) -> Tensor:
    """The z component behind :func:`turn` about x or y."""
    if axis == 1:
        return torch.addcmul(cos * vector[2], sin, vector[0], value=-1)
    return torch.addcmul(cos * vector[2], sin, vector[1])


def half_turn(vector: Adjoint, axis: int) -> None:
    """A Pauli gate: flips the two components across its axis; its own inverse."""
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


class _Circuit:
    """What all pieces of one call share: the program, and per rotation the parts that depend on parameters alone."""

    def __init__(
        self, theta: Tensor, weight: Tensor | None, bias: Tensor | None, ansatz: Ansatz, reps: int, per_sample: bool
    ) -> None:
        self.steps = ansatz.program(reps)
        self.acos = ansatz.encoding_map == "acos"
        self.per_sample = per_sample
        self.weight, self.bias = weight, bias
        self.phases = [self._phase(step, theta) for step in self.steps]
        self.phase_trig = [None if p is None else (torch.cos(p), torch.sin(p)) for p in self.phases]
        self.encoding_weight = [self._sum_of(weight, step) for step in self.steps]
        encoded = [k for k, step in enumerate(self.steps) if step.encodings]
        self.prefix = encoded[0] if encoded else len(self.steps)
        self.start = [theta.new_tensor(component) for component in ansatz.initial]
        for k in range(self.prefix):
            self._apply(self.start, k, None)

    def _phase(self, step: Rotation, theta: Tensor) -> Tensor | None:
        """The part of a rotation angle that no input reaches: trained angles, pre-activation biases (but for acos)."""
        terms = [theta[..., row, column] for row, column in step.thetas]
        if self.bias is not None and not self.acos:
            terms += [self.bias[..., index] for index in step.encodings]
        return sum(terms[1:], terms[0]) if terms else None

    @staticmethod
    def _sum_of(tensor: Tensor | None, step: Rotation) -> Tensor | None:
        if tensor is None or not step.encodings:
            return None
        terms = [tensor[..., index] for index in step.encodings]
        return sum(terms[1:], terms[0])

    def _part(self, tensor: Tensor, piece: tuple[slice, slice] | None) -> Tensor:
        """The rows of a parameter tensor ([samples,] outputs, inputs) that a piece touches."""
        if piece is None or tensor.dim() < 2:
            return tensor
        if self.per_sample and tensor.dim() == 3:
            return tensor[piece[0], piece[1]] if tensor.shape[0] > 1 else tensor[:, piece[1]]
        return tensor[piece[1]]

    def inputs(self, x: Tensor, piece: tuple[slice, slice]) -> _Inputs:
        return _Inputs(self, x[piece[0]].unsqueeze(1), piece)

    def _apply(self, vector: Vector, k: int, inputs: _Inputs | None) -> None:
        step = self.steps[k]
        if step.half_turn:
            half_turn(vector, step.axis)
        else:
            turn(vector, step.axis, *self.trig(k, inputs))

    def trig(self, k: int, inputs: _Inputs | None) -> tuple[Tensor, Tensor]:
        """Cosine and sine of rotation ``k`` for one piece."""
        if inputs is not None and self.steps[k].encodings:
            return inputs.trig(k)
        trig = self.phase_trig[k]
        if trig is None:
            raise ValueError(f"rotation {k} has neither trained angles nor encodings")
        piece = None if inputs is None else inputs.piece
        return self._part(trig[0], piece), self._part(trig[1], piece)

    def run(self, inputs: _Inputs, states: list[Vector] | None = None) -> Tensor:
        """<Z> at the end of the circuit for one piece, (samples, outputs, inputs).

        Every Bloch vector in front of a rotation behind the prefix is added to ``states``, if that is given.
        """
        vector = [self._part(component, inputs.piece) for component in self.start]
        last = len(self.steps) - 1
        for k in range(self.prefix, len(self.steps)):
            if states is not None:
                states.append(list(vector))
            if k == last and not self.steps[k].half_turn:
                return turn_to_z(vector, self.steps[k].axis, *self.trig(k, inputs))
            self._apply(vector, k, inputs)
        return vector[2]


class _Inputs:
    """The encoded inputs of one piece: ``x`` is (samples, 1, inputs)."""

    def __init__(self, circuit: _Circuit, x: Tensor, piece: tuple[slice, slice]) -> None:
        self.circuit, self.x, self.piece = circuit, x, piece
        self._plain: dict[int, tuple[Tensor, Tensor]] = {}
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def angle(self, index: int) -> Tensor:
        """w_l x + b_l."""
        circuit, angle = self.circuit, self.x
        if circuit.weight is not None:
            angle = angle * circuit._part(circuit.weight[..., index], self.piece)
        if circuit.bias is not None:
            angle = angle + circuit._part(circuit.bias[..., index], self.piece)
        return angle

    def map_slope(self, index: int) -> Tensor | None:
        """d encoded angle / d (w_l x + b_l), or None where it is 1."""
        if not self.circuit.acos:
            return None
        return -(1 - self.angle(index) ** 2).rsqrt()

    def trig(self, k: int) -> tuple[Tensor, Tensor]:
        if k not in self._known:
            self._known[k] = self._compute(k)
        return self._known[k]

    def _compute(self, k: int) -> tuple[Tensor, Tensor]:
        circuit = self.circuit
        step, phase = circuit.steps[k], circuit.phases[k]
        if circuit.acos:
            angles = [torch.acos(self.angle(index)) for index in step.encodings]
            if phase is not None:
                angles.append(circuit._part(phase, self.piece))
            angle = sum(angles[1:], angles[0])
        elif circuit.weight is not None:
            angle = self.x * circuit._part(circuit.encoding_weight[k], self.piece)  # type: ignore[arg-type]
            if phase is not None:
                angle = angle + circuit._part(phase, self.piece)
        else:
            return self._unweighted(k, len(step.encodings))
        return torch.cos(angle), torch.sin(angle)

    def _unweighted(self, k: int, times: int) -> tuple[Tensor, Tensor]:
        """cos and sin of (times x + phase) by the addition theorem: trigonometry per input, not per edge."""
        circuit = self.circuit
        if times not in self._plain:
            self._plain[times] = torch.cos(times * self.x), torch.sin(times * self.x)
        cos, sin = self._plain[times]
        trig = circuit.phase_trig[k]
        if trig is None:
            return cos, sin
        cos_phase, sin_phase = (circuit._part(part, self.piece) for part in trig)
        return (
            torch.addcmul(cos * cos_phase, sin, sin_phase, value=-1),
            torch.addcmul(sin * cos_phase, cos, sin_phase),
        )


def _pieces(samples: int, outputs: int, inputs: int, reps: int) -> Iterator[tuple[slice, slice]]:
    """Cut (samples, outputs, inputs) into cache-sized pieces; one piece under a compiler, which fuses by itself."""
    if torch.compiler.is_compiling() or samples == 0:
        yield slice(0, samples), slice(0, outputs)
        return
    # The backward pass of a piece keeps the states and the sines and cosines of its encodings.
    elements = max(1, PIECE_ELEMENTS * 8 // (6 + 2 * reps))
    rows = max(1, inputs)
    take = _share(samples, max(PIECE_SAMPLES, elements // (rows * outputs)))
    wide = _share(outputs, max(1, elements // (rows * take)))
    for low in range(0, outputs, wide):
        for first in range(0, samples, take):
            yield slice(first, min(first + take, samples)), slice(low, min(low + wide, outputs))


def _share(total: int, most: int) -> int:
    """The size of equal parts of ``total`` (but for rounding) of at most ``most``."""
    return -(-total // -(-total // min(total, most)))


def _forward(x: Tensor, circuit: _Circuit, mix: Tensor | None, outputs: int, readout: str, reduce: bool, reps: int):
    samples, features = x.shape
    shape = (samples, outputs) if reduce else (samples, outputs, features)
    out = x.new_empty(shape)
    for piece in _pieces(samples, outputs, features, reps):
        value = read(circuit.run(circuit.inputs(x, piece)), readout)
        if not reduce:
            out[piece] = value
            continue
        if mix is not None:
            value = value * mix[piece[1]]
        out[piece] = value.expand(piece[0].stop - piece[0].start, -1, features).sum(-1)
    return out


class _Gradients:
    """Sums of gradients over the pieces, None where none is needed; entries that no rotation feeds stay zero."""

    def __init__(self, needs: Sequence[bool], *tensors: Tensor | None) -> None:
        x, theta, weight, bias, mix = (t if need else None for t, need in zip(tensors, needs, strict=True))
        self.x = None if x is None else torch.zeros_like(x)
        # Parameters first, so that each (outputs, inputs) plane is contiguous while pieces add to it.
        self.theta = None if theta is None else theta.new_zeros((*theta.shape[-2:], *theta.shape[:-2]))
        self.weight, self.bias = (
            None if t is None else t.new_zeros((t.shape[-1], *t.shape[:-1])) for t in (weight, bias)
        )
        self.mix = None if mix is None else torch.zeros_like(mix)

    def results(self) -> tuple[Tensor | None, ...]:
        theta = None if self.theta is None else self.theta.movedim((0, 1), (-2, -1))
        weight, bias = (None if t is None else t.movedim(0, -1) for t in (self.weight, self.bias))
        return self.x, theta, weight, bias, self.mix


def _add(total: Tensor, circuit: _Circuit, piece: tuple[slice, slice], gradient: Tensor) -> None:
    """Add a (samples, outputs, inputs) gradient to a parameter plane, summed over samples unless the plane has them."""
    if circuit.per_sample and total.dim() == 3:
        if total.shape[0] == 1:
            total[:, piece[1]] += gradient.sum(0, keepdim=True)
        else:
            total[piece] += gradient
    else:
        total[piece[1]] += gradient if gradient.dim() == 2 else gradient.sum(0)


def _backward_piece(
    circuit: _Circuit, inputs: _Inputs, states: list[Vector], adjoint: Adjoint, total: _Gradients
) -> None:
    piece = inputs.piece
    for k in reversed(range(circuit.prefix, len(circuit.steps))):
        _undo(circuit, inputs, k, adjoint)
        _add_angle(circuit, inputs, k, states.pop(), adjoint, total)
    if not circuit.per_sample:
        # In front of the first encoding the state is the same for all samples, so lambda may be summed over them.
        adjoint = [None if part is None else part.sum(0) if part.dim() == 3 else part for part in adjoint]
    vector: Vector = [circuit._part(component, piece) for component in circuit.start]
    for k in reversed(range(circuit.prefix)):
        _undo(circuit, inputs, k, adjoint)
        _undo(circuit, inputs, k, vector)  # type: ignore[arg-type]
        _add_angle(circuit, inputs, k, vector, adjoint, total)


def _undo(circuit: _Circuit, inputs: _Inputs, k: int, vector: Adjoint) -> None:
    step = circuit.steps[k]
    if step.half_turn:
        half_turn(vector, step.axis)
    else:
        turn_back(vector, step.axis, *circuit.trig(k, inputs))


def _add_angle(circuit: _Circuit, inputs: _Inputs, k: int, vector: Vector, adjoint: Adjoint, total: _Gradients) -> None:
    """Add d loss / d angle of rotation ``k`` to what makes up the angle; both vectors stand in front of it."""
    step = circuit.steps[k]
    first, second = (step.axis + 1) % 3, (step.axis + 2) % 3
    up, down = adjoint[second], adjoint[first]
    if step.half_turn or (up is None and down is None):
        return
    if up is None:
        gradient = down * -vector[second]
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


def _add_encoding(circuit: _Circuit, inputs: _Inputs, index: int, gradient: Tensor, total: _Gradients) -> None:
    piece = inputs.piece
    if total.bias is not None:
        _add(total.bias[index], circuit, piece, gradient)
    if total.weight is not None:
        _add(total.weight[index], circuit, piece, gradient * inputs.x)
    if total.x is not None:
        if circuit.weight is not None:
            gradient = gradient * circuit._part(circuit.weight[..., index], piece)
        total.x[piece[0]] += gradient.sum(1)


class _BlochCircuits(torch.autograd.Function):
    """phi of every (sample, output, input), summed over inputs with weights ``mix`` if ``reduce``."""

    @staticmethod
    def forward(x, theta, weight, bias, mix, ansatz: Ansatz, reps: int, readout: str, reduce: bool):
        circuit = _Circuit(theta, weight, bias, ansatz, reps, theta.dim() == 5)
        return _forward(x, circuit, mix, theta.shape[-4], readout, reduce, reps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, theta, weight, bias, mix, *ctx.options = inputs
        ctx.save_for_backward(x, theta, weight, bias, mix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        x, theta, weight, bias, mix = ctx.saved_tensors
        ansatz, reps, readout, reduce = ctx.options
        circuit = _Circuit(theta, weight, bias, ansatz, reps, theta.dim() == 5)
        total = _Gradients(ctx.needs_input_grad[:5], x, theta, weight, bias, mix)
        for piece in _pieces(x.shape[0], theta.shape[-4], x.shape[1], reps):
            inputs = circuit.inputs(x, piece)
            states: list[Vector] = []
            z = circuit.run(inputs, states)
            upstream = grad[piece].unsqueeze(-1) if reduce else grad[piece]
            if total.mix is not None:
                total.mix[piece[1]] += (upstream * read(z, readout)).sum(0)
            if mix is not None:
                upstream = upstream * mix[piece[1]]
            slope = read_slope(z, readout)
            upstream = upstream if slope is None else upstream * slope
            _backward_piece(circuit, inputs, states, [None, None, upstream], total)
        return *total.results(), None, None, None, None


def circuits(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mix: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
    reduce: bool,
) -> Tensor:
    """Evaluate every edge circuit of a layer.

    Args:
        x: (samples, inputs), real.
        theta: (outputs, inputs, rows, angles), or (samples or 1, outputs, inputs, rows, angles) for circuits that
            differ between samples.
        weight, bias: pre-activation (outputs, inputs, reps), or None for weight 1 and bias 0.
        mix: (outputs, inputs) weights of the sum over inputs, or None for ones; only with ``reduce``.
        ansatz, reps: the circuit.
        readout: ``"z"`` or ``"amplitude"``.
        reduce: sum over inputs.

    Returns:
        (samples, outputs) if ``reduce``, else (samples, outputs, inputs); the dtype is that of the arguments, which
        must agree.
    """
    return _BlochCircuits.apply(x, theta, weight, bias, mix, ansatz, reps, readout, reduce)


def plain_circuits(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
) -> Tensor:
    """:func:`circuits` without a sum, in plain operations without pieces, which any exporter can follow."""
    circuit = _Circuit(theta, weight, bias, ansatz, reps, per_sample=False)
    z = read(circuit.run(circuit.inputs(x, (slice(None), slice(None)))), readout)
    return z.expand(x.shape[0], -1, x.shape[1])
