"""The CPU kernels of fast weights: a worker walks over one sequence after the other.

Lanes are the edges of the fast layer, outputs side by side for each input. A forward pass keeps theta at the borders of
pieces of time; the backward pass finds the theta of a piece again, runs every circuit again, and turns state and
adjoint back together. Arrays are flat: theta and its gradient hold (columns, edges), edge = input x outputs + output.

Loops touch few arrays each: with more, compilers give up the search for overlaps, and with it vectors.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.circuits.bloch.numba_interpreter import lane_sum
from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import sigmoid, sincos_arrays
from qkan.kernels.common.numba_runtime import (
    ARGUMENTS,
    DOUBLE,
    INTEGER,
    SINGLE,
    Kernel,
    as_frame,
    enrol,
    next_shard,
    take,
)

# What kernels take from a frame: sizes, then arrays.
OUTPUTS, INPUTS, ROWS, ANGLES, GATES, ROTATIONS, PIECE, ROOM = range(ARGUMENTS, ARGUMENTS + 8)
(
    WORKSPACE, TURNS, COLUMNS, SPEEDS, INITIAL, OFFSETS, LENGTHS, EMITTED, X, THETA, OUT, BORDERS, END, GRAD_OUT,
    GRAD_END, D_EMITTED, D_X, D_THETA,
) = range(ARGUMENTS + 8, ARGUMENTS + 44, 2)  # fmt: skip


def workspace_numbers(edges: int, columns: int, rotations: int, piece: int) -> int:
    """How many numbers a worker needs for itself."""
    return edges * (columns * (piece + 1) + 2 * rotations + 9)


@inlined
def _gates(frame: Any, row: Any, gate: Any) -> None:
    """The gates of all outputs at a step."""
    outputs, many = frame[OUTPUTS], frame[GATES] > 1
    gate_at = frame[ROWS] * outputs + frame[INPUTS] * frame[ANGLES]
    if many:
        for o in range(outputs):
            gate[o] = sigmoid(row[gate_at + o])
    else:
        single = sigmoid(row[gate_at])
        for o in range(outputs):
            gate[o] = single


@inlined
def _advance(frame: Any, row: Any, before: Any, after: Any, gate: Any) -> None:
    """theta behind a step from the one in front of it, which may be the same array; fills the gates of the outputs."""
    outputs, inputs, rows, angles = frame[OUTPUTS], frame[INPUTS], frame[ROWS], frame[ANGLES]
    b_at = rows * outputs
    _gates(frame, row, gate)
    one = row.dtype.type(1)
    for r in range(rows):
        a = row[r * outputs : (r + 1) * outputs]
        for angle in range(angles):
            for i in range(inputs):
                at, b = ((r * angles + angle) * inputs + i) * outputs, row[b_at + i * angles + angle]
                old, new = before[at : at + outputs], after[at : at + outputs]
                for o in range(outputs):
                    new[o] = gate[o] * old[o] + (one - gate[o]) * (a[o] * b)


@inlined
def _circuit(frame: Any, theta: Any, x: Any, tables: Any, state: Any, trig: Any, angle: Any) -> None:
    """The Bloch vectors (3, edges) at the ends of all circuits, and cosines and sines (rotations, 2, edges)."""
    turns, columns, speeds, initial = tables
    outputs, inputs = frame[OUTPUTS], frame[INPUTS]
    edges = outputs * inputs
    for axis in range(3):
        part = state[axis * edges : (axis + 1) * edges]
        for e in range(edges):
            part[e] = initial[axis]
    for k in range(frame[ROTATIONS]):
        axis, half, first, count = turns[4 * k], turns[4 * k + 1], turns[4 * k + 2], turns[4 * k + 3]
        u_at, v_at = (axis + 1) % 3 * edges, (axis + 2) % 3 * edges
        u, v = state[u_at : u_at + edges], state[v_at : v_at + edges]
        if half:
            for e in range(edges):
                u[e], v[e] = -u[e], -v[e]
            continue
        for e in range(edges):
            angle[e] = 0
        for c in range(first, first + count):
            column = theta[columns[c] * edges : (columns[c] + 1) * edges]
            for e in range(edges):
                angle[e] += column[e]
        if speeds[k] != 0:
            for i in range(inputs):
                shift, part = speeds[k] * x[i], angle[i * outputs : (i + 1) * outputs]
                for o in range(outputs):
                    part[o] += shift
        cos, sin = trig[2 * k * edges : (2 * k + 1) * edges], trig[(2 * k + 1) * edges : (2 * k + 2) * edges]
        sincos_arrays(angle, sin, cos)
        for e in range(edges):
            p, q = u[e], v[e]
            u[e] = cos[e] * p - sin[e] * q
            v[e] = sin[e] * p + cos[e] * q


@inlined
def _values(frame: Any, theta: Any, x: Any, tables: Any, state: Any, trig: Any, angle: Any, out: Any) -> None:
    """The outputs of one step."""
    outputs, inputs = frame[OUTPUTS], frame[INPUTS]
    edges = outputs * inputs
    for o in range(outputs):
        out[o] = 0
    if frame[ROTATIONS] == 0:
        for i in range(inputs):
            part, factor = theta[i * outputs : (i + 1) * outputs], x[i]
            for o in range(outputs):
                out[o] += part[o] * factor
        return
    _circuit(frame, theta, x, tables, state, trig, angle)
    for i in range(inputs):
        part = state[2 * edges + i * outputs : 2 * edges + (i + 1) * outputs]
        for o in range(outputs):
            out[o] += part[o]


@inlined
def _pull_circuit(
    frame: Any, grad: Any, tables: Any, state: Any, adjoint: Any, trig: Any, slope: Any, by_x: Any
) -> None:
    """Turn states and adjoints back; gradients of angles are added to ``grad`` and, times speeds, to ``by_x``."""
    turns, columns, speeds, _ = tables
    edges = frame[OUTPUTS] * frame[INPUTS]
    for k in range(frame[ROTATIONS] - 1, -1, -1):
        axis, half, first, count = turns[4 * k], turns[4 * k + 1], turns[4 * k + 2], turns[4 * k + 3]
        u_at, v_at = (axis + 1) % 3 * edges, (axis + 2) % 3 * edges
        u, v = state[u_at : u_at + edges], state[v_at : v_at + edges]
        p, q = adjoint[u_at : u_at + edges], adjoint[v_at : v_at + edges]
        if half:
            for e in range(edges):
                u[e], v[e] = -u[e], -v[e]
            for e in range(edges):
                p[e], q[e] = -p[e], -q[e]
            continue
        cos, sin = trig[2 * k * edges : (2 * k + 1) * edges], trig[(2 * k + 1) * edges : (2 * k + 2) * edges]
        for e in range(edges):  # the same on both sides of the turn
            slope[e] = q[e] * u[e] - p[e] * v[e]
        if k > 0:
            for e in range(edges):
                s, t = u[e], v[e]
                u[e] = cos[e] * s + sin[e] * t
                v[e] = cos[e] * t - sin[e] * s
            for e in range(edges):
                s, t = p[e], q[e]
                p[e] = cos[e] * s + sin[e] * t
                q[e] = cos[e] * t - sin[e] * s
        for c in range(first, first + count):
            column = grad[columns[c] * edges : (columns[c] + 1) * edges]
            for e in range(edges):
                column[e] += slope[e]
        if speeds[k] != 0:
            speed = speeds[k]
            for e in range(edges):
                by_x[e] += speed * slope[e]


@inlined
def _pull_values(
    frame: Any, theta: Any, x: Any, tables: Any, state: Any, adjoint: Any, trig: Any, angle: Any, dy: Any, grad: Any,
    by_x: Any, dx: Any,
) -> None:  # fmt: skip
    """Add the gradient of one step's outputs to that of theta, and give that of x."""
    outputs, inputs = frame[OUTPUTS], frame[INPUTS]
    edges = outputs * inputs
    for e in range(edges):
        by_x[e] = 0
    if frame[ROTATIONS] == 0:
        for i in range(inputs):
            part, own, back, factor = (
                theta[i * outputs : (i + 1) * outputs],
                grad[i * outputs : (i + 1) * outputs],
                by_x[i * outputs : (i + 1) * outputs],
                x[i],
            )
            for o in range(outputs):
                own[o] += dy[o] * factor
            for o in range(outputs):
                back[o] = dy[o] * part[o]
    else:
        _circuit(frame, theta, x, tables, state, trig, angle)
        for e in range(2 * edges):
            adjoint[e] = 0
        for i in range(inputs):
            part = adjoint[2 * edges + i * outputs : 2 * edges + (i + 1) * outputs]
            for o in range(outputs):
                part[o] = dy[o]
        _pull_circuit(frame, grad, tables, state, adjoint, trig, angle, by_x)
    for i in range(inputs):
        dx[i] = lane_sum(by_x[i * outputs : (i + 1) * outputs], outputs)


@inlined
def _pull_step(frame: Any, row: Any, before: Any, gate: Any, grad: Any, d_row: Any, spare: Any) -> None:
    """From the gradient of theta behind a step to that in front of it, and to those of what was emitted."""
    outputs, inputs, rows, angles, many = frame[OUTPUTS], frame[INPUTS], frame[ROWS], frame[ANGLES], frame[GATES] > 1
    b_at, gate_at = rows * outputs, rows * outputs + inputs * angles
    one = row.dtype.type(1)
    share, by_b, by_gate = spare[:outputs], spare[outputs : 2 * outputs], spare[2 * outputs : 3 * outputs]
    for k in range(b_at):
        d_row[k] = 0
    for o in range(outputs):
        by_gate[o] = 0
    for angle in range(angles):
        for i in range(inputs):
            b = row[b_at + i * angles + angle]
            for o in range(outputs):
                by_b[o] = 0
            for r in range(rows):
                at = ((r * angles + angle) * inputs + i) * outputs
                old, own = before[at : at + outputs], grad[at : at + outputs]
                a, d_a = row[r * outputs : (r + 1) * outputs], d_row[r * outputs : (r + 1) * outputs]
                for o in range(outputs):
                    by_gate[o] += own[o] * (old[o] - a[o] * b)
                for o in range(outputs):
                    share[o] = (one - gate[o]) * own[o]
                for o in range(outputs):
                    by_b[o] += share[o] * a[o]
                for o in range(outputs):
                    d_a[o] += share[o] * b
                for o in range(outputs):
                    own[o] *= gate[o]
            d_row[b_at + i * angles + angle] = lane_sum(by_b, outputs)
    if many:
        d_gate = d_row[gate_at : gate_at + outputs]
        for o in range(outputs):
            d_gate[o] = by_gate[o] * (gate[o] * (one - gate[o]))
    else:
        d_row[gate_at] = lane_sum(by_gate, outputs) * (gate[0] * (one - gate[0]))


@inlined
def _tables(frame: Any, one: Any) -> Any:
    """The circuit: turns, columns, speeds and the first Bloch vector."""
    turns, columns = take(frame, TURNS, INTEGER), take(frame, COLUMNS, INTEGER)
    return turns, columns, take(frame, SPEEDS, one), take(frame, INITIAL, one)


@inlined
def _scratch(frame: Any, one: Any) -> Any:
    """Memory of this worker alone."""
    worker = enrol(frame)
    return take(frame, WORKSPACE, one)[worker * frame[ROOM] : (worker + 1) * frame[ROOM]]


@inlined
def _forward(frame: Any, one: Any) -> None:
    """All sequences that this worker gets hold of."""
    outputs, inputs, rotations, piece = frame[OUTPUTS], frame[INPUTS], frame[ROTATIONS], frame[PIECE]
    columns = frame[ROWS] * frame[ANGLES]
    edges, size = outputs * inputs, columns * outputs * inputs
    width = frame[ROWS] * outputs + inputs * frame[ANGLES] + frame[GATES]
    space, tables = _scratch(frame, one), _tables(frame, one)
    state, angle, gate = space[: 3 * edges], space[3 * edges : 4 * edges], space[4 * edges : 5 * edges]
    trig = space[5 * edges : (5 + 2 * rotations) * edges]
    offsets, lengths = take(frame, OFFSETS, INTEGER), take(frame, LENGTHS, INTEGER)
    emitted, x, out = take(frame, EMITTED, one), take(frame, X, one), take(frame, OUT, one)
    start, end, borders = take(frame, THETA, one), take(frame, END, one), take(frame, BORDERS, one)
    pieces = len(borders) // len(start) if len(start) else 0
    b = next_shard(frame)
    while b >= 0:
        theta = end[b * size : (b + 1) * size]
        for k in range(size):
            theta[k] = start[b * size + k]
        for t in range(lengths[b]):
            if pieces and t % piece == 0:
                kept = borders[(b * pieces + t // piece) * size : (b * pieces + t // piece + 1) * size]
                for k in range(size):
                    kept[k] = theta[k]
            n = offsets[t] + b
            _advance(frame, emitted[n * width : (n + 1) * width], theta, theta, gate)
            _values(
                frame, theta, x[n * inputs : (n + 1) * inputs], tables, state, trig, angle,
                out[n * outputs : (n + 1) * outputs],
            )  # fmt: skip
        b = next_shard(frame)


@inlined
def _backward(frame: Any, one: Any) -> None:
    """The same for gradients: pieces from the last to the first, each forward to find theta, then backward."""
    outputs, inputs, rotations, piece = frame[OUTPUTS], frame[INPUTS], frame[ROTATIONS], frame[PIECE]
    columns = frame[ROWS] * frame[ANGLES]
    edges, size = outputs * inputs, columns * outputs * inputs
    width = frame[ROWS] * outputs + inputs * frame[ANGLES] + frame[GATES]
    space, tables = _scratch(frame, one), _tables(frame, one)
    state, angle, gate = space[: 3 * edges], space[3 * edges : 4 * edges], space[4 * edges : 5 * edges]
    trig, space = space[5 * edges : (5 + 2 * rotations) * edges], space[(5 + 2 * rotations) * edges :]
    adjoint, spare, by_x = space[: 3 * edges], space[: 3 * edges], space[3 * edges : 4 * edges]
    history = space[4 * edges :]
    offsets, lengths = take(frame, OFFSETS, INTEGER), take(frame, LENGTHS, INTEGER)
    emitted, x, borders = take(frame, EMITTED, one), take(frame, X, one), take(frame, BORDERS, one)
    grad_out, grad_end = take(frame, GRAD_OUT, one), take(frame, GRAD_END, one)
    d_emitted, d_x, d_theta = take(frame, D_EMITTED, one), take(frame, D_X, one), take(frame, D_THETA, one)
    pieces = len(borders) // len(d_theta) if len(d_theta) else 0
    b = next_shard(frame)
    while b >= 0:
        grad = d_theta[b * size : (b + 1) * size]
        for k in range(size):
            grad[k] = grad_end[b * size + k]
        for number in range((lengths[b] + piece - 1) // piece - 1, -1, -1):
            first, last = number * piece, min((number + 1) * piece, lengths[b])
            for k in range(size):
                history[k] = borders[(b * pieces + number) * size + k]
            for t in range(first, last):
                at, n = (t - first) * size, offsets[t] + b
                row = emitted[n * width : (n + 1) * width]
                _advance(frame, row, history[at : at + size], history[at + size : at + 2 * size], gate)
            for t in range(last - 1, first - 1, -1):
                at, n = (t - first) * size, offsets[t] + b
                row, d_row = emitted[n * width : (n + 1) * width], d_emitted[n * width : (n + 1) * width]
                before, theta = history[at : at + size], history[at + size : at + 2 * size]
                _gates(frame, row, gate)
                _pull_values(
                    frame, theta, x[n * inputs : (n + 1) * inputs], tables, state, adjoint, trig, angle,
                    grad_out[n * outputs : (n + 1) * outputs], grad, by_x, d_x[n * inputs : (n + 1) * inputs],
                )  # fmt: skip
                _pull_step(frame, row, before, gate, grad, d_row, spare)
        b = next_shard(frame)


def _forward_single(frame: Any) -> None:
    _forward(as_frame(frame), SINGLE)


def _forward_double(frame: Any) -> None:
    _forward(as_frame(frame), DOUBLE)


def _backward_single(frame: Any) -> None:
    _backward(as_frame(frame), SINGLE)


def _backward_double(frame: Any) -> None:
    _backward(as_frame(frame), DOUBLE)


FORWARD, BACKWARD = Kernel(_forward_single, _forward_double), Kernel(_backward_single, _backward_double)
