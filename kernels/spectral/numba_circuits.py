"""Numba code of circuits at a few points: states behind all rotations, and gradients of the angles.

A tile is up to LANES circuits; it takes POINTS points at a time through the circuit, so that states, cosines and sines
stay in the first-level cache. The backward pass turns state and adjoint back together, so that nothing is kept.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.circuits.bloch.numba_interpreter import fill_trig
from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_lanes import LANES, add_angle, turn, turn_back

#: Points that a tile takes through the circuit at once.
POINTS = 16
#: Numbers of one component of the states of a tile.
PLANE = POINTS * LANES
# Kinds of rotations: of trained angles alone, encoded with and without trained angles, a half turn.
TRAINED, ENCODED, ENCODED_ONLY, HALF_TURN = range(4)
# A program is a flat list of integers: numbers of rotations, of those before the first encoding, of angles and of
# encodings; (axis, kind) of every rotation; (rotation, column of theta) of every angle; (rotation, index) of every
# encoding.
HEAD = 4


@inlined
def fill(target: Any, count: int, value: Any) -> None:
    """target[:count] = value."""
    for j in range(count):
        target[j] = value


@inlined
def half_turn(state: Any, axis: int, count: int) -> None:
    """A Pauli gate: flips the two components across its axis."""
    for other in range(1, 3):
        plane = state[((axis + other) % 3) * PLANE :]
        for j in range(count):
            plane[j] = -plane[j]


@inlined
def prepare(program: Any, exact: Any, trig: Any, start: Any) -> None:
    """Cosines, then sines of trained angles, and the states in front of the first encoding, LANES a component."""
    count = program[0]
    fill_trig(exact, trig, trig[count * LANES :], count * LANES)  # one long loop costs less than a few short ones
    for k in range(program[1]):
        axis = program[HEAD + 2 * k]
        u, v = (axis + 1) % 3 * LANES, (axis + 2) % 3 * LANES
        if program[HEAD + 2 * k + 1] == HALF_TURN:
            for j in range(LANES):
                start[u + j] = -start[u + j]
                start[v + j] = -start[v + j]
        else:
            turn(start, u, v, trig, k * LANES, (count + k) * LANES)


@inlined
def run_forward(
    program: Any, weighted: bool, nodes: Any, node_trig: Any, radius: float, first: int, points: int, exact: Any,
    trig: Any, start: Any, state: Any,
) -> None:  # fmt: skip
    """The states behind all rotations at ``points`` points from ``first`` on.

    ``trig`` holds cosines and sines of trained angles, and takes those of encoded rotations behind them; ``exact``
    phases and speeds, and has memory for angles behind them.
    """
    count, total = program[0], len(nodes)
    for component in range(3):
        given = start[component * LANES :]
        for p in range(points):
            target = state[component * PLANE + p * LANES :]
            for j in range(LANES):
                target[j] = given[j]
    for k in range(program[1], count):
        axis, kind = program[HEAD + 2 * k], program[HEAD + 2 * k + 1]
        cos_at, step = k * LANES, 0
        sin_at = cos_at + count * LANES
        if kind == HALF_TURN:
            half_turn(state, axis, points * LANES)
            continue
        if kind != TRAINED:
            cos_at, step = 2 * count * LANES + 2 * k * PLANE, LANES
            sin_at = cos_at + PLANE
            if weighted:
                phase, speed, angle = exact[k * LANES :], exact[(count + k) * LANES :], exact[2 * count * LANES :]
                for p in range(points):
                    x, row = radius * nodes[first + p], angle[p * LANES :]
                    for j in range(LANES):
                        row[j] = speed[j] * x + phase[j]
                fill_trig(angle, trig[cos_at:], trig[sin_at:], points * LANES)
            else:
                for p in range(points):
                    c, s = node_trig[2 * (k * total + first + p)], node_trig[2 * (k * total + first + p) + 1]
                    if kind == ENCODED:
                        here = k * LANES
                        add_angle(trig, here, here + count * LANES, trig, cos_at + p * LANES, sin_at + p * LANES, c, s)
                    else:
                        fill(trig[cos_at + p * LANES :], LANES, c)
                        fill(trig[sin_at + p * LANES :], LANES, s)
        u, v = (axis + 1) % 3 * PLANE, (axis + 2) % 3 * PLANE
        for p in range(points):
            turn(state, u + p * LANES, v + p * LANES, trig, cos_at + p * step, sin_at + p * step)


@inlined
def run_backward(
    program: Any, nodes: Any, radius: float, first: int, points: int, trig: Any, state: Any, totals: Any
) -> None:
    """Turn states and adjoints behind all rotations back to the first encoding, adding gradients to ``totals``.

    ``totals`` holds for every rotation the sum of the gradients of its angle, then the sum of them times x.
    """
    for step_back in range(program[0] - program[1]):
        k = program[0] - 1 - step_back
        axis, kind = program[HEAD + 2 * k], program[HEAD + 2 * k + 1]
        if kind == HALF_TURN:
            half_turn(state, axis, points * LANES)
            half_turn(state[3 * PLANE :], axis, points * LANES)
            continue
        cos_at, step = k * LANES, 0
        sin_at = cos_at + program[0] * LANES
        if kind != TRAINED:
            cos_at, step = 2 * program[0] * LANES + 2 * k * PLANE, LANES
            sin_at = cos_at + PLANE
        u, v = (axis + 1) % 3 * PLANE, (axis + 2) % 3 * PLANE
        for p in range(points):
            here = p * LANES
            turn_back(
                state, u + here, v + here, u + 3 * PLANE + here, v + 3 * PLANE + here, trig, cos_at + p * step,
                sin_at + p * step, totals, 2 * k * LANES, (2 * k + 1) * LANES,
                state.dtype.type(radius * nodes[first + p]),
            )  # fmt: skip


@inlined
def circuit_values(
    program: Any, weighted: bool, nodes: Any, node_trig: Any, radius: float, exact: Any, trig: Any,
    start: Any, state: Any, out: Any,
) -> None:  # fmt: skip
    """<Z> of the tile's circuits at all points, (points, LANES)."""
    for first in range(0, len(nodes), POINTS):
        points = min(POINTS, len(nodes) - first)
        run_forward(program, weighted, nodes, node_trig, radius, first, points, exact, trig, start, state)
        z, into = state[2 * PLANE :], out[first * LANES :]
        for j in range(points * LANES):
            into[j] = z[j]
