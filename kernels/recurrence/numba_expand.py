"""Numba code that turns the circuits of an LSTM's gates into the matrix of its recurrence, and gradients back.

The circuits of both parts of the gates, those of the inputs and those of the hidden state, are evaluated at the same
points; the analysis (terms, points) turns values into coefficients: row 0 of constants, the others of the features.
Edges have the order (inputs, outputs), so coefficients lie as the matrix of a recurrence has them.
"""

from __future__ import annotations

from typing import Any

from numba import carray

from qkan.kernels.circuits.bloch.bytecode import Program
from qkan.kernels.circuits.bloch.numba_kernels import Call, Parameters, run_by_edges
from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_runtime import ARGUMENTS, DOUBLE, SINGLE, Kernel, as_frame, next_shard, pointer, take

# Integers of a frame: gates, inputs of both parts, points, terms, columns of theta, repetitions, whether there are
# trained pre-activations' weights and phases, edges of a shard, and bytes of a number.
GATES, INPUTS, STATES, POINTS, TERMS, COLUMNS, REPS, WEIGHTED, BIASED, SHARD, SIZE = range(ARGUMENTS, ARGUMENTS + 11)
# Its arrays: those of the program, points (float64) and analysis; of either part theta, weight and bias; their
# gradients; values at the points; coefficients (terms, inputs + states, gates); the gradient of the constants (gates,).
PROGRAM = ARGUMENTS + 11
_X, _ANALYSIS = PROGRAM + 24, PROGRAM + 26
_PARAMETERS, _GRADIENTS = PROGRAM + 28, PROGRAM + 40
_VALUES, _COEFFICIENTS, _OF_BIAS = PROGRAM + 52, PROGRAM + 54, PROGRAM + 56


@inlined
def _program(frame: Any) -> Program:
    """The circuit."""
    whole, at = frame[0], PROGRAM
    return Program(
        carray(pointer(frame[at], whole), (frame[at + 1] // 9, 9)),
        carray(pointer(frame[at + 2], whole), (frame[at + 3] // 9, 9)),
        carray(pointer(frame[at + 4], whole), (frame[at + 5] // 9, 9)),
        carray(pointer(frame[at + 6], whole), (frame[at + 7] // 9, 9)),
        carray(pointer(frame[at + 8], whole), (frame[at + 9] // 3, 3)),
        carray(pointer(frame[at + 10], whole), (frame[at + 11] // 5, 5)),
        take(frame, at + 12, DOUBLE),
        take(frame, at + 14, DOUBLE),
        take(frame, at + 16, whole),
        take(frame, at + 18, whole),
        take(frame, at + 20, whole),
        take(frame, at + 22, whole),
    )


@inlined
def _parameters(frame: Any, at: int, edges: int, one: Any) -> Parameters:
    """Parameters of one part, or their gradients, at a place of the frame."""
    reps = frame[REPS]
    return Parameters(
        carray(pointer(frame[at], one), (1, edges, frame[COLUMNS])),
        carray(pointer(frame[at + 2], one), (edges * frame[WEIGHTED], reps * frame[WEIGHTED])),
        carray(pointer(frame[at + 4], one), (edges * frame[BIASED], reps * frame[BIASED])),
        carray(pointer(frame[at], one), 0),
    )


@inlined
def _part(frame: Any, shard: int) -> tuple[int, int, int, int, int]:
    """What a shard works on: 0 for the inputs' part or 1; its edges, how many stand before them; first and last."""
    gates, size = frame[GATES], frame[SHARD]
    edges = gates * frame[INPUTS]
    shards = (edges + size - 1) // size
    if shard < shards:
        return 0, edges, 0, shard * size, min(shard * size + size, edges)
    first, others = (shard - shards) * size, gates * frame[STATES]
    return 1, others, edges, first, min(first + size, others)


@inlined
def _expand(frame: Any, one: Any) -> None:
    program, no, single = _program(frame), frame[POINTS] < 0, frame[POINTS] // frame[POINTS]
    gates, points, terms = frame[GATES], frame[POINTS], frame[TERMS]
    total = gates * (frame[INPUTS] + frame[STATES])
    x, empty = carray(pointer(frame[_X], DOUBLE), (points, 1)), carray(pointer(frame[_ANALYSIS], one), (0, 0))
    analysis, coefficients = take(frame, _ANALYSIS, one), take(frame, _COEFFICIENTS, one)
    shard = next_shard(frame)
    while shard >= 0:
        part, edges, offset, begin, end = _part(frame, shard)
        given = _parameters(frame, _PARAMETERS + 6 * part, edges, one)
        values = carray(pointer(frame[_VALUES] + points * offset * frame[SIZE], one), (points, edges))
        inputs = frame[STATES] if part else frame[INPUTS]
        call = Call(single, no, no, no, gates, inputs, begin, end, 0, points)
        run_by_edges(values, empty, empty, given, x, given, program, call)
        for t in range(terms):
            target = coefficients[t * total + offset + begin : t * total + offset + end]
            for p in range(points):
                weight, row = analysis[t * points + p], values[p, begin:end]
                for e in range(end - begin):
                    target[e] += weight * row[e]
        shard = next_shard(frame)


@inlined
def _pull(frame: Any, one: Any) -> None:
    program, no, single = _program(frame), frame[POINTS] < 0, frame[POINTS] // frame[POINTS]
    gates, points, terms = frame[GATES], frame[POINTS], frame[TERMS]
    total = gates * (frame[INPUTS] + frame[STATES])
    x, empty = carray(pointer(frame[_X], DOUBLE), (points, 1)), carray(pointer(frame[_ANALYSIS], one), (0, 0))
    analysis, of_matrix, of_bias = (
        take(frame, _ANALYSIS, one),
        take(frame, _COEFFICIENTS, one),
        take(frame, _OF_BIAS, one),
    )
    shard = next_shard(frame)
    while shard >= 0:
        part, edges, offset, begin, end = _part(frame, shard)
        given = _parameters(frame, _PARAMETERS + 6 * part, edges, one)
        gradients = _parameters(frame, _GRADIENTS + 6 * part, edges, one)
        grad = carray(pointer(frame[_VALUES] + points * offset * frame[SIZE], one), (points, edges))
        for p in range(points):
            row, weight = grad[p, begin:end], analysis[p]
            for e in range(end - begin):
                row[e] = weight * of_bias[(begin + e) % gates]
            for t in range(1, terms):
                weight = analysis[t * points + p]
                source = of_matrix[(t - 1) * total + offset + begin : (t - 1) * total + offset + end]
                for e in range(end - begin):
                    row[e] += weight * source[e]
        inputs = frame[STATES] if part else frame[INPUTS]
        call = Call(single, no, no, no, gates, inputs, begin, end, 0, points)
        run_by_edges(empty, grad, empty, gradients, x, given, program, call)
        shard = next_shard(frame)


def _expand_single(frame: Any) -> None:
    _expand(as_frame(frame), SINGLE)


def _expand_double(frame: Any) -> None:
    _expand(as_frame(frame), DOUBLE)


def _pull_single(frame: Any) -> None:
    _pull(as_frame(frame), SINGLE)


def _pull_double(frame: Any) -> None:
    _pull(as_frame(frame), DOUBLE)


#: From parameters to coefficients, zeros before; ``values`` is scratch memory.
EXPAND = Kernel(_expand_single, _expand_double)
#: From the gradients of the matrix (at ``coefficients``) and of the bias to those of the parameters, zeros before.
PULL = Kernel(_pull_single, _pull_double)
