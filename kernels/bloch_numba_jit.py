"""The fused CPU kernel of :mod:`qkan.kernels.bloch_numba`: a machine that runs lists of vector instructions.

:mod:`qkan.kernels.bloch_program` translates a circuit into such lists. Registers are rows of two tables, ``R`` in the
dtype of the layer and ``D`` in double precision, with a *lane* for each of up to :data:`LANES` evaluations; an instruction
is one packed loop over the lanes, within the first-level cache. Lanes are either edges at one sample (an edge is an output
and an input) or samples of one edge. The backward pass runs the circuit again and turns state and adjoint back together,
so nothing is kept between the passes.

One switch instead of nested functions for every part keeps the compiler's work small: nested, it took five times as long.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from qkan.kernels.bloch_program import (
    ACOS, ACOS_SLOPE, ADD, ADD_TIMES, ANGLES, COPY, DX, FLIP, LANES, START, STATE, TOTALS, TRIG, TURN,
    TURN_BACK, UPSTREAM, WEIGHTED, Z, ZERO,
)  # fmt: skip
from qkan.kernels.numba_math import OPTIONS, SINCOS_RANGE_DOUBLE, inlined, kernel, sincos, sincos_rounded

#: |x|, |w| and |phase| within which no angle can leave the range of the fast sine.
_TAME = 2.0**9


class Call(NamedTuple):
    """Numbers of the shard of a call that one thread runs."""

    inputs: int
    reduce: bool
    amplitude: bool
    per_sample: bool
    wrap: int  # edge e stands in row (e % wrap) * stride + e // wrap of the parameters
    stride: int
    first_output: int
    end_output: int
    first_sample: int
    end_sample: int


class Parameters(NamedTuple):
    """theta (samples or 1, edges, columns); weight, bias (edges, reps); mix (edges,): those not there are empty."""

    theta: Any
    weight: Any
    bias: Any
    mix: Any


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
    for i in range(n):
        total += values[i]
    return total


@inlined
def _beyond(values: Any, n: int, limit: float) -> bool:
    count = 0
    for i in range(n):
        count += abs(values[i]) > limit
    return count > 0


@inlined
def _fill_trig(angle: Any, cos: Any, sin: Any, n: int) -> None:
    """Cosine and sine of float64 angles of any size."""
    for i in range(n):
        sin[i], cos[i] = _trig(angle[i], cos[i])
    if _beyond(angle, n, SINCOS_RANGE_DOUBLE):
        for i in range(n):
            if abs(angle[i]) > SINCOS_RANGE_DOUBLE:
                sin[i], cos[i] = math.sin(angle[i]), math.cos(angle[i])


@inlined
def _fill(target: Any, n: int, value: Any) -> None:
    for i in range(n):
        target[i] = value


@inlined
def _copy(target: Any, source: Any, n: int) -> None:
    for i in range(n):
        target[i] = source[i]


@inlined
def _gather(target: Any, source: Any, places: Any, n: int) -> None:
    if len(source) == 1:
        _fill(target, n, source[0])
    else:
        for i in range(n):
            target[i] = source[places[i]]


@inlined
def _add(target: Any, source: Any, n: int) -> None:
    for i in range(n):
        target[i] += source[i]


@inlined
def _execute(program: Any, R: Any, D: Any, n: int, wild: bool) -> None:
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
            _add(R[a], R[b], n)
        elif op == ADD_TIMES:
            u, v, w = R[a], R[b], D[c]
            for i in range(n):
                u[i] += v[i] * w[i]
        elif op == COPY:
            _copy(R[a], R[b], n)
        elif op == ZERO:
            _fill(R[a], n, 0.0)
        elif op == FLIP:
            u = R[a]
            for i in range(n):
                u[i] = -u[i]
        elif op == TRIG:
            _fill_trig(D[c], R[a], R[b], n)
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
def _find(first: int, n: int, call: Call, places: Any) -> None:
    """Fill (3, lanes) with the row in the parameters, the input and the output of edges first .. first + n."""
    for i in range(n):
        edge = first + i
        places[0, i] = (edge % call.wrap) * call.stride + edge // call.wrap
        places[1, i] = edge % call.inputs
        places[2, i] = edge // call.inputs


@inlined
def _prepare(theta: Any, parameters: Parameters, rows: Any, n: int, program: Any, R: Any, D: Any, far: bool) -> bool:
    """Fill what depends on parameters alone for n edges, which lie in ``rows``; whether an angle may be very large.

    ``theta`` is (edges, columns); ``far`` says whether inputs are large.
    """
    weight, bias = parameters.weight, parameters.bias
    for row in range(1, len(D)):
        _fill(D[row], n, 0.0)
    for t in range(len(program.thetas)):
        phase, column = D[program.thetas[t, 0]], program.thetas[t, 1]
        for i in range(n):
            phase[i] += theta[rows[i], column]
    for t in range(len(program.codes)):
        speed, shift, code = D[program.codes[t, 0]], D[program.codes[t, 1]], program.codes[t, 2]
        for i in range(n):
            row = rows[i]
            speed[i] += weight[row, code] if weight.shape[0] else 1.0
            if bias.shape[0]:
                shift[i] += bias[row, code]
    for component in range(3):
        _fill(R[START + component], n, program.initial[component])
    _execute(program.prepare, R, D, n, far)
    wild = far
    for row in range(1, len(D)):
        wild |= _beyond(D[row], n, _TAME)
    return wild


@inlined
def _finish(theta: Any, gradients: Parameters, rows: Any, n: int, program: Any, R: Any, D: Any, wild: bool) -> None:
    """Take the adjoint through what stands in front of the first encoding and add all gradients of the tile.

    ``theta`` is (edges, columns), or has no edges where its gradient is not needed.
    """
    _execute(program.finish, R, D, n, wild)
    if len(theta):
        for t in range(len(program.thetas)):
            column, total = program.thetas[t, 1], R[program.thetas[t, 2]]
            for i in range(n):
                theta[rows[i], column] += total[i]
    for t in range(len(program.codes)):
        code, by_weight, by_bias = program.codes[t, 2], R[program.codes[t, 3]], R[program.codes[t, 4]]
        for i in range(n):
            row = rows[i]
            if gradients.weight.shape[0]:
                gradients.weight[row, code] += by_weight[i]
            if gradients.bias.shape[0]:
                gradients.bias[row, code] += by_bias[i]
    if gradients.mix.shape[0]:
        for i in range(n):
            gradients.mix[rows[i]] += R[TOTALS, i]


@inlined
def _read(R: Any, n: int, amplitude: bool) -> None:
    """What is read from the state."""
    z, out = R[STATE + 2], R[Z]
    half, one, zero = z.dtype.type(0.5), z.dtype.type(1), z.dtype.type(0)
    _copy(out, z, n)
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
def _tile(
    source: Any, factors: Any, scaled: bool, program: Any, call: Call, R: Any, D: Any, n: int, wild: bool
) -> None:
    """Run the circuit on loaded lanes: values into row Z, or from the upstream gradient ``source`` to gradients.

    ``factors`` are weights of the lanes' values, if ``scaled``.
    """
    _execute(program.forward, R, D, n, wild)
    _read(R, n, call.amplitude)
    value, upstream, by_mix = R[Z], R[UPSTREAM], R[TOTALS]
    if len(source):
        _copy(upstream, source, n)
        if scaled:
            for i in range(n):
                by_mix[i] += source[i] * value[i]
                upstream[i] *= factors[i]
        if call.amplitude:
            _read_slope(R, n)
        _execute(program.backward, R, D, n, wild)
    elif scaled:
        for i in range(n):
            value[i] *= factors[i]


@inlined
def _fill_multiples(x: Any, times: Any, cos: Any, sin: Any) -> None:
    """Cosines and sines (T, rows, n) of the multiples of x (rows, n) that unweighted encodings need."""
    angle = np.empty(x.shape[1])
    for t in range(len(times)):
        for row in range(x.shape[0]):
            for i in range(x.shape[1]):
                angle[i] = times[t] * x[row, i]
            _fill_trig(angle, cos[t, row], sin[t, row], x.shape[1])


@kernel
def run_by_edges(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Any, call: Call
) -> None:
    """One shard of a call with edges as lanes: each tile of them takes one sample after the other.

    Args:
        out: zeros (samples, outputs) if reduced, else (samples, edges), to add values to; in a backward pass only its
            dtype counts.
        grad: the upstream gradient, of that shape, or (0, 0): then values are computed, else gradients.
        dx: zeros (samples, inputs) to add the gradient of x to, or (0, 0).
        gradients: zeros laid out as ``parameters`` to add theirs to; empty where none is needed.
        x: (samples, inputs) float64.
        parameters, program, call: see :class:`Parameters`, :class:`qkan.kernels.bloch_program.Program` and
            :class:`Call`. All arrays are contiguous.
    """
    x = x[call.first_sample : call.end_sample]
    dtype, times, inputs, samples = out.dtype, len(program.times), call.inputs, x.shape[0]
    R, D = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    places = np.empty((3, LANES), np.int64)
    cos, sin = np.empty((times, samples, inputs), dtype), np.empty((times, samples, inputs), dtype)
    _fill_multiples(x, program.times, cos, sin)
    mix, source, far = np.empty(LANES, dtype), np.empty(LANES if len(grad) else 0, dtype), samples < 0
    # (A literal False for ``far`` would have everything compiled a second time for literals.)
    for sample in range(samples):
        far |= _beyond(x[sample], inputs, _TAME)
    mixed, end = len(parameters.mix) > 0, call.end_output * inputs
    for first in range(call.first_output * inputs, end, LANES):
        n, wild = min(LANES, end - first), far
        _find(first, n, call, places)
        for sample in range(samples):
            here = call.first_sample + sample
            row = here if call.per_sample else 0
            if call.per_sample or sample == 0:
                wild = _prepare(parameters.theta[row], parameters, places[0], n, program, R, D, far)
                for k in range(TOTALS, program.sizes[2]):
                    _fill(R[k], n, 0.0)
                for i in range(n if mixed else 0):
                    mix[i] = parameters.mix[places[0, i]]
            _gather(D[0], x[sample], places[1], n)
            for t in range(times):
                _gather(R[program.sizes[3] + 2 * t], cos[t, sample], places[1], n)
                _gather(R[program.sizes[3] + 2 * t + 1], sin[t, sample], places[1], n)
            if len(grad):
                if call.reduce:
                    _gather(source, grad[here], places[2], n)
                else:
                    _copy(source, grad[here, first:], n)
            _fill(R[DX], n, 0.0)
            _tile(source, mix, mixed, program, call, R, D, n, wild)
            if len(grad) == 0:
                if call.reduce:
                    for i in range(n):
                        out[here, places[2, i]] += R[Z, i]
                else:
                    _copy(out[here, first:], R[Z], n)
                continue
            for i in range(n if len(dx) else 0):
                dx[here, places[1, i]] += R[DX, i]
            if call.per_sample or sample == samples - 1:
                _finish(
                    gradients.theta[row if len(gradients.theta) > 1 else 0],
                    gradients,
                    places[0],
                    n,
                    program,
                    R,
                    D,
                    wild,
                )


@kernel
def run_by_samples(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Any, call: Call
) -> None:
    """:func:`run_by_edges` with samples as lanes: tables P and E hold what depends on parameters alone, R and D the rest.

    All edges have the same theta for all samples.
    """
    x = x[call.first_sample : call.end_sample]
    dtype, times, inputs, samples = out.dtype, len(program.times), call.inputs, x.shape[0]
    P, E = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    R, D = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    places = np.empty((3, LANES), np.int64)
    inverse = np.empty((inputs, samples))
    for sample in range(samples):
        for row in range(inputs):
            inverse[row, sample] = x[sample, row]
    cos, sin = np.empty((times, inputs, samples), dtype), np.empty((times, inputs, samples), dtype)
    _fill_multiples(inverse, program.times, cos, sin)
    first, end = call.first_output * inputs, call.end_output * inputs
    offset, columns = (call.first_output, call.end_output - call.first_output) if call.reduce else (first, end - first)
    values = np.zeros((columns if len(grad) == 0 else 0, samples), dtype)
    upstream = np.empty((columns if len(grad) else 0, samples), dtype)
    for sample in range(samples):
        for column in range(len(upstream)):
            upstream[column, sample] = grad[call.first_sample + sample, offset + column]
    pulled = np.zeros((inputs if len(dx) else 0, samples), dtype)
    mix, mixed, far = np.empty(LANES, dtype), len(parameters.mix) > 0, samples < 0  # not the literal False, as above
    for row in range(inputs):
        far |= _beyond(inverse[row], samples, _TAME)
    for low_edge in range(first, end, LANES):
        edges = min(LANES, end - low_edge)
        _find(low_edge, edges, call, places)
        for k in range(TOTALS, program.sizes[2] if len(grad) else 0):
            _fill(P[k], edges, 0.0)
        wild = _prepare(parameters.theta[0], parameters, places[0], edges, program, P, E, far)
        for e in range(edges):
            edge = low_edge + e
            row, column = places[1, e], (places[2, e] if call.reduce else edge) - offset
            most = min(LANES, samples)
            for k in program.shared:
                _fill(R[k], most, P[k, e])
            for k in program.shared_exact:
                _fill(D[k], most, E[k, e])
            for k in program.totals[: len(program.totals) if len(grad) else 0]:
                _fill(R[k], most, 0.0)
            if mixed:
                _fill(mix, most, parameters.mix[places[0, e]])
            for low in range(0, samples, LANES):
                n = min(LANES, samples - low)
                _copy(D[0], inverse[row, low:], n)
                for t in range(times):
                    _copy(R[program.sizes[3] + 2 * t], cos[t, row, low:], n)
                    _copy(R[program.sizes[3] + 2 * t + 1], sin[t, row, low:], n)
                _fill(R[DX], n, 0.0)
                source = upstream[column, low : low + n] if len(grad) else mix[:0]
                _tile(source, mix, mixed, program, call, R, D, n, wild)
                if len(grad) == 0:
                    _add(values[column, low:], R[Z], n)
                elif len(dx):
                    _add(pulled[row, low:], R[DX], n)
            for k in program.totals[: len(program.totals) if len(grad) else 0]:
                P[k, e] = _sum(R[k], most)
        if len(grad):
            _finish(gradients.theta[0], gradients, places[0], edges, program, P, E, wild)
    for sample in range(samples):
        for column in range(len(values)):
            out[call.first_sample + sample, offset + column] = values[column, sample]
        for row in range(len(pulled)):
            dx[call.first_sample + sample, row] += pulled[row, sample]
