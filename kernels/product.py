"""A sum of features as one matrix product, with a hand-written backward: y_o = c_o + sum_(t,i) F_t(x_i) M_tio.

Features are made in pieces of the batch that fit a processor's cache, used and forgotten; the backward pass makes them
again, which costs less than keeping them. A derivative of features is a sum of the same features (see
:class:`qkan.kernels.features.Basis`), so the backward pass needs no others: with M' the weights of the derivative,

    dL/dx_i = sum_t F_t(x_i) sum_o M'_tio dL/dy_o,    dL/dM_tio = sum_samples F_t(x_i) dL/dy_o.

Where every input has one activation of its own, y_i = c_i + sum_t F_t(x_i) M_ti0, the same holds without sums over
inputs and outputs: that is the *diagonal* case below.

Under a compiler, which fuses by itself, under vmap and for second derivatives the same formulas run without pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.features import BASES, Basis

#: Feature values (terms x inputs x samples) of one piece: 4 MB in single precision. On two cores half and twice as many
#: are no faster.
PIECE_ELEMENTS = 2**20


@dataclass(frozen=True)
class Sum:
    """Which sum: its basis, whether it is diagonal, and a narrower dtype for the product or None."""

    basis: Basis
    diagonal: bool = False
    low: torch.dtype | None = None


def plain_sum(x: Tensor, matrix: Tensor, constant: Tensor, kind: Sum) -> Tensor:
    """:func:`weighted_sum` in a few differentiable operations, without pieces."""
    planes = kind.basis.planes(x)
    if kind.diagonal:
        return (torch.stack(planes, -1) * matrix.squeeze(-1).mT).sum(-1) + constant
    features, flat = torch.cat(planes, -1), matrix.flatten(0, 1)
    y = features @ flat if kind.low is None else (features.to(kind.low) @ flat.to(kind.low)).to(x.dtype)
    return y + constant


def plain_gradients(x: Tensor, matrix: Tensor, grad: Tensor, kind: Sum) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`weighted_sum` in x and matrix, by the formulas at the head of this module."""
    slopes, constant = kind.basis.differentiate(matrix)
    features = torch.stack(kind.basis.planes(x), -2)
    along = features if kind.basis.base is None else torch.stack(kind.basis.planes(x, slopes=True), -2)
    if kind.diagonal:
        grad_x = (along * slopes.squeeze(-1)).sum(-2) * grad
        grad_matrix = (features * grad.unsqueeze(-2)).sum(0).unsqueeze(-1)
        return (grad_x if constant is None else grad_x + grad * constant.squeeze(-1)), grad_matrix
    grad_x = (torch.einsum("so,tio->sti", grad, slopes) * along).sum(-2)
    grad_x = grad_x if constant is None else grad_x + grad @ constant.mT
    return grad_x, torch.einsum("sti,so->tio", features, grad)


def _pieces(x: Tensor, basis: Basis) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of x, their transpose (inputs, rows) and their features (terms, inputs, rows).

    Samples are laid out last, so that every plane is one contiguous run. The features of one piece are overwritten by
    those of the next.
    """
    samples, inputs = x.shape
    take = min(max(1, samples), max(64, PIECE_ELEMENTS // max(1, inputs * basis.terms) // 64 * 64))
    room = x.new_empty(basis.terms * inputs * take)
    for first in range(0, samples, take):
        rows = slice(first, min(first + take, samples))
        along = x[rows].mT.contiguous()
        features = room[: basis.terms * along.numel()].view(basis.terms, *along.shape)
        basis.planes(along, into=features.unbind(0))
        yield rows, along, features


def _multiply(a: Tensor, b: Tensor, low: torch.dtype | None, out: Tensor) -> Tensor:
    """a b written to ``out``, after rounding both to ``low`` if that is given."""
    return torch.mm(a, b, out=out) if low is None else out.copy_(a.to(low) @ b.to(low))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, matrix: Tensor, constant: Tensor, kind: Sum) -> Tensor:
        flat = matrix.flatten(0, 1)
        out = torch.empty_like(x) if kind.diagonal else x.new_empty(x.shape[0], matrix.shape[-1])
        for rows, _, features in _pieces(x, kind.basis):
            if kind.diagonal:
                out[rows] = features.mul_(matrix).sum(0).mT
            else:
                _multiply(features.flatten(0, 1).mT, flat, kind.low, out[rows])
        return out.add_(constant)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, matrix, _, ctx.kind = inputs
        ctx.save_for_backward(x, matrix)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, matrix = ctx.saved_tensors
        need_x, need_matrix, need_constant, _ = ctx.needs_input_grad
        grad_x, grad_matrix = _Gradients.apply(x, matrix, grad, ctx.kind, need_x, need_matrix)
        return grad_x, grad_matrix, grad.sum(0) if need_constant else None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x, matrix, constant, kind: Sum):
        def run(*tensors: Tensor) -> Tensor:
            return plain_sum(*tensors, kind)

        return torch.vmap(run, in_dims[:3], randomness=info.randomness)(x, matrix, constant), 0


class _Gradients(torch.autograd.Function):
    """Gradients of :class:`_Sum` in x and matrix; those not needed are None."""

    @staticmethod
    def forward(x: Tensor, matrix: Tensor, grad: Tensor, kind: Sum, need_x: bool, need_matrix: bool):
        basis = kind.basis
        grad_x = torch.empty_like(x) if need_x else None
        grad_matrix = matrix.new_zeros(matrix.shape) if need_matrix else None
        slopes, constant = basis.differentiate(matrix) if need_x else (None, None)
        grad, room = grad.contiguous(), x.new_empty(0)
        for rows, along, features in _pieces(x, basis):
            upstream = grad[rows]
            if grad_matrix is not None:
                _add_matrix(grad_matrix, features, upstream, kind)
            if grad_x is None or slopes is None:
                continue
            if basis.base is not None:
                features[-1] = BASES[basis.base][1](along)
            if room.numel() < features.numel():
                room = torch.empty_like(features).view(-1)
            grad_x[rows] = _pull(slopes, features, upstream, kind, room[: features.numel()])
            if constant is not None and kind.diagonal:
                grad_x[rows].addcmul_(upstream, constant.mT)
            elif constant is not None:
                grad_x[rows].addmm_(upstream, constant.mT)
        return grad_x, grad_matrix

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, matrix, grad, ctx.kind, *ctx.needs = inputs
        ctx.save_for_backward(x, matrix, grad)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        def needed(*tensors: Tensor) -> tuple[Tensor, ...]:
            values = plain_gradients(*tensors, ctx.kind)
            return tuple(value for value, need in zip(values, ctx.needs, strict=True) if need)

        _, pull = torch.func.vjp(needed, *ctx.saved_tensors)
        upstream = tuple(grad for grad, need in zip(grads, ctx.needs, strict=True) if need)
        return *pull(upstream), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x, matrix, grad, kind: Sum, *needs: bool):
        def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            return plain_gradients(*tensors, kind)

        values = torch.vmap(run, in_dims[:3], randomness=info.randomness)(x, matrix, grad)
        return tuple(v if need else None for v, need in zip(values, needs, strict=True)), tuple(
            0 if need else None for need in needs
        )


def _add_matrix(total: Tensor, features: Tensor, grad: Tensor, kind: Sum) -> None:
    """Add the gradient of the matrix that one piece gives."""
    if kind.diagonal:
        total += (features * grad.mT).sum(-1, keepdim=True)
    elif kind.low is None:
        total.flatten(0, 1).addmm_(features.flatten(0, 1), grad)
    else:
        total.flatten(0, 1).add_(features.flatten(0, 1).to(kind.low) @ grad.to(kind.low))


def _pull(slopes: Tensor, features: Tensor, grad: Tensor, kind: Sum, room: Tensor) -> Tensor:
    """The gradient of one piece of x, (rows, inputs), but for the derivative's constant."""
    if kind.diagonal:
        return torch.mul(features, slopes, out=room.view(features.shape)).sum(0).mT * grad
    pulled = _multiply(slopes.flatten(0, 1), grad.mT, kind.low, room.view(-1, grad.shape[0]))
    return pulled.view(features.shape).mul_(features).sum(0).mT


def weighted_sum(
    x: Tensor,
    matrix: Tensor,
    constant: Tensor,
    basis: Basis,
    *,
    diagonal: bool = False,
    low: torch.dtype | None = None,
) -> Tensor:
    """Features of x times a matrix.

    Args:
        x: (samples, inputs), float32 or float64.
        matrix: (terms, inputs, outputs), the dtype of x; (terms, inputs, 1) if ``diagonal``.
        constant: (outputs,), or (inputs,) if ``diagonal``.
        basis: which features.
        diagonal: y_i depends on x_i alone, with the weights of input i: no sum over inputs.
        low: bfloat16 or float16 to round features and matrix to for the product, which is added up in float32; None
            multiplies in the dtype of x. Features are computed in the dtype of x either way.

    Returns:
        (samples, outputs), or (samples, inputs) if ``diagonal``, in the dtype of x. First and second derivatives, vmap
        and compilation work.
    """
    kind = Sum(basis, diagonal, low)
    if torch.compiler.is_compiling():
        return plain_sum(x, matrix, constant, kind)
    return _Sum.apply(x, matrix, constant, kind)
