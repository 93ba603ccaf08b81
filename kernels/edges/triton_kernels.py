"""Device code of families of functions (:mod:`qkan.kernels.edges.families`); importing this module imports triton.

A program makes all functions of a tile of BLOCK_R samples and BLOCK_I inputs, one after the other, and writes each
once. A function's own variable is x * rate + start - function * step; see :func:`qkan.kernels.edges.families.scales`.
"""

import triton
import triton.language as tl

from qkan.kernels.edges.triton_activations import base, base_slope

_COUNTS = ["samples", "functions"]


@triton.jit
def _above(value):
    """The value where it is not below zero, else zero; NaN stays NaN."""
    return tl.where(value < 0.0, 0.0, value)


@triton.jit
def _raised(value, POWER: tl.constexpr):
    result = tl.where(value == value, 1.0, value)
    for _ in tl.static_range(POWER):
        result = result * value
    return result


@triton.jit
def _powers(distance, ORDER: tl.constexpr, POWER: tl.constexpr):
    """What :func:`qkan.kernels.edges.families._powers` is, without the factorial."""
    a = 0.5 * (ORDER + 1) - distance
    third = 0.5 * ORDER * (ORDER + 1)
    if POWER == 0:  # the slope of hats
        return tl.where(a > 0.0, 1.0, 0.0)
    return (
        _raised(_above(a), POWER)
        - (ORDER + 1.0) * _raised(_above(a - 1.0), POWER)
        + third * _raised(_above(a - 2.0), POWER)
    )


@triton.jit
def value(place, FAMILY: tl.constexpr, ORDER: tl.constexpr, FACTORIAL: tl.constexpr):
    """A function at its own variable; FACTORIAL is that of the order."""
    if FAMILY == "bspline":
        return _powers(tl.abs(place), ORDER, ORDER) * (1.0 / FACTORIAL)
    if FAMILY == "rbf":
        return tl.exp(-place * place)
    height = _above(1.0 - place * place)
    return height * height


@triton.jit
def slope(place, rate, FAMILY: tl.constexpr, ORDER: tl.constexpr, FACTORIAL: tl.constexpr):
    """Its derivative in x."""
    if FAMILY == "bspline":
        sign = tl.where(place < 0.0, 1.0, tl.where(place > 0.0, -1.0, 0.0))
        return sign * _powers(tl.abs(place), ORDER, ORDER - 1) * (rate * (ORDER / FACTORIAL))
    if FAMILY == "rbf":
        return -2.0 * rate * place * tl.exp(-place * place)
    return -4.0 * rate * place * _above(1.0 - place * place)


@triton.jit
def tile_places(samples, inputs, BLOCK_R: tl.constexpr, BLOCK_I: tl.constexpr):
    """Rows and inputs of this program's tile, and which of them exist."""
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)[None, :]
    return r, i, (r < samples) & (i < inputs)


@triton.jit(do_not_specialize=_COUNTS)
def family_features_kernel(
    x, out, samples, inputs, functions, row, x_row, x_column, rate, start, step, FAMILY: tl.constexpr,
    ORDER: tl.constexpr, FACTORIAL: tl.constexpr, BASE: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """All functions of a tile to ``out`` (samples, terms, inputs), ``row`` numbers a sample, in its dtype."""
    r, i, live = tile_places(samples, inputs, BLOCK_R, BLOCK_I)
    tile = tl.load(x + r * x_row + i.to(tl.int64) * x_column, mask=live, other=0.0)
    out += r * row + i
    first = tile * rate + start
    for term in range(functions):
        made = value(first - term * step, FAMILY, ORDER, FACTORIAL)
        tl.store(out + term * inputs, made.to(out.dtype.element_ty), mask=live)
    if BASE != "none":
        tl.store(out + functions * inputs, base(tile, BASE).to(out.dtype.element_ty), mask=live)


@triton.jit(do_not_specialize=_COUNTS)
def family_input_gradient_kernel(
    x, of_features, grad_x, samples, inputs, functions, row, x_row, x_column, rate, start, step, FAMILY: tl.constexpr,
    ORDER: tl.constexpr, FACTORIAL: tl.constexpr, BASE: tl.constexpr, WRITES: tl.constexpr, BLOCK_R: tl.constexpr,
    BLOCK_I: tl.constexpr,
):  # fmt: skip
    """The gradient of x from that of its features; with WRITES these take the place of their gradients."""
    r, i, live = tile_places(samples, inputs, BLOCK_R, BLOCK_I)
    tile = tl.load(x + r * x_row + i.to(tl.int64) * x_column, mask=live, other=0.0)
    of_features += r * row + i
    first = tile * rate + start
    total = tl.zeros_like(tile)
    for term in range(functions):
        place = first - term * step
        here = of_features + term * inputs
        total += slope(place, rate, FAMILY, ORDER, FACTORIAL) * tl.load(here, mask=live, other=0.0).to(tl.float32)
        if WRITES:
            made = value(place, FAMILY, ORDER, FACTORIAL)
            tl.store(here, made.to(of_features.dtype.element_ty), mask=live)
    if BASE != "none":
        here = of_features + functions * inputs
        total += base_slope(tile, BASE) * tl.load(here, mask=live, other=0.0).to(tl.float32)
        if WRITES:
            tl.store(here, base(tile, BASE).to(of_features.dtype.element_ty), mask=live)
    tl.store(grad_x + r * inputs + i, total, mask=live)
