"""Group-rational activations on the CPU in Numba kernels.

A thread takes a piece of one group's elements, in cache or not, and computes everything of it in registers: x and the
upstream gradient are read once, the gradient of x is written once. A coefficient's gradient is summed in vector lanes
over a piece (at most 1,024 elements), then in float64 over the pieces of a shard, then over the shards in their order.
Shards depend on the shape alone, so the sums are the same to the bit whatever the threads.

bfloat16 and float16 are converted to float32 in blocks that stay in the cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.rational.types import Engine, Gradients, Spec, Tensors
from qkan.kernels.spectral.numba_cpu import addresses

#: Elements of a shard, at least; of which there are at most so many.
_SHARD, _MOST = 2**15, 64
#: Elements of a block that is converted to float32.
_BLOCK = 2**17


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the kernels can run on x, the first of ``tensors``, else the reason in words."""
    x: Tensor = tensors[0]
    if x.device.type != "cpu":
        return f"its kernels run on CPUs, but x is on {x.device}"
    return None


def _blocks(x: Tensor) -> list[slice]:
    """Rows to be computed at once: all of them, unless they must be converted."""
    rows, groups, run = x.shape
    if x.dtype in (torch.float32, torch.float64):
        return [slice(0, rows)]
    step = max(1, _BLOCK // (groups * run))
    return [slice(first, first + step) for first in range(0, rows, step)]


def _launch(
    spec: Spec, back: bool, x: Tensor, numerator: Tensor, denominator: Tensor, out: Tensor, grad: Tensor | None
) -> Tensor:
    """Run a kernel; the sums of coefficients' gradients in float64 (groups, m + 1 + n), empty if forward."""
    from qkan.kernels.rational import numba_kernels as jit

    summed, (m, n) = spec.denominator == "abs_sum", spec.order
    inner = denominator if summed else denominator.abs()
    shards = max(1, min(_MOST, x.numel() // _SHARD))
    threads = min(torch.get_num_threads(), shards)
    workspace = x.new_empty(threads * 3 * jit.PIECE)
    wide = x.new_empty(threads * 3 * jit.PIECE, dtype=torch.float64)
    sums = x.new_zeros((shards, spec.groups, m + 1 + n) if back else (1, 0), dtype=torch.float64)
    places = addresses(workspace, wide, x, numerator, inner, out, grad, sums)
    jit.kernels(m, n, summed)[back](x.dtype, (*x.shape, *places), shards, threads)
    total = sums[0]
    for shard in range(1, shards if back else 0):
        total += sums[shard]
    return total


def _forward(spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    y = torch.empty_like(x)
    for rows in _blocks(x):
        block = x[rows].to(numerator.dtype)
        out = y[rows] if block.dtype == y.dtype else torch.empty_like(block)
        _launch(spec, False, block, numerator, denominator, out, None)
        if out.dtype != y.dtype:
            y[rows] = out
    return y


def _backward(
    spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor, grad: Tensor, coefficients: bool
) -> Gradients:
    dx, total = torch.empty_like(x), None
    for rows in _blocks(x):
        block, arriving = x[rows].to(numerator.dtype), grad[rows].to(numerator.dtype)
        out = dx[rows] if block.dtype == dx.dtype else torch.empty_like(block)
        sums = _launch(spec, True, block, numerator, denominator, out, arriving)
        total = sums if total is None else total + sums
        if out.dtype != dx.dtype:
            dx[rows] = out
    if not coefficients or total is None:
        return Gradients(dx, None, None)
    parts = total.to(numerator.dtype).split((spec.order[0] + 1, spec.order[1]), 1)
    of_a, of_b = (part.clone(memory_format=torch.contiguous_format) for part in parts)
    if spec.denominator == "abs_terms":
        of_b = torch.where(denominator < 0, -of_b, of_b)
    return Gradients(dx, of_a, of_b)


ENGINE = Engine("numba", unsupported_reason, _forward, _backward)
