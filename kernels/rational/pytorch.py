"""Group-rational activations in plain PyTorch: the formula, its gradients, and an engine of both in blocks.

:func:`value` and :func:`gradients` are made of differentiable operations. The first is what every engine is compared
with; the second, written by hand, is what second derivatives go through.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.common.host_sync import cannot_sync
from qkan.kernels.rational.types import LIMIT, Engine, Gradients, Spec, Tensors, compute_dtype

#: Elements of a block on the CPU: what a block makes on the way stays in the cache.
_BLOCK = 2**15


def magnitude(x: Tensor) -> Tensor:
    """|x| with slope 1 at zero."""
    return torch.where(x < 0, -x, x)


def _sign(x: Tensor) -> Tensor:
    """1 where x is not below zero, else -1."""
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


def _polynomial(coefficients: Tensor, x: Tensor) -> Tensor:
    """sum_k coefficients[:, k] x^k of x (rows, groups, run), by Horner's rule."""
    columns = coefficients.unsqueeze(-1).unbind(1)
    total = columns[-1].expand_as(x)
    for column in reversed(columns[:-1]):
        total = total * x + column
    return total


def _slopes(coefficients: Tensor) -> Tensor:
    """Coefficients of the derivative of sum_(k>=0) coefficients[:, k] x^k."""
    if coefficients.shape[1] == 1:
        return torch.zeros_like(coefficients)
    orders = torch.arange(1, coefficients.shape[1], device=coefficients.device, dtype=coefficients.dtype)
    return coefficients[:, 1:] * orders


def _from_zero(denominator: Tensor) -> Tensor:
    """b_0 = 0 in front of b_1 .. b_n."""
    return torch.cat((torch.zeros_like(denominator[:, :1]), denominator), 1)


def _parts(spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P, Q, the argument u of the powers in Q, and the coefficients (groups, n + 1) of the polynomial in Q."""
    if spec.denominator == "abs_terms":
        u, inner = magnitude(x), _from_zero(magnitude(denominator))
        q = 1 + _polynomial(inner, u)
    else:
        u, inner = x, _from_zero(denominator)
        q = 1 + magnitude(_polynomial(inner, u))
    return _polynomial(numerator, x), q, u, inner


def value(spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """F(x) by the formula.

    Args:
        spec: the form.
        x: (rows, groups, run).
        numerator, denominator: (groups, m + 1) and (groups, n), in :func:`compute_dtype` of x.

    Returns:
        the shape and dtype of x, computed in the dtype of the coefficients.
    """
    p, q, _, _ = _parts(spec, x.to(numerator.dtype), numerator, denominator)
    return (p / q).to(x.dtype)


def gradients(
    spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor, grad: Tensor, coefficients: bool
) -> Gradients:
    """Gradients of :func:`value`, written by hand; arguments as of :class:`Engine`.

    dF/dx = (P' - F Q') / Q, dF/da_k = x^k / Q, dF/db_j = -F / Q times sign(b_j) |x|^j, or sign(S) x^j where
    Q = 1 + |S|.
    """
    stored, x = x.dtype, x.to(numerator.dtype)
    p, q, u, inner = _parts(spec, x, numerator, denominator)
    f, weight = p / q, grad.to(x.dtype) / q
    sign = _sign(x) if spec.denominator == "abs_terms" else _sign(_polynomial(inner, u))
    slope = _polynomial(_slopes(numerator), x) - f * sign * _polynomial(_slopes(inner), u)
    dx = (weight * slope).to(stored)
    if not coefficients:
        return Gradients(dx, None, None)
    of_numerator, of_denominator = [], []
    power = weight
    for k in range(spec.order[0] + 1):
        power = power if k == 0 else power * x
        of_numerator.append(_summed(power))
    power = -f * weight if spec.denominator == "abs_terms" else -f * weight * sign
    for _ in range(spec.order[1]):
        power = power * u
        of_denominator.append(_summed(power))
    da, db = torch.stack(of_numerator, 1), torch.stack(of_denominator, 1)
    return Gradients(dx, da, db * _sign(denominator) if spec.denominator == "abs_terms" else db)


def _summed(x: Tensor) -> Tensor:
    """Sums over rows and runs: (rows, groups, run) to (groups,)."""
    return x.sum(-1).sum(0)


def _blocks(x: Tensor) -> list[slice]:
    """Rows to be computed at once."""
    rows, groups, run = x.shape
    step = rows if x.device.type != "cpu" else max(1, _BLOCK // (groups * run))
    return [slice(first, first + step) for first in range(0, rows, step)]


def _needs_float64(block: Tensor) -> bool:
    """Whether a block must be computed in float64."""
    if block.dtype == torch.float64 or block.device.type == "mps" or cannot_sync(block):
        return False
    return not bool(block.abs().amax() <= LIMIT)


def _forward(spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    y = torch.empty_like(x)
    for rows in _blocks(x):
        block = x[rows]
        coeffs = (numerator.double(), denominator.double()) if _needs_float64(block) else (numerator, denominator)
        y[rows] = value(spec, block, *coeffs)
    return y


def _backward(
    spec: Spec, x: Tensor, numerator: Tensor, denominator: Tensor, grad: Tensor, coefficients: bool
) -> Gradients:
    dx = torch.empty_like(x)
    dtype = torch.float32 if x.device.type == "mps" else torch.float64
    da, db = numerator.new_zeros(numerator.shape, dtype=dtype), denominator.new_zeros(denominator.shape, dtype=dtype)
    for rows in _blocks(x):
        block = x[rows]
        coeffs = (numerator.double(), denominator.double()) if _needs_float64(block) else (numerator, denominator)
        found = gradients(spec, block, *coeffs, grad[rows], coefficients)
        dx[rows] = found.x
        if found.numerator is not None and found.denominator is not None:
            da += found.numerator
            db += found.denominator
    if not coefficients:
        return Gradients(dx, None, None)
    return Gradients(dx, da.to(numerator.dtype), db.to(denominator.dtype))


def _unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    return None


ENGINE = Engine("torch", _unsupported_reason, _forward, _backward)

__all__ = ["ENGINE", "compute_dtype", "gradients", "magnitude", "value"]
