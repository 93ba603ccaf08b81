"""Layers whose edges are sums of functions with free coefficients, as one node of autograd's graph on the CPU.

y_o = c_o + sum_i [ sum_t M_tio F_t(x_i) + u_oi base(x_i) ], with F_t of a family that kernels make. Derivatives of
derivatives and transforms go through the formula in PyTorch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.tensors import check_readable
from qkan.kernels.common.vjp import vjp_needed
from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import KERNEL_FAMILIES, functions_of
from qkan.kernels.edges.numba_cpu import EdgeKernels, Edges, edge_kernels


def plain_free_sum(
    edges: Edges, x: Tensor, coefficients: Tensor, base_weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """:func:`free_sum` in differentiable operations."""
    family = functions_of(edges.kind, edges.order)
    if family is None:
        raise ValueError(f"{edges.kind!r} is no family of functions")
    functions = list(family.values(x, edges.size, edges.radius).unbind())
    matrix = coefficients.flatten(0, 1)
    if base_weight is not None and edges.base is not None:
        functions.append(BASES[edges.base][0](x))
        matrix = torch.cat((matrix, base_weight.mT))
    y = torch.cat(functions, -1) @ matrix
    return y if bias is None else y + bias


class _FreeSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, coefficients, base_weight, bias, kernels: EdgeKernels, edges: Edges):
        ctx.save_for_backward(x, coefficients, base_weight, bias)
        ctx.kernels, ctx.edges = kernels, edges
        return kernels.forward(x, coefficients, base_weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, *tensors = saved = ctx.saved_tensors
        check_readable(*saved)
        needs = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() or not numba_supported(grad):
            return *vjp_needed(partial(plain_free_sum, ctx.edges), saved, needs, grad), None, None
        return *ctx.kernels.backward(x, tuple(tensors), grad.contiguous(), needs), None, None


def free_sum(
    x: Tensor, coefficients: Tensor, base_weight: Tensor | None, bias: Tensor | None, edges: Edges
) -> Tensor | None:
    """The sum of the head of this module, or None where the CPU kernels do not take these tensors.

    Args:
        x: (samples, inputs), float32 or float64 as all tensors.
        coefficients: (functions, inputs, outputs).
        base_weight: (outputs, inputs), or None.
        bias: (outputs,), or None.
        edges: the functions.

    Returns:
        (samples, outputs); first and second derivatives work.
    """
    if edges.kind not in KERNEL_FAMILIES or not numba_supported(x, coefficients, base_weight, bias, dtype=x.dtype):
        return None
    coefficients = coefficients if coefficients.is_contiguous() else coefficients.contiguous()
    x = x if x.is_contiguous() else x.contiguous()
    bias = bias if bias is None or bias.is_contiguous() else bias.contiguous()
    functions, inputs, outputs = coefficients.shape
    kernels = edge_kernels(edges, functions, inputs, outputs, x.dtype)
    if torch.is_grad_enabled():
        return _FreeSum.apply(x, coefficients, base_weight, bias, kernels, edges)
    return kernels.forward(x, coefficients, base_weight, bias)
