"""Numba code of base activations, with slopes, and of copies."""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import sigmoid, tanh

# Numbers of base activations.
NONE, SILU, GELU, RELU, TANH, IDENTITY = range(6)
#: The same by name.
BASE_NUMBERS = {None: NONE, "silu": SILU, "gelu": GELU, "relu": RELU, "tanh": TANH, "identity": IDENTITY}


@inlined
def copy_rows(source: Any, stride: int, target: Any, target_stride: int, rows: int, width: int) -> None:
    """target[r, :width] = source[r, :width]; Numba's own assignment of slices would look for overlaps row by row."""
    for r in range(rows):
        given, row = source[r * stride :], target[r * target_stride :]
        for j in range(width):
            row[j] = given[j]


@inlined
def fill(target: Any, count: int, value: Any) -> None:
    """target[:count] = value."""
    for j in range(count):
        target[j] = value


@inlined
def base(which: int, z: Any, count: int, out: Any) -> None:
    """The base activation of z[0:count]."""
    one, half = z.dtype.type(1), z.dtype.type(0.5)
    root = z.dtype.type(math.sqrt(0.5))
    if which == SILU:
        for j in range(count):
            out[j] = z[j] * sigmoid(z[j])
    elif which == GELU:
        for j in range(count):
            out[j] = half * z[j] * (one + z.dtype.type(math.erf(z[j] * root)))
    elif which == RELU:
        for j in range(count):
            out[j] = z[j] * 0 if z[j] < 0 else z[j]
    elif which == TANH:
        for j in range(count):
            out[j] = tanh(z[j])
    else:
        copy_rows(z, 0, out, 0, 1, count)


@inlined
def base_slope(which: int, z: Any, count: int, out: Any) -> None:
    """The derivative of the base activation at z[0:count]."""
    one, half = z.dtype.type(1), z.dtype.type(0.5)
    root, norm = z.dtype.type(math.sqrt(0.5)), z.dtype.type(1 / math.sqrt(2 * math.pi))
    if which == SILU:
        for j in range(count):
            gate = sigmoid(z[j])
            out[j] = gate * (one + z[j] * (one - gate))
    elif which == GELU:
        for j in range(count):
            normal = norm * z.dtype.type(math.exp(-half * z[j] * z[j]))
            out[j] = half * (one + z.dtype.type(math.erf(z[j] * root))) + z[j] * normal
    elif which == RELU:
        for j in range(count):
            out[j] = one if z[j] > 0 else one - one
    elif which == TANH:
        for j in range(count):
            t = tanh(z[j])
            out[j] = one - t * t
    else:
        fill(out, count, one)
