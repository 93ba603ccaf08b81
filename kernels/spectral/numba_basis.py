"""Numba code of features: the functions of :mod:`qkan.kernels.spectral.basis`.

``kernel_params`` holds integers that say what to compute.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import sincos_arrays
from qkan.kernels.edges.numba_activations import copy_rows

# Places in ``kernel_params``: kind and size of the basis, base activation, whether every input has one activation,
# inputs.
KIND, SIZE, BASE, SHAPED, WIDTH = range(5)
#: Integers in ``kernel_params``, with those of recurrences.
HOW_SIZE = 14
# Numbers of feature kinds.
FOURIER, CHEBYSHEV = 0, 1


@inlined
def num_frequencies(kernel_params: Any) -> int:
    """Waves of the basis, without the base activation."""
    return 2 * kernel_params[SIZE] if kernel_params[KIND] == FOURIER else kernel_params[SIZE] - 1


@inlined
def waves(kernel_params: Any, radius: Any, z: Any, count: int, planes: Any, stride: int, spare: Any) -> None:
    """The waves of z[0:count], wave k at planes[k * stride]; ``spare`` takes 2 * count numbers."""
    size = kernel_params[SIZE]
    # Loops index slices from zero: an index that might be negative would keep LLVM from vectorising them.
    if kernel_params[KIND] == FOURIER:
        if size == 0:
            return
        first, below = planes[:count], planes[size * stride : size * stride + count]
        sincos_arrays(z[:count], below, first)
        for k in range(1, size):
            c, c_next = planes[(k - 1) * stride :], planes[k * stride :]
            s, s_next = planes[(size + k - 1) * stride :], planes[(size + k) * stride :]
            for j in range(count):
                c_next[j] = first[j] * c[j] - below[j] * s[j]
                s_next[j] = below[j] * c[j] + first[j] * s[j]
        return
    one, steps, tops = z.dtype.type(1), spare[:count], spare[count:]
    for j in range(count):
        x = z[j] / radius
        planes[j] = x
        steps[j] = abs(x) - one
        tops[j] = abs(x)
    for k in range(2, size):
        plane, odd = planes[(k - 1) * stride :], k % 2 == 1
        for j in range(count):
            x = planes[j]
            near = abs(x) - one
            step = (near + near) * tops[j] + steps[j]
            top = tops[j] + step
            steps[j] = step
            tops[j] = top
            plane[j] = -top if odd and x < 0 else top


@inlined
def activation(shape: Any, planes: Any, stride: int, rows: int, width: int, out: Any) -> None:
    """out[r, i] = shape[0, i] + sum_k shape[k + 1, i] planes[k][r, i]."""
    for r in range(rows):
        row = out[r * width : (r + 1) * width]
        copy_rows(shape, 0, row, 0, 1, width)
        for k in range(1, len(shape) // width):
            weights, plane = shape[k * width :], planes[(k - 1) * stride + r * width :]
            for i in range(width):
                row[i] += weights[i] * plane[i]
