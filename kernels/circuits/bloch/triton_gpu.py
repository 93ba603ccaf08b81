"""DARUAN layers on the Bloch sphere in Triton, for CUDA and ROCm devices.

The mathematics is that of :mod:`qkan.kernels.circuits.bloch.pytorch`; the kernels, one forward and one backward for all
circuits, are in :mod:`qkan.kernels.circuits.bloch.triton_kernels`. This module lays the parameters out for them; it
imports without Triton.

Everything that depends on parameters alone is done here in PyTorch, differentiably: the part of each rotation angle
that no input reaches (trained angles and biases) is summed in double precision and taken modulo 2 pi, so a large bias
costs no digits. The kernels see planes (plane, inputs, outputs) of such phases, of their cosines and sines and of
encoding weights. With fixed pre-activations cosine and sine of every input are computed here too, so the kernels do no
trigonometry at all; with trained ones they reduce the exact product w x. Second derivatives go through plain
operations on the same planes (:func:`qkan.kernels.circuits.bloch.triton_plan.plain_circuits`).

Sums over samples, and over inputs or blocks of outputs where several programs share them, are written to buffers that
a second pass adds up in a fixed order: there are no atomics and runs repeat bit for bit. Their sizes are bounded
(:data:`PROGRAMS` tiles), but for the gradient of x, which has one plane of its size per block of outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.rotations import ACOS, FIXED
from qkan.kernels.circuits.bloch.triton_plan import Call, Plan, make_plan, plain_circuits
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.common.tensors import check_readable, in_memory
from qkan.kernels.common.triton_device import (
    KernelUnavailableError,
    device_problem,
    lanes,
    launching,
    no_triton,
    warn_once,
)
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed

#: The kernels are unrolled over the circuit and the compiler takes time by the square of its length: for `pz` about a
#: second at 3 repetitions, seven at 8, three quarters of a minute at 16. What is compiled is cached on disk.
MAX_REPS, MAX_ROTATIONS = 16, 80
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: What is named where a kernel cannot be built.
FAMILY = "kernels of circuits"
#: Programs to start if there is that much work: sixteen warps for each of 132 multiprocessors.
PROGRAMS = 2048
#: Fewest inputs that one program sums, so that no buffer comes near samples x outputs x inputs.
MIN_INPUTS = 4


def _stack(sources: Sequence[Tensor], sums: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sums of tensors as planes. Sources that feed no sum stay in the graph: their gradient is zero, not missing."""
    planes = [sum(terms[1:], terms[0]).unsqueeze(0) for terms in sums]
    return torch.cat([*(source[:0] for source in sources), *planes])


def _phases(plan: Plan, theta: Tensor, bias: Tensor | None) -> Tensor:
    """(phases, inputs, outputs) in float32 within [-pi, pi], from theta (outputs, inputs, rows, angles)."""
    columns = theta.shape[-1]
    sources = [theta.double().permute(2, 3, 1, 0).flatten(0, 1)]
    if bias is not None and plan.mode != ACOS:
        sources.append(bias.double().permute(2, 1, 0))
    angles, *biases = (source.unbind() for source in sources)
    sums = [
        [angles[row * columns + column] for row, column in step.thetas]
        + [each[index] for each in biases for index in step.encodings]
        for step in plan.phases
    ]
    phases = _stack(sources, sums)
    return (phases - (phases.detach() / math.tau).round() * math.tau).float()


def _encoding_planes(plan: Plan, tensor: Tensor) -> Tensor:
    """(encodings, inputs, outputs) in float32, from pre-activation parameters (outputs, inputs, reps)."""
    rows = tensor.float().permute(2, 1, 0)
    each = rows.unbind()
    return _stack([rows], [[each[index] for index in group] for group in plan.encodings])


def tile(steps: int, outputs: int, lanes: int, backward: bool) -> tuple[int, int]:
    """Samples and outputs of a tile, for circuits of ``steps`` rotations.

    A row of a tile is one output a lane, or less if there are not as many. A lane takes eight samples, whose
    instructions overlap. In the backward pass on warps of 64 lanes it takes four, and two of long circuits: with more,
    AMD's compiler runs out of scalar registers. For every circuit of ANSATZE up to eight repetitions nothing is spilled
    and a lane needs at most 168 registers on NVIDIA, 122 on AMD (``tests/support/triton_resources.py``).
    """
    block_o = min(lanes, 1 << (outputs - 1).bit_length())
    deep = 8
    if backward and lanes == 64:
        deep = 4 if steps <= 10 else 2
    return deep * lanes // block_o, block_o


def _share(work: int, others: int, least: int = 1) -> tuple[int, int]:
    """Cut ``work`` items into (pieces, items a piece), about :data:`PROGRAMS` programs with ``others`` a piece."""
    pieces = max(1, min(-(-work // least), -(-PROGRAMS // max(1, others))))
    chunk = -(-work // pieces)
    return -(-work // chunk), chunk


def _arguments(
    call: Call,
    block_o: int,
    x: Tensor,
    phases: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    edge_weight: Tensor | None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Inputs and parameter planes as both kernels read them, and what is constant when they are compiled."""
    plan = call.plan
    layout = x.float() if call.diagonal else x.float().t()
    inputs = torch.stack((layout.cos(), layout.sin())) if plan.mode == FIXED else in_memory(layout)
    planes = [phases.cos(), phases.sin()]
    if weight is not None:
        planes.append(weight)
        planes.append(phases if bias is None else bias)
    if edge_weight is not None:
        planes.append(edge_weight.unsqueeze(0))
    packed = torch.cat(planes)
    count, _, outputs = packed.shape
    blocks = -(-outputs // block_o)
    packed = F.pad(packed, (0, -outputs % block_o)).unflatten(2, (blocks, block_o)).permute(1, 2, 0, 3).contiguous()
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
        "MIX": -1 if edge_weight is None else count - 1,
        "AMPLITUDE": call.amplitude,
        "DIAGONAL": call.diagonal,
        "num_warps": 1,
        "num_stages": 1,
    }
    return inputs, packed, constants


class _BlochTriton(torch.autograd.Function):
    """Sum over inputs of edge_weight * phi.

    x is (samples, inputs), or (samples, outputs) if ``call.diagonal``: then ``inputs`` is 1 and nothing is summed.
    phases, weight and bias are planes (n, inputs, outputs), edge_weight is (inputs, outputs).
    """

    @staticmethod
    def forward(x, phases, weight, bias, edge_weight, call: Call):
        from qkan.kernels.circuits.bloch.triton_kernels import forward_kernel

        samples, (inputs, outputs) = x.shape[0], phases.shape[1:]
        if 0 in (samples, inputs, outputs):
            return x.new_zeros((samples, outputs), dtype=call.dtype)
        with launching(FAMILY, x.device):
            block_b, block_o = tile(call.plan.steps, outputs, lanes(x.device), backward=False)
            tiles = -(-samples // block_b) * -(-outputs // block_o)
            splits, chunk = _share(inputs, tiles, MIN_INPUTS)
            x_planes, planes, constants = _arguments(call, block_o, x, phases, weight, bias, edge_weight)
            dtype = call.dtype if splits == 1 else torch.float32
            out = torch.empty((splits, samples, outputs), device=x.device, dtype=dtype)
            forward_kernel[(tiles * splits,)](
                x_planes, planes, out, samples, inputs, outputs, chunk, BLOCK_B=block_b, BLOCK_O=block_o, **constants
            )
            return out[0] if splits == 1 else out.sum(0).to(call.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.call = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        tensors = ctx.saved_tensors
        check_readable(*tensors)
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or stand_for_batch(grad):
            return *vjp_needed(partial(plain_circuits, ctx.call), tensors, ctx.needs_input_grad[:5], grad), None
        wants_x, *wanted = ctx.needs_input_grad[:5]
        try:
            with launching(FAMILY, grad.device):
                grad_x, totals = _gradients(ctx.call, tensors, grad, wants_x, any(wanted))
        except KernelUnavailableError as error:
            if not ctx.call.auto:
                raise
            warn_once(error.reason)
            return *vjp_needed(partial(plain_circuits, ctx.call), tensors, ctx.needs_input_grad[:5], grad), None
        if totals is None:
            return grad_x, None, None, None, None, None
        sizes = [0 if tensor is None else tensor.shape[0] for tensor in tensors[1:4]]
        *planes, edge_weight = totals.split([*sizes, totals.shape[0] - sum(sizes)])
        results = [*planes, edge_weight.squeeze(0)]
        return grad_x, *(part if want else None for part, want in zip(results, wanted, strict=True)), None


def _gradients(
    call: Call, tensors: tuple[Any, ...], grad: Tensor, wants_x: bool, learns: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradient of x if it is wanted, and if ``learns`` those of phases, weight, bias and edge_weight as planes."""
    from qkan.kernels.circuits.bloch.triton_kernels import backward_kernel

    x, phases, *_, edge_weight = tensors
    plan = call.plan
    samples, (inputs, outputs) = x.shape[0], phases.shape[1:]
    slots = plan.slots + (edge_weight is not None)
    if 0 in (samples, inputs, outputs):
        return torch.zeros_like(x), phases.new_zeros((slots, inputs, outputs))
    block_b, block_o = tile(plan.steps, outputs, lanes(x.device), backward=True)
    blocks = -(-outputs // block_o)
    splits, chunk = _share(-(-samples // block_b), blocks * inputs)
    x_planes, planes, constants = _arguments(call, block_o, *tensors)
    partial = torch.empty((splits, inputs, blocks, slots, block_o) if learns else 0, device=x.device)
    shape = (samples, outputs) if call.diagonal else (blocks, inputs, samples)
    grad_x = torch.empty(shape if wants_x else 0, device=x.device)
    backward_kernel[(blocks * inputs * splits,)](
        x_planes,
        planes,
        in_memory(grad),
        grad_x,
        partial,
        samples,
        inputs,
        outputs,
        chunk,
        0,
        PREFIX=plan.prefix,
        SLOTS=slots,
        WANTS_X=wants_x,
        LEARNS=learns,
        BLOCK_B=block_b,
        BLOCK_O=block_o,
        **constants,
    )
    totals = partial.sum(0).permute(2, 0, 1, 3).flatten(2)[..., :outputs] if learns else None
    if not wants_x:
        return None, totals
    return (grad_x if call.diagonal else grad_x.sum(0).t()).to(x.dtype), totals


def unsupported_reason(
    *, ansatz: Ansatz, reps: int, device: torch.device, dtype: torch.dtype, per_sample: bool
) -> str | None:
    """None if the kernels can run such circuits on such tensors, else the reason why not and what to do."""
    if torch.compiler.is_compiling() or tracing():
        return "a compiler cannot trace the launch of its kernels; compile backend 'bloch' instead, which it fuses"
    if (reason := no_triton(device, "layer", "use backend 'bloch'")) is not None:
        return reason
    if per_sample:
        return "theta differs between samples, and its kernels read one theta for all; use backend 'bloch'"
    if dtype not in DTYPES:
        return f"its kernels compute in single precision, not {dtype}; use float32 or backend 'bloch'"
    rotations = len(ansatz.program(reps))
    if reps > MAX_REPS or rotations > MAX_ROTATIONS:
        return (
            f"its kernels are unrolled over at most {MAX_REPS} repetitions and {MAX_ROTATIONS} rotations, not {reps} "
            f"and {rotations}; use fewer repetitions or backend 'bloch'"
        )
    return device_problem(device, FAMILY)


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
    auto: bool = False,
) -> Tensor:
    """Evaluate a layer: every edge circuit, summed over inputs.

    Args:
        x: (samples, inputs), float32, bfloat16 or float16, on a CUDA or ROCm device (or anywhere if Triton interprets).
        theta: (outputs, inputs, rows, angles), or (1, inputs, ...) for one circuit per input that serves all outputs
            of ``edge_weight``: then every circuit is evaluated once and the sum is a matrix product.
        weight, bias: pre-activation, (outputs, inputs, reps) or as many outputs as theta has, or None for weight 1
            and bias 0.
        edge_weight: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps: the circuit.
        readout: ``"z"`` or ``"amplitude"``.
        auto: nobody asked for these kernels by name: where that of the backward pass cannot be built, plain operations
            compute what it would.

    Returns:
        (samples, outputs) in the dtype of ``x``; computed and summed in float32.

    Raises:
        ValueError: the kernels cannot run this; :func:`unsupported_reason` says why and what would work.
    """
    reason = unsupported_reason(ansatz=ansatz, reps=reps, device=x.device, dtype=x.dtype, per_sample=theta.dim() > 4)
    if reason is not None:
        raise ValueError(f"backend 'triton' cannot run this layer: {reason}")
    plan = make_plan(ansatz, reps, weight is not None, bias is not None)
    phases = _phases(plan, theta, bias)
    weights = biases = None
    if plan.mode == FIXED:
        x_angle = torch.acos(x.float()) if ansatz.encoding_map == "acos" else x
    else:
        x_angle, shape = x, (*theta.shape[:2], reps)
        weights = _encoding_planes(plan, phases.new_ones(shape) if weight is None else weight)
        if plan.mode == ACOS:
            biases = _encoding_planes(plan, phases.new_zeros(shape) if bias is None else bias)
    shared = edge_weight is not None and edge_weight.shape[0] > theta.shape[0]
    call = Call(plan, ansatz.initial, readout == "amplitude", shared, torch.float32 if shared else x.dtype, auto)
    if edge_weight is None or not shared:
        factors = None if edge_weight is None else edge_weight.t().float()
        return _BlochTriton.apply(x_angle, phases, weights, biases, factors, call)
    parts = (None if part is None else part.transpose(1, 2) for part in (phases, weights, biases))
    return F.linear(_BlochTriton.apply(x_angle, *parts, None, call), edge_weight.float()).to(x.dtype)
