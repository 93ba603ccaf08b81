"""What the engines of :mod:`qkan.kernels.fast_weights.api` compute, and what an engine must do.

A fast layer from L inputs to O outputs has weights of its own at every step t of every sequence: C = rows x angles
numbers an edge, theta_t (C, L, O). They are a gated sum of steps of low rank (arXiv 2605.06734), which a slow network
emits together with the gates:

    theta_t = g_t theta_(t-1) + (1 - g_t) delta_t,    delta_t[(r, a), i, o] = A_t[r, o] B_t[i, a],

with 0 < g_t = sigmoid(logit_t) < 1, one for all outputs or one for each. The layer's output is y_t[o] = sum_i
phi(x_t[i]; theta_t[:, i, o]), where phi is a circuit with these angles, or theta x, a linear map.

The recurrence is linear in theta. So all theta_t of a piece of time follow at once from the one in front of it, and a
backward pass finds them again from those that it kept at the borders of pieces: it needs no tape of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.recurrence.types import Layout


@dataclass(frozen=True)
class Spec:
    """A fast layer and its gates.

    Attributes:
        inputs, outputs: L and O.
        gates: 1, or O for a gate per output.
        ansatz: of the circuits, whose encoding is the identity; None for a linear layer: one number an edge.
        reps: repetitions of the circuit's block; 1 for a linear layer.
        frequencies: w_l, one a repetition: circuits encode the angles w_l x.
    """

    inputs: int
    outputs: int
    gates: int = 1
    ansatz: Ansatz | None = None
    reps: int = 1
    frequencies: tuple[float, ...] = (1.0,)

    @property
    def rows(self) -> int:
        """Rows of an edge's angles."""
        return 1 if self.ansatz is None else self.ansatz.rows(self.reps)

    @property
    def angles(self) -> int:
        """Angles of a row."""
        return 1 if self.ansatz is None else self.ansatz.angles

    @property
    def parts(self) -> tuple[int, int, int]:
        """How many numbers a slow network emits at a step: those of A (rows, O), of B (L, angles), and logits."""
        return self.rows * self.outputs, self.inputs * self.angles, self.gates

    @property
    def size(self) -> int:
        """Numbers of theta: rows x angles x L x O."""
        return self.rows * self.angles * self.inputs * self.outputs


class Engine(NamedTuple):
    """A way to run fast weights.

    Attributes:
        name: the ``backend`` under which users ask for it.
        unsupported_reason: (spec, tensors) to None if it can run them, else the reason in words; tensors are those that
            ``run`` takes.
        run: (spec, layout, emitted, x, theta) to the outputs (rows, O) and the theta behind the last step of every
            sequence, (B, size). ``emitted`` (rows, sum(parts)) holds A, B and logits of all time steps, ``x``
            (rows, L), ``theta`` (B, size) the start; rows lie as the layout says, which runs forward. Differentiable.
    """

    name: str
    unsupported_reason: Callable[[Spec, Sequence[Any]], str | None]
    run: Callable[[Spec, Layout, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
