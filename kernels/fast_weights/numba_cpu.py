"""Fast weights on the CPU in Numba kernels: one call forward, one backward; threads take whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.tensors import check_readable, in_memory
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.fast_weights import pytorch
from qkan.kernels.fast_weights.types import Engine, Spec
from qkan.kernels.recurrence.types import Layout
from qkan.kernels.spectral.numba_cpu import addresses

#: Steps of a piece of time. A backward pass keeps theta at the borders and, for a worker, of one piece.
PIECE = 32


def unsupported_reason(spec: Spec, tensors: Sequence[Any]) -> str | None:
    """None if the kernels can run on such tensors, else the reason in words."""
    if numba_supported(*tensors, dtype=tensors[0].dtype):
        return None
    return "its kernels take plain tensors of float32 or float64 on a CPU, all of one dtype"


@lru_cache(maxsize=64)
def _tables(spec: Spec, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The circuit as the kernels read it: turns (rotations, 4), columns, speeds (rotations,), initial (3,)."""
    program = () if spec.ansatz is None else spec.ansatz.program(spec.reps)
    turns: list[int] = []
    columns: list[int] = []
    speeds: list[float] = []
    for rotation in program:
        turns += [rotation.axis, int(rotation.half_turn), len(columns), len(rotation.thetas)]
        columns += [row * spec.angles + column for row, column in rotation.thetas]
        speeds.append(sum(spec.frequencies[index] for index in rotation.encodings))
    initial = (0.0, 0.0, 0.0) if spec.ansatz is None else spec.ansatz.initial
    whole = (torch.tensor(numbers, dtype=torch.int64, device="cpu") for numbers in (turns, columns))
    return *whole, *(torch.tensor(numbers, dtype=dtype, device="cpu") for numbers in (speeds, initial))


@lru_cache(maxsize=64)
def _places(layout: Layout) -> tuple[Tensor, Tensor]:
    """The first row of every step, and how many steps every sequence has."""
    sizes, offsets = layout.places
    return offsets, (sizes.unsqueeze(1) > torch.arange(layout.sizes[0], device="cpu")).sum(0)


def _call(kernel: str, spec: Spec, layout: Layout, emitted: Tensor, *given: Tensor | None) -> None:
    """Run a kernel on all sequences; ``given`` are its arrays behind those that were emitted."""
    from qkan.kernels.fast_weights import numba_kernels as jit

    tables, places = _tables(spec, emitted.dtype), _places(layout)
    rotations, edges, sequences = len(tables[2]), spec.inputs * spec.outputs, layout.sizes[0]
    workers = max(1, min(torch.get_num_threads(), sequences))
    numbers = jit.workspace_numbers(edges, spec.rows * spec.angles, rotations, PIECE)
    space = emitted.new_empty(workers * numbers)
    sizes = (spec.outputs, spec.inputs, spec.rows, spec.angles, spec.gates, rotations, PIECE, numbers)
    arrays = addresses(space, *tables, *places, emitted, *given)
    getattr(jit, kernel)(emitted.dtype, (*sizes, *arrays), sequences, workers)


class _FastWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor):
        emitted, x, theta = (in_memory(tensor) for tensor in (emitted, x, theta))
        ctx.spec, ctx.layout = spec, layout
        borders = None
        if any(ctx.needs_input_grad):
            borders = theta.new_empty(len(theta), -(-len(layout.sizes) // PIECE), spec.size)
        out, end = x.new_empty(len(x), spec.outputs), torch.empty_like(theta)
        _call("FORWARD", spec, layout, emitted, x, theta, out, borders, end, *[None] * 5)
        ctx.save_for_backward(emitted, x, theta, borders)
        return out, end

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, grad_end: Tensor):
        emitted, x, theta, borders = ctx.saved_tensors
        check_readable(emitted, x, theta, borders)
        plain = numba_supported(grad_out, grad_end, dtype=x.dtype) and not stand_for_batch(grad_out, grad_end)
        if torch.is_grad_enabled() or not plain:  # second derivatives and the like
            return (
                None,
                None,
                *vjp_needed(
                    lambda *given: pytorch.run(ctx.spec, ctx.layout, *given),
                    (emitted, x, theta),
                    ctx.needs_input_grad[2:],
                    (grad_out, grad_end),
                ),
            )
        grads = tuple(in_memory(grad) for grad in (grad_out, grad_end))
        found = tuple(torch.empty_like(tensor) for tensor in (emitted, x, theta))
        _call("BACKWARD", ctx.spec, ctx.layout, emitted, x, theta, None, borders, None, *grads, *found)
        return None, None, *found


def _run(spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    return _FastWeights.apply(spec, layout, emitted, x, theta)


ENGINE = Engine("numba", unsupported_reason, _run)
