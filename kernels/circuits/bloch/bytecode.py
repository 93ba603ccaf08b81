"""Circuits as lists of vector instructions for the machine in :mod:`qkan.kernels.circuits.bloch.numba_interpreter`.

A rotation becomes a handful of instructions on rows of two tables, ``R`` in the dtype of the layer and ``D`` in double
precision. Angles are put together in ``D`` whatever the dtype, so large ones need no case of their own: a conversion
and a reduction cost less than looking for them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

from qkan.kernels.circuits.ansatz import Ansatz, Rotation
from qkan.kernels.circuits.bloch.evaluate import without_angles_in_first_encoding

#: Evaluations side by side.
LANES = 256

#: Instructions; the machine says what they do with their operands.
TURN, TURN_BACK, WEIGHTED, ANGLES, ADD, ADD_TIMES, COPY, ZERO, FLIP, TRIG, ACOS, ACOS_SLOPE = range(12)
_OPERANDS = 8

# Rows of R that every circuit has; more follow. Totals, sums over samples, begin with those of edge_weight and adjoint.
STATE, ADJOINT, Z, UPSTREAM, GRADIENT, DX, START, TOTALS = 0, 3, 6, 7, 8, 9, 14, 17
_SPARE = (10, 11, 12)
_TOTAL_ADJOINT, _MORE_TOTALS = TOTALS + 1, TOTALS + 4
#: Row 0 of D holds the inputs.
_X = 0


class Program(NamedTuple):
    """A circuit for the machine.

    Attributes:
        prepare, forward, backward, finish: instructions (count, 9) int64: for the parameters of a tile of edges, from
            there to <Z>, from the gradient of <Z> back to the first encoding, and through what stands in front of it.
        thetas: (n, 3), the row of D that a column of theta (flattened) adds to, the column, its total's row in R.
        codes: (m, 5), rows of D that weight and bias of an encoding add to, the encoding, rows of R of their totals.
        times: (T,) float64, multiples of x whose cosines and sines stand in rows of R.
        initial: (3,) float64.
        shared, shared_exact, totals: rows of R and of D that are the same for all samples, rows of R that are summed
            over them: those that the forward and backward lists touch.
        sizes: rows of R and D, the end of the totals in R, and the first row for multiples of x.
    """

    prepare: Any
    forward: Any
    backward: Any
    finish: Any
    thetas: Any
    codes: Any
    times: Any
    initial: Any
    shared: Any
    shared_exact: Any
    totals: Any
    sizes: Any


class _Assembler:
    def __init__(self, ansatz: Ansatz, reps: int, weighted: bool, biased: bool) -> None:
        self.steps = without_angles_in_first_encoding(ansatz.program(reps))
        self.acos, self.weighted, self.biased = ansatz.encoding_map == "acos", weighted, biased
        self.angles = ansatz.angles
        self.prefix = next((k for k, step in enumerate(self.steps) if step.encodings), len(self.steps))
        self.lists: dict[str, list[tuple[int, ...]]] = {"prepare": [], "forward": [], "backward": [], "finish": []}
        self.thetas: list[tuple[int, ...]] = []
        self.codes: list[tuple[int, ...]] = []
        self.shared = [START, START + 1, START + 2]
        self.shared_exact: list[int] = []
        self.totals = [TOTALS + row for row in range(_MORE_TOTALS - TOTALS)]
        count = len(self.steps)
        self.slots = self._slots()
        slots = sum(map(len, self.slots))
        # Rows of D: x, phases by step, weights and shifts by slot.
        self.phase, self.weight, self.shift = 1, 1 + count, 1 + count + slots
        # Rows of R: totals by step and slot; cosines and sines by step; encoded ones; those of multiples of x.
        self.total, self.total_weight = _MORE_TOTALS, _MORE_TOTALS + count
        self.total_shift = self.total_weight + slots
        self.cos = self.total_shift + slots
        self.encoded = self.cos + 2 * count
        self.multiples = self.encoded + 2 * count
        plain = not (self.acos or weighted)
        self.times = sorted({len(step.encodings) for step in self.steps if step.encodings}) if plain else []
        self.sizes = (self.multiples + 2 * len(self.times), self.shift + slots, self.cos, self.multiples)

    def _slots(self) -> list[tuple[int, ...]]:
        """Per step the numbers of w x + b that it needs: one for a sum of angles, one each for angles behind acos."""
        slots, count = [], 0
        for step in self.steps:
            need = len(step.encodings) if self.acos else min(1, len(step.encodings))
            slots.append(tuple(range(count, count + need)))
            count += need
        return slots

    def add(self, where: str, op: int, *operands: int) -> None:
        self.lists[where].append((op, *operands, *(0,) * (_OPERANDS - len(operands))))

    def _has_phase(self, k: int) -> bool:
        step = self.steps[k]
        return bool(step.thetas) or (self.biased and not self.acos and bool(step.encodings))

    def _trig(self, k: int) -> tuple[int, int]:
        """Rows of R with cosine and sine of what parameters alone contribute to the angle of step k."""
        return self.cos + 2 * k, self.cos + 2 * k + 1

    def _angle(self, k: int) -> tuple[int, int]:
        """Rows of R with cosine and sine of the whole angle, when the forward pass has been there."""
        step = self.steps[k]
        if not step.encodings:
            return self._trig(k)
        if self.times and not self._has_phase(k):
            return self._multiple(step)
        return self.encoded + 2 * k, self.encoded + 2 * k + 1

    def _multiple(self, step: Rotation) -> tuple[int, int]:
        first = self.multiples + 2 * self.times.index(len(step.encodings))
        return first, first + 1

    def parameters(self) -> None:
        for k, step in enumerate(self.steps):
            self.thetas += [(self.phase + k, row * self.angles + column, self.total + k) for row, column in step.thetas]
            for place, code in enumerate(step.encodings):
                slot = self.slots[k][place if self.acos else 0]
                shift, total = (
                    (self.shift + slot, self.total_shift + slot) if self.acos else (self.phase + k, self.total + k)
                )
                self.codes.append((self.weight + slot, shift, code, self.total_weight + slot, total))
            if self._has_phase(k) and not (step.encodings and self.weighted and not self.acos):
                self.add("prepare", TRIG, *self._trig(k), self.phase + k)
                self.shared += self._trig(k) if k >= self.prefix else ()

    def _pair(self, base: int, k: int) -> tuple[int, int]:
        axis = self.steps[k].axis
        return base + (axis + 1) % 3, base + (axis + 2) % 3

    def turn(self, where: str, base: int, k: int) -> None:
        if self.steps[k].half_turn:
            for row in self._pair(base, k):
                self.add(where, FLIP, row)
        else:
            self.add(where, TURN, *self._pair(base, k), *self._angle(k))

    def turn_back(self, where: str, base: int, adjoint: int, k: int) -> None:
        rows = *self._pair(base, k), *self._pair(adjoint, k)
        if self.steps[k].half_turn:
            for row in rows:
                self.add(where, FLIP, row)
        else:
            self.add(where, TURN_BACK, *rows, *self._angle(k), GRADIENT, self.total + k)

    def encode(self, k: int) -> None:
        step, target = self.steps[k], self._angle(k)
        slots = [(_X, self.weight + slot, self.shift + slot) for slot in self.slots[k]]
        if self.acos:
            self.add("forward", ACOS, *target, *slots[0])
            for other in slots[1:]:
                self.add("forward", ACOS, *_SPARE[:2], *other)
                self.add("forward", ANGLES, *target, *target, *_SPARE[:2])
            if self._has_phase(k):
                self.add("forward", ANGLES, *target, *target, *self._trig(k))
        elif self.weighted:
            self.add("forward", WEIGHTED, *target, _X, slots[0][1], self.phase + k)
        elif self._has_phase(k):
            self.add("forward", ANGLES, *target, *self._multiple(step), *self._trig(k))

    def angle_gradients(self, k: int) -> None:
        """From the gradient of an encoded angle to those of weight, bias (behind acos) and x."""
        if not self.steps[k].half_turn:
            self.totals.append(self.total + k)
        self.totals += [self.total_weight + slot for slot in self.slots[k] if self.weighted]
        self.totals += [self.total_shift + slot for slot in self.slots[k] if self.acos]
        self.shared_exact += [self.weight + slot for slot in self.slots[k]]
        self.shared_exact += [self.shift + slot for slot in self.slots[k] if self.acos]
        if self.weighted and self.steps[k].encodings and not self.acos:
            self.shared_exact.append(self.phase + k)
        for slot in self.slots[k]:
            gradient, weight = GRADIENT, self.weight + slot
            if self.acos:
                gradient = _SPARE[2]
                self.add("backward", ACOS_SLOPE, gradient, GRADIENT, _X, weight, self.shift + slot)
                self.add("backward", ADD, self.total_shift + slot, gradient)
            if self.weighted:
                self.add("backward", ADD_TIMES, self.total_weight + slot, gradient, _X)
            self.add("backward", ADD_TIMES, DX, gradient, weight)

    def assemble(self) -> None:
        self.parameters()
        last = len(self.steps)
        for k in range(self.prefix):
            self.turn("prepare", START, k)
        for component in range(3):
            self.add("forward", COPY, STATE + component, START + component)
        for k in range(self.prefix, last):
            if self.steps[k].encodings:
                self.encode(k)
            self.turn("forward", STATE, k)
        self.add("backward", ZERO, ADJOINT)
        self.add("backward", ZERO, ADJOINT + 1)
        self.add("backward", COPY, ADJOINT + 2, UPSTREAM)
        for k in reversed(range(self.prefix, last)):
            self.turn_back("backward", STATE, ADJOINT, k)
            self.angle_gradients(k)
        for component in range(3):
            self.add("backward", ADD, _TOTAL_ADJOINT + component, ADJOINT + component)
        for k in reversed(range(self.prefix)):
            self.turn_back("finish", START, _TOTAL_ADJOINT, k)


def _table(rows: Any, *shape: int) -> Any:
    return torch.tensor(rows, dtype=torch.int64, device="cpu").reshape(shape).numpy()


@cache
def program(ansatz: Ansatz, reps: int, weighted: bool, biased: bool) -> Program:
    """The circuit for the machine; ``weighted``, ``biased``: whether there are pre-activation weights and biases."""
    made = _Assembler(ansatz, reps, weighted, biased)
    made.assemble()
    lists = [_table(made.lists[name], -1, 1 + _OPERANDS) for name in ("prepare", "forward", "backward", "finish")]
    floats = [torch.tensor(v, dtype=torch.float64, device="cpu").numpy() for v in (made.times, ansatz.initial)]
    tables = [_table(rows, -1) for rows in (made.shared, made.shared_exact, made.totals, made.sizes)]
    return Program._make([*lists, _table(made.thetas, -1, 3), _table(made.codes, -1, 5), *floats, *tables])
