"""The machine that runs the lists of instructions of :mod:`qkan.kernels.circuits.bloch.bytecode`.

Registers are rows of two tables, ``R`` in the dtype of the layer and ``D`` in double precision, with a *lane* for each
of up to :data:`qkan.kernels.circuits.bloch.bytecode.LANES` evaluations; an instruction is one packed loop over the
lanes, within the first-level cache. One switch instead of nested functions for every part keeps the compiler's work
small: nested, with functions compiled for each kind of lane, it took about four times as long.
"""

from __future__ import annotations

import math
from typing import Any

from numba import types
from numba.extending import overload, register_jitable

from qkan.kernels.circuits.bloch.bytecode import (
    ACOS,
    ACOS_SLOPE,
    ADD,
    ADD_TIMES,
    ANGLES,
    COPY,
    FLIP,
    STATE,
    TOTALS,
    TRIG,
    TURN,
    TURN_BACK,
    UPSTREAM,
    WEIGHTED,
    ZERO,
    Z,
)
from qkan.kernels.common.numba_compile import PART_OPTIONS, inlined
from qkan.kernels.common.numba_math import SINCOS_RANGE_DOUBLE, sincos, sincos_rounded


def _trig(angle: float, like: float) -> Any:
    """(sin, cos) of a float64 angle in the precision of ``like``."""


@overload(_trig, jit_options=PART_OPTIONS, inline="always")
def _choose_trig(angle, like):
    if like == types.float32:
        return lambda angle, like: sincos_rounded(angle)
    return lambda angle, like: sincos(angle)


@register_jitable(**{**PART_OPTIONS, "fastmath": {"contract", "nsz", "reassoc"}})
def lane_sum(values: Any, n: int) -> Any:
    """The sum of n lanes, in an order that depends on n and the processor only."""
    total = values[0] * 0
    for i in range(n):
        total += values[i]
    return total


@inlined
def beyond(values: Any, n: int, limit: float) -> bool:
    """Whether any of n values is larger than ``limit``; NaN is not."""
    count = 0
    for i in range(n):
        count += abs(values[i]) > limit
    return count > 0


@inlined
def fill_trig(angle: Any, cos: Any, sin: Any, n: int) -> None:
    """Cosine and sine of float64 angles of any size."""
    for i in range(n):
        sin[i], cos[i] = _trig(angle[i], cos[i])
    if beyond(angle, n, SINCOS_RANGE_DOUBLE):
        for i in range(n):
            if abs(angle[i]) > SINCOS_RANGE_DOUBLE:
                sin[i], cos[i] = math.sin(angle[i]), math.cos(angle[i])


@inlined
def fill(target: Any, n: int, value: Any) -> None:
    """Set n lanes to one value."""
    for i in range(n):
        target[i] = value


@inlined
def copy(target: Any, source: Any, n: int) -> None:
    """Copy n lanes."""
    for i in range(n):
        target[i] = source[i]


@inlined
def gather(target: Any, source: Any, places: Any, n: int) -> None:
    """Fill n lanes with the values at their ``places``."""
    if len(source) == 1:
        fill(target, n, source[0])
    else:
        for i in range(n):
            target[i] = source[places[i]]


@inlined
def add(target: Any, source: Any, n: int) -> None:
    """Add n lanes to n lanes."""
    for i in range(n):
        target[i] += source[i]


@inlined
def execute(program: Any, R: Any, D: Any, n: int, wild: bool) -> None:
    """Run instructions (count, 9) on n lanes; ``wild`` says that encoded angles may leave the fast sine's range."""
    for number in range(len(program)):
        op, a, b, c, d, e, f, g, h = program[number]
        if op == TURN:
            u, v, cos, sin = R[a], R[b], R[c], R[d]
            for i in range(n):
                p, q = u[i], v[i]
                u[i] = cos[i] * p - sin[i] * q
                v[i] = sin[i] * p + cos[i] * q
        elif op == TURN_BACK:
            # A state (u, v) and its adjoint (p, q); the gradient of the angle is the same on both sides of the turn.
            u, v, p, q, cos, sin, gradient, total = R[a], R[b], R[c], R[d], R[e], R[f], R[g], R[h]
            for i in range(n):
                co, si, x, y, s, t = cos[i], sin[i], u[i], v[i], p[i], q[i]
                slope = t * x - s * y
                gradient[i] = slope
                total[i] += slope
                u[i] = co * x + si * y
                v[i] = co * y - si * x
                p[i] = co * s + si * t
                q[i] = co * t - si * s
        elif op == WEIGHTED:
            cos, sin, x, w, shift = R[a], R[b], D[c], D[d], D[e]
            for i in range(n):
                sin[i], cos[i] = _trig(x[i] * w[i] + shift[i], cos[i])
            if wild:
                for i in range(n):
                    angle = x[i] * w[i] + shift[i]
                    if abs(angle) > SINCOS_RANGE_DOUBLE:
                        sin[i], cos[i] = math.sin(angle), math.cos(angle)
        elif op == ANGLES:  # the addition theorem
            cos, sin, co, si, x, y = R[a], R[b], R[c], R[d], R[e], R[f]
            for i in range(n):
                p, q = co[i], si[i]
                s, t = x[i], y[i]
                cos[i] = p * s - q * t
                sin[i] = q * s + p * t
        elif op == ADD:
            add(R[a], R[b], n)
        elif op == ADD_TIMES:
            u, v, w = R[a], R[b], D[c]
            for i in range(n):
                u[i] += v[i] * w[i]
        elif op == COPY:
            copy(R[a], R[b], n)
        elif op == ZERO:
            fill(R[a], n, 0.0)
        elif op == FLIP:
            u = R[a]
            for i in range(n):
                u[i] = -u[i]
        elif op == TRIG:
            fill_trig(D[c], R[a], R[b], n)
        elif op == ACOS:  # cosine and sine of acos y: y and sqrt(1 - y^2), both NaN outside [-1, 1]
            cos, sin, x, w, shift = R[a], R[b], D[c], D[d], D[e]
            for i in range(n):
                y = x[i] * w[i] + shift[i]
                root = math.sqrt((1.0 - y) * (1.0 + y))
                cos[i] = y + 0.0 * root
                sin[i] = root
        elif op == ACOS_SLOPE:
            u, v, x, w, shift = R[a], R[b], D[c], D[d], D[e]
            for i in range(n):
                y = x[i] * w[i] + shift[i]
                u[i] = -v[i] / math.sqrt((1.0 - y) * (1.0 + y))


@inlined
def _read(R: Any, n: int, amplitude: bool) -> None:
    """What is read from the state."""
    z, out = R[STATE + 2], R[Z]
    half, one, zero = z.dtype.type(0.5), z.dtype.type(1), z.dtype.type(0)
    copy(out, z, n)
    if amplitude:
        for i in range(n):
            up, down = half * (one + z[i]), half * (one - z[i])
            out[i] = math.sqrt(zero if up < zero else up) - math.sqrt(zero if down < zero else down)


@inlined
def _read_slope(R: Any, n: int) -> None:
    """Multiply the upstream gradient by the slope of the amplitude, which stays finite at the poles."""
    z, out = R[STATE + 2], R[UPSTREAM]
    half, one, floor, quarter = z.dtype.type(0.5), z.dtype.type(1), z.dtype.type(1e-12), z.dtype.type(0.25)
    for i in range(n):
        up, down = half * (one + z[i]), half * (one - z[i])
        root, other = math.sqrt(floor if up < floor else up), math.sqrt(floor if down < floor else down)
        out[i] *= quarter * (one / root + one / other)


@inlined
def run_tile(
    source: Any, factors: Any, scaled: bool, program: Any, amplitude: bool, R: Any, D: Any, n: int, wild: bool
) -> None:
    """Run the circuit on loaded lanes: values into row Z, or from the upstream gradient ``source`` to gradients.

    ``factors`` are weights of the lanes' values, if ``scaled``.
    """
    execute(program.forward, R, D, n, wild)
    _read(R, n, amplitude)
    value, upstream, by_mix = R[Z], R[UPSTREAM], R[TOTALS]
    if len(source):
        copy(upstream, source, n)
        if scaled:
            for i in range(n):
                by_mix[i] += source[i] * value[i]
                upstream[i] *= factors[i]
        if amplitude:
            _read_slope(R, n)
        execute(program.backward, R, D, n, wild)
    elif scaled:
        for i in range(n):
            value[i] *= factors[i]
