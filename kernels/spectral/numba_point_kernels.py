"""Numba kernels from the parameters of circuits to coefficients of their features, and of the gradients back.

:mod:`qkan.kernels.spectral.numba_coefficients` and :mod:`qkan.kernels.spectral.whole_layer` fill the frames.
"""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_lanes import LANES, as_double, bits_of, number_of, turn_back
from qkan.kernels.common.numba_matmul import ROWS, tile
from qkan.kernels.common.numba_runtime import (
    ARGUMENTS,
    DOUBLE,
    INTEGER,
    SHARDS,
    SINGLE,
    Kernel,
    as_frame,
    enrol,
    next_shard,
    take,
)
from qkan.kernels.spectral.numba_circuits import (
    HALF_TURN,
    HEAD,
    PLANE,
    POINTS,
    circuit_values,
    fill,
    prepare,
    run_backward,
    run_forward,
)

# Integers in a frame. Circuits stand in MAJOR rows of MINOR: circuit (a, b) has row a * ROW_MAJOR + b * ROW_MINOR of
# the parameters. The coefficient t > 0 of circuit (a, b) stands at (b // LANES) * PANEL + (t - 1) * TERM + a * ROW +
# b % LANES of the matrix, and the constant at a * CONSTANT_ROW + b. WHOLE: the matrix takes all lanes of a tile.
# BASE: the term of the base weights, counted from zero. SLOPES: rows of the derivative, written as panels of a
# transposed matrix, t of circuit (a, b) to its column t * TURNED + FIRST + a. COPIES of the gradient of matrix and
# constant are summed, MATRIX_COPY and CONSTANT_COPY apart.
(
    MAJOR, MINOR, ROW_MAJOR, ROW_MINOR, PANEL, TERM, ROW, CONSTANT_ROW, WHOLE, TURNED, FIRST, COLUMN_COUNT, REPS,
    POINT_COUNT, BASE, SCRATCH_SIZE, EXACT_SIZE, SLOPES, COPIES, MATRIX_COPY, CONSTANT_COPY, RADIUS_BITS,
) = range(ARGUMENTS, ARGUMENTS + 22)  # fmt: skip
# Arrays in a frame, address and length each: the program; the points (double); cosines and sines of the multiples of
# the points that unweighted rotations need, (rotations, points, 2); the square analysis matrix from values to
# coefficients, its transpose and that of the derivative, rows padded to a multiple of ROWS with zeros; parameters;
# matrix, constants and derivative; gradients of the parameters; scratch memory.
(
    PROGRAM, NODES, NODE_TRIG, ANALYSIS, ANALYSIS_TURNED, SLOPE_ANALYSIS, THETA, WEIGHT, BIAS, EDGE_WEIGHT, BASE_WEIGHT,
    OFFSET, MATRIX, CONSTANT, SLOPE_MATRIX, OF_THETA, OF_WEIGHT, OF_BIAS, OF_EDGE_WEIGHT, OF_BASE_WEIGHT, SCRATCH,
    EXACT,
) = range(ARGUMENTS + 22, ARGUMENTS + 66, 2)  # fmt: skip
# Arrays in a frame of BOUNDS behind the repetitions: inputs, pre-activation weights, two numbers for every shard.
BOUNDED, WEIGHTS, FOUND = range(ARGUMENTS + 1, ARGUMENTS + 7, 2)


@inlined
def _load(frame: Any, program: Any, theta: Any, weight: Any, bias: Any, row: int, n: int, exact: Any) -> None:
    """Phases and speeds of n circuits, of every rotation one behind the other, in double precision."""
    count, stride = program[0], frame[ROW_MINOR]
    fill(exact, 2 * count * LANES, 0.0)
    at = HEAD + 2 * count
    for _ in range(program[2]):
        phase, column = exact[program[at] * LANES :], program[at + 1]
        for j in range(n):
            phase[j] += theta[(row + j * stride) * frame[COLUMN_COUNT] + column]
        at += 2
    for _ in range(program[3]):
        phase, speed = exact[program[at] * LANES :], exact[(count + program[at]) * LANES :]
        code = program[at + 1]
        if len(weight):
            for j in range(n):
                speed[j] += weight[(row + j * stride) * frame[REPS] + code]
        if len(bias):
            for j in range(n):
                phase[j] += bias[(row + j * stride) * frame[REPS] + code]
        at += 2


@inlined
def _initial(frame: Any, program: Any, start: Any) -> None:
    """The state in front of the circuit, whose three components stand behind the program, in all lanes."""
    at = HEAD + 2 * (program[0] + program[2] + program[3])
    for component in range(3):
        fill(start[component * LANES :], LANES, start.dtype.type(as_double(program[at + component])))


@inlined
def _scratch(frame: Any, one: Any) -> Any:
    """Scratch memory for this worker alone, in the dtype of the layer and in double precision."""
    worker = enrol(frame)
    size, exact = frame[SCRATCH_SIZE], frame[EXACT_SIZE]
    return (
        take(frame, SCRATCH, one)[worker * size : (worker + 1) * size],
        take(frame, EXACT, DOUBLE)[worker * exact : (worker + 1) * exact],
    )


@inlined
def _parts(program: Any, padded_points: int, scratch: Any) -> Any:
    """Scratch memory cut up: cosines and sines, start, states and adjoints, values, coefficients, totals."""
    count = program[0]
    a = 2 * count * (LANES + PLANE)
    b = a + 3 * LANES
    c = b + 6 * PLANE
    d = c + padded_points * LANES
    e = d + padded_points * LANES
    return scratch[:a], scratch[a:b], scratch[b:c], scratch[c:d], scratch[d:e], scratch[e:]


@inlined
def _times_values(matrix: Any, rows: int, count: int, values: Any, out: Any) -> None:
    """out (rows, LANES) = matrix (rows, count) times values (count, LANES); rows are a multiple of ROWS."""
    fill(out, rows * LANES, out.dtype.type(0))
    for t in range(0, rows, ROWS):
        tile(matrix, t * count, count, values, 0, count, out, t * LANES, LANES)


@inlined
def _coefficients(frame: Any, one: Any) -> None:
    scratch, exact = _scratch(frame, one)
    program, nodes, node_trig = take(frame, PROGRAM, INTEGER), take(frame, NODES, DOUBLE), take(frame, NODE_TRIG, one)
    analysis, slope_analysis = take(frame, ANALYSIS, one), take(frame, SLOPE_ANALYSIS, one)
    theta, weight, bias = take(frame, THETA, one), take(frame, WEIGHT, one), take(frame, BIAS, one)
    edge_weight, base_weight, offset = (
        take(frame, EDGE_WEIGHT, one),
        take(frame, BASE_WEIGHT, one),
        take(frame, OFFSET, one),
    )
    matrix, constant, slopes = take(frame, MATRIX, one), take(frame, CONSTANT, one), take(frame, SLOPE_MATRIX, one)
    count, radius, weighted = frame[POINT_COUNT], as_double(frame[RADIUS_BITS]), len(weight) > 0
    padded_points = (count + ROWS - 1) // ROWS * ROWS
    trig, start, state, values, made, _ = _parts(program, padded_points, scratch)
    minor, panels = frame[MINOR], (frame[MINOR] + LANES - 1) // LANES
    stride = frame[ROW_MINOR]
    inverse = scratch.dtype.type(1.0 / radius)
    shard = next_shard(frame)
    while shard >= 0:
        tiles = frame[MAJOR] * panels
        for number in range(tiles * shard // frame[SHARDS], tiles * (shard + 1) // frame[SHARDS]):
            a, panel = number // panels, number % panels
            b = panel * LANES
            n = min(LANES, minor - b)
            row = a * frame[ROW_MAJOR] + b * stride
            _load(frame, program, theta, weight, bias, row, n, exact)
            _initial(frame, program, start)
            prepare(program, exact, trig, start)
            circuit_values(program, weighted, nodes, node_trig, radius, exact, trig, start, state, values)
            if len(edge_weight):
                for j in range(n):
                    factor = edge_weight[row + j * stride]
                    for p in range(count):
                        values[p * LANES + j] *= factor
            _times_values(analysis, padded_points, count, values, made)
            into = constant[a * frame[CONSTANT_ROW] + b :]
            for j in range(n):
                into[j] = made[j]
            if len(offset) and a == 0:
                for j in range(n):
                    into[j] += offset[b + j]
            place, lanes = panel * frame[PANEL] + a * frame[ROW], LANES if frame[WHOLE] else n
            for t in range(1, count):
                into, given = matrix[place + (t - 1) * frame[TERM] :], made[t * LANES :]
                for j in range(lanes):
                    into[j] = given[j]
            if len(base_weight):
                into = matrix[place + frame[BASE] * frame[TERM] :]
                for j in range(n):
                    into[j] = base_weight[row + j * stride]
                for j in range(n, lanes):
                    into[j] = 0
            rows = frame[SLOPES]
            if rows == 0:
                continue
            # The derivative is no larger than the values: its padded rows fit the same memory.
            _times_values(slope_analysis, (rows + ROWS - 1) // ROWS * ROWS, count, values, made)
            for t in range(rows):
                given = made[t * LANES :]
                column = t * frame[TURNED] + frame[FIRST] + a
                at = column // LANES * LANES * minor + b * LANES + column % LANES
                for j in range(n):
                    slopes[at + j * LANES] = given[j] * inverse
            if len(base_weight):
                column = frame[BASE] * frame[TURNED] + frame[FIRST] + a
                at = column // LANES * LANES * minor + b * LANES + column % LANES
                for j in range(n):
                    slopes[at + j * LANES] = base_weight[row + j * stride]
        shard = next_shard(frame)


@inlined
def _gather_gradient(frame: Any, matrix: Any, constant: Any, a: int, b: int, n: int, into: Any) -> None:
    """The gradient of the coefficients of a tile, (points, LANES), from the copies that threads have made."""
    count = frame[POINT_COUNT]
    fill(into, count * LANES, into.dtype.type(0))
    for copy in range(frame[COPIES]):
        given = constant[copy * frame[CONSTANT_COPY] + a * frame[CONSTANT_ROW] + b :]
        for j in range(n):
            into[j] += given[j]
        place = copy * frame[MATRIX_COPY] + b // LANES * frame[PANEL] + a * frame[ROW]
        for t in range(1, count):
            row, given = into[t * LANES :], matrix[place + (t - 1) * frame[TERM] :]
            for j in range(n):
                row[j] += given[j]


@inlined
def _store_gradients(
    frame: Any, program: Any, totals: Any, row: int, n: int, theta: Any, weight: Any, bias: Any
) -> None:
    """Write the gradients of a tile's parameters from the totals of its rotations; zero where the circuit has none."""
    count, stride, columns, reps = program[0], frame[ROW_MINOR], frame[COLUMN_COUNT], frame[REPS]
    for j in range(n):
        at = row + j * stride
        if len(theta):
            fill(theta[at * columns :], columns, theta.dtype.type(0))
        if len(weight):
            fill(weight[at * reps :], reps, weight.dtype.type(0))
        if len(bias):
            fill(bias[at * reps :], reps, bias.dtype.type(0))
    at = HEAD + 2 * count
    for _ in range(program[2] if len(theta) else 0):
        given, column = totals[2 * program[at] * LANES :], program[at + 1]
        for j in range(n):
            theta[(row + j * stride) * columns + column] = given[j]
        at += 2
    at = HEAD + 2 * (count + program[2])
    for _ in range(program[3]):
        code = program[at + 1]
        if len(bias):
            given = totals[2 * program[at] * LANES :]
            for j in range(n):
                bias[(row + j * stride) * reps + code] = given[j]
        if len(weight):
            given = totals[(2 * program[at] + 1) * LANES :]
            for j in range(n):
                weight[(row + j * stride) * reps + code] = given[j]
        at += 2


@inlined
def _gradients(frame: Any, one: Any) -> None:
    scratch, exact = _scratch(frame, one)
    program, nodes, node_trig = take(frame, PROGRAM, INTEGER), take(frame, NODES, DOUBLE), take(frame, NODE_TRIG, one)
    turned = take(frame, ANALYSIS_TURNED, one)
    theta, weight, bias = take(frame, THETA, one), take(frame, WEIGHT, one), take(frame, BIAS, one)
    edge_weight, matrix, constant = take(frame, EDGE_WEIGHT, one), take(frame, MATRIX, one), take(frame, CONSTANT, one)
    of_theta, of_weight, of_bias = take(frame, OF_THETA, one), take(frame, OF_WEIGHT, one), take(frame, OF_BIAS, one)
    of_edge_weight, of_base = take(frame, OF_EDGE_WEIGHT, one), take(frame, OF_BASE_WEIGHT, one)
    count, radius, weighted = frame[POINT_COUNT], as_double(frame[RADIUS_BITS]), len(weight) > 0
    padded_points = (count + ROWS - 1) // ROWS * ROWS
    trig, start, state, adjoints, upstream, totals = _parts(program, padded_points, scratch)
    minor, panels, stride = frame[MINOR], (frame[MINOR] + LANES - 1) // LANES, frame[ROW_MINOR]
    zero = scratch.dtype.type(0)
    # Behind the totals of all rotations: states and adjoints in front of the first encoding, adjoints alone there.
    rotations = program[0]
    front = totals[2 * rotations * LANES :]
    shard = next_shard(frame)
    while shard >= 0:
        tiles = frame[MAJOR] * panels
        for number in range(tiles * shard // frame[SHARDS], tiles * (shard + 1) // frame[SHARDS]):
            a, panel = number // panels, number % panels
            b = panel * LANES
            n = min(LANES, minor - b)
            row = a * frame[ROW_MAJOR] + b * stride
            _gather_gradient(frame, matrix, constant, a, b, n, upstream)
            if len(of_base):
                for j in range(n):
                    of_base[row + j * stride] = zero
                for copy in range(frame[COPIES]):
                    given = matrix[copy * frame[MATRIX_COPY] + panel * frame[PANEL] + a * frame[ROW] :]
                    given = given[frame[BASE] * frame[TERM] :]
                    for j in range(n):
                        of_base[row + j * stride] += given[j]
            if len(of_theta) + len(of_weight) + len(of_bias) + len(of_edge_weight) == 0:
                continue
            _times_values(turned, padded_points, count, upstream, adjoints)
            _load(frame, program, theta, weight, bias, row, n, exact)
            _initial(frame, program, start)
            prepare(program, exact, trig, start)
            fill(totals, 2 * rotations * LANES, zero)
            fill(front, 7 * LANES, zero)
            of_factor = front[6 * LANES :]
            for first in range(0, count, POINTS):
                points = min(POINTS, count - first)
                run_forward(program, weighted, nodes, node_trig, radius, first, points, exact, trig, start, state)
                z, given = state[2 * PLANE :], adjoints[first * LANES :]
                if len(edge_weight):
                    for p in range(points):
                        for j in range(n):
                            of_factor[j] += z[p * LANES + j] * given[p * LANES + j]
                            given[p * LANES + j] *= edge_weight[row + j * stride]
                fill(state[3 * PLANE :], points * LANES, zero)
                fill(state[4 * PLANE :], points * LANES, zero)
                into = state[5 * PLANE :]
                for j in range(points * LANES):
                    into[j] = given[j]
                run_backward(program, nodes, radius, first, points, trig, state, totals)
                for component in range(3):
                    into, given = front[(3 + component) * LANES :], state[(3 + component) * PLANE :]
                    for p in range(points):
                        part = given[p * LANES :]
                        for j in range(LANES):
                            into[j] += part[j]
            for j in range(3 * LANES):
                front[j] = start[j]
            for step_back in range(program[1]):
                k = program[1] - 1 - step_back
                axis = program[HEAD + 2 * k]
                u, v = (axis + 1) % 3 * LANES, (axis + 2) % 3 * LANES
                if program[HEAD + 2 * k + 1] == HALF_TURN:
                    for j in range(LANES):
                        front[u + j], front[v + j] = -front[u + j], -front[v + j]
                        front[3 * LANES + u + j] = -front[3 * LANES + u + j]
                        front[3 * LANES + v + j] = -front[3 * LANES + v + j]
                else:
                    turn_back(
                        front, u, v, 3 * LANES + u, 3 * LANES + v, trig, k * LANES, (rotations + k) * LANES, totals,
                        2 * k * LANES, (2 * k + 1) * LANES, zero,
                    )  # fmt: skip
            _store_gradients(frame, program, totals, row, n, of_theta, of_weight, of_bias)
            if len(of_edge_weight):
                for j in range(n):
                    of_edge_weight[row + j * stride] = of_factor[j]
        shard = next_shard(frame)


def _coefficients_single(frame: Any) -> None:
    _coefficients(as_frame(frame), SINGLE)


def _coefficients_double(frame: Any) -> None:
    _coefficients(as_frame(frame), DOUBLE)


def _gradients_single(frame: Any) -> None:
    _gradients(as_frame(frame), SINGLE)


def _gradients_double(frame: Any) -> None:
    _gradients(as_frame(frame), DOUBLE)


@inlined
def _bounds(frame: Any, one: Any) -> None:
    x, weight, out = take(frame, BOUNDED, one), take(frame, WEIGHTS, one), take(frame, FOUND, one)
    reps, none, infinite = frame[ARGUMENTS], bits_of(abs(one)) * 0, bits_of(x.dtype.type(math.inf))
    shard = next_shard(frame)
    while shard >= 0:
        largest, widest = none, none
        for i in range(len(x) * shard // frame[SHARDS], len(x) * (shard + 1) // frame[SHARDS]):
            size = bits_of(abs(x[i]))
            largest = max(largest, size if size < infinite else none)
        edges = len(weight) // reps
        for edge in range(edges * shard // frame[SHARDS], edges * (shard + 1) // frame[SHARDS]):
            total = abs(weight[edge * reps])
            for k in range(1, reps):
                total += abs(weight[edge * reps + k])
            widest = max(widest, bits_of(total))
        out[2 * shard], out[2 * shard + 1] = number_of(largest, one), number_of(widest, one)
        shard = next_shard(frame)


def _bounds_single(frame: Any) -> None:
    _bounds(as_frame(frame), SINGLE)


def _bounds_double(frame: Any) -> None:
    _bounds(as_frame(frame), DOUBLE)


#: The largest finite |x|, and the largest sum of |w| over the repetitions, NaN if any is.
BOUNDS = Kernel(_bounds_single, _bounds_double)
#: From parameters to matrix, constants and, if SLOPES, the derivative's matrix.
COEFFICIENTS = Kernel(_coefficients_single, _coefficients_double)
#: From gradients of matrix and constants, in those arrays, to gradients of the parameters that have memory for them.
COEFFICIENT_GRADIENTS = Kernel(_gradients_single, _gradients_double)
