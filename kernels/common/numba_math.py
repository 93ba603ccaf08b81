"""Elementary functions for Numba kernels that LLVM turns into packed instructions inside loops over arrays.

The functions of libm are called once per number. Those below are straight lines of multiply-adds and selects, so a
loop ``for i in range(n): y[i] = tanh(x[i])`` over contiguous float32 arrays runs at half a nanosecond a number. They
are chosen by the type of their argument: float32 gives float32 at the errors stated, float64 gives float64 to a few
units in the last place (there, exp, sigmoid and tanh are libm's). Called from Python they are slow and exact.

This module imports Numba, which takes most of a second, so only modules of kernels import it, and those are imported
when a kernel first runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from qkan.kernels.common.numba_compile import PART_OPTIONS, inlined, intrinsic

#: Largest |x| up to which :func:`sincos` holds what it promises, in single and in double precision.
SINCOS_RANGE = 4096.0
SINCOS_RANGE_DOUBLE = 2.0**20


# --------------------------------------------------------------------------------------------- bits of floats
# Adding 1.5 2^23 (1.5 2^52 in double precision) to a number rounds it to an integer k, whose bits then are the lowest
# of the sum. So k costs an addition, and what depends on its lowest bits a shift.

_MAGIC = np.float32(1.5 * 2**23)
_MAGIC_DOUBLE = 1.5 * 2**52


def _bits_of(builder: Any, value: Any) -> Any:
    """The bits of a float as an integer of the same width."""
    return builder.bitcast(value, ir.IntType(32 if value.type == ir.FloatType() else 64))


@intrinsic
def _by_quadrant(typingctx, sin, cos, shifted):
    """(sin, cos) of r turned into those of r + k pi / 2; ``shifted`` is k plus the magic number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sin, cos, shifted = args
        kind = _bits_of(builder, sin).type
        quadrant = _bits_of(builder, shifted)
        if quadrant.type != kind:
            quadrant = builder.trunc(quadrant, kind)
        one, two, top = kind(1), kind(2), kind(kind.width - 2)
        odd = builder.icmp_unsigned("!=", builder.and_(quadrant, one), kind(0))
        signs = (quadrant, builder.add(quadrant, one))
        values = (builder.select(odd, cos, sin), builder.select(odd, sin, cos))
        turned = []
        for value, sign in zip(values, signs, strict=True):
            flip = builder.shl(builder.and_(sign, two), top)
            turned.append(builder.bitcast(builder.xor(_bits_of(builder, value), flip), sin.type))
        return context.make_tuple(builder, signature.return_type, turned)

    return types.UniTuple(sin, 2)(sin, cos, shifted), codegen


@intrinsic
def _power_of_two(typingctx, shifted):
    """2^k in single precision, for k in [-126, 127]; ``shifted`` is k plus the magic number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.IntType(32)
        exponent = builder.shl(_bits_of(builder, args[0]), kind(23))
        return builder.bitcast(builder.add(exponent, kind(0x3F800000)), ir.FloatType())

    return types.float32(types.float32), codegen


# --------------------------------------------------------------------------------------------- sine and cosine
# x = k pi / 2 + r with |r| <= pi / 4. Pi / 2 is subtracted in three parts, the first two so short that their products
# with k are exact where there are no fused multiply-adds, too.


def _short(value: float, bits: int) -> float:
    """``value`` with so many leading bits and zeros behind them."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(math.ldexp(mantissa, bits)), exponent - bits)


#: pi / 2 - float(pi / 2).
_HALF_PI_REST = 6.123233995736766e-17
_FIRST, _SECOND = np.float32(_short(math.pi / 2, 11)), np.float32(_short(math.pi / 2 - _short(math.pi / 2, 11), 11))
_THIRD = np.float32(math.pi / 2 - float(_FIRST) - float(_SECOND))
_FIRST_DOUBLE = _short(math.pi / 2, 33)
_SECOND_DOUBLE = math.pi / 2 - _FIRST_DOUBLE  # the 20 bits left of float(pi / 2)
_PER_QUADRANT = np.float32(2 / math.pi)
_PER_QUADRANT_DOUBLE = 2 / math.pi

# Taylor's coefficients of sin r / r - 1 and cos r - 1 + r^2 / 2 in r^2: the first one left out is below 2e-9 at pi / 4
# in single and below 1e-19 in double precision.
_S1, _S2, _S3, _S4 = (np.float32((-1) ** n / math.factorial(2 * n + 1)) for n in range(1, 5))
_C2, _C3, _C4, _C5 = (np.float32((-1) ** n / math.factorial(2 * n)) for n in range(2, 6))
_HALF, _ONE = np.float32(0.5), np.float32(1)
_D1, _D2, _D3, _D4, _D5, _D6, _D7, _D8 = ((-1) ** n / math.factorial(2 * n + 1) for n in range(1, 9))
_E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9 = ((-1) ** n / math.factorial(2 * n) for n in range(2, 10))


@inlined
def _sincos_small(r: Any) -> Any:
    """(sin r, cos r) in single precision for |r| <= pi / 4."""
    q = r * r
    sin = r + r * q * (_S1 + q * (_S2 + q * (_S3 + q * _S4)))
    cos = _ONE - (_HALF * q - q * q * (_C2 + q * (_C3 + q * (_C4 + q * _C5))))
    return sin, cos


@inlined
def _sincos_single(x: Any) -> Any:
    shifted = x * _PER_QUADRANT + _MAGIC
    k = shifted - _MAGIC
    sin, cos = _sincos_small(((x - k * _FIRST) - k * _SECOND) - k * _THIRD)
    return _by_quadrant(sin, cos, shifted)


@inlined
def _reduced(x: Any) -> Any:
    """r and k plus the magic number, in double precision."""
    shifted = x * _PER_QUADRANT_DOUBLE + _MAGIC_DOUBLE
    k = shifted - _MAGIC_DOUBLE
    return ((x - k * _FIRST_DOUBLE) - k * _SECOND_DOUBLE) - k * _HALF_PI_REST, shifted


@inlined
def _sincos_double(x: Any) -> Any:
    r, shifted = _reduced(x)
    q = r * r
    sin = r + r * q * (_D1 + q * (_D2 + q * (_D3 + q * (_D4 + q * (_D5 + q * (_D6 + q * (_D7 + q * _D8)))))))
    cos = 1.0 - (
        0.5 * q - q * q * (_E2 + q * (_E3 + q * (_E4 + q * (_E5 + q * (_E6 + q * (_E7 + q * (_E8 + q * _E9)))))))
    )
    return _by_quadrant(sin, cos, shifted)


@inlined
def sincos_rounded(x: Any) -> Any:
    """(sin x, cos x) in single precision of a float64 ``x``, |x| <= 2^20: an angle that was put together exactly."""
    r, shifted = _reduced(x)
    sin, cos = _sincos_small(np.float32(r))
    return _by_quadrant(sin, cos, shifted)


def sincos(x: float) -> tuple[float, float]:
    """(sin x, cos x).

    float32: absolute error at most 1.2e-7 for |x| <= 4096 (:data:`SINCOS_RANGE`). float64: 3e-16 for |x| <= 2^20.
    Beyond that the values mean nothing (they may even exceed 1): :func:`sincos_arrays` treats such x separately. NaN
    and infinities give NaN.
    """
    return math.sin(x), math.cos(x)


@overload(sincos, jit_options=PART_OPTIONS)
def _choose_sincos(x):  # no annotations: Numba compares the signatures
    if x == types.float32:
        return lambda x: _sincos_single(x)
    if x == types.float64:
        return lambda x: _sincos_double(x)
    return None


@inlined
def sincos_arrays(x: Any, sin: Any, cos: Any) -> None:
    """Fill one-dimensional contiguous ``sin`` and ``cos`` from ``x`` of the same dtype and length, of any size."""
    beyond = 0
    for i in range(len(x)):
        sin[i], cos[i] = sincos(x[i])
    limit = SINCOS_RANGE if x.itemsize == 4 else SINCOS_RANGE_DOUBLE
    for i in range(len(x)):
        beyond += abs(x[i]) > limit
    if beyond:
        for i in range(len(x)):
            if abs(x[i]) > limit:
                angle = np.float64(x[i])
                sin[i], cos[i] = math.sin(angle), math.cos(angle)


# --------------------------------------------------------------------------------------------- exponentials

_LOG2_E = np.float32(1 / math.log(2))
_LN2_FIRST = np.float32(_short(math.log(2), 12))
_LN2_SECOND = np.float32(math.log(2) - float(_LN2_FIRST))
# Taylor's coefficients: |r| <= ln 2 / 2, so the first one left out is 6e-9 of the value.
_X2, _X3, _X4, _X5, _X6, _X7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
#: Below the first the result is 0, above the second infinity; 2^k fits the exponent between them.
_EXP_LEAST, _EXP_MOST = np.float32(-86.5), np.float32(88.72284)
_TWO, _ZERO, _INFINITY = np.float32(2), np.float32(0), np.float32(math.inf)


@inlined
def _exp_single(x: Any) -> Any:
    inside = _EXP_LEAST if x < _EXP_LEAST else (_EXP_MOST if x > _EXP_MOST else x)
    shifted = inside * _LOG2_E + _MAGIC
    k = shifted - _MAGIC
    r = (inside - k * _LN2_FIRST) - k * _LN2_SECOND
    y = _ONE + (r + r * r * (_X2 + r * (_X3 + r * (_X4 + r * (_X5 + r * (_X6 + r * _X7))))))
    # 2^k as 2 times 2^(k - 1): k may be 128, whose power is none of the floats.
    y = (y * _TWO) * _power_of_two(shifted - _ONE)
    return _ZERO if x < _EXP_LEAST else (_INFINITY if x > _EXP_MOST else y)


def exp(x: float) -> float:
    """e^x; float32: relative error at most 1.5e-7, 0 below -86.5, infinity above 88.72. NaN stays NaN."""
    return math.exp(x)


@overload(exp, jit_options=PART_OPTIONS)
def _choose_exp(x):  # no annotations: Numba compares the signatures
    if x == types.float32:
        return lambda x: _exp_single(x)
    if x == types.float64:
        return lambda x: math.exp(x)
    return None


@inlined
def _sigmoid_single(x: Any) -> Any:
    return _ONE / (_ONE + _exp_single(-x))


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x); float32: absolute error at most 1.5e-7. Infinities give 0 and 1, NaN stays NaN."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@overload(sigmoid, jit_options=PART_OPTIONS)
def _choose_sigmoid(x):  # no annotations: Numba compares the signatures
    if x == types.float32:
        return lambda x: _sigmoid_single(x)
    if x == types.float64:
        return lambda x: 1.0 / (1.0 + math.exp(-x))
    return None


# Near zero, where 1 - 2 / (e^2x + 1) loses its digits: tanh x = x + x^3 P(x^2), P fitted at Chebyshev nodes for
# |x| <= 0.8 (relative error of tanh 2e-8).
_TANH_SMALL = np.float32(0.8)


def _tanh_fit(count: int) -> list[np.float32]:
    nodes = float(_TANH_SMALL) * np.cos(np.pi * (np.arange(64) + 0.5) / 128)
    powers = nodes[:, None] ** (2 * np.arange(count))
    return [np.float32(c) for c in np.linalg.lstsq(powers, (np.tanh(nodes) / nodes - 1) / nodes**2, rcond=None)[0]]


_T0, _T1, _T2, _T3, _T4, _T5 = _tanh_fit(6)


@inlined
def _tanh_single(x: Any) -> Any:
    q = x * x
    small = x + x * q * (_T0 + q * (_T1 + q * (_T2 + q * (_T3 + q * (_T4 + q * _T5)))))
    size = abs(x)
    large = _ONE - _TWO / (_exp_single(size + size) + _ONE)
    return small if size < _TANH_SMALL else (-large if x < _ZERO else large)


def tanh(x: float) -> float:
    """Hyperbolic tangent; float32: absolute error at most 1.5e-7, a relative one as small near 0. NaN stays NaN."""
    return math.tanh(x)


@overload(tanh, jit_options=PART_OPTIONS)
def _choose_tanh(x):  # no annotations: Numba compares the signatures
    if x == types.float32:
        return lambda x: _tanh_single(x)
    if x == types.float64:
        return lambda x: math.tanh(x)
    return None
