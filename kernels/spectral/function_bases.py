"""Bases that are a function and its derivative, in plain operations: those that no kernel of its own makes.

Each is a row of :data:`FUNCTIONS`: how many terms a size has, the functions and their derivatives, both (terms,
shape of x). Fused kernels know other bases (:mod:`qkan.kernels.spectral.basis`); these run wherever PyTorch does, with
the same product and the same backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.constant_cache import constants, counted

#: Order of B-splines.
SPLINE_ORDER = 3


class Functions(NamedTuple):
    """A basis: its number of terms from its size; functions and derivatives of (x, size, radius)."""

    terms: Callable[[int], int]
    values: Callable[[Tensor, int, float], Tensor]
    slopes: Callable[[Tensor, int, float], Tensor]


def _column(values: Tensor, x: Tensor) -> Tensor:
    """(terms,) as (terms, 1, ...), to broadcast with x."""
    return values.view(-1, *[1] * x.dim())


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
    (order,) = constants(_orders, size, x)
    return torch.stack(second[:size]) * _column(order, x) * (1 - t * t) / radius


def _orders(size: int) -> tuple[Tensor]:
    return (counted(1, size + 1),)


def _places(x: Tensor, size: int, radius: float) -> tuple[Tensor, float]:
    """x in intervals from the middle of each spline, (terms, ...), and the length of an interval."""
    length = 2 * radius / size
    (middles,) = constants(_middles, size, x)
    return (x + radius) / length - _column(middles, x), length


def _middles(size: int) -> tuple[Tensor]:
    """In intervals from the left end of the grid: the splines reach two intervals to either side."""
    return (counted(0, size + SPLINE_ORDER) - 1,)


def _splines(x: Tensor, size: int, radius: float) -> Tensor:
    distance = _places(x, size, radius)[0].abs()
    return ((2 - distance).clamp_min(0) ** 3 - 4 * (1 - distance).clamp_min(0) ** 3) / 6


def _spline_slopes(x: Tensor, size: int, radius: float) -> Tensor:
    place, length = _places(x, size, radius)
    distance = place.abs()
    return torch.sign(place) * (4 * (1 - distance).clamp_min(0) ** 2 - (2 - distance).clamp_min(0) ** 2) / (2 * length)


#: By kind. ``tanh-chebyshev``: T_1 .. T_size of tanh(x / radius) (ChebyKAN, arXiv 2405.07200). ``rff``: cosines and
#: sines of ``size`` random frequencies N(0, (pi / radius)^2) (Rahimi and Recht 2007). ``bspline``: cubic B-splines of
#: ``size`` equal intervals of [-radius, radius] (KAN, arXiv 2404.19756); two intervals beyond that all are zero.
FUNCTIONS: dict[str, Functions] = {
    "tanh-chebyshev": Functions(lambda size: size, _squashed, _squashed_slopes),
    "rff": Functions(lambda size: 2 * size, _random_waves, _random_slopes),
    "bspline": Functions(lambda size: size + SPLINE_ORDER, _splines, _spline_slopes),
}
