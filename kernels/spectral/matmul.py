"""A sum of features as one matrix product, with a hand-written backward: y_o = c_o + sum_(t,i) F_t(x_i) M_tio.

Features are made in pieces of the batch that fit a processor's cache, used and forgotten; the backward pass makes them
again, which costs less than keeping them. A derivative of features is a sum of the same features (see
:class:`qkan.kernels.spectral.basis.Basis`), so the backward pass needs no others: with M' the weights of the
derivative,

    dL/dx_i = sum_t F_t(x_i) sum_o M'_tio dL/dy_o,    dL/dM_tio = sum_samples F_t(x_i) dL/dy_o.

Where every input has one activation of its own, y_i = c_i + sum_t F_t(x_i) M_ti0, the same holds without sums over
inputs and outputs: that is the *diagonal* case below.

Small sums, and all under a compiler, which fuses by itself, are left to autograd. Under vmap and for second derivatives
the formulas above run without pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import plain_needed
from qkan.kernels.common.tensors import check_readable, piece_elements, without_autocast
from qkan.kernels.common.triton_device import KernelUnavailableError, warn_once
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.edges.activations import BASES
from qkan.kernels.spectral import numba_cpu as features_numba
from qkan.kernels.spectral import triton_gpu as spectral_triton
from qkan.kernels.spectral.basis import Basis, Operands

#: So few feature values, as a step of a small recurrence has, cost less with autograd's own backward.
SMALL_ELEMENTS = 2**13
#: From so many inputs on, the product is added up term by term.
WIDE_INPUTS = 96


@dataclass(frozen=True)
class Sum:
    """Which sum: its basis, whether it is diagonal, and a narrower dtype for the product or None."""

    basis: Basis
    diagonal: bool = False
    matmul_dtype: torch.dtype | None = None


def plain_sum(kind: Sum, x: Tensor, matrix: Tensor, constant: Tensor) -> Tensor:
    """:func:`weighted_sum` in a few differentiable operations, without pieces."""
    functions = kind.basis.functions(x)
    if kind.diagonal:
        return (torch.stack(functions, -1) * matrix.squeeze(-1).t()).sum(-1) + constant
    features, flat = torch.cat(functions, -1), matrix.flatten(0, 1)
    y = (
        features @ flat
        if kind.matmul_dtype is None
        else (features.to(kind.matmul_dtype) @ flat.to(kind.matmul_dtype)).to(x.dtype)
    )
    return y + constant


def plain_gradients(kind: Sum, x: Tensor, matrix: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`weighted_sum` in x and matrix, by the formulas at the head of this module."""
    slopes, constant = kind.basis.differentiate(matrix)
    functions = kind.basis.functions(x)
    features, along = torch.stack(functions, -2), torch.stack(kind.basis.slope_functions(x, functions), -2)
    if kind.diagonal:
        grad_x = (along * slopes.squeeze(-1)).sum(-2) * grad
        grad_matrix = (features * grad.unsqueeze(-2)).sum(0).unsqueeze(-1)
        return (grad_x if constant is None else grad_x + grad * constant.squeeze(-1)), grad_matrix
    grad_x = (torch.einsum("so,tio->sti", grad, slopes) * along).sum(-2)
    grad_x = grad_x if constant is None else grad_x + grad @ constant.mT
    return grad_x, torch.einsum("sti,so->tio", features, grad)


class _Piece:
    """Some rows of x and their features, laid out in one of two ways.

    Narrow layers: (terms, inputs, rows), so that all terms are one matrix and one product, and every term is a
    contiguous run however few the inputs are. Wide ones: (terms, rows, inputs), which takes no transposing; the product
    is added up term by term, and the input's gradient needs workspace for one term only.
    """

    def __init__(self, x: Tensor, rows: slice, kind: Sum, workspace: Tensor) -> None:
        self.rows, self.kind = rows, kind
        self.wide = not kind.diagonal and x.shape[1] >= WIDE_INPUTS
        self.x = x[rows] if self.wide else x[rows].mT.contiguous()
        self.features = workspace[: kind.basis.terms * self.x.numel()].view(-1, *self.x.shape)
        self.functions = kind.basis.functions(self.x, into=self.features.unbind(0))

    def times(self, matrix: Tensor, constant: Tensor, out: Tensor) -> None:
        """Write the product with ``matrix`` to the piece's rows of ``out``."""
        out, matmul_dtype = out[self.rows], self.kind.matmul_dtype
        if self.kind.diagonal:
            torch.add(self.features.mul_(matrix).sum(0).mT, constant, out=out)
        elif matmul_dtype is not None:
            features = self.features.flatten(0, 1).mT if not self.wide else self.features.transpose(0, 1).flatten(1)
            torch.add(features.to(matmul_dtype) @ matrix.flatten(0, 1).to(matmul_dtype), constant, out=out)
        elif self.wide:
            torch.addmm(constant, self.functions[0], matrix[0], out=out)
            for function, weights in zip(self.functions[1:], matrix[1:], strict=True):
                out.addmm_(function, weights)
        else:
            torch.addmm(constant, self.features.flatten(0, 1).mT, matrix.flatten(0, 1), out=out)

    def add_matrix_gradient(self, grad: Tensor, total: Tensor) -> None:
        """Add what the piece contributes to the gradient of the matrix."""
        grad, matmul_dtype = grad[self.rows], self.kind.matmul_dtype
        if self.kind.diagonal:
            total += (self.features * grad.mT).sum(-1, keepdim=True)
        elif matmul_dtype is not None:
            features = self.features if not self.wide else self.features.mT
            total += features.to(matmul_dtype) @ grad.to(matmul_dtype)
        elif self.wide:
            for function, gradient in zip(self.functions, total, strict=True):
                gradient.addmm_(function.mT, grad)
        else:
            total.flatten(0, 1).addmm_(self.features.flatten(0, 1), grad)

    def add_input_gradient(
        self, grad: Tensor, slopes: Tensor, constant: Tensor | None, out: Tensor, workspace: Tensor
    ) -> None:
        """Write the piece's rows of the gradient of x to ``out``; overwrites features."""
        grad, out, matmul_dtype = grad[self.rows], out[self.rows], self.kind.matmul_dtype
        along = self.kind.basis.slope_functions(self.x, self.functions)
        if self.wide and matmul_dtype is None:
            out.zero_() if constant is None else torch.mm(grad, constant.mT, out=out)
            for function, weights in zip(along, slopes, strict=True):
                out.addcmul_(torch.mm(grad, weights.mT, out=workspace[: out.numel()].view(out.shape)), function)
            return
        if self.wide:
            of_terms = (grad.to(matmul_dtype) @ slopes.to(matmul_dtype).mT).to(grad.dtype)
        elif self.kind.diagonal:
            of_terms = slopes * grad.mT
        else:
            of_terms = self._products_of_terms(slopes, grad, workspace)
        features = self.features[: len(along)]
        if not self.kind.basis.fused:  # their derivatives are other functions
            torch.stack(list(along), out=features)
        elif self.kind.basis.base is not None:
            features[-1] = along[-1]
        total = of_terms.mul_(features).sum(0)
        out.copy_(total if self.wide else total.mT)
        if constant is not None and self.kind.diagonal:
            out.addcmul_(grad, constant.mT)
        elif constant is not None:
            out.addmm_(grad, constant.mT)

    def _products_of_terms(self, slopes: Tensor, grad: Tensor, workspace: Tensor) -> Tensor:
        flat, matmul_dtype = slopes.flatten(0, 1), self.kind.matmul_dtype
        if matmul_dtype is not None:
            return (flat.to(matmul_dtype) @ grad.mT.to(matmul_dtype)).to(grad.dtype).view(*slopes.shape[:2], -1)
        workspace = workspace[: flat.shape[0] * grad.shape[0]].view(flat.shape[0], -1)
        return torch.mm(flat, grad.mT, out=workspace).view(*slopes.shape[:2], -1)


def _pieces(x: Tensor, kind: Sum) -> Iterator[_Piece]:
    """The rows of x, cut up; the features of one piece are overwritten by those of the next."""
    samples, inputs = x.shape
    terms = kind.basis.terms
    take = min(max(1, samples), max(64, piece_elements(x.device) // max(1, inputs * terms) // 64 * 64))
    workspace = x.new_empty(terms * inputs * take)
    for first in range(0, samples, take):
        yield _Piece(x, slice(first, min(first + take, samples)), kind, workspace)


def _in_triton(kind: Sum, x: Tensor, matrix: Tensor) -> bool:
    """Whether kernels on a GPU make the features."""
    return kind.basis.has_kernels and not kind.diagonal and spectral_triton.usable(x, matrix)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, matrix: Tensor, constant: Tensor, kind: Sum) -> Tensor:
        if _in_triton(kind, x, matrix):
            try:
                return spectral_triton.product(kind.basis, x, matrix, constant, kind.matmul_dtype)
            except KernelUnavailableError as error:
                warn_once(error.reason)
        out = x.new_empty(x.shape if kind.diagonal else (x.shape[0], matrix.shape[-1]))
        for piece in _pieces(x, kind):
            piece.times(matrix, constant, out)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, matrix, _, ctx.kind = inputs
        ctx.save_for_backward(x, matrix)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, matrix = ctx.saved_tensors
        check_readable(x, matrix)
        need_x, need_matrix, need_constant, _ = ctx.needs_input_grad
        if stand_for_batch(grad):
            constant = matrix.new_zeros(x.shape[1] if ctx.kind.diagonal else matrix.shape[-1])
            tensors, needs = (x, matrix, constant), ctx.needs_input_grad[:3]
            return *vjp_needed(partial(plain_sum, ctx.kind), tensors, needs, grad), None
        with without_autocast(x.device):
            grad_x, grad_matrix = _Gradients.apply(x, matrix, grad, ctx.kind, need_x, need_matrix)
        return grad_x, grad_matrix, grad.sum(0) if need_constant else None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x, matrix, constant, kind: Sum):
        def run(*tensors: Tensor) -> Tensor:
            return plain_sum(kind, *tensors)

        return torch.vmap(run, in_dims[:3], randomness=info.randomness)(x, matrix, constant), 0


class _Gradients(torch.autograd.Function):
    """Gradients of :class:`_Sum` in x and matrix; those not needed are None."""

    @staticmethod
    def forward(x: Tensor, matrix: Tensor, grad: Tensor, kind: Sum, need_x: bool, need_matrix: bool):
        if _in_triton(kind, x, matrix):
            try:
                needs = need_x, need_matrix
                return spectral_triton.product_gradients(kind.basis, x, matrix, grad, kind.matmul_dtype, needs)
            except KernelUnavailableError as error:
                warn_once(error.reason)
        grad_x = x.new_empty(x.shape) if need_x else None
        grad_matrix = matrix.new_zeros(matrix.shape) if need_matrix else None
        slopes, constant = kind.basis.differentiate(matrix) if need_x else (None, None)
        grad, workspace = grad.contiguous(), x.new_empty(0)
        for piece in _pieces(x, kind):
            if grad_matrix is not None:
                piece.add_matrix_gradient(grad, grad_matrix)
            if grad_x is not None and slopes is not None:
                needed = piece.x.numel() * (1 if piece.wide else len(slopes))
                workspace = x.new_empty(needed) if workspace.numel() < needed else workspace
                piece.add_input_gradient(grad, slopes, constant, grad_x, workspace)
        return grad_x, grad_matrix

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, matrix, grad, ctx.kind, *ctx.needs = inputs
        ctx.save_for_backward(x, matrix, grad)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        def needed(*tensors: Tensor) -> tuple[Tensor, ...]:
            values = plain_gradients(ctx.kind, *tensors)
            return tuple(value for value, need in zip(values, ctx.needs, strict=True) if need)

        check_readable(*ctx.saved_tensors)
        upstream = tuple(grad for grad, need in zip(grads, ctx.needs, strict=True) if need)
        with without_autocast(ctx.saved_tensors[0].device):
            found = torch.func.vjp(needed, *ctx.saved_tensors)[1](upstream)
        return *found, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x, matrix, grad, kind: Sum, *needs: bool):
        def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            return plain_gradients(kind, *tensors)

        values = torch.vmap(run, in_dims[:3], randomness=info.randomness)(x, matrix, grad)
        return tuple(v if need else None for v, need in zip(values, needs, strict=True)), tuple(
            0 if need else None for need in needs
        )


def matrix_gradient(
    x: Tensor,
    matrix: Tensor,
    grad: Tensor,
    basis: Basis,
    *,
    diagonal: bool = False,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """dL/dM of :func:`weighted_sum` for dL/dy = ``grad``, in pieces; nothing is differentiable."""
    return _Gradients.apply(x, matrix, grad, Sum(basis, diagonal, matmul_dtype), False, True)[1]


def activation_functions(x: Tensor, basis: Basis, activation_coeffs: Tensor) -> list[Tensor]:
    """The activation of every input from its coefficients and, if there is one, the base activation."""
    constant, coeffs = activation_coeffs[0], activation_coeffs[1:].unsqueeze(-1)
    functions = [weighted_sum(x, coeffs, constant, replace(basis, base=None), diagonal=True)]
    if basis.base is not None:
        functions.append(BASES[basis.base][0](x))
    return functions


class _NumbaSum(torch.autograd.Function):
    """A sum of features in the CPU kernels of :mod:`qkan.kernels.spectral.numba_cpu`."""

    @staticmethod
    def forward(ctx: Any, x, matrix, constant, activation_coeffs, basis: Basis):
        ctx.save_for_backward(x, matrix, constant, activation_coeffs)
        ctx.basis = basis
        return features_numba.products(basis, matrix, constant, activation_coeffs, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, matrix, _, activation_coeffs = saved = ctx.saved_tensors
        check_readable(*saved)
        need_x, need_matrix, need_constant, need_shape, _ = ctx.needs_input_grad
        if torch.is_grad_enabled() or not numba_supported(grad):
            plain = partial(_plain_operands_sum, ctx.basis)
            return *vjp_needed(plain, saved, ctx.needs_input_grad[:4], grad), None
        grad, of_matrix, of_constant, of_x, of_coeffs = grad.contiguous(), None, None, None, None
        if need_matrix or need_constant:
            of_matrix, of_constant = features_numba.matrix_gradients(ctx.basis, matrix, activation_coeffs, x, grad)
        if need_x or need_shape:
            of_x, of_coeffs = features_numba.input_gradients(ctx.basis, matrix, activation_coeffs, x, grad)
        found = (of_x, of_matrix, of_constant, of_coeffs)
        return *(f if need else None for f, need in zip(found, ctx.needs_input_grad, strict=False)), None


def _plain_operands_sum(
    basis: Basis, x: Tensor, matrix: Tensor, constant: Tensor, activation_coeffs: Tensor | None
) -> Tensor:
    """The sum of :class:`_NumbaSum` in a few differentiable operations."""
    if activation_coeffs is None:
        return plain_sum(Sum(basis), x, matrix, constant)
    return torch.cat(activation_functions(x, basis, activation_coeffs), -1) @ matrix.flatten(0, 1) + constant


def operands_sum(x: Tensor, operands: Operands) -> Tensor:
    """Features of x (samples, inputs) times the matrix of ``operands``, (samples, outputs)."""
    basis, matrix, bias, activation_coeffs = operands
    if basis.fused and numba_supported(x, matrix, bias, activation_coeffs):
        return _NumbaSum.apply(x.contiguous(), matrix.contiguous(), bias, activation_coeffs, basis)
    return _plain_operands_sum(basis, x, matrix, bias, activation_coeffs)


def weighted_sum(
    x: Tensor,
    matrix: Tensor,
    constant: Tensor,
    basis: Basis,
    *,
    diagonal: bool = False,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """Features of x times a matrix.

    Args:
        x: (samples, inputs), float32 or float64.
        matrix: (terms, inputs, outputs), the dtype of x; (terms, inputs, 1) if ``diagonal``.
        constant: (outputs,), or (inputs,) if ``diagonal``.
        basis: which features.
        diagonal: y_i depends on x_i alone, with the weights of input i: no sum over inputs.
        matmul_dtype: bfloat16 or float16 to round features and matrix to for the product, which is added up in float32;
            None multiplies in the dtype of x. Features are computed in the dtype of x either way.

    Returns:
        (samples, outputs), or (samples, inputs) if ``diagonal``, in the dtype of x. First and second derivatives, vmap
        and compilation work.
    """
    kind = Sum(basis, diagonal, matmul_dtype)
    if basis.fused and not (diagonal or matmul_dtype is not None) and numba_supported(x, matrix, constant):
        return _NumbaSum.apply(x.contiguous(), matrix.contiguous(), constant, None, basis)
    # Sizes are looked at last: an exported program has to hold for all.
    plain = torch.compiler.is_compiling() or plain_needed()
    if plain or (x.numel() * basis.terms <= SMALL_ELEMENTS and not _in_triton(kind, x, matrix)):
        return plain_sum(kind, x, matrix, constant)
    return _Sum.apply(x, matrix, constant, kind)
