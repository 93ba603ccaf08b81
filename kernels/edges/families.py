"""Families of functions of one variable, in plain PyTorch: values and derivatives of all functions at once.

With x an input, A half the width of its domain [-A, A], and t the number of a function, counted from 0:

* ``tanh-chebyshev``, size K: T_1 .. T_K of tanh(x / A) (ChebyKAN, arXiv 2405.07200).
* ``rff``, size K: cosines and sines of K random frequencies N(0, (pi / A)^2) (Rahimi and Recht 2007).
* ``bspline``, size G, order k: B-splines of degree k on G equal intervals of [-A, A] (KAN, arXiv 2404.19756). Each
  spans k + 1 intervals, so k intervals beyond the domain all are zero.
* ``rbf``, size K: exp(-((x - c_t) / h)^2), centres c_t from -A to A, h apart (FastKAN, arXiv 2405.06721).
* ``relu``, size G, order k: (relu(x - s_t) relu(e_t - x) 4 / (e_t - s_t)^2)^2 with s_t = -A + (t - k) h, h = 2 A / G,
  and e_t = s_t + (k + 1) h (ReLU-KAN, arXiv 2406.02075): bumps of height 1.
* an activation and a combination, as ``silu-quad1`` (AF-KAN, arXiv 2503.06112): u = a(z - s_t) and v = a(e_t - z) of
  the same ends in units of the domain, z = x / (2 A), combined as :data:`COMBINATIONS` says and divided by the largest
  size that any of these functions has on the domain. The published code divides by norms and extremes over all
  samples instead, so that an output of it depends on what else is in the batch; here no sample knows of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.constant_cache import constants, counted
from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.own_functions import BasisFunctions

#: Order of splines and bumps unless told otherwise, and the largest.
SPLINE_ORDER, MOST_ORDER = 3, 5
#: Families that kernels make.
KERNEL_FAMILIES = ("bspline", "rbf", "relu")


def _column(values: Tensor, x: Tensor) -> Tensor:
    """(terms,) as (terms, 1, ...), to broadcast with x."""
    return values.view(-1, *[1] * x.dim())


def _counted_from_zero(size: int) -> tuple[Tensor]:
    return (counted(0, size),)


def _numbers(x: Tensor, count: int) -> Tensor:
    """0 .. count - 1, to broadcast with x."""
    return _column(constants(_counted_from_zero, count, x)[0], x)


# ------------------------------------------------------------------------------------------------ random features


def _draws(size: int) -> tuple[Tensor]:
    """Frequencies of random Fourier features from N(0, 1): drawn once, the same in every run."""
    return (torch.randn(size, generator=torch.Generator("cpu").manual_seed(0), dtype=torch.float64, device="cpu"),)


def _random_angles(x: Tensor, size: int, radius: float) -> tuple[Tensor, Tensor]:
    frequencies = _column(constants(_draws, size, x)[0], x) * (math.pi / radius)
    return frequencies, frequencies * x


def _random_waves(x: Tensor, size: int, radius: float) -> Tensor:
    _, angles = _random_angles(x, size, radius)
    return torch.cat((angles.cos(), angles.sin()))


def _random_slopes(x: Tensor, size: int, radius: float) -> Tensor:
    frequencies, angles = _random_angles(x, size, radius)
    return torch.cat((-frequencies * angles.sin(), frequencies * angles.cos()))


# ------------------------------------------------------------------------------------------------ Chebyshev


def _chebyshev(t: Tensor, size: int) -> Tensor:
    """T_1 .. T_size."""
    values = [torch.ones_like(t), t]
    while len(values) <= size:
        values.append(2 * t * values[-1] - values[-2])
    return torch.stack(values[1 : size + 1])


def _squashed(x: Tensor, size: int, radius: float) -> Tensor:
    return _chebyshev(torch.tanh(x / radius), size)


def _squashed_slopes(x: Tensor, size: int, radius: float) -> Tensor:
    t = torch.tanh(x / radius)
    second = [torch.ones_like(t), 2 * t]  # U_0, U_1, ...: T_k' = k U_(k-1)
    while len(second) < size:
        second.append(2 * t * second[-1] - second[-2])
    return torch.stack(second[:size]) * (_numbers(x, size) + 1) * (1 - t * t) / radius


# ------------------------------------------------------------------------------------------------ splines


def _places(x: Tensor, size: int, radius: float, order: int) -> Tensor:
    """x in intervals from the middle of each spline, (terms, ...): spline t lies on t - order .. t + 1."""
    return (x + radius) * (size / (2 * radius)) - (_numbers(x, size + order) - (order - 1) / 2)


def _powers(distance: Tensor, order: int, power: int) -> Tensor:
    """sum_j (-1)^j C(order + 1, j) relu((order + 1) / 2 - j - distance)^power / power!, over the positive ones."""
    total = torch.zeros_like(distance)
    for j in range(order // 2 + 1):
        part = (order + 1) / 2 - j - distance
        part = part.clamp_min(0) ** power if power else (part > 0).to(part.dtype)
        total = total + ((-1) ** j * math.comb(order + 1, j) / math.factorial(power)) * part
    return total


def _splines(x: Tensor, size: int, radius: float, *, order: int) -> Tensor:
    return _powers(_places(x, size, radius, order).abs(), order, order)


def _spline_slopes(x: Tensor, size: int, radius: float, *, order: int) -> Tensor:
    place = _places(x, size, radius, order)
    return -torch.sign(place) * _powers(place.abs(), order, order - 1) * (size / (2 * radius))


# ------------------------------------------------------------------------------------------------ Gaussians


def _scaled(x: Tensor, size: int, radius: float) -> tuple[Tensor, float]:
    """x in distances of centres from each of them, and how many of these are 1."""
    rate = (size - 1) / (2 * radius)
    return (x + radius) * rate - _numbers(x, size), rate


def _gaussians(x: Tensor, size: int, radius: float) -> Tensor:
    return torch.exp(-(_scaled(x, size, radius)[0] ** 2))


def _gaussian_slopes(x: Tensor, size: int, radius: float) -> Tensor:
    place, rate = _scaled(x, size, radius)
    return (-2 * rate) * place * torch.exp(-(place**2))


# ------------------------------------------------------------------------------------------------ bumps


def _bump_place(x: Tensor, size: int, radius: float, order: int) -> tuple[Tensor, float]:
    """x from the middle of each bump, half its width being 1, and how much that is in units of x."""
    half = (order + 1) / 2
    return _places(x, size, radius, order) / half, size / (2 * radius) / half


def _bumps(x: Tensor, size: int, radius: float, *, order: int) -> Tensor:
    place, _ = _bump_place(x, size, radius, order)
    return (1 - place**2).clamp_min(0) ** 2  # (1 + p) (1 - p), where both are above zero


def _bump_slopes(x: Tensor, size: int, radius: float, *, order: int) -> Tensor:
    place, rate = _bump_place(x, size, radius, order)
    return (-4 * rate) * place * (1 - place**2).clamp_min(0)


#: What AF-KAN makes of u and v, and the derivatives in u and v.
COMBINATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]]]] = {
    "quad1": (lambda u, v: (u * v) ** 2, lambda u, v: (2 * u * v * v, 2 * u * u * v)),
    "quad2": (lambda u, v: u * v + u * u + v * v, lambda u, v: (v + 2 * u, u + 2 * v)),
    "sum": (lambda u, v: u + v, lambda u, v: (torch.ones_like(u), torch.ones_like(v))),
    "prod": (lambda u, v: u * v, lambda u, v: (v, u)),
    "sum_prod": (lambda u, v: u + v + u * v, lambda u, v: (1 + v, 1 + u)),
    "cubic1": (
        lambda u, v: (u + v) * (u * u + v * v),
        lambda u, v: (3 * u * u + 2 * u * v + v * v, 3 * v * v + 2 * u * v + u * u),
    ),
    "cubic2": (lambda u, v: (u * v) ** 3, lambda u, v: (3 * u * u * v**3, 3 * u**3 * v * v)),
}


class _Combined(NamedTuple):
    """Functions of AF-KAN.

    Attributes:
        activation: of :data:`qkan.kernels.edges.activations.BASES`.
        combination: of :data:`COMBINATIONS`.
        order: k.
    """

    activation: str
    combination: str
    order: int

    def _ends(self, place: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """z - s_t and e_t - z, from x in intervals from the middle of each function."""
        half = (self.order + 1) / (2 * size)
        return half + place / size, half - place / size

    def _largest(self, size: int) -> tuple[Tensor]:
        """The largest size of a function on the domain, which does not depend on the radius."""
        x = torch.linspace(-1, 1, 64 * size + 1, dtype=torch.float64, device="cpu")
        left, right = self._ends(_places(x, size, 1.0, self.order), size)
        function = BASES[self.activation][0]
        return (COMBINATIONS[self.combination][0](function(left), function(right)).abs().amax(),)

    def values(self, x: Tensor, size: int, radius: float) -> Tensor:
        """All functions."""
        left, right = self._ends(_places(x, size, radius, self.order), size)
        function = BASES[self.activation][0]
        (height,) = constants(self._largest, size, x)
        return COMBINATIONS[self.combination][0](function(left), function(right)) / height

    def slopes(self, x: Tensor, size: int, radius: float) -> Tensor:
        """Their derivatives."""
        left, right = self._ends(_places(x, size, radius, self.order), size)
        function, slope = BASES[self.activation]
        (height,) = constants(self._largest, size, x)
        of_left, of_right = COMBINATIONS[self.combination][1](function(left), function(right))
        return (of_left * slope(left) - of_right * slope(right)) / (2 * radius * height)


# ------------------------------------------------------------------------------------------------ families


class Family(NamedTuple):
    """A family of functions.

    Attributes:
        functions: from an order to them; families that have none ignore it.
        least: the smallest size.
        ordered: whether sizes count intervals, and there are as many functions more as the order says.
    """

    functions: Callable[[int], BasisFunctions]
    least: int = 1
    ordered: bool = False


def _with_order(values: Callable[..., Tensor], slopes: Callable[..., Tensor]) -> Callable[[int], BasisFunctions]:
    return lambda order: BasisFunctions(
        partial(values, order=order), partial(slopes, order=order), lambda size: size + order
    )


def _combined(activation: str, combination: str) -> Callable[[int], BasisFunctions]:
    def functions(order: int) -> BasisFunctions:
        made = _Combined(activation, combination, order)
        return BasisFunctions(made.values, made.slopes, lambda size: size + order)

    return functions


#: Families by kind; see the head of this module.
FAMILIES: dict[str, Family] = {
    "tanh-chebyshev": Family(lambda order: BasisFunctions(_squashed, _squashed_slopes)),
    "rff": Family(lambda order: BasisFunctions(_random_waves, _random_slopes, lambda size: 2 * size)),
    "bspline": Family(_with_order(_splines, _spline_slopes), ordered=True),
    "rbf": Family(lambda order: BasisFunctions(_gaussians, _gaussian_slopes), least=2),
    "relu": Family(_with_order(_bumps, _bump_slopes), ordered=True),
    **{
        f"{activation}-{combination}": Family(_combined(activation, combination), ordered=True)
        for activation in BASES
        if activation != "identity"
        for combination in COMBINATIONS
    },
}


@lru_cache(maxsize=256)
def functions_of(kind: str, order: int) -> BasisFunctions | None:
    """The functions of a family; None for a kind that is none of :data:`FAMILIES`."""
    family = FAMILIES.get(kind)
    return None if family is None else family.functions(order)


def scales(kind: str, order: int, size: int, radius: float) -> tuple[float, float, float]:
    """How a family of :data:`KERNEL_FAMILIES` scales x: function t is one of rate * x + start - t * step."""
    if kind == "rbf":
        return (size - 1) / (2 * radius), (size - 1) / 2, 1.0
    half = (order + 1) / 2 if kind == "relu" else 1.0
    return size / (2 * radius) / half, (size + order - 1) / 2 / half, 1 / half
