"""What the Triton kernels of circuits are told, and the same computation in plain operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz, Rotation
from qkan.kernels.circuits.bloch.rotations import ACOS, FIXED, LINEAR, half_turn, read, turn

#: Bits of one rotation in the packed circuit: axis 2, encodings 6, phase 8, first encoding 8 (the kernels write 24).
STEP_BITS = 24


@dataclass(frozen=True)
class Plan:
    """A circuit as the kernels see it.

    Attributes:
        mode: :data:`FIXED`, :data:`LINEAR` or :data:`ACOS`.
        program: the packed rotations, :data:`STEP_BITS` bits each.
        rotations: of the circuit, each with whether it has a phase plane.
        prefix: how many of them come before the first encoding.
        phases: for each phase plane the rotation that it belongs to.
        encodings: for each encoding plane the pre-activations whose weights it sums; none if FIXED.
    """

    mode: int
    program: int
    rotations: tuple[tuple[Rotation, bool], ...]
    prefix: int
    phases: tuple[Rotation, ...]
    encodings: tuple[tuple[int, ...], ...]

    @property
    def steps(self) -> int:
        """How many rotations there are."""
        return len(self.rotations)

    @property
    def slots(self) -> int:
        """Parameter planes with gradients, but for edge_weight."""
        return len(self.phases) + len(self.encodings) * (2 if self.mode == ACOS else 1)


@lru_cache(maxsize=256)
def make_plan(ansatz: Ansatz, reps: int, weighted: bool, biased: bool) -> Plan:
    """Pack a circuit whose pre-activations have weights and biases or not."""
    steps = ansatz.program(reps)
    mode = FIXED
    if ansatz.encoding_map == "acos":
        mode = ACOS if weighted or biased else FIXED
    elif weighted:
        mode = LINEAR
    phases: list[Rotation] = []
    encodings: list[tuple[int, ...]] = []
    rotations: list[tuple[Rotation, bool]] = []
    program = 0
    for k, step in enumerate(steps):
        digit = step.axis | len(step.encodings) << 2
        if step.encodings:
            digit |= len(encodings) << 16
        has_phase = bool(step.thetas or (biased and step.encodings and mode != ACOS))
        rotations.append((step, has_phase))
        if has_phase:
            phases.append(step)
            digit |= len(phases) << 8
        if mode == LINEAR and step.encodings:
            encodings.append(step.encodings)
        elif mode == ACOS:
            encodings.extend((index,) for index in step.encodings)
        program |= digit << (STEP_BITS * k)
    prefix = next((k for k, step in enumerate(steps) if step.encodings), len(steps))
    return Plan(mode, program, tuple(rotations), prefix, tuple(phases), tuple(encodings))


@dataclass(frozen=True)
class Call:
    """What the kernels need to know beside tensors.

    Attributes:
        plan: the circuit.
        start: the Bloch vector that it starts from.
        amplitude: whether the amplitude is read, not <Z>.
        diagonal: whether every input has its own output and nothing is summed.
        dtype: of the result.
        auto: whether another backend may compute what cannot be built.
    """

    plan: Plan
    start: tuple[float, float, float]
    amplitude: bool
    diagonal: bool
    dtype: torch.dtype
    auto: bool = False


def plain_circuits(
    call: Call, x: Tensor, phases: Tensor, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None
) -> Tensor:
    """What the kernels compute, in differentiable operations: for second derivatives, which they lack.

    Args:
        call: the circuit.
        x, phases, weight, bias, edge_weight: planes of the kernels (``triton_gpu``).

    Returns:
        (samples, outputs) in ``call.dtype``.
    """
    x = x.float().unsqueeze(1 if call.diagonal else 2)
    vector = [phases.new_tensor(component) for component in call.start]
    phase = encoding = 0
    for rotation, has_phase in call.plan.rotations:
        if rotation.half_turn:
            half_turn(vector, rotation.axis)
            continue
        angles = []
        if has_phase:
            angles.append(phases[phase])
            phase += 1
        if rotation.encodings and call.plan.mode == FIXED:
            angles.append(len(rotation.encodings) * x)
        elif rotation.encodings and call.plan.mode == LINEAR and weight is not None:
            # A rounded product of large numbers would have no digits left behind the whole turns.
            turns = weight[encoding].double() * x.double()
            angles.append((turns - (turns.detach() / math.tau).round() * math.tau).float())
            encoding += 1
        elif rotation.encodings and weight is not None and bias is not None:
            for _ in rotation.encodings:
                angles.append(torch.acos(torch.addcmul(bias[encoding], weight[encoding], x)))
                encoding += 1
        cosine, sine = torch.ones_like(x), torch.zeros_like(x)
        for angle in angles:  # by the addition theorem: a sum of angles would lose their digits
            cos, sin = angle.cos(), angle.sin()
            cosine, sine = cosine * cos - sine * sin, sine * cos + cosine * sin
        turn(vector, rotation.axis, cosine, sine)
    value = read(vector[2], "amplitude" if call.amplitude else "z")
    value = value if edge_weight is None else value * edge_weight
    value = value.expand(x.shape[0], *phases.shape[1:])
    return (value.squeeze(1) if call.diagonal else value.sum(1)).to(call.dtype)
