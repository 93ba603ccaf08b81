"""Layers so small that starting kernels is what they cost: behind their coefficients one kernel forward, one back."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.common.tensors import check_readable
from qkan.kernels.common.triton_device import KernelUnavailableError, warn_once
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.edges.activations import BASES
from qkan.kernels.spectral import triton_gpu
from qkan.kernels.spectral.basis import Basis

#: A layer is small up to so many samples times terms, and as many weights, and so many outputs: one program then walks
#: all samples of an input in about the time of three launches. An estimate, to be replaced by a measurement.
SMALL, SMALL_OUTPUTS = 2**14, 64


class _SmallLayer(torch.autograd.Function):
    """A small layer behind its coefficients in one kernel, and all gradients in another."""

    @staticmethod
    def forward(ctx: Any, x, matrix, constant, base_weight, offset, basis: Basis, base: str | None):
        ctx.save_for_backward(x, matrix, constant, base_weight, offset)
        ctx.basis, ctx.base = basis, base
        of_base = None if base is None else (base, base_weight)
        return triton_gpu.small_layer(basis, x, matrix, constant, of_base, offset)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, matrix, constant, base_weight, _ = saved = ctx.saved_tensors
        check_readable(*saved)
        needs = ctx.needs_input_grad[:5]
        plain = torch.is_grad_enabled() or stand_for_batch(grad)
        if not plain and triton_gpu.usable(grad, *saved):
            try:
                base = None if ctx.base is None else (ctx.base, base_weight)
                of_x, of_matrix, summed, of_base = triton_gpu.small_layer_gradients(ctx.basis, x, matrix, base, grad)
            except KernelUnavailableError as error:
                warn_once(error.reason)
            else:
                found = (of_x, of_matrix, summed.expand(constant.shape), of_base, summed)
                return *(f if need else None for f, need in zip(found, needs, strict=True)), None, None
        return *vjp_needed(partial(_plain_small_layer, ctx.basis, ctx.base), saved, needs, grad), None, None


def _plain_small_layer(
    basis: Basis,
    base: str | None,
    x: Tensor,
    matrix: Tensor,
    constant: Tensor,
    base_weight: Tensor | None,
    offset: Tensor | None,
) -> Tensor:
    """:class:`_SmallLayer` in differentiable operations."""
    y = torch.einsum("sti,tio->so", torch.stack(basis.functions(x), 1), matrix) + constant.sum(0)
    if base is not None and base_weight is not None:
        y = y + BASES[base][0](x) @ base_weight.t()
    return y if offset is None else y + offset


def small_layer(
    basis: Basis, x: Tensor, matrix: Tensor, constant: Tensor, base: tuple[str, Tensor] | None, offset: Tensor | None
) -> Tensor | None:
    """A layer from its coefficients, where it is small and kernels run; None elsewhere.

    Args:
        basis: the features, without a base.
        x: (samples, inputs).
        matrix: (terms, inputs, outputs).
        constant: (inputs, outputs), added up over inputs.
        base: name and weights (outputs, inputs) of a base branch, or None.
        offset: (outputs,) to add, or None.

    Returns:
        (samples, outputs).
    """
    samples, inputs = x.shape
    terms, _, outputs = matrix.shape
    name, weight = (None, None) if base is None else base
    few = 0 < samples * terms <= SMALL and 0 < inputs * outputs * terms <= SMALL and outputs <= SMALL_OUTPUTS
    if not few or not triton_gpu.usable(x, matrix, constant, weight, offset):
        return None
    try:
        found: Tensor = _SmallLayer.apply(x, matrix.contiguous(), constant.contiguous(), weight, offset, basis, name)
    except KernelUnavailableError as error:
        warn_once(error.reason)
        return None
    return found
