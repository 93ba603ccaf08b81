"""A layer as one node of autograd's graph where the CPU kernels take its tensors: from parameters to outputs.

Nothing but arguments and the weights of the derivative is kept for the backward pass. Derivatives of derivatives and
transforms go through the formulas in PyTorch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.vjp import vjp_needed
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.matmul import Sum, plain_sum
from qkan.kernels.spectral.numba_coefficients import point_rule
from qkan.kernels.spectral.numba_layer import LayerKernels, layer_kernels

LayerParameters = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class Expanded(NamedTuple):
    """How a layer is expanded.

    Attributes:
        kind, points, radius: as of :class:`qkan.kernels.backend_choice.Plan`.
        ansatz, reps: the circuits.
        base: the name of a base activation, or None.
    """

    kind: str
    points: int
    radius: float
    ansatz: Ansatz
    reps: int
    base: str | None


class _WholeLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, theta, weight, bias, edge_weight, base_weight, offset, kernels: LayerKernels, how):
        tensors = (theta, weight, bias, edge_weight, base_weight, offset)
        out, ctx.derivative = kernels.forward(x, tensors, how.radius, slopes=ctx.needs_input_grad[0])
        ctx.save_for_backward(x, *tensors)
        ctx.kernels, ctx.how = kernels, how
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, *tensors = saved = ctx.saved_tensors
        needs = ctx.needs_input_grad[:7]
        if torch.is_grad_enabled() or not numba_supported(grad):
            return *vjp_needed(lambda *given: plain_layer(ctx.how, *given), saved, needs, grad), None, None
        grad = grad.contiguous()
        return *ctx.kernels.backward(x, tensors, ctx.how.radius, ctx.derivative, grad, needs), None, None


def plain_layer(
    how: Expanded,
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    edge_weight: Tensor | None,
    base_weight: Tensor | None,
    offset: Tensor | None,
) -> Tensor:
    """:func:`whole_layer` in differentiable operations."""
    if weight is None:
        expansion = spectral.fourier(theta, bias, edge_weight, ansatz=how.ansatz, reps=how.reps)
    else:
        expansion = spectral.chebyshev(
            theta, weight, bias, edge_weight, ansatz=how.ansatz, reps=how.reps, radius=how.radius, terms=how.points
        )
    if base_weight is not None and how.base is not None:
        expansion = expansion.with_base(how.base, base_weight)
    constant = expansion.constant.sum(0)
    constant = constant if offset is None else constant + offset
    return plain_sum(Sum(expansion.basis), x, expansion.matrix, constant)


def whole_layer(how: Expanded, x: Tensor, tensors: LayerParameters) -> Tensor:
    """A layer with a circuit for every edge, expanded and summed.

    Args:
        how: the expansion.
        x: (samples, inputs), a tensor that the CPU kernels take, as those of ``tensors`` are, all of one dtype.
        tensors: theta (outputs, inputs, rows, angles); pre-activation weight and bias (outputs, inputs, reps), weights
            of the sum (outputs, inputs), base weights (outputs, inputs) and an offset (outputs,), or None.

    Returns:
        (samples, outputs); first and second derivatives work.
    """
    if not x.is_contiguous():
        x = x.contiguous()
    given = [False] * 6
    for place, tensor in enumerate(tensors):
        if tensor is not None:
            given[place] = True
            if not tensor.is_contiguous():
                tensors = (*tensors[:place], tensor.contiguous(), *tensors[place + 1 :])  # type: ignore[assignment]
    theta = tensors[0]
    rule = point_rule(how.kind, how.points, how.ansatz, how.reps, given[1], given[2], theta.dtype)
    kernels = layer_kernels(rule, theta.shape[0], theta.shape[1], how.base, tuple(given), theta.dtype)
    if torch.is_grad_enabled():
        return _WholeLayer.apply(x, *tensors, kernels, how)
    return kernels.forward(x, tensors, how.radius, slopes=False)[0]
