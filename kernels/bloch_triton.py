"""DARUAN layers on the Bloch sphere in Triton, for CUDA and ROCm devices.

The mathematics is that of :mod:`qkan.kernels.bloch`; the kernels, one forward and one backward for all circuits, are in
:mod:`qkan.kernels.bloch_triton_jit`. This module lays the parameters out for them and needs no Triton to be imported.

Everything that depends on parameters alone is done here in PyTorch, differentiably: the part of each rotation angle
that no input reaches (trained angles and biases) is summed in double precision and taken modulo 2 pi, so a large bias
costs no digits. The kernels see planes (plane, inputs, outputs) of such phases, of their cosines and sines and of
encoding weights. With fixed pre-activations cosine and sine of every input are computed here too, so the kernels do no
trigonometry at all; with trained ones they reduce the exact product w x (see ``_sine_cosine`` there).

Sums over samples, and over inputs or blocks of outputs where several programs share them, are written to buffers that
a second pass adds up in a fixed order: there are no atomics and runs repeat bit for bit. Their sizes are bounded
(:data:`PROGRAMS` tiles), but for the gradient of x, which has one plane of its size per block of outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from qkan.kernels.ansatz import Ansatz, Rotation

#: How an encoding becomes a cosine and a sine; see :mod:`qkan.kernels.bloch_triton_jit`.
FIXED, LINEAR, ACOS = 0, 1, 2
#: Bits of one rotation in the packed circuit: axis 2, encodings 6, phase 8, first encoding 8.
STEP_BITS = 24
#: The kernels are unrolled over the circuit, so compile time and registers grow with the repetitions.
MAX_REPS = 32
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: Programs to start if there is that much work: sixteen warps for each of 132 multiprocessors.
PROGRAMS = 2048
#: Fewest inputs that one program sums, so that no buffer comes near samples x outputs x inputs.
MIN_INPUTS = 4


@dataclass(frozen=True)
class Plan:
    """A circuit as the kernels see it.

    Attributes:
        mode: :data:`FIXED`, :data:`LINEAR` or :data:`ACOS`.
        program: the packed rotations, :data:`STEP_BITS` bits each.
        steps, prefix: how many rotations there are, and how many come before the first encoding.
        phases: for each phase plane the rotation that it belongs to.
        encodings: for each encoding plane the pre-activations whose weights it sums; none if FIXED.
    """

    mode: int
    program: int
    steps: int
    prefix: int
    phases: tuple[Rotation, ...]
    encodings: tuple[tuple[int, ...], ...]

    @property
    def slots(self) -> int:
        """Parameter planes with gradients, but for mix."""
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
    program = 0
    for k, step in enumerate(steps):
        digit = step.axis | len(step.encodings) << 2 | len(encodings) << 16
        if step.thetas or (biased and step.encodings and mode != ACOS):
            phases.append(step)
            digit |= len(phases) << 8
        if mode == LINEAR and step.encodings:
            encodings.append(step.encodings)
        elif mode == ACOS:
            encodings.extend((index,) for index in step.encodings)
        program |= digit << (STEP_BITS * k)
    prefix = next((k for k, step in enumerate(steps) if step.encodings), len(steps))
    return Plan(mode, program, len(steps), prefix, tuple(phases), tuple(encodings))


def _stack(rows: Tensor, sums: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sums of tensors as planes. ``rows`` keeps an empty result in the graph: its gradient is zero, not missing."""
    planes = [sum(terms[1:], terms[0]).unsqueeze(0) for terms in sums]
    return torch.cat([rows[:0], *planes])


def _phases(plan: Plan, theta: Tensor, bias: Tensor | None) -> Tensor:
    """(phases, inputs, outputs) in float32 within [-pi, pi], from theta (outputs, inputs, rows, angles)."""
    columns = theta.shape[-1]
    rows = theta.double().permute(2, 3, 1, 0).flatten(0, 1)
    angles = rows.unbind()
    biases = () if bias is None or plan.mode == ACOS else bias.double().permute(2, 1, 0).unbind()
    sums = [
        [angles[row * columns + column] for row, column in step.thetas]
        + ([biases[index] for index in step.encodings] if biases else [])
        for step in plan.phases
    ]
    phases = _stack(rows, sums)
    return (phases - (phases.detach() / math.tau).round() * math.tau).float()


def _encoding_planes(plan: Plan, tensor: Tensor) -> Tensor:
    """(encodings, inputs, outputs) in float32, from pre-activation parameters (outputs, inputs, reps)."""
    rows = tensor.float().permute(2, 1, 0)
    each = rows.unbind()
    return _stack(rows, [[each[index] for index in group] for group in plan.encodings])


@dataclass(frozen=True)
class _Call:
    """What the autograd function needs to know beside tensors."""

    plan: Plan
    start: tuple[float, float, float]
    amplitude: bool
    diagonal: bool
    dtype: torch.dtype


def lanes(device: torch.device) -> int:
    """Lanes of a warp: 32, or 64 on AMD's data-centre chips."""
    if device.type != "cuda":
        return 32
    return _device_lanes(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=64)
def _device_lanes(index: int) -> int:
    from triton.runtime import driver

    with torch.cuda.device(index):
        return driver.active.get_current_target().warp_size


def tile(plan: Plan, outputs: int, lanes: int, backward: bool) -> tuple[int, int]:
    """Samples and outputs of a tile."""
    block_o = min(lanes, 1 << max(0, outputs - 1).bit_length())
    return 8 * lanes // block_o, block_o


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _share(work: int, others: int, least: int = 1) -> tuple[int, int]:
    """Cut ``work`` items into (pieces, items a piece), about :data:`PROGRAMS` programs with ``others`` a piece."""
    pieces = max(1, min(-(-work // least), -(-PROGRAMS // max(1, others))))
    chunk = -(-work // pieces)
    return -(-work // chunk), chunk


def _arguments(x: Tensor, phases: Tensor, weight: Tensor | None, bias: Tensor | None, mix: Tensor | None, call: _Call, block_o: int):
    """The two tensors that both kernels read, and what is constant when they are compiled."""
    plan = call.plan
    layout = x.float() if call.diagonal else x.float().t()
    inputs = torch.stack((layout.cos(), layout.sin())) if plan.mode == FIXED else layout.contiguous()
    planes = [phases.cos(), phases.sin()]
    if weight is not None:
        planes.append(weight)
        planes.append(phases if bias is None else bias)
    if mix is not None:
        planes.append(mix.unsqueeze(0))
    packed = torch.cat(planes)
    count, rows, outputs = packed.shape
    packed = F.pad(packed, (0, -outputs % block_o)).view(count, rows, -1, block_o).permute(1, 2, 0, 3).contiguous()
    constants = {
        "START_X": call.start[0],
        "START_Y": call.start[1],
        "START_Z": call.start[2],
        "PROGRAM": plan.program,
        "STEPS": plan.steps,
        "PHASES": len(plan.phases),
        "ENCODINGS": len(plan.encodings),
        "MODE": plan.mode,
        "PLANES": count,
        "MIX": -1 if mix is None else count - 1,
        "AMPLITUDE": call.amplitude,
        "DIAGONAL": call.diagonal,
        "num_warps": 1,
        "num_stages": 1,
    }
    return inputs, packed, constants


class _BlochTriton(torch.autograd.Function):
    """Sum over inputs of mix * phi; x (samples, inputs), phases, weight, bias (n, inputs, outputs), mix (inputs, outputs).

    If ``call.diagonal``, x is (samples, outputs), ``inputs`` is 1 and nothing is summed.
    """

    @staticmethod
    def forward(x, phases, weight, bias, mix, call: _Call):
        from qkan.kernels.bloch_triton_jit import forward_kernel

        samples, (inputs, outputs) = x.shape[0], phases.shape[1:]
        if 0 in (samples, inputs, outputs):
            return x.new_zeros((samples, outputs), dtype=call.dtype)
        with _on(x.device):
            block_b, block_o = tile(call.plan, outputs, lanes(x.device), backward=False)
            tiles = -(-samples // block_b) * -(-outputs // block_o)
            splits, chunk = _share(inputs, tiles, MIN_INPUTS)
            x_planes, planes, constants = _arguments(x, phases, weight, bias, mix, call, block_o)
            dtype = call.dtype if splits == 1 else torch.float32
            out = torch.empty((splits, samples, outputs), device=x.device, dtype=dtype)
            forward_kernel[(tiles * splits,)](
                x_planes, planes, out, samples, inputs, outputs, chunk, **constants, BLOCK_B=block_b, BLOCK_O=block_o
            )
            return out[0] if splits == 1 else out.sum(0).to(call.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.call = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        x, phases, weight, bias, mix = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[:5]
        with _on(x.device):
            grad_x, sums = _gradients(x, phases, weight, bias, mix, grad, ctx.call, wants_x, any(wanted))
        sizes = [0 if tensor is None else tensor.shape[0] for tensor in (phases, weight, bias)]
        results = [grad_x]
        if any(wanted):
            parts = [*sums.split([*sizes, sums.shape[0] - sum(sizes)])]
            results += [part if want else None for part, want in zip(parts[:3], wanted[:3], strict=True)]
            results += [parts[3].squeeze(0) if wanted[3] else None]
        else:
            results += [None] * 4
        return *results, None


def _gradients(x, phases, weight, bias, mix, grad, call: _Call, wants_x: bool, wants_planes: bool):
    """Gradients of x and of all parameter planes, those of mix last; None or zeros where they are not wanted."""
    from qkan.kernels.bloch_triton_jit import backward_kernel

    plan = call.plan
    samples, (inputs, outputs) = x.shape[0], phases.shape[1:]
    slots = plan.slots + (mix is not None)
    if 0 in (samples, inputs, outputs):
        return torch.zeros_like(x), phases.new_zeros((slots, inputs, outputs))
    block_b, block_o = tile(plan, outputs, lanes(x.device), backward=True)
    blocks = -(-outputs // block_o)
    splits, chunk = _share(-(-samples // block_b), blocks * inputs)
    x_planes, planes, constants = _arguments(x, phases, weight, bias, mix, call, block_o)
    partial = planes.new_empty((splits, inputs, blocks, slots, block_o) if wants_planes else (1,))
    shape = (samples, outputs) if call.diagonal else (blocks, inputs, samples)
    grad_x = planes.new_empty(shape if wants_x else (1,))
    backward_kernel[(blocks * inputs * splits,)](
        x_planes,
        planes,
        grad.contiguous(),
        grad_x,
        partial,
        samples,
        inputs,
        outputs,
        chunk,
        0,
        PREFIX=plan.prefix,
        SLOTS=slots,
        ROWS=1 << max(0, slots - 1).bit_length(),
        WANTS_X=wants_x,
        WANTS_PLANES=wants_planes,
        BLOCK_B=block_b,
        BLOCK_O=block_o,
        **constants,
    )
    if wants_x:
        grad_x = grad_x if call.diagonal else grad_x.sum(0).t()
    sums = partial.sum(0).permute(2, 0, 1, 3).flatten(2)[..., :outputs] if wants_planes else None
    return grad_x.to(x.dtype) if wants_x else None, sums
