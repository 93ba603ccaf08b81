"""Group-rational activations in Triton, for CUDA and ROCm devices.

A program owns a tile of one group (:mod:`qkan.kernels.rational.triton_kernels`). The forward pass reads x once; the
backward pass reads x and the upstream gradient once, writes the gradient of x once, and sums the gradients of the
coefficients in two stages, without atomics, so that equal calls give equal bits: in float32 over the elements of a
lane, sixteen at most, and, by halves, over the lanes of a warp, into a buffer; then over tiles in float64. FlashKAT
(arXiv 2505.13813) sums inside a block first too, but then adds to global memory in any order.

Tiles with an |x| beyond :data:`~qkan.kernels.rational.types.LIMIT` are computed in float64.

This module imports without Triton.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qkan.kernels.common.triton_device import device_problem, lanes, launching, no_triton, register_bound
from qkan.kernels.rational.types import LIMIT, Engine, Gradients, Spec, Tensors

#: What is named where a kernel cannot be built.
FAMILY = "kernels of rational activations"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: Up to this many elements offsets have 32 bits, with room for a tile beyond the end.
MAX_NARROW = 2**31 - 2**13


def tile(lanes: int, run: int, *, backward: bool) -> tuple[int, int, int]:
    """Elements of a tile, of the parts in which one is computed in float64, and warps, which have ``lanes`` lanes.

    The backward pass has one warp, which sums over its lanes without barriers. A lane takes sixteen elements, which
    share the cost of that, or eight where runs are not aligned and every element needs an offset of its own. For every
    order and dtype nothing is spilled (``tests/support/rational_triton_builds.py``).
    """
    if not backward:
        return 64 * lanes, 16 * lanes, 4
    return (8 if run % 16 else 16) * lanes, 2 * lanes, 1


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the kernels can run on x, the first of ``tensors``, else the reason in words."""
    x: Tensor = tensors[0]
    if (reason := no_triton(x.device, "tensors")) is not None:
        return reason
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        return f"its kernels take {names}, not {x.dtype}; convert x"
    return device_problem(x.device, FAMILY)


def forward(spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """F(x) in one launch; shapes and dtypes as :class:`qkan.kernels.rational.types.Engine` states them."""
    from qkan.kernels.rational.triton_kernels import forward_kernel

    y = torch.empty_like(x)
    tiles, constants = _launch(spec, x, backward=False)
    with launching(FAMILY, x.device):
        forward_kernel[(tiles * spec.groups,)](x, numerator, denominator, y, *_sizes(x), **constants)
    return y


def backward(
    spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor, grad: Tensor, coefficients: bool
) -> Gradients:
    """Gradients in two launches; shapes as :class:`qkan.kernels.rational.types.Engine` states them."""
    from qkan.kernels.rational.triton_kernels import backward_kernel, total_kernel

    grad_x = torch.empty_like(x)
    m, n = spec.order
    tiles, constants = _launch(spec, x, backward=True)
    shape = (tiles if coefficients else 0, spec.groups, m + 1 + n)
    partial = torch.empty(shape, dtype=torch.float32, device=x.device)
    with launching(FAMILY, x.device):
        backward_kernel[(tiles * spec.groups,)](
            x, grad, numerator, denominator, grad_x, partial, *_sizes(x), LEARNS=coefficients,
            SUMS=1 << (m + n).bit_length(), **constants,
        )  # fmt: skip
        if not coefficients:
            return Gradients(grad_x, None, None)
        of_a, of_b = (x.new_empty((spec.groups, size), dtype=torch.float32) for size in (m + 1, n))
        # A program a coefficient, in a fixed order: for a last block that adds up, a counter would have to stay zero.
        total_kernel[(spec.groups * (m + 1 + n),)](
            partial, of_a, of_b, tiles, spec.groups, M=m, N=n, BLOCK=256, num_warps=4
        )
    return Gradients(grad_x, of_a, of_b)


def _sizes(x: Tensor) -> tuple[int, int, int, int, float]:
    """total, run, stride, groups, limit."""
    rows, groups, run = x.shape
    return rows * run, run, groups * run, groups, LIMIT


def _launch(spec: Spec, x: Tensor, *, backward: bool) -> tuple[int, dict[str, Any]]:
    """How many tiles a group has, and what is constant when a kernel is compiled."""
    width = lanes(x.device)
    rows, _, run = x.shape
    block, part, warps = tile(width, run, backward=backward)
    return -(-rows * run // block), {
        "M": spec.order[0],
        "N": spec.order[1],
        "TERMS": spec.denominator == "abs_terms",
        "SHORT": run if run < block else 0,
        "WIDE": x.numel() > MAX_NARROW,
        "BLOCK": block,
        "PART": part,
        "num_warps": warps,
        "num_stages": 1,
        **register_bound(168, width),
    }


ENGINE = Engine("triton", unsupported_reason, forward, backward)
