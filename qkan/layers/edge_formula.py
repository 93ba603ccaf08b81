"""The exact closed form of one edge as a SymPy expression.

The circuit of an edge is band-limited, so it IS a trigonometric polynomial of at most (3^reps + 1) / 2 frequencies
(arXiv 2509.14026; see :mod:`qkan.quantum.spectrum`). A circuit that encodes t_l = acos(u_l), u_l = w_l x + b_l, is that
polynomial in the t_l, and with cos t_l = u_l, sin t_l = sqrt(1 - u_l^2) it is algebraic in x. Nothing is fitted here.
:mod:`qkan.kan.closed_form` composes the edges of a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.layers.edge_mask import edge_is_kept
from qkan.layers.options import check_edge, finite_float, positive_int
from qkan.quantum.spectrum import spectrum_of

if TYPE_CHECKING:
    from sympy import Expr

    from qkan.layers.qkan_layer import QKANLayer

#: Larger expressions, counted in terms, are refused: SymPy would take minutes for them and nobody could read them.
MAX_TERMS = 20_000
_ROUNDING = 1e-15  # coefficients not above are rounding
_WHOLE = 1e-12  # frequencies as close as this to an integer are one
POWERS = 8  # T_k and U_k are written as powers up to this k; beyond, these lose digits and cos(k acos x) does not

#: how often a base activation repeats its argument
BASE_COPIES = {"silu": 2, "gelu": 2, "relu": 1, "tanh": 1, "identity": 1}


@dataclass(frozen=True)
class Numbers:
    """How coefficients become SymPy numbers.

    Args:
        tolerance: coefficients with a modulus not above are dropped, >= 0.
        digits: significant digits to round to, 1 to 15, or None for all.

    Raises:
        ValueError, TypeError: something else.
    """

    tolerance: float = 0.0
    digits: int | None = None

    def __post_init__(self) -> None:
        finite_float("tolerance", self.tolerance, fix="0 drops nothing")
        if self.digits is not None:
            positive_int("digits", self.digits, 15)

    def keeps(self, value: float) -> bool:
        """Whether a coefficient is large enough to stay."""
        return abs(value) > max(self.tolerance, _ROUNDING)

    def kept(self, value: float) -> Expr:
        """The number, or 0 if it is dropped."""
        return self.number(value if self.keeps(value) else 0.0)

    def number(self, value: float) -> Expr:
        """An integer where the value is one, else a rounded or full floating-point number."""
        import sympy

        if self.digits is not None:
            value = float(f"{value:.{self.digits - 1}e}")
        if abs(value - round(value)) <= _WHOLE * abs(value):
            return sympy.Integer(round(value))
        return sympy.Float(value) if self.digits is None else sympy.Float(value, self.digits)


@dataclass(frozen=True)
class Term:
    """A coefficient times a function of x; ``copies`` times x occurs in it."""

    coefficient: float
    function: Callable[[Expr], Any]
    copies: int = 1


@dataclass(frozen=True)
class EdgeFormula:
    """The closed form of one edge: the sum of its terms, or for the readout amplitude a function of that sum."""

    terms: tuple[Term, ...]
    constant: float
    outer: Callable[[Expr], Expr] | None
    others: tuple[Term, ...]
    numbers: Numbers

    @property
    def copies(self) -> int:
        """How often the argument occurs."""
        inner = sum(term.copies for term in self.terms)
        return (inner if self.outer is None else 2 * inner) + sum(term.copies for term in self.others)

    def at(self, x: Expr) -> Expr:
        """The expression of the edge at ``x``."""
        inner = self._sum(self.terms, x, self.constant)
        return inner if self.outer is None else self.outer(inner) + self._sum(self.others, x)

    def _sum(self, terms: tuple[Term, ...], x: Expr, constant: float = 0.0) -> Expr:
        import sympy

        return sympy.Add(
            self.numbers.kept(constant), *(self.numbers.number(t.coefficient) * t.function(x) for t in terms)
        )


def wave(function: Callable[[Any], Any], factor: Expr, x: Expr) -> Any:
    """function(factor * x), a sum left in its brackets, which keeps composed expressions short."""
    import sympy

    return function(sympy.Mul(factor, x, evaluate=False) if x.is_Add and factor != 1 else factor * x)


def _waves(
    ansatz: Ansatz, reps: int, theta: Tensor, weight: Tensor | None, bias: Tensor | None, numbers: Numbers
) -> list[Term]:
    """<Z> of a circuit that encodes w x + b, as cosines and sines."""
    import sympy

    spectrum = spectrum_of(ansatz, reps, theta, weight, bias)
    zero = _WHOLE * (1 + max((abs(f) for f in spectrum.frequencies.tolist()), default=0.0))
    terms = []
    for frequency, coefficient in zip(spectrum.frequencies.tolist(), spectrum.coefficients.tolist(), strict=True):
        if abs(frequency) <= zero:  # a sum such as 0.3 - 0.2 - 0.1 is zero but for rounding
            terms.append(Term(coefficient.real, lambda x: sympy.Integer(1), 0))
            continue
        if frequency < 0:
            continue
        omega = numbers.number(frequency)
        terms.append(Term(2 * coefficient.real, partial(wave, sympy.cos, omega)))
        terms.append(Term(-2 * coefficient.imag, partial(wave, sympy.sin, omega)))
    return terms


def chebyshev_polynomial(k: int, x: Expr) -> Any:
    """T_k(x)."""
    import sympy

    return sympy.chebyshevt(k, x) if k <= POWERS else sympy.cos(k * sympy.acos(x))


def _chebyshev(ansatz: Ansatz, reps: int, theta: Tensor) -> list[Term]:
    """<Z> of a circuit that encodes acos(x): T_k(x) = cos(k acos x) and sqrt(1 - x^2) U_(k-1)(x) = sin(k acos x)."""
    import sympy

    def odd(k: int, x: Expr) -> Any:
        if k > POWERS:
            return sympy.sin(k * sympy.acos(x))
        return sympy.sqrt(1 - x**2) * sympy.chebyshevu(k - 1, x)

    terms = []
    spectrum = spectrum_of(_identity_encoded(ansatz), reps, theta, None, None)
    for frequency, coefficient in zip(spectrum.frequencies.tolist(), spectrum.coefficients.tolist(), strict=True):
        k = round(frequency)
        if k == 0:
            terms.append(Term(coefficient.real, lambda x: sympy.Integer(1), 0))
        elif k > 0:
            copies = k if k <= POWERS else 1
            terms.append(Term(2 * coefficient.real, partial(chebyshev_polynomial, k), copies))
            terms.append(Term(-2 * coefficient.imag, partial(odd, k), copies))
    return terms


def _algebraic(
    ansatz: Ansatz, reps: int, theta: Tensor, weight: Tensor | None, bias: Tensor | None, numbers: Numbers
) -> list[Term]:
    """<Z> of a circuit that encodes acos(u_l), every u_l = w_l x + b_l another: linear in each u_l, sqrt(1 - u_l^2)."""
    import sympy

    # With encoding weights 3^l every frequency is a sum of +-3^l in one way only, which names the term by its signs.
    spectrum = spectrum_of(_identity_encoded(ansatz), reps, theta, 3.0 ** torch.arange(reps, dtype=torch.float64), None)
    terms = torch.zeros(3**reps, dtype=torch.complex128)
    terms[(spectrum.frequencies + (3**reps - 1) / 2).round().long()] = spectrum.coefficients
    terms = terms.reshape((3,) * reps).permute(*reversed(range(reps)))  # one axis an encoding: exp(-i t), 1, exp(i t)
    to_monomials = torch.tensor([[0, 1, 0], [1, 0, 1], [-1j, 0, 1j]], dtype=torch.complex128)  # 1, cos t, sin t
    for axis in range(reps):
        terms = torch.tensordot(to_monomials, terms, dims=([1], [axis])).movedim(0, axis)
    slopes = [1.0] * reps if weight is None else weight.tolist()
    shifts = [0.0] * reps if bias is None else bias.tolist()

    def monomial(kinds: Sequence[int], x: Expr) -> Any:
        factors = []
        for kind, slope, shift in zip(kinds, slopes, shifts, strict=True):
            u = numbers.number(slope) * x + numbers.kept(shift)
            factors.append((1, u, sympy.sqrt(1 - u**2))[kind])
        return sympy.Mul(*factors)

    return [
        Term(terms[kinds].real.item(), partial(monomial, kinds), sum(kind > 0 for kind in kinds))
        for kinds in itertools.product(range(3), repeat=reps)
    ]


def _identity_encoded(ansatz: Ansatz) -> Ansatz:
    """The same gates, turned by the encoded number itself."""
    return Ansatz(ansatz.name, ansatz.block, ansatz.encoding, ansatz.final, ansatz.initial)


def _difference_of_moduli(z: Expr) -> Expr:
    """|alpha| - |beta| of a qubit with <Z> = z."""
    import sympy

    return sympy.sqrt((1 + z) / 2) - sympy.sqrt((1 - z) / 2)


def base_expression(name: str) -> Callable[[Expr], Any]:
    """A base activation by name, from its argument to the expression."""
    import sympy

    return {
        "silu": lambda x: x / (1 + sympy.exp(-x)),
        "gelu": lambda x: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
        "relu": lambda x: sympy.Max(0, x),
        "tanh": sympy.tanh,
        "identity": lambda x: x,
    }[name]


def _circuit_terms(layer: QKANLayer, output: int, input: int, numbers: Numbers) -> list[Term]:
    theta, weight, bias = layer.circuit_of(output, input)
    if layer.ansatz.encoding_map == "identity":
        return _waves(layer.ansatz, layer.reps, theta, weight, bias, numbers)
    if weight is None and bias is None:
        return _chebyshev(layer.ansatz, layer.reps, theta)
    if 3**layer.reps > MAX_TERMS:
        raise ValueError(
            f"{layer.reps} repetitions of ansatz {layer.ansatz.name!r} with trained pre-activations are "
            f"{3**layer.reps:,} terms an edge, more than {MAX_TERMS:,}; use at most 9"
        )
    return _algebraic(layer.ansatz, layer.reps, theta, weight, bias, numbers)


def circuit_formula(layer: QKANLayer, output: int, input: int, numbers: Numbers) -> EdgeFormula:
    """The closed form of one edge of circuits, not yet at any x."""
    if not edge_is_kept(layer, output, input):
        return EdgeFormula((), 0.0, None, (), numbers)

    def value(parameter: Tensor | None, default: float) -> float:
        return default if parameter is None else parameter[output, input].item()

    scale, base = value(layer.postact_weight, 1.0), value(layer.base_weight, 0.0)
    others = []
    if layer.base_activation is not None and base != 0:
        name = layer.base_activation
        if not isinstance(name, str):
            raise ValueError(
                f"base_activation {getattr(name, '__name__', type(name).__name__)} is a callable, which has no SymPy "
                f"form; use one of {', '.join(BASE_COPIES)}, or None"
            )
        others.append(Term(base, base_expression(name), BASE_COPIES[name]))
    shift = scale * value(layer.postact_bias, 0.0)
    terms = _circuit_terms(layer, output, input, numbers)
    if layer.readout == "amplitude":
        constant = sum(term.coefficient for term in terms if not term.copies)
        circuit = tuple(term for term in terms if term.copies and numbers.keeps(term.coefficient))
        scaling, offset = numbers.number(scale), numbers.kept(shift)
        return EdgeFormula(
            circuit,
            constant,
            lambda z: scaling * _difference_of_moduli(z) + offset,
            tuple(term for term in others if numbers.keeps(term.coefficient)),
            numbers,
        )
    constant = scale * sum(term.coefficient for term in terms if not term.copies) + shift
    scaled = [Term(scale * term.coefficient, term.function, term.copies) for term in terms if term.copies] + others
    return EdgeFormula(tuple(t for t in scaled if numbers.keeps(t.coefficient)), constant, None, (), numbers)


def too_large(terms: int, what: str) -> ValueError:
    """The error for a closed form of so many terms."""
    return ValueError(
        f"the closed form of {what} has {terms:,} terms, more than {MAX_TERMS:,}; raise tolerance, prune edges, take "
        "nested=False (one layer at a time, in intermediate symbols) or single edges with layer.to_sympy(output, input)"
    )


def edge_to_sympy(
    layer: Any,
    output: int,
    input: int,
    x: Any = None,
    *,
    tolerance: float = 0.0,
    digits: int | None = None,
) -> Expr:
    """What :meth:`qkan.QKANLayer.to_sympy` gives; see there."""
    import sympy

    check_edge(output, input, layer.out_features, layer.in_features)
    edge = layer.edge_formula(output, input, Numbers(tolerance, digits))
    if edge.copies > MAX_TERMS:
        raise too_large(edge.copies, f"edge ({output}, {input})")
    return edge.at(sympy.Symbol("x") if x is None else sympy.sympify(x))
