"""Coefficients of the same function over more functions, or over a wider domain: new = matrix @ old.

B-splines of order k on intervals of length h are sums of those on intervals of h / m, whose weights are the
coefficients of (1 + z + ... + z^(m-1))^(k+1) / m^k (the two-scale relation): a finer grid loses nothing. More intervals
of the same length on either side add functions and leave those that there are: so a wider domain loses nothing, either,
and neither do more Fourier functions or Chebyshev polynomials. What else there is takes the nearest function in least
squares on the domain.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qkan.kernels.edges.families import FAMILIES
from qkan.kernels.edges.own_functions import BasisFunctions

#: Points a function of a fit, and the smallest singular value that counts, as a share of the largest.
POINTS, CUTOFF = 24, 1e-12
#: Families whose functions are one, moved by whole intervals, and how many intervals a size has less than it says.
_MOVED = {"bspline": 0, "relu": 0, "rbf": 1}


def splits(old: int, new: int) -> bool:
    """Whether intervals of a new grid lie in intervals of an old one."""
    return new % old == 0


def split_splines(size: int, order: int, factor: int) -> Tensor:
    """The matrix (factor * size + order, size + order) of B-splines on intervals cut into ``factor`` pieces."""
    weights = torch.ones(1, dtype=torch.float64)
    for _ in range(order + 1):
        longer = torch.zeros(len(weights) + factor - 1, dtype=torch.float64)
        for shift in range(factor):
            longer[shift : shift + len(weights)] += weights
        weights = longer
    weights = weights / factor**order
    matrix = torch.zeros(factor * size + order, size + order, dtype=torch.float64)
    for old in range(size + order):
        first = factor * (old - order) + order  # the first of the finer splines inside this one
        low, high = max(0, -first), min(len(weights), len(matrix) - first)
        matrix[first + low : first + high, old] = weights[low:high]
    return matrix


def nearest(old: BasisFunctions, new: BasisFunctions, sizes: tuple[int, int], radii: tuple[float, float]) -> Tensor:
    """The matrix of the nearest functions in least squares on the wider of two domains.

    Args:
        old, new: the functions.
        sizes, radii: of both.
    """
    bound = max(radii)
    count = POINTS * max(old.terms(sizes[0]), new.terms(sizes[1]))
    x = bound * torch.cos(math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count)  # denser at the ends
    given, made = old.values(x, sizes[0], radii[0]).mT, new.values(x, sizes[1], radii[1]).mT
    return torch.linalg.lstsq(made, given, rcond=CUTOFF, driver="gelsd").solution


def wider(kind: str, size: int, radius: float, wanted: float) -> tuple[int, float]:
    """Size and radius of a domain that reaches at least to ``wanted``: whole intervals more where there are some."""
    if kind not in _MOVED:
        return size, wanted
    length = 2 * radius / (size - _MOVED[kind])
    more = math.ceil(min((wanted - radius) / length, 2.0**31) - 1e-9)
    return size + 2 * more, radius + more * length


def matrix_between(kind: str, order: int, sizes: tuple[int, int], radii: tuple[float, float]) -> Tensor:
    """The matrix (new terms, old terms) from coefficients to those of another size and radius, in double precision.

    Args:
        kind: ``"fourier"`` or one of :data:`qkan.kernels.edges.families.FAMILIES`.
        order: of the family.
        sizes, radii: old and new.
    """
    old, new = sizes
    if kind == "fourier":
        half = torch.eye(new, old, dtype=torch.float64)
        return torch.block_diag(half, half)
    if kind == "tanh-chebyshev" and radii[0] == radii[1]:
        return torch.eye(new, old, dtype=torch.float64)
    if kind == "bspline" and radii[0] == radii[1] and splits(old, new):
        return split_splines(old, order, new // old)
    functions = FAMILIES[kind].functions(order)
    if kind in _MOVED and radii[0] != radii[1]:
        terms, more = functions.terms(old), (new - old) // 2
        matrix = torch.zeros(terms + 2 * more, terms, dtype=torch.float64)
        matrix[more : more + terms] = torch.eye(terms, dtype=torch.float64)
        return matrix
    return nearest(functions, functions, sizes, radii)
