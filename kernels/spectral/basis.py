"""Basis functions of the spectral route: what a band-limited activation is a weighted sum of.

A :class:`Basis` turns inputs into features, one per term, and turns the weights of a sum of features into those
of its derivative, which is a sum of the same features:

* ``fourier``, size R: cos x .. cos R x, sin x .. sin R x; size 0: nothing but a base activation, if there is one.
* ``chebyshev``, size K, radius A: T_1(x / A) .. T_(K-1)(x / A).
* those of :mod:`qkan.kernels.edges.families`, and a user's own: functions and their derivatives, which are other
  functions.

The constant term is left to the caller: summed over inputs it is a bias. One more term can hold the base activation of
a layer, so that its branch is part of the same matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.constant_cache import constants, counted
from qkan.kernels.common.tensors import has_memory
from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import KERNEL_FAMILIES, SPLINE_ORDER, functions_of
from qkan.kernels.edges.own_functions import BasisFunctions


@dataclass(frozen=True)
class Basis:
    """Basis functions; see the head of this module.

    Attributes:
        kind, size: which functions, by name or themselves, and R or K, or what these say.
        radius: A, half the width of the domain [-A, A].
        base: a name of :data:`qkan.kernels.edges.activations.BASES` for one more term, or None.
        order: k of families that have one.
    """

    kind: str | BasisFunctions
    size: int
    radius: float = 1.0
    base: str | None = None
    order: int = SPLINE_ORDER

    @property
    def plain(self) -> BasisFunctions | None:
        """The functions of a family or of a user; None for those whose derivatives are sums of the same functions."""
        return self.kind if isinstance(self.kind, BasisFunctions) else functions_of(self.kind, self.order)

    @property
    def name(self) -> str:
        """The kind in words."""
        return self.kind if isinstance(self.kind, str) else getattr(self.kind.values, "__name__", "own")

    @property
    def named(self) -> bool:
        """Whether kind, size, radius and base say all there is to know."""
        return isinstance(self.kind, str) and self.order == SPLINE_ORDER

    @property
    def fused(self) -> bool:
        """Whether the kernels of recurrences make these functions."""
        return self.plain is None

    @property
    def has_kernels(self) -> bool:
        """Whether the kernels of sums make these functions on GPUs."""
        return self.fused or self.kind in KERNEL_FAMILIES

    @property
    def terms(self) -> int:
        """Features: basis functions without the constant, and the base activation if there is one."""
        plain = self.plain
        if plain is not None:
            count = plain.terms(self.size)
        else:
            count = 2 * self.size if self.kind == "fourier" else self.size - 1
        return count + (self.base is not None)

    def functions(self, x: Tensor, *, into: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Every feature of ``x``, each in the shape of ``x``, written to the tensors of ``into`` if they are given."""
        slots: Sequence[Tensor | None] = [None] * self.terms if into is None else into
        plain = self.plain
        if plain is not None:
            values = plain.values(x, self.size, self.radius).unbind()
            functions = [v if slot is None else slot.copy_(v) for v, slot in zip(values, slots, strict=False)]
        elif self.kind == "fourier":
            functions = _fourier_functions(x, self.size, slots)
        else:
            functions = _chebyshev_functions(x, self.radius, self.size, slots)
        if self.base is not None:
            base, slot = BASES[self.base][0](x), slots[-1]
            functions.append(base if slot is None else slot.copy_(base))
        return functions

    def slope_functions(self, x: Tensor, functions: Sequence[Tensor]) -> list[Tensor]:
        """The functions that :meth:`differentiate` gives weights of, from the features of ``x``.

        The derivative of a base activation takes the place of the last of them, in memory of its own.
        """
        plain = self.plain
        own = functions[: self.terms - (self.base is not None) - (self.kind == "chebyshev")]
        if plain is not None:
            own = plain.differentiate(x, self.size, self.radius).unbind()
        return [*own, *([] if self.base is None else [BASES[self.base][1](x)])]

    def differentiate(self, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weights of the derivative of a sum of features.

        Args:
            weights: (terms, ...).

        Returns:
            weights of the functions of :meth:`slope_functions`, and the weight of the constant function, None for zero.
        """
        if not self.fused:
            return weights, None
        own = weights[:-1] if self.base is not None else weights
        constant = None
        if self.kind == "fourier":
            (order,) = constants(_orders, self.size, weights)
            parts = [own.roll(self.size, 0) * order.view(-1, *[1] * (weights.dim() - 1))]
        else:
            (rule,) = constants(_chebyshev_slopes, self.size, weights)
            slopes = torch.tensordot(rule, own, dims=1) / self.radius
            constant, parts = slopes[0], [slopes[1:]]  # T_(K-1) is not among the derivatives
        if self.base is not None:
            parts.append(weights[-1:])
        return (torch.cat(parts) if len(parts) > 1 else parts[0]), constant


def _orders(size: int) -> tuple[Tensor, ...]:
    """1, ..., size, -1, ..., -size."""
    order = counted(1, size + 1)
    return (torch.cat((order, -order)),)


def _fourier_functions(x: Tensor, size: int, slots: Sequence[Tensor | None]) -> list[Tensor]:
    # Turning by x again and again errs by about size * eps, for an x of any size. A rounded product k * x would err by
    # its own last digit, and cos(k + 1) x = 2 cos x cos k x - cos(k - 1) x by about size^2 * eps.
    if size == 0:
        return []
    cos, sin = [torch.cos(x, out=slots[0])], [torch.sin(x, out=slots[size])]
    for k in range(1, size):
        c, s = cos[-1], sin[-1]
        cos.append(torch.addcmul(cos[0] * c, sin[0], s, value=-1, out=slots[k]))
        sin.append(torch.addcmul(sin[0] * c, cos[0], s, out=slots[size + k]))
    return cos + sin


def _chebyshev_functions(x: Tensor, radius: float, size: int, slots: Sequence[Tensor | None]) -> list[Tensor]:
    # T_k - T_(k-1) grows by 2 (x - 1) T_k (Reinsch): near x = 1, where the usual recurrence errs by k^2 * eps, that is
    # exact. Below zero T_k(-x) = (-1)^k T_k(x). In float32 the recurrence 2 x T_k - T_(k-1) and
    # cos(k acos x) err by 6 to 8 times as much (python -m benchmarks.rounding).
    x = torch.div(x, radius, out=slots[0])
    functions = [x]
    sign = 1 - 2 * (x < 0).to(x.dtype)  # not copysign, which ONNX lacks
    top = x * sign
    step = top - 1
    doubled = 2 * step
    for k in range(2, size):
        step = torch.addcmul(step, doubled, top)
        if k % 2:
            top = top + step
            functions.append(torch.mul(top, sign, out=slots[k - 1]))
        else:
            top = torch.add(top, step, out=slots[k - 1])
            functions.append(top)
    return functions


def _chebyshev_slopes(terms: int) -> tuple[Tensor, ...]:
    """(terms - 1, terms - 1): column k - 1 holds T_k' in T_0 .. T_(terms-2)."""
    order = counted(0, terms)
    # T_k' = 2 k (T_(k-1) + T_(k-3) + ...), the last term halved if it is T_0.
    lower = order.unsqueeze(-1) - order
    slopes = 2 * order.unsqueeze(-1) * ((lower > 0) & (lower % 2 == 1))
    slopes[:, 0] /= 2
    return (slopes[1:, :-1].T.contiguous(),)


def fourier_rule(reps: int) -> tuple[Tensor, Tensor]:
    """Angles (points,) and the matrix (2 reps + 1, points) from values there to a_0, a_1..a_R, b_1..b_R."""
    points = 2 * reps + 1
    # Equidistant up to single precision, then taken as they are: an angle rounded later would err by R times as much.
    angles = (2 * math.pi * (counted(0, points) - reps) / points).float().double()
    multiples = counted(1, reps + 1) * angles.unsqueeze(-1)
    synthesis = torch.cat((torch.ones_like(angles).unsqueeze(-1), multiples.cos(), multiples.sin()), -1)
    # The inverse, which ONNX lacks: the transform for exact angles errs by their rounding, 1e-5 at most, and a step of
    # Newton's method by the square of what there was.
    analysis = synthesis.T * (2.0 / points)
    analysis = torch.cat((analysis[:1] / 2, analysis[1:]))
    for _ in range(2):
        analysis = 2 * analysis - analysis @ synthesis @ analysis
    return angles, analysis


def _chebyshev_angles(terms: int) -> Tensor:
    return math.pi * (counted(0, terms) + 0.5) / terms


def chebyshev_nodes(terms: int) -> tuple[Tensor]:
    """Nodes (terms,) in [-1, 1]."""
    return (torch.cos(_chebyshev_angles(terms)),)


def chebyshev_rule(terms: int) -> tuple[Tensor]:
    """The matrix (terms, terms) from values at the nodes to coefficients."""
    analysis = torch.cos(counted(0, terms).unsqueeze(-1) * _chebyshev_angles(terms)) * (2 / terms)
    analysis[0] /= 2
    return (analysis,)


class Operands(NamedTuple):
    """A map from z to gates as features and a matrix: what a layer of circuits gives a recurrence.

    Attributes:
        basis: the features.
        matrix: (terms, Z, G), from features to gates. Its terms are ``basis.terms``; with ``activation_coeffs`` the
            one activation and, if the basis has one, the base activation.
        bias: (G,), added to the features' part.
        activation_coeffs: (functions + 1, Z), W_0 and the W_k of the activations, or None where basis functions are the
            features.
    """

    basis: Basis
    matrix: Tensor
    bias: Tensor
    activation_coeffs: Tensor | None = None

    def concat_inputs(self, other: Operands, offset: Tensor | None) -> Operands:
        """One map of the inputs of both, which have the same basis and either both activations or none."""
        coeffs = None
        if self.activation_coeffs is not None and other.activation_coeffs is not None:
            coeffs = torch.cat((self.activation_coeffs, other.activation_coeffs), 1)
        bias = self.bias + other.bias
        matrix = torch.cat((self.matrix, other.matrix), 1)
        return Operands(self.basis, matrix, bias if offset is None else bias + offset, coeffs)

    def then(self, weight: Tensor, bias: Tensor | None) -> Operands:
        """Followed by an affine map, ``weight`` (O, G) and ``bias`` (O,)."""
        if bias is not None and not torch.compiler.is_compiling():
            has_memory(bias)  # addmv would crash
        offset = self.bias @ weight.mT if bias is None else torch.addmv(bias, weight, self.bias)
        return self._replace(matrix=self.matrix @ weight.mT, bias=offset)
