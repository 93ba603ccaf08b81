"""A circuit of a layer at some samples: the rotations with the angles that parameters and inputs give them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz, Rotation
from qkan.kernels.circuits.bloch.rotations import Adjoint, Vector, half_turn, turn, turn_back, turn_to_z
from qkan.kernels.common.host_sync import largest

Piece = tuple[slice, slice]
#: An angle beyond this is put together in double precision: in single precision its last digit would be 2e-6.
LARGE_ANGLE = 16.0


def without_angles_in_first_encoding(steps: tuple[Rotation, ...]) -> tuple[Rotation, ...]:
    """Split off the first encoding's trained angles: in front of it the state is the same for all samples."""
    k = next((k for k, step in enumerate(steps) if step.encodings), len(steps))
    if k == len(steps) or not steps[k].thetas:
        return steps
    step = steps[k]
    return *steps[:k], Rotation(step.axis, step.thetas), Rotation(step.axis, (), step.encodings), *steps[k + 1 :]


def _need_exact_angles(x: Tensor, theta: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether sums w x + b + theta get so large that single precision would round them noticeably."""
    if theta.dtype != torch.float32 or theta.device.type == "mps" or (weight is None and bias is None):
        return False  # there is no more precision, or the addition theorem keeps x and theta apart
    sizes = [None if t is None else largest(t) for t in (x, weight, theta, bias)]
    span = (sizes[0] or 0.0) * (sizes[1] or 0.0) + (sizes[2] or 0.0) + (sizes[3] or 0.0)
    return span > LARGE_ANGLE


class Circuit:
    """What all pieces of one call share: the program, and per rotation the parts that depend on parameters alone."""

    def __init__(
        self,
        x: Tensor,
        theta: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        ansatz: Ansatz,
        reps: int,
    ) -> None:
        self.dtype = theta.dtype
        self.exact_angles = _need_exact_angles(x, theta, weight, bias)
        self.steps = without_angles_in_first_encoding(ansatz.program(reps))
        self.acos = ansatz.encoding_map == "acos"
        self.per_sample = theta.dim() == 5
        self.weight, self.bias = weight, bias
        self.phases = [self._phase(step, theta) for step in self.steps]
        all_trig = theta.cos(), theta.sin()  # two calls for all rotations that have one trained angle and nothing else
        self.phase_trig = [self._trig_of(p, step, all_trig) for p, step in zip(self.phases, self.steps, strict=True)]
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
        if self.exact_angles:
            terms = [term.double() for term in terms]
        return sum(terms[1:], terms[0]) if terms else None

    def _trig_of(
        self, phase: Tensor | None, step: Rotation, all_trig: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor] | None:
        if phase is None:
            return None
        if len(step.thetas) == 1 and (self.bias is None or self.acos or not step.encodings):
            ((row, column),) = step.thetas
            return all_trig[0][..., row, column], all_trig[1][..., row, column]
        return torch.cos(phase).to(self.dtype), torch.sin(phase).to(self.dtype)

    @staticmethod
    def _sum_of(tensor: Tensor | None, step: Rotation) -> Tensor | None:
        if tensor is None or not step.encodings:
            return None
        terms = [tensor[..., index] for index in step.encodings]
        return sum(terms[1:], terms[0])

    def part(self, tensor: Tensor, piece: Piece | None) -> Tensor:
        """The rows of a parameter tensor ([samples,] outputs, inputs) that a piece touches."""
        if piece is None or tensor.dim() < 2:
            return tensor
        if self.per_sample and tensor.dim() == 3:
            return tensor[piece[0], piece[1]] if tensor.shape[0] > 1 else tensor[:, piece[1]]
        return tensor[piece[1]]

    def inputs(self, x: Tensor, piece: Piece) -> Inputs:
        """The encoded inputs of one piece of ``x`` (samples, inputs)."""
        return Inputs(self, x[piece[0]].unsqueeze(1), piece)

    def _apply(self, vector: Vector, k: int, inputs: Inputs | None, unused: int | None = None) -> None:
        step = self.steps[k]
        if step.half_turn:
            half_turn(vector, step.axis)
        else:
            turn(vector, step.axis, *self.trig(k, inputs), unused)

    def undo(self, vector: Adjoint, k: int, inputs: Inputs) -> None:
        """Take ``vector`` (in place) from behind rotation ``k`` to in front of it."""
        step = self.steps[k]
        if step.half_turn:
            half_turn(vector, step.axis)
        else:
            turn_back(vector, step.axis, *self.trig(k, inputs))

    def trig(self, k: int, inputs: Inputs | None) -> tuple[Tensor, Tensor]:
        """Cosine and sine of rotation ``k`` for one piece."""
        if inputs is not None and self.steps[k].encodings:
            return inputs.trig(k)
        trig = self.phase_trig[k]
        if trig is None:
            raise ValueError(f"rotation {k} has neither trained angles nor encodings")
        piece = None if inputs is None else inputs.piece
        return self.part(trig[0], piece), self.part(trig[1], piece)

    def run(self, inputs: Inputs, states: list[Vector] | None = None) -> Tensor:
        """<Z> at the end of the circuit for one piece, (samples, outputs, inputs).

        Every Bloch vector in front of a rotation behind the prefix is added to ``states``, if that is given.
        """
        vector = [self.part(component, inputs.piece) for component in self.start]
        last = len(self.steps) - 1
        for k in range(self.prefix, len(self.steps)):
            if states is not None:
                states.append(list(vector))
            if k == last and not self.steps[k].half_turn:
                return turn_to_z(vector, self.steps[k].axis, *self.trig(k, inputs))
            self._apply(vector, k, inputs, unused=self.steps[last].axis if k == last - 1 else None)
        # Where no encoding reaches <Z>, the prefix alone has no samples yet.
        return vector[2].expand(inputs.x.shape[0], -1, -1) if vector[2].dim() == 2 else vector[2]


class Inputs:
    """The encoded inputs of one piece: ``x`` is (samples, 1, inputs), perhaps with more digits than the parameters."""

    def __init__(self, circuit: Circuit, x: Tensor, piece: Piece) -> None:
        self.circuit, self.x, self.piece = circuit, x.to(circuit.dtype), piece
        self.exact_x = x.double() if circuit.exact_angles else x
        self._plain: dict[int, tuple[Tensor, Tensor]] = {}
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def angle(self, index: int) -> Tensor:
        """w_l x + b_l."""
        circuit, angle = self.circuit, self.x
        if circuit.weight is not None:
            angle = angle * circuit.part(circuit.weight[..., index], self.piece)
        if circuit.bias is not None:
            angle = angle + circuit.part(circuit.bias[..., index], self.piece)
        return angle

    def map_slope(self, index: int) -> Tensor | None:
        """d encoded angle / d (w_l x + b_l), or None where it is 1."""
        if not self.circuit.acos:
            return None
        return -(1 - self.angle(index) ** 2).rsqrt()

    def trig(self, k: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the encoded rotation ``k``, computed once."""
        if k not in self._known:
            self._known[k] = self._compute(k)
        return self._known[k]

    def _compute(self, k: int) -> tuple[Tensor, Tensor]:
        circuit = self.circuit
        step, phase = circuit.steps[k], circuit.phases[k]
        if circuit.acos:
            angles = [torch.acos(self.angle(index)) for index in step.encodings]
            if phase is not None:
                angles.append(circuit.part(phase, self.piece))
            angle = sum(angles[1:], angles[0])
        elif (encoding_weight := circuit.encoding_weight[k]) is not None:
            weight = circuit.part(encoding_weight, self.piece)
            angle = self.exact_x * weight if circuit.exact_angles else self.x * weight
            if phase is not None:
                angle = angle + circuit.part(phase, self.piece)
        else:
            return self._unweighted(k, len(step.encodings))
        if circuit.exact_angles:
            angle = angle.remainder(2 * math.pi).to(circuit.dtype)
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
        cos_phase, sin_phase = (circuit.part(part, self.piece) for part in trig)
        return (
            torch.addcmul(cos * cos_phase, sin, sin_phase, value=-1),
            torch.addcmul(sin * cos_phase, cos, sin_phase),
        )
