"""Numba code of one step of a cell whose layers are maps, for some rows at a time: what streams walk with.

Maps and layers are those of ``qkan/forecasting/model/cell_maps.py``. A program is a flat array of integers, a layer
after the other: what the layer is (:data:`CHAIN` and the numbers in front of it), then its maps of :data:`MAP` integers
each: of the inputs that only the past has (all of them above the first layer), of the inputs that are known in advance,
of the state, and the chain. Integers at the places from :data:`BIAS` on say where the numbers of a map begin in
``constants``. All sums have rows of padded(width, COLUMNS) numbers.
"""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import exp, sincos_arrays, tanh
from qkan.kernels.common.numba_matmul import COLUMNS, ROWS, add_product, padded
from qkan.kernels.edges.numba_activations import IDENTITY, NONE, base, copy_rows
from qkan.kernels.recurrence.numba_kernels import GRU, HIDDEN
from qkan.kernels.spectral.numba_basis import BASE, HOW_SIZE, KIND, SIZE, WIDTH, waves
from qkan.kernels.spectral.numba_kernels import add_products

#: Kinds of functions behind those that all kernels make.
WAVES, TANH_CHEBYSHEV, BSPLINE, RATIONAL = range(2, 6)
#: Places of a layer: as of the kernels of recurrences, and the maps of its chain, and the width of the sum in front.
CHAIN, SUM, LAYER = range(HOW_SIZE, HOW_SIZE + 3)
#: Places of a map: as of the kernels of features, then the width of the sum, the functions (without the base
#: activation), where bias, packed matrix, coefficients, radius and further numbers begin, and how many these are.
OUT, COUNT, BIAS, MATRIX, COEFFS, RADIUS, OWN, LENGTH, MAP = range(HOW_SIZE, HOW_SIZE + 9)


@inlined
def own_functions(
    program: Any, radius: Any, own: Any, z: Any, count: int, planes: Any, stride: int, spare: Any
) -> None:
    """Functions of z[0:count] of a kind that other kernels do not make, function k at planes[k * stride]."""
    size, width, kind = program[SIZE], program[WIDTH], program[KIND]
    one = z.dtype.type(1)
    zero, two = one - one, one + one
    if kind == WAVES:
        for k in range(size):
            for r in range(count // width):
                given, row, angles = z[r * width :], own[k * width :], spare[r * width :]
                for i in range(width):
                    angles[i] = row[i] * given[i]
            below = planes[(size + k) * stride : (size + k) * stride + count]
            sincos_arrays(spare[:count], below, planes[k * stride : k * stride + count])
    elif kind == TANH_CHEBYSHEV:
        for j in range(count):
            planes[j] = tanh(z[j] / radius)
        for k in range(1, size):
            now, last = planes[k * stride :], planes[(k - 1) * stride :]
            if k == 1:
                for j in range(count):
                    now[j] = two * planes[j] * planes[j] - one
            else:
                before = planes[(k - 2) * stride :]
                for j in range(count):
                    now[j] = two * planes[j] * last[j] - before[j]
    elif kind == BSPLINE:
        length, four, sixth = (radius + radius) / size, two + two, one / 6
        for k in range(size + 3):
            plane, middle = planes[k * stride :], one * (k - 1)
            for j in range(count):
                far = abs((z[j] + radius) / length - middle)
                outer = two - far if far < two else zero
                inner = one - far if far < one else zero
                plane[j] = z.dtype.type((outer * outer * outer - four * inner * inner * inner) * sixth)
    else:
        terms = len(own) // width
        for r in range(count // width):
            given, row = z[r * width :], planes[r * width :]
            for i in range(width):
                x = 1.0 * given[i]  # powers of large numbers need the range of double precision
                above, under = 0.0, 0.0
                for k in range(size - 1, -1, -1):
                    above = above * x + own[k * width + i]
                for k in range(terms - 1, size - 1, -1):
                    under = (under + own[k * width + i]) * math.fabs(x)
                row[i] = z.dtype.type(above / (1.0 + under))


@inlined
def add_map(program: Any, constants: Any, z: Any, rows: int, out: Any, space: Any) -> None:
    """Add a map of z (rows, inputs), but for its bias, to ``out``."""
    width = program[WIDTH]
    if width == 0:
        return
    packed, stride = constants[program[MATRIX] :], padded(program[OUT], COLUMNS)
    count, plane = program[COUNT], padded(rows, ROWS) * width
    if count == 0 and program[BASE] == IDENTITY:
        add_product(z, 0, rows, packed, width, 0, width, out, stride)
        return
    total = count + (1 if program[BASE] != NONE else 0)
    planes, spare, joined = space[: total * plane], space[total * plane :], space[(total + 2) * plane :]
    radius = constants[program[RADIUS]]
    if program[KIND] < WAVES:
        waves(program, radius, z, rows * width, planes, plane, spare)
    else:
        own = constants[program[OWN] : program[OWN] + program[LENGTH]]
        own_functions(program, radius, own, z, rows * width, planes, plane, spare)
    if program[BASE] != NONE:
        base(program[BASE], z, rows * width, planes[count * plane :])
    coeffs = constants[program[COEFFS] : program[COEFFS] + (count + 1) * width]
    add_products(program, count, rows, coeffs, packed, planes, plane, spare, joined, out, stride)


@inlined
def map_of(program: Any, place: int) -> Any:
    """The integers of a map of a layer."""
    return program[LAYER + place * MAP :]


@inlined
def of_state(program: Any, constants: Any, rows: int, h: Any, total: Any, other: Any, space: Any) -> None:
    """``total`` = what bias and state contribute; of a gru the bias alone, and the state to ``other``."""
    stride, state = padded(program[SUM], COLUMNS), map_of(program, 2)
    copy_rows(constants[map_of(program, 0)[BIAS] :], 0, total, stride, rows, stride)
    if program[GRU]:
        copy_rows(constants[state[BIAS] :], 0, other, stride, rows, stride)
        add_map(state, constants, h, rows, other, space)
    else:
        add_map(state, constants, h, rows, total, space)


# For values, whose digits near zero matter less than those of slopes, both activations are one exponential and one
# division: sigmoid(x) = 1 - 1 / (1 + e^x) and tanh(x) = 1 - 2 / (1 + e^2x), which err by 1e-7 at most. A row of a state
# is a multiple of whole vectors, and everything that happens to a unit is one loop.


@inlined
def lstm_update(hidden: int, rows: int, gates: Any, stride: int, c: Any, h: Any) -> None:
    """From gates before their activations to the next states."""
    one = c.dtype.type(1)
    two = one + one
    for r in range(rows):
        row, state, unit = gates[r * stride :], c[r * hidden : (r + 1) * hidden], h[r * hidden : (r + 1) * hidden]
        f, g, o = row[hidden:], row[2 * hidden :], row[3 * hidden :]
        for j in range(hidden):
            kept = (one - one / (one + exp(f[j]))) * state[j]
            new = kept + (one - one / (one + exp(row[j]))) * (one - two / (one + exp(two * g[j])))
            state[j] = new
            unit[j] = (one - one / (one + exp(o[j]))) * (one - two / (one + exp(two * new)))


@inlined
def gru_update(hidden: int, rows: int, given: Any, other: Any, stride: int, h: Any) -> None:
    """From what inputs and state contribute to the gates to the next state."""
    one = h.dtype.type(1)
    two = one + one
    for r in range(rows):
        row, own, state = given[r * stride :], other[r * stride :], h[r * hidden : (r + 1) * hidden]
        q, n, own_q, own_n = row[hidden:], row[2 * hidden :], own[hidden:], own[2 * hidden :]
        for j in range(hidden):
            reset = one - one / (one + exp(row[j] + own[j]))
            update = one - one / (one + exp(q[j] + own_q[j]))
            new = one - two / (one + exp(two * (n[j] + reset * own_n[j])))
            state[j] = new + update * (state[j] - new)


@inlined
def to_state(
    program: Any, constants: Any, rows: int, total: Any, other: Any, h: Any, c: Any, sums: Any, size: int, flat: Any,
    space: Any,
) -> None:  # fmt: skip
    """From the sums of a layer to its next states in ``h`` and ``c``; ``sums`` (2 * size) and ``flat`` are scratch."""
    hidden, source, width = program[HIDDEN], total, program[SUM]
    for m in range(program[CHAIN]):
        one = map_of(program, 3 + m)
        copy_rows(source, padded(width, COLUMNS), flat, width, rows, width)
        width = one[OUT]
        source, stride = sums[(m % 2) * size :], padded(width, COLUMNS)
        copy_rows(constants[one[BIAS] :], 0, source, stride, rows, stride)
        add_map(one, constants, flat, rows, source, space)
    stride = padded(width, COLUMNS)
    if program[GRU]:
        gru_update(hidden, rows, total, other, stride, h)
    else:
        lstm_update(hidden, rows, source, stride, c, h)
