"""A linear map whose weight has a change dW = s / f [phi(f B A) - phi(0)] added, with phi a Fourier polynomial.

dW is as large as the weight. It is made anew in the backward pass instead of being kept, so that between the passes an
adapted map keeps what the plain one keeps: its input.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.common.host_sync import tracing, transformed
from qkan.kernels.common.tensors import autocast_dtype, check_readable, full_matmul, without_autocast
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.spectral.basis import Basis


class Form(NamedTuple):
    """What of a change is no tensor.

    Attributes:
        frequency, scale: f and s.
        transposed: whether the weight is (in, out), as that of Conv1D; dW is (out, in) nevertheless.
        matmul_dtype: of the product with the input, under autocast; None for the weight's.
    """

    frequency: float
    scale: float
    transposed: bool = False
    matmul_dtype: torch.dtype | None = None


def weight_change(form: Form, a: Tensor, b: Tensor, coefficients: Tensor | None) -> Tensor:
    """dW (out, in), at least in single precision; exactly zero where B A is.

    Args:
        form: frequency and scale.
        a, b: (rank, in) and (out, rank).
        coefficients: of phi, (2 N,): those of cos x, ..., cos N x, then of sin x, ..., sin N x; None for phi(x) = x.
    """
    with without_autocast(a.device):
        product = _low_rank(a, b)
        return _shaped(form, product, _waves(form, product, coefficients), coefficients)


def _low_rank(a: Tensor, b: Tensor) -> Tensor:
    compute = torch.promote_types(a.dtype, torch.float32)
    return full_matmul(b.to(compute), a.to(compute))


def _waves(form: Form, product: Tensor, coefficients: Tensor | None) -> list[Tensor]:
    """What phi is a sum of, at f B A."""
    if coefficients is None:
        return []
    return Basis("fourier", len(coefficients) // 2).functions(form.frequency * product)


def _shaped(form: Form, product: Tensor, waves: list[Tensor], coefficients: Tensor | None) -> Tensor:
    if coefficients is None:
        return form.scale * product
    total = torch.zeros_like(product)
    for index, wave in enumerate(waves):
        total = total + coefficients[index] * (wave - 1 if 2 * index < len(waves) else wave)
    return form.scale / form.frequency * total


def changed(form: Form, weight: Tensor, change: Tensor) -> Tensor:
    """The weight with dW added, in the layout and dtype of the weight, rounded once."""
    return (weight.to(change.dtype) + (change.mT if form.transposed else change)).to(weight.dtype)


def _product(form: Form, *tensors: Tensor | None) -> Tensor:
    """The formula; without a weight that of dW alone. Tensors as of :func:`adapted_linear`."""
    given: Any = tensors
    x, weight, bias, a, b, coefficients = given
    change = weight_change(form, a, b, coefficients)
    whole = change.to(x.dtype) if weight is None else changed(form, weight, change)
    dtype = form.matmul_dtype or x.dtype
    x, whole, bias = x.to(dtype), whole.to(form.matmul_dtype or whole.dtype), None if bias is None else bias.to(dtype)
    if weight is None or not form.transposed:
        return F.linear(x, whole, bias)
    flat = x.reshape(-1, x.shape[-1])
    y = flat @ whole if bias is None else torch.addmm(bias, flat, whole)
    return y.view(*x.shape[:-1], y.shape[-1])


def adapted_linear(
    form: Form,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    coefficients: Tensor | None,
) -> Tensor:
    """x (..., in) times weight + dW, plus bias: (..., out); without a weight x times dW.

    Second derivatives and transforms go through the formula; so do compilers and tracers, which may keep dW.
    """
    narrower = None if x.dtype == torch.float64 else autocast_dtype(torch.float32, x.device)
    form = form._replace(matmul_dtype=narrower)
    tensors = x, weight, bias, a, b, coefficients
    with without_autocast(x.device):
        if torch.compiler.is_compiling() or tracing() or transformed():
            return _product(form, *tensors)
        check_readable(*tensors)
        return _AdaptedLinear.apply(form, *tensors)


class _AdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, form: Form, *tensors: Tensor | None) -> Tensor:
        ctx.form = form
        ctx.save_for_backward(*tensors)
        return _product(form, *tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        tensors, needs = ctx.saved_tensors, ctx.needs_input_grad[1:]
        check_readable(*tensors)
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or stand_for_batch(grad):
            return None, *vjp_needed(partial(_product, ctx.form), tensors, needs, grad)
        with without_autocast(grad.device):
            return None, *_gradients(ctx.form, tensors, needs, grad)


def _gradients(form: Form, tensors: Any, needs: tuple[bool, ...], grad: Tensor) -> list[Tensor | None]:
    """Gradients of :func:`_product` in those of ``tensors`` that need one, written by hand."""
    x, weight, bias, a, b, coefficients = tensors
    grad = grad.reshape(-1, grad.shape[-1])
    product, of_x = _low_rank(a, b), None
    waves = _waves(form, product, coefficients)
    if needs[0]:
        change = _shaped(form, product, waves, coefficients)
        whole = change if weight is None else changed(form, weight, change)
        of_x = grad @ (whole.mT if weight is not None and form.transposed else whole).to(grad.dtype)
        of_x = of_x.to(x.dtype).view(x.shape)
        del change, whole
    of_bias = grad.sum(0).to(bias.dtype) if needs[2] else None
    if not (needs[1] or any(needs[3:])):
        return [of_x, None, of_bias, None, None, None]
    of_change = grad.mT @ x.reshape(-1, x.shape[-1]).to(grad.dtype)
    of_weight = (of_change.mT if form.transposed else of_change).to(weight.dtype) if needs[1] else None
    compute = torch.promote_types(a.dtype, torch.float32)
    of_product, of_coefficients = _through_phi(form, waves, coefficients, of_change.to(compute))
    of_a = full_matmul(b.to(compute).mT, of_product).to(a.dtype)
    of_b = full_matmul(of_product, a.to(compute).mT).to(b.dtype)
    return [of_x, of_weight, of_bias, of_a, of_b, of_coefficients]


def _through_phi(
    form: Form, waves: list[Tensor], coefficients: Tensor | None, of_change: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Gradients in B A and in the coefficients, from that in dW."""
    if coefficients is None:
        return form.scale * of_change, None
    terms = len(waves) // 2
    slope = torch.zeros_like(of_change)
    for k in range(terms):
        slope.addcmul_(waves[terms + k], -(k + 1) * coefficients[k])
        slope.addcmul_(waves[k], (k + 1) * coefficients[terms + k])
    flat = of_change.flatten()
    sums = torch.stack([flat @ wave.flatten() for wave in waves])
    sums[:terms] -= flat.sum()
    return form.scale * slope.mul_(of_change), form.scale / form.frequency * sums
