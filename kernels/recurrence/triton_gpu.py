"""The recurrence as persistent Triton kernels, for CUDA and ROCm devices: one launch walks all steps.

A program owns a block of the batch and walks all its steps, forward and then, in a second kernel, back through time;
weights are streamed from the caches. One pair of kernels (:mod:`qkan.kernels.recurrence.triton_kernels`) serves every
cell
and all features: the classical cell, whose only feature is the identity, is the same code as the quantum-inspired ones.
Keeping the state on chip and walking in one launch are ideas of FlashRNN's fused kernel (arXiv 2412.07752, figure 1);
there the product is with h itself, here it is with features of h, made in registers.

Where all units fit into one tile (:func:`tiles`), states and gradients of gates stay in registers. Beyond, a program
hands them from tile to tile through results that it writes anyway, read back behind a barrier from the nearest cache.

Precision: everything is computed in float32, products too (IEEE, no TF32). With ``Spec.matmul_dtype``, features,
gradients of gates and the matrix are rounded to it for their product, which is summed in float32.

This module imports without Triton.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.common.constant_cache import before_copying, keep_while_used
from qkan.kernels.common.triton_device import device_problem, lanes, launching, no_triton, register_bound
from qkan.kernels.recurrence.types import (
    GATES,
    Engine,
    ForwardResult,
    Layout,
    RecurrenceGradients,
    Spec,
    Tape,
    Tensors,
    Weights,
)

#: What is named where a kernel cannot be built.
FAMILY = "kernels of recurrences"
#: Most numbers in the matrix, which every program streams at every step: 16 MB take about 0.2 ms, as long as the 40
#: launches do that the ``torch`` backend makes of a step. An estimate, to be replaced by a measurement.
MAX_MATRIX = 2**22
#: Most units, latents and outputs.
MAX_WIDTH = 1024
#: Sequences of a program: tensor cores multiply 16 rows at least.
SEQUENCES = 16


class Tiles(NamedTuple):
    """Sequences of a program, units, latents and outputs of a tile, whether one tile holds them all, and warps."""

    batch: int
    units: int
    latents: int
    outputs: int
    resident: bool
    warps: int


def tiles(
    hidden: int, latents: int, outputs: int, *, matmul_dtype: bool, plain: bool, backward: bool, lanes: int
) -> Tiles:
    """Tiles for a recurrence of these widths, ``plain`` without encoder and projection, on warps of ``lanes``.

    Tensor cores multiply 16 by 16 at least. Products in float32 do without them on NVIDIA: a lane then holds whole rows
    and columns of what it multiplies, so tiles are 16 deep, and states of more than 16 units cannot stay in registers.
    With these tiles and warps nothing is spilled to memory (``tests/support/recurrence_triton_resources.py``).
    """
    units, z, p = (max(16, 1 << (width - 1).bit_length()) for width in (hidden, latents, outputs))
    wide, deep = 64 if plain else 32, 32 if matmul_dtype else 16
    resident = max(units, z, p) <= (wide if matmul_dtype else 16)
    if not resident:
        units, z = (min(units, deep), min(z, wide)) if backward else (min(units, 64), min(z, deep))
        p = min(p, deep)
    threads = 4 * max(units, z, p) if matmul_dtype else 256
    if backward and not matmul_dtype and z == 32:
        threads = 128  # four columns a lane, as of 64: with two the compiler keeps more of them waiting than fit
    return Tiles(SEQUENCES, units, z, p, resident, threads // lanes)


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the kernels can run this recurrence, else the reason why not and what would help."""
    steps: Tensor = tensors[0]
    weights = Weights(*tensors[1:])
    if (reason := no_triton(steps.device, "module")) is not None:
        return reason
    if not spec.basis.fused:
        return f"its kernels make no features of kind {spec.basis.name!r}"
    if steps.dtype != torch.float32:
        return f"its kernels compute in float32, not {steps.dtype}; use float32"
    hidden, latents, outputs = _widths(spec, weights)
    if max(hidden, latents, outputs) > MAX_WIDTH:
        return (
            f"its kernels take at most {MAX_WIDTH} units, latents and outputs, not {hidden}, {latents} and {outputs}; "
            "use fewer"
        )
    if weights.matrix.numel() > MAX_MATRIX:
        return (
            f"each of its programs reads the whole matrix at every step, which pays up to {MAX_MATRIX} numbers, not "
            f"{weights.matrix.numel()}; use fewer features, units or latents"
        )
    return device_problem(steps.device, FAMILY)


def _widths(spec: Spec, weights: Weights) -> tuple[int, int, int]:
    """Units, latents (what features are taken of) and outputs."""
    hidden = weights.bias.shape[0] // GATES[spec.cell]
    return hidden, weights.matrix.shape[1], hidden if weights.projection is None else weights.projection.shape[0]


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> ForwardResult:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    hidden, width, out = _widths(spec, weights)
    call = _Call(spec, layout, weights, len(h_0), steps.device, backward=False)
    rows, longest, resident = layout.offsets[-1], layout.sizes[0], call.tile.resident
    encoded, projected = weights.encoder is not None, weights.projection is not None
    empty = steps.new_empty
    outputs, gates, carry = empty(rows, out), *(empty(rows if keep else 0, n) for n in (len(weights.bias), hidden))
    latent = empty((rows if keep else 0 if resident else longest) if encoded else 0, width)
    units = empty(longest if projected and not resident else 0, hidden)
    h_n, c_n = _room(h_0, rows > 0), None if c_0 is None else _room(c_0, rows > 0)
    if rows:
        from qkan.kernels.recurrence.triton_kernels import forward_kernel

        initial, final = (h_0, h_0 if c_0 is None else c_0), (h_n, h_n if c_n is None else c_n)
        with launching(FAMILY, steps.device):
            forward_kernel[call.grid](
                steps, call.matrix, weights.bias, *call.optional, *initial, outputs, *final, gates, carry, latent,
                units, *call.arguments(), KEEP=keep, **call.constants(),
            )  # fmt: skip
    return ForwardResult(outputs, h_n, c_n, Tape(gates, carry, latent if encoded else None) if keep else None)


def backward(
    spec: Spec,
    layout: Layout,
    weights: Weights,
    tape: Tape,
    z: Tensor,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
) -> RecurrenceGradients:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    call = _Call(spec, layout, weights, len(grad_h), z.device, backward=True)
    inner, encoded = torch.empty_like(tape.gates), weights.encoder is not None
    step_grads = torch.empty_like(z if encoded else inner) if encoded or spec.cell == "gru" else inner
    hidden = None if weights.projection is None else torch.empty_like(grad_outputs)
    any_rows = inner.numel() > 0
    of_h, of_c = _room(grad_h, any_rows), None if grad_c is None else _room(grad_c, any_rows)
    if any_rows:
        from qkan.kernels.recurrence.triton_kernels import backward_kernel

        final, initial = (grad_h, grad_h if grad_c is None else grad_c), (of_h, of_h if of_c is None else of_c)
        with launching(FAMILY, z.device):
            backward_kernel[call.grid](
                tape.gates, tape.carry, z, call.matrix, *call.optional, grad_outputs, *final, inner, step_grads,
                inner if hidden is None else hidden, *initial, *call.arguments(), **call.constants(),
            )  # fmt: skip
    return RecurrenceGradients(inner, step_grads, hidden, of_h, of_c)


def _room(state: Tensor, written: bool) -> Tensor:
    """Where a kernel writes what a state becomes; a copy of it where none does."""
    return torch.empty_like(state) if written else state.clone()


def prepare(spec: Spec, layout: Layout, weights: Weights, device: torch.device) -> None:
    """As of :class:`qkan.kernels.recurrence.types.Engine`: the plan, which a cache keeps."""
    _plan(layout.sizes, SEQUENCES, device)


class _Call:
    """What both launches of a recurrence share: weights as they are, rounded for the product."""

    def __init__(
        self, spec: Spec, layout: Layout, weights: Weights, batch: int, device: torch.device, *, backward: bool
    ) -> None:
        self.spec, self.layout, self.weights, self.batch, self.device = spec, layout, weights, batch, device
        self.widths, self.lanes = _widths(spec, weights), lanes(device)
        self.functions = spec.basis.terms - (spec.basis.base is not None)
        optional = (weights.activation_coeffs, weights.encoder, weights.projection)
        self.optional = tuple(weights.bias if tensor is None else tensor for tensor in optional)
        plain = weights.encoder is None and weights.projection is None
        low = spec.matmul_dtype is not None
        self.tile = tiles(*self.widths, matmul_dtype=low, plain=plain, backward=backward, lanes=self.lanes)
        self.matrix = self._in_tiles(weights.matrix, backward)

    def _in_tiles(self, matrix: Tensor, backward: bool) -> Tensor:
        """The matrix as kernels read it, (terms, latents, gates, units) or (terms, gates, units, latents)."""
        matrix = matrix.unflatten(-1, (GATES[self.spec.cell], -1))
        units, latents = (-width % tile for width, tile in zip(self.widths, self.tile[1:3], strict=False))
        if backward:
            matrix = matrix.permute(0, 2, 3, 1)
        if units or latents:  # even padding by nothing is a copy
            matrix = F.pad(matrix, (0, latents, 0, units) if backward else (0, units, 0, 0, 0, latents))
        dtype = self.spec.matmul_dtype or matrix.dtype
        return matrix.to(dtype, memory_format=torch.contiguous_format).contiguous()

    @property
    def grid(self) -> tuple[int]:
        return (-(-self.batch // self.tile.batch),)

    def arguments(self) -> tuple[Any, ...]:
        """plan, count, batch, functions, radius."""
        plan = _plan(self.layout.sizes, self.tile.batch, self.device)
        keep_while_used(plan)
        return plan, len(self.layout.sizes), self.batch, self.functions, float(self.spec.basis.radius)

    def constants(self) -> dict[str, Any]:
        """What is constant when a kernel is compiled."""
        from triton import language as tl

        spec, tile, weights = self.spec, self.tile, self.weights
        matmul_dtype = {None: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
        found: dict[str, Any] = {
            "LSTM": spec.cell == "lstm",
            "KIND": spec.basis.kind,
            "BASE": spec.basis.base or "none",
            "WAVES": self.functions > 0,
            "SHAPED": weights.activation_coeffs is not None,
            "ENCODED": weights.encoder is not None,
            "PROJECTED": weights.projection is not None,
            "REVERSE": self.layout.reverse,
            "RESIDENT": tile.resident,
            "OPERAND": matmul_dtype[spec.matmul_dtype],
            "PRECISION": "interpreted" if self.device.type == "cpu" else "ieee",
        }
        found |= dict(zip(("HIDDEN", "WIDTH", "OUT"), self.widths, strict=True))
        found |= dict(zip(("BLOCK_B", "BLOCK_H", "BLOCK_Z", "BLOCK_P"), tile[:4], strict=True))
        found["num_warps"] = tile.warps
        if self.lanes == 64:  # tiles of the next product would not fit into AMD's shared memory
            return found | {"num_stages": 1}
        return found | {"num_stages": 2, **register_bound(255, self.lanes)}


@lru_cache(maxsize=64)
def _plan(sizes: tuple[int, ...], block: int, device: torch.device) -> Tensor:
    """First rows and sizes of all steps, then how many steps each block of the sequences of the first step has.

    It is kept: a launch of the same layout copies nothing to the device, so it can be captured in a graph.
    """
    before_copying(device)
    falling = [-size for size in sizes]
    spans = [bisect_left(falling, -first) for first in range(0, sizes[0], block)]
    with torch.inference_mode(False):
        return torch.tensor([*Layout(sizes).offsets[:-1], *sizes, *spans], dtype=torch.int64, device=device)


ENGINE = Engine("triton", unsupported_reason, forward, backward, prepare=prepare)
