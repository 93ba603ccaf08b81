"""One tile of circuits, forward and back, for the fused CPU kernel in :mod:`qkan.kernels.bloch_numba_jit`.

A tile is up to :data:`LANES` evaluations side by side, and every rotation is one packed loop over them, all in the
first-level cache. What stands side by side, the *lanes*, is either samples of one edge (an edge is an output and an
input) or edges at one sample; the index ``pick`` into what depends on parameters alone is then a number or a slice, and
Numba compiles the same functions for both.

Angles are put together in double precision whatever the dtype, so large ones need no case of their own: one conversion
and a reduction cost less than looking for them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numba import njit, types
from numba.extending import overload

from qkan.kernels.numba_math import OPTIONS, SINCOS_RANGE_DOUBLE, inlined, sincos, sincos_rounded

#: Evaluations in one tile.
LANES = 256
# Columns of the table of steps.
AXIS, KIND, CODE, TIMES, FIRST_SLOT, END_SLOT, HAS_PHASE = range(7)
HALF_TURN, FIXED, ENCODED = range(3)
#: How an input becomes the cosine and sine of an angle: by the addition theorem, by the sine of w x + b, through acos.
UNWEIGHTED, WEIGHTED, ACOS = range(3)


class Call(NamedTuple):
    """Numbers of one call or of the shard of it that one thread runs."""

    mode: int
    prefix: int
    slots: int
    codes: int
    inputs: int
    reduce: bool
    amplitude: bool
    by_samples: bool  # lanes are samples
    per_sample: bool
    wrap: int  # edge e stands in row (e % wrap) * stride + e // wrap of the parameters
    stride: int
    first_output: int
    end_output: int
    first_sample: int
    end_sample: int


class Program(NamedTuple):
    """A circuit as integers, see the columns above.

    Attributes:
        steps: (K, 7).
        thetas: (n, 2), a step and a column of theta (flattened).
        codes: (m, 3), a step, a slot and an encoding.
        times: (T,) float64: multiples of x whose cosine and sine are needed.
        initial: (3,) float64.
    """

    steps: Any
    thetas: Any
    codes: Any
    times: Any
    initial: Any


class Parameters(NamedTuple):
    """theta (samples or 1, edges, columns); weight, bias (edges, reps); mix (edges,): those not there are empty."""

    theta: Any
    weight: Any
    bias: Any
    mix: Any


class Planes(NamedTuple):
    """What depends on parameters alone, for the edges of a tile: rows by component, step or slot."""

    start: Any
    cos: Any
    sin: Any
    phase: Any
    weight: Any
    shift: Any


class Encoded(NamedTuple):
    """Inputs: x (rows, n) float64, cosine and sine of its multiples (T, rows, n)."""

    x: Any
    cos: Any
    sin: Any


class Scratch(NamedTuple):
    """A tile: state and adjoint (3, lanes), encoded cosines and sines (codes, lanes), z, upstream, two gradients."""

    state: Any
    adjoint: Any
    cos: Any
    sin: Any
    z: Any
    upstream: Any
    gradient: Any
    inner: Any


class Totals(NamedTuple):
    """Sums over samples, laid out as :class:`Planes`: angles by step, weights and shifts by slot, adjoint, mix."""

    angle: Any
    weight: Any
    shift: Any
    adjoint: Any
    mix: Any


def _at(value: Any, lane: int) -> Any:
    """``value[lane]``, or the value itself where all lanes share it."""


@overload(_at, jit_options=OPTIONS, inline="always")
def _choose_at(value, lane):
    if isinstance(value, types.Array):
        return lambda value, lane: value[lane]
    return lambda value, lane: value


def _trig(angle: float, like: float) -> Any:
    """(sin, cos) of a float64 angle in the precision of ``like``."""


@overload(_trig, jit_options=OPTIONS, inline="always")
def _choose_trig(angle, like):
    if like == types.float32:
        return lambda angle, like: sincos_rounded(angle)
    return lambda angle, like: sincos(angle)


@njit(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def _sum(values: Any, n: int) -> Any:
    total = values[0] * 0
    for lane in range(n):
        total += values[lane]
    return total


def _collect(total: Any, row: int, pick: Any, values: Any, n: int) -> None:
    """Add lanes to totals: to one number, or each to its own."""


@overload(_collect, jit_options=OPTIONS)
def _choose_collect(total, row, pick, values, n):
    if isinstance(pick, types.Integer):

        def one(total, row, pick, values, n):
            total[row, pick] += _sum(values, n)

        return one

    def each(total, row, pick, values, n):
        sums = total[row, pick]
        for lane in range(n):
            sums[lane] += values[lane]

    return each


# ------------------------------------------------------------------------------------------------ rotations


@inlined
def _turn(u: Any, v: Any, cos: Any, sin: Any, n: int) -> None:
    for lane in range(n):
        c, s = _at(cos, lane), _at(sin, lane)
        a, b = u[lane], v[lane]
        u[lane] = c * a - s * b
        v[lane] = s * a + c * b


@inlined
def _turn_back(u: Any, v: Any, p: Any, q: Any, cos: Any, sin: Any, gradient: Any, n: int) -> None:
    """Turn a state (u, v) and its adjoint (p, q) back; the gradient of the angle is the same on both sides."""
    for lane in range(n):
        c, s = _at(cos, lane), _at(sin, lane)
        a, b, d, e = u[lane], v[lane], p[lane], q[lane]
        gradient[lane] = e * a - d * b
        u[lane] = c * a + s * b
        v[lane] = c * b - s * a
        p[lane] = c * d + s * e
        q[lane] = c * e - s * d


@inlined
def _flip(values: Any, n: int) -> None:
    for lane in range(n):
        values[lane] = -values[lane]


@inlined
def _fill_trig(angle: Any, cos: Any, sin: Any, n: int) -> None:
    """Cosine and sine of float64 angles of any size."""
    beyond = 0
    for lane in range(n):
        sin[lane], cos[lane] = _trig(angle[lane], cos[lane])
    for lane in range(n):
        beyond += abs(angle[lane]) > SINCOS_RANGE_DOUBLE
    if beyond:
        for lane in range(n):
            if abs(angle[lane]) > SINCOS_RANGE_DOUBLE:
                sin[lane], cos[lane] = math.sin(angle[lane]), math.cos(angle[lane])


@inlined
def _weighted(x: Any, weight: Any, phase: Any, cos: Any, sin: Any, n: int, wild: bool) -> None:
    for lane in range(n):
        sin[lane], cos[lane] = _trig(x[lane] * _at(weight, lane) + _at(phase, lane), cos[lane])
    if wild:
        for lane in range(n):
            angle = x[lane] * _at(weight, lane) + _at(phase, lane)
            if abs(angle) > SINCOS_RANGE_DOUBLE:
                sin[lane], cos[lane] = math.sin(angle), math.cos(angle)


@inlined
def _add_angles(cos: Any, sin: Any, other_cos: Any, other_sin: Any, n: int) -> None:
    """The addition theorem: (cos, sin) of the sum of two angles in place of the first."""
    for lane in range(n):
        c, s, d, t = cos[lane], sin[lane], _at(other_cos, lane), _at(other_sin, lane)
        cos[lane] = c * d - s * t
        sin[lane] = s * d + c * t


@inlined
def _acos(x: Any, weight: Any, shift: Any, cos: Any, sin: Any, n: int) -> None:
    """Cosine and sine of acos a, a = w x + b: a and sqrt(1 - a^2), both NaN outside [-1, 1]."""
    for lane in range(n):
        a = x[lane] * _at(weight, lane) + _at(shift, lane)
        root = math.sqrt((1.0 - a) * (1.0 + a))
        cos[lane], sin[lane] = a + 0.0 * root, root


@inlined
def _encode(
    k: int, program: Program, mode: int, planes: Planes, pick: Any, given: Encoded, row: int, lanes: Any,
    tile: Scratch, n: int, wild: bool,
) -> None:  # fmt: skip
    step = program.steps[k]
    cos, sin, slot = tile.cos[step[CODE]], tile.sin[step[CODE]], step[FIRST_SLOT]
    x = given.x[row, lanes]
    if mode == WEIGHTED:
        _weighted(x, planes.weight[slot, pick], planes.phase[k, pick], cos, sin, n, wild)
        return
    if mode == UNWEIGHTED:
        known_cos, known_sin = given.cos[step[TIMES], row, lanes], given.sin[step[TIMES], row, lanes]
        for lane in range(n):
            cos[lane], sin[lane] = known_cos[lane], known_sin[lane]
    else:
        _acos(x, planes.weight[slot, pick], planes.shift[slot, pick], cos, sin, n)
        for other in range(slot + 1, step[END_SLOT]):
            _acos(x, planes.weight[other, pick], planes.shift[other, pick], tile.gradient, tile.inner, n)
            _add_angles(cos, sin, tile.gradient, tile.inner, n)
    if step[HAS_PHASE]:
        _add_angles(cos, sin, planes.cos[k, pick], planes.sin[k, pick], n)


@inlined
def _advance(
    program: Program, call: Call, planes: Planes, pick: Any, given: Encoded, row: int, lanes: Any,
    tile: Scratch, n: int, wild: bool,
) -> None:  # fmt: skip
    """Run the circuit on one tile, from the state in front of the first encoding to the last."""
    for component in range(3):
        start, state = planes.start[component, pick], tile.state[component]
        for lane in range(n):
            state[lane] = _at(start, lane)
    for k in range(call.prefix, len(program.steps)):
        step = program.steps[k]
        u, v = tile.state[(step[AXIS] + 1) % 3], tile.state[(step[AXIS] + 2) % 3]
        if step[KIND] == HALF_TURN:
            _flip(u, n)
            _flip(v, n)
        elif step[KIND] == FIXED:
            _turn(u, v, planes.cos[k, pick], planes.sin[k, pick], n)
        else:
            _encode(k, program, call.mode, planes, pick, given, row, lanes, tile, n, wild)
            _turn(u, v, tile.cos[step[CODE]], tile.sin[step[CODE]], n)


@inlined
def _read(tile: Scratch, amplitude: bool, n: int) -> None:
    """What is read from Z, into ``tile.z``."""
    state, z = tile.state[2], tile.z
    half, one, zero = state.dtype.type(0.5), state.dtype.type(1), state.dtype.type(0)
    if not amplitude:
        for lane in range(n):
            z[lane] = state[lane]
        return
    for lane in range(n):
        up, down = half * (one + state[lane]), half * (one - state[lane])
        z[lane] = math.sqrt(zero if up < zero else up) - math.sqrt(zero if down < zero else down)


@inlined
def _read_slope(tile: Scratch, n: int) -> None:
    """Multiply ``tile.upstream`` by d read / d Z of the amplitude, finite at the poles."""
    state, upstream = tile.state[2], tile.upstream
    half, one, floor, quarter = (
        state.dtype.type(0.5), state.dtype.type(1), state.dtype.type(1e-12), state.dtype.type(0.25)
    )  # fmt: skip
    for lane in range(n):
        up, down = half * (one + state[lane]), half * (one - state[lane])
        slope = one / math.sqrt(floor if up < floor else up) + one / math.sqrt(floor if down < floor else down)
        upstream[lane] *= quarter * slope


@inlined
def _pull_encoding(
    k: int, program: Program, mode: int, planes: Planes, pick: Any, given: Encoded, row: int, lanes: Any,
    tile: Scratch, n: int, total: Totals, dx: Any,
) -> None:  # fmt: skip
    """From the gradient of an encoded angle to those of weight, bias (of acos) and x."""
    step, x, gradient, inner = program.steps[k], given.x[row, lanes], tile.gradient, tile.inner
    for slot in range(step[FIRST_SLOT], step[END_SLOT]):
        weight, shift = planes.weight[slot, pick], planes.shift[slot, pick]
        if dx.shape[0]:
            out = dx[row, lanes]
            if mode == ACOS:
                for lane in range(n):
                    a = x[lane] * _at(weight, lane) + _at(shift, lane)
                    out[lane] -= gradient[lane] * _at(weight, lane) / math.sqrt((1.0 - a) * (1.0 + a))
            else:
                for lane in range(n):
                    out[lane] += gradient[lane] * _at(weight, lane)
        if mode == ACOS:
            for lane in range(n):
                a = x[lane] * _at(weight, lane) + _at(shift, lane)
                inner[lane] = -gradient[lane] / math.sqrt((1.0 - a) * (1.0 + a))
            _collect(total.shift, slot, pick, inner, n)
            for lane in range(n):
                inner[lane] *= x[lane]
            _collect(total.weight, slot, pick, inner, n)
        elif mode == WEIGHTED:
            for lane in range(n):
                inner[lane] = gradient[lane] * x[lane]
            _collect(total.weight, slot, pick, inner, n)


@inlined
def _retreat(
    program: Program, call: Call, planes: Planes, pick: Any, given: Encoded, row: int, lanes: Any,
    tile: Scratch, n: int, total: Totals, dx: Any,
) -> None:  # fmt: skip
    """From d loss / d Z in ``tile.upstream`` back to the first encoding, adding gradients to ``total`` and ``dx``."""
    tile.adjoint[0, :n] = 0
    tile.adjoint[1, :n] = 0
    tile.adjoint[2, :n] = tile.upstream[:n]
    for k in range(len(program.steps) - 1, call.prefix - 1, -1):
        step = program.steps[k]
        first, second = (step[AXIS] + 1) % 3, (step[AXIS] + 2) % 3
        u, v, p, q = tile.state[first], tile.state[second], tile.adjoint[first], tile.adjoint[second]
        if step[KIND] == HALF_TURN:
            _flip(u, n)
            _flip(v, n)
            _flip(p, n)
            _flip(q, n)
            continue
        if step[KIND] == FIXED:
            _turn_back(u, v, p, q, planes.cos[k, pick], planes.sin[k, pick], tile.gradient, n)
        else:
            _turn_back(u, v, p, q, tile.cos[step[CODE]], tile.sin[step[CODE]], tile.gradient, n)
            _pull_encoding(k, program, call.mode, planes, pick, given, row, lanes, tile, n, total, dx)
        _collect(total.angle, k, pick, tile.gradient, n)
    for component in range(3):
        _collect(total.adjoint, component, pick, tile.adjoint[component], n)
