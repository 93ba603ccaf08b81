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
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.common import triton_device
from qkan.kernels.common.constant_cache import before_copying, constants, keep_for_graphs
from qkan.kernels.common.triton_device import device_problem, lanes, launching, register_bound
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
from qkan.kernels.spectral.basis import Basis

#: What is named where a kernel cannot be built.
FAMILY = "kernels of recurrences"
#: Most numbers in the matrix, which every program streams at every step: 16 MB take about 0.2 ms, as long as the 40
#: launches do that the ``torch`` backend makes of a step. An estimate, to be replaced by a measurement.
MAX_MATRIX = 2**22
#: Most units, latents and outputs.
MAX_WIDTH = 1024


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
    return Tiles(16, units, z, p, resident, threads // lanes)


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the kernels can run this recurrence, else the reason why not and what would help."""
    steps: Tensor = tensors[0]
    weights = Weights(*tensors[1:])
    if not triton_device.runs_kernels(steps.device):
        return (
            f"its kernels run on CUDA and ROCm devices, not on {steps.device.type!r}; move the module there, or set "
            "TRITON_INTERPRET=1 before Python starts to interpret them slowly"
        )
    if not triton_device.triton_installed():
        return "Triton is not installed; install it (pip install triton)"
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
    call = _Call(spec, layout, weights, steps.device, backward=False)
    rows, longest, tile = layout.offsets[-1], layout.sizes[0], call.tile
    outputs = _empty(steps, rows, out)
    h_n, c_n = h_0.clone(), None if c_0 is None else c_0.clone()
    gates, carry = (_empty(steps, rows if keep else 0, n) for n in (weights.bias.shape[0], hidden))
    encoded = weights.encoder is not None
    latent = _empty(steps, (rows if keep else 0 if tile.resident else longest) if encoded else 0, width)
    units = _empty(steps, longest if weights.projection is not None and not tile.resident else 0, hidden)
    if rows:
        of, bias = _values(spec, weights, tile), _packed(weights.bias.view(-1, hidden), 1, tile.units)
        with launching(FAMILY, steps.device):
            _device_code().forward_kernel[call.grid](
                steps,
                of.matrix,
                bias,
                bias if of.activation_coeffs is None else of.activation_coeffs,
                bias if weights.encoder is None else _packed(weights.encoder.mT, tile.outputs, tile.latents),
                bias if weights.projection is None else _packed(weights.projection.mT, tile.units, tile.outputs),
                h_0,
                outputs,
                h_n,
                h_n if c_n is None else c_n,
                gates,
                carry,
                latent,
                units,
                *call.arguments(of),
                KEEP=keep,
                **call.constants(of),
            )
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
    call = _Call(spec, layout, weights, z.device, backward=True)
    tile, encoded = call.tile, weights.encoder is not None
    inner = _empty(z, *tape.gates.shape)
    step_grads = inner
    if encoded or spec.cell == "gru":
        step_grads = _empty(z, *(z if encoded else inner).shape)
    hidden = None if weights.projection is None else _empty(z, *grad_outputs.shape)
    dh, dc = grad_h.clone(), None if grad_c is None else grad_c.clone()
    if inner.numel():
        of = _slopes(spec, weights, tile)
        with launching(FAMILY, z.device):
            _device_code().backward_kernel[call.grid](
                tape.gates,
                tape.carry,
                z,
                of.matrix,
                of.matrix if of.activation_coeffs is None else of.activation_coeffs,
                z if weights.encoder is None else _packed(weights.encoder, tile.latents, tile.outputs),
                z if weights.projection is None else _packed(weights.projection, tile.outputs, tile.units),
                grad_outputs,
                inner,
                step_grads,
                inner if hidden is None else hidden,
                dh,
                dh if dc is None else dc,
                *call.arguments(of),
                CONSTANT=of.constant,
                **call.constants(of),
            )
    return RecurrenceGradients(inner, step_grads, hidden, dh, dc)


def prepare(spec: Spec, layout: Layout, weights: Weights, device: torch.device) -> None:
    """As of :class:`qkan.kernels.recurrence.types.Engine`: plans and orders of terms, which caches keep."""
    for backward in (False, True):
        tile = _Call(spec, layout, weights, device, backward=backward).tile
        _plan(layout.sizes, tile.batch, device)
    if weights.activation_coeffs is None and spec.basis.kind == "fourier":
        numbers, places = (torch.zeros(0, dtype=dtype, device=device) for dtype in (torch.float32, torch.int64))
        for rule, like in ((_in_pairs, places), (_swapped_in_pairs, places), (_derivative_factors, numbers)):
            constants(rule, spec.basis.terms, like)


class _Call:
    """What both launches of a recurrence share."""

    def __init__(self, spec: Spec, layout: Layout, weights: Weights, device: torch.device, *, backward: bool) -> None:
        self.spec, self.layout, self.weights, self.device = spec, layout, weights, device
        self.widths, self.lanes = _widths(spec, weights), lanes(device)
        plain = weights.encoder is None and weights.projection is None
        self.tile = tiles(
            *self.widths, matmul_dtype=spec.matmul_dtype is not None, plain=plain, backward=backward, lanes=self.lanes
        )

    @property
    def grid(self) -> tuple[int]:
        return (-(-self.layout.sizes[0] // self.tile.batch),)

    def arguments(self, of: _Features) -> tuple[Any, ...]:
        """plan, count, batch, pairs, radius."""
        sizes = self.layout.sizes
        plan = _plan(sizes, self.tile.batch, self.device)
        keep_for_graphs(plan)
        return plan, len(sizes), sizes[0], -(-of.functions // 2), float(self.spec.basis.radius)

    def constants(self, of: _Features) -> dict[str, Any]:
        """What is constant when a kernel is compiled."""
        from triton import language as tl

        spec, tile, weights = self.spec, self.tile, self.weights
        matmul_dtype = {None: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
        hidden, width, out = self.widths
        return {
            "LSTM": spec.cell == "lstm",
            "KIND": spec.basis.kind,
            "BASE": spec.basis.base or "none",
            "WAVES": of.functions > 0,
            "SHAPED": weights.activation_coeffs is not None,
            "ENCODED": weights.encoder is not None,
            "PROJECTED": weights.projection is not None,
            "REVERSE": self.layout.reverse,
            "RESIDENT": tile.resident,
            "OPERAND": matmul_dtype[spec.matmul_dtype],
            "PRECISION": "interpreted" if self.device.type == "cpu" else "ieee",
            "HIDDEN": hidden,
            "WIDTH": width,
            "OUT": out,
            "UNITS": _whole(hidden, tile.units),
            "LATENTS": _whole(width, tile.latents),
            "OUTS": _whole(out, tile.outputs),
            "BLOCK_B": tile.batch,
            "BLOCK_H": tile.units,
            "BLOCK_Z": tile.latents,
            "BLOCK_P": tile.outputs,
            **self.options(),
        }

    def options(self) -> dict[str, int]:
        """How kernels are compiled."""
        if self.lanes == 64:  # tiles of the next product would not fit into AMD's shared memory
            return {"num_warps": self.tile.warps, "num_stages": 1}
        return {"num_warps": self.tile.warps, "num_stages": 2, **register_bound(255, self.lanes)}


@lru_cache(maxsize=64)
def _plan(sizes: tuple[int, ...], block: int, device: torch.device) -> Tensor:
    """First rows and sizes of all steps, then how many steps each block of sequences has.

    It is kept: a launch of the same layout copies nothing to the device, so it can be captured in a graph, which
    :func:`keep_for_graphs` then keeps it for.
    """
    before_copying(device)
    falling = [-size for size in sizes]
    spans = [bisect_left(falling, -first) for first in range(0, sizes[0], block)]
    with torch.inference_mode(False):
        return torch.tensor([*Layout(sizes).offsets[:-1], *sizes, *spans], dtype=torch.int64, device=device)


class _Features(NamedTuple):
    """Features as a kernel reads them.

    Attributes:
        matrix: (terms, gates, rows, columns), whole tiles: functions in pairs, base, constant.
        activation_coeffs: (1 + functions in pairs, latents), W_0 and the W_k, or None.
        functions: their number.
        constant: whether the last term is a constant's.
    """

    matrix: Tensor
    activation_coeffs: Tensor | None
    functions: int
    constant: bool


def _values(spec: Spec, weights: Weights, tile: Tiles) -> _Features:
    """The features of the forward pass: terms with latents in rows and units in columns."""
    basis, matrix, coeffs = spec.basis, weights.matrix, weights.activation_coeffs
    functions = basis.terms - (basis.base is not None)
    if coeffs is None and basis.kind == "fourier":
        (order,) = constants(_in_pairs, basis.terms, matrix.new_empty(0, dtype=torch.int64))
        laid_out = matrix.unflatten(-1, (GATES[spec.cell], -1)).transpose(1, 2).index_select(0, order)
        return _Features(_packed(laid_out, tile.latents, tile.units, spec.matmul_dtype), None, functions, False)
    if coeffs is None:
        matrix = torch.cat((_paired(matrix[:functions], basis), matrix[functions:]))
    else:
        coeffs = _packed(torch.cat((coeffs[:1], _paired(coeffs[1:], basis))), 1, tile.latents)
    matrix = matrix.unflatten(-1, (GATES[spec.cell], -1)).transpose(1, 2)
    return _Features(_packed(matrix, tile.latents, tile.units, spec.matmul_dtype), coeffs, functions, False)


def _slopes(spec: Spec, weights: Weights, tile: Tiles) -> _Features:
    """Their derivatives for the backward pass: terms with units in rows and latents in columns."""
    basis, matrix, coeffs = spec.basis, weights.matrix, weights.activation_coeffs
    if coeffs is None and basis.kind == "fourier":
        (order,) = constants(_swapped_in_pairs, basis.terms, matrix.new_empty(0, dtype=torch.int64))
        (factors,) = constants(_derivative_factors, basis.terms, matrix)
        turned = matrix.unflatten(-1, (GATES[spec.cell], -1)).permute(0, 2, 3, 1)
        laid_out = turned.index_select(0, order).mul_(factors)
        return _Features(_packed(laid_out, tile.units, tile.latents, spec.matmul_dtype), None, 2 * basis.size, False)
    transposed_weights, constant = (
        replace(basis, base=None).differentiate(coeffs[1:]) if coeffs is not None else basis.differentiate(matrix)
    )
    functions = transposed_weights.shape[0]
    if coeffs is None:
        functions -= basis.base is not None
        parts = [_paired(transposed_weights[:functions], basis), transposed_weights[functions:]]
        matrix = torch.cat(parts if constant is None else [*parts, constant.unsqueeze(0)])
    else:
        first = torch.zeros_like(coeffs[0]) if constant is None else constant
        coeffs = _packed(torch.cat((first.unsqueeze(0), _paired(transposed_weights, basis))), 1, tile.latents)
    matrix = matrix.unflatten(-1, (GATES[spec.cell], -1)).permute(0, 2, 3, 1)
    packed = _packed(matrix, tile.units, tile.latents, spec.matmul_dtype)
    return _Features(packed, coeffs, functions, coeffs is None and constant is not None)


def _in_pairs(terms: int) -> tuple[Tensor, ...]:
    """Which of cosines, sines and base stand as cos x, sin x, cos 2x, ..., base: one operation lays them out."""
    size = terms // 2
    order = [k + part * size for k in range(size) for part in (0, 1)] + [2 * size] * (terms % 2)
    return (torch.tensor(order, device="cpu"),)


def _swapped_in_pairs(terms: int) -> tuple[Tensor, ...]:
    """The same with sines first: the derivative of a_k cos kx + b_k sin kx is k b_k cos kx - k a_k sin kx."""
    size = terms // 2
    order = [k + (1 - part) * size for k in range(size) for part in (0, 1)] + [2 * size] * (terms % 2)
    return (torch.tensor(order, device="cpu"),)


def _derivative_factors(terms: int) -> tuple[Tensor, ...]:
    """1, -1, 2, -2, ... and 1 for a base."""
    factors = [sign * (k + 1.0) for k in range(terms // 2) for sign in (1, -1)] + [1.0] * (terms % 2)
    return (torch.tensor(factors, dtype=torch.float64, device="cpu").view(-1, 1, 1, 1),)


def _paired(functions: Tensor, basis: Basis) -> Tensor:
    """Functions in the order in which kernels make them, with a last one of weight zero if they would be odd."""
    if basis.kind == "fourier":
        return functions.unflatten(0, (2, functions.shape[0] // 2)).transpose(0, 1).flatten(0, 1)
    return torch.cat((functions, torch.zeros_like(functions[:1]))) if functions.shape[0] % 2 else functions


def _packed(matrix: Tensor, rows: int, columns: int, matmul_dtype: torch.dtype | None = None) -> Tensor:
    """A matrix in whole tiles, contiguous, rounded for products."""
    height, width = matrix.shape[-2:]
    if height % rows or width % columns:  # even padding by nothing is a copy
        matrix = F.pad(matrix, (0, -width % columns, 0, -height % rows))
    padded = matrix.contiguous()
    return padded if matmul_dtype is None else padded.to(matmul_dtype)


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _whole(width: int, tile: int) -> int:
    return -(-width // tile) * tile


def _device_code() -> Any:
    """Imported late, because importing triton takes a while and is not possible everywhere."""
    from qkan.kernels.recurrence import triton_kernels as recurrence_triton_jit

    return recurrence_triton_jit


ENGINE = Engine("triton", unsupported_reason, forward, backward, prepare=prepare)
