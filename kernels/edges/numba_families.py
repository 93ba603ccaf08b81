"""Numba code of the families that kernels make (:mod:`qkan.kernels.edges.families`): many inputs of one function."""

from __future__ import annotations

from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import exp

# Numbers of families.
BSPLINE, RBF, RELU_BUMP = range(3)
#: The same by kind.
FAMILY_NUMBERS = {"bspline": BSPLINE, "rbf": RBF, "relu": RELU_BUMP}


@inlined
def raised(value: Any, power: int) -> Any:
    """value^power for a power from 1 to 5, by selects that stay outside of a loop."""
    square = value * value
    fourth = square * square
    if power == 1:
        return value
    if power == 2:
        return square
    if power == 3:
        return square * value
    return fourth if power == 4 else fourth * value


@inlined
def above(value: Any, zero: Any) -> Any:
    """The value where it is not below zero, else zero; NaN stays NaN."""
    return zero if value < zero else value


@inlined
def rate_of(family: int, order: int, size: int, radius: Any) -> Any:
    """How many units of a function's own variable are one of x; that of bumps is half their width."""
    number = radius.dtype.type
    rate = number(size - 1 if family == RBF else size) / (radius[0] + radius[0])
    return rate / number(0.5 * (order + 1)) if family == RELU_BUMP else rate


@inlined
def start_of(family: int, order: int, size: int, which: int, radius: Any) -> Any:
    """The variable of function ``which`` at x = 0."""
    number = radius.dtype.type
    if family == RBF:
        return number(0.5 * (size - 1) - which)
    middle = 0.5 * (size + order - 1) - which
    return number(middle / (0.5 * (order + 1)) if family == RELU_BUMP else middle)


@inlined
def weights_of(order: int, power: int, x: Any) -> Any:
    """Half the width of a spline, the weights of its second and third power, and one over the factorial of a power."""
    number = x.dtype.type
    factorial = 1.0
    for j in range(2, power + 1):
        factorial *= j
    return number(0.5 * (order + 1)), number(order + 1), number(order * (order + 1) // 2), number(1.0 / factorial)


@inlined
def values(family: int, order: int, rate: Any, start: Any, x: Any, count: int, out: Any) -> None:
    """out[:count] = the function of x[:count]."""
    zero, one, two, four = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2), x.dtype.type(4)
    sixth = x.dtype.type(1 / 6)
    half, second, third, scale = weights_of(order, order, x)
    if family == BSPLINE and order == 3:
        for j in range(count):
            distance = abs(x[j] * rate + start)
            a, b = above(two - distance, zero), above(one - distance, zero)
            out[j] = (a * a * a - four * (b * b * b)) * sixth
    elif family == BSPLINE:
        for j in range(count):
            a = half - abs(x[j] * rate + start)
            b, c = raised(above(a - one, zero), order), raised(above(a - two, zero), order)
            out[j] = (raised(above(a, zero), order) - second * b + third * c) * scale
    elif family == RBF:
        for j in range(count):
            place = x[j] * rate + start
            out[j] = exp(-place * place)
    else:
        for j in range(count):
            place = x[j] * rate + start
            height = above(one - place * place, zero)
            out[j] = height * height


@inlined
def add_slopes(family: int, order: int, rate: Any, start: Any, x: Any, count: int, by: Any, out: Any) -> None:
    """out[:count] += by[:count] times the derivative of the function at x[:count]."""
    zero, one, two, four = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2), x.dtype.type(4)
    half, second, third, scale = weights_of(order, order - 1, x)
    scale = scale * rate
    if family == BSPLINE and order == 3:
        for j in range(count):
            place = x[j] * rate + start
            distance = abs(place)
            a, b = above(two - distance, zero), above(one - distance, zero)
            slope = (four * (b * b) - a * a) * scale
            out[j] += by[j] * (-slope if place < zero else slope)
    elif family == BSPLINE and order == 1:
        for j in range(count):
            place = x[j] * rate + start
            slope = scale if abs(place) < one else zero
            slope = zero if place == zero else slope
            out[j] += by[j] * (slope if place < zero else -slope)
    elif family == BSPLINE:
        for j in range(count):
            place = x[j] * rate + start
            a = half - abs(place)
            b, c = raised(above(a - one, zero), order - 1), raised(above(a - two, zero), order - 1)
            slope = (second * b - raised(above(a, zero), order - 1) - third * c) * scale
            out[j] += by[j] * (-slope if place < zero else slope)
    elif family == RBF:
        for j in range(count):
            place = x[j] * rate + start
            out[j] += by[j] * (-(rate + rate) * place * exp(-place * place))
    else:
        for j in range(count):
            place = x[j] * rate + start
            out[j] += by[j] * (-four * rate * place * above(one - place * place, zero))
