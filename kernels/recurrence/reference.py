"""The recurrence as a loop over time in plain differentiable operations: what every engine is compared with.

It also serves vmap, second derivatives and gates that no engine knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.recurrence.types import Layout, Spec, Weights

#: (h, c) of an LSTM, (h,) of a GRU.
States = tuple[Tensor, ...]
Step = Callable[[Tensor, Any], Any]


def lstm_step(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """(o tanh(c'), c') from the gates i, f, g, o before their activations, (rows, 4 H), and c."""
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(from_input: Tensor, from_state: Tensor, h: Tensor) -> Tensor:
    """h' from both parts of the gates r, z, n before their activations, (rows, 3 H), and h."""
    size = h.shape[-1]
    r, z = torch.sigmoid(from_input[..., : 2 * size] + from_state[..., : 2 * size]).chunk(2, -1)
    n = torch.tanh(from_input[..., 2 * size :] + r * from_state[..., 2 * size :])
    return (1 - z) * n + z * h


def features(spec: Spec, weights: Weights, z: Tensor) -> list[Tensor]:
    """What the matrix multiplies, each in the shape of z: functions or one activation, and the base activation."""
    functions = spec.basis.functions(z)
    if weights.activation_coeffs is None:
        return functions
    count = len(weights.activation_coeffs) - 1
    constant, coeffs = weights.activation_coeffs[0], weights.activation_coeffs[1:]
    activation = (torch.stack(functions[:count], -2) * coeffs).sum(-2) + constant
    return [activation, *functions[count:]]


def without_inputs(spec: Spec, steps: Tensor, weights: Weights) -> tuple[Spec, Tensor, Weights]:
    """The same recurrence with z = h: what the inputs contribute to the gates is computed for all steps at once."""
    count = spec.inputs
    if count == 0:
        return spec, steps, weights
    parts = []
    for part in (slice(count), slice(count, None)):
        coeffs = None if weights.activation_coeffs is None else weights.activation_coeffs[:, part]
        parts.append(weights._replace(matrix=weights.matrix[:, part], activation_coeffs=coeffs))
    contributed = torch.cat(features(spec, parts[0], steps), -1) @ parts[0].matrix.flatten(0, 1)
    return replace(spec, inputs=0), contributed, parts[1]


def scan(step: Step, rows: Tensor, layout: Layout, start: States) -> tuple[Tensor, States]:
    """Walk ``step`` over time.

    Args:
        step: (rows of one time step, states) to states; the first state is what the recurrence puts out.
        rows: (sum of sizes, features), what the inputs of all time steps contribute.
        layout: of the rows; in reverse a sequence joins where it ends.
        start: states of all sequences, each (sizes[0] or more, ...); those beyond sizes[0] have no steps.

    Returns:
        the first state of all steps, laid out as ``rows``; the final states of every sequence.
    """
    steps, order = rows.split(list(layout.sizes)), layout.order
    states = tuple(state[: layout.sizes[order[0]]] for state in start)
    outputs: list[Tensor] = []
    ended: list[States] = []
    for t in order:
        active, running = layout.sizes[t], states[0].shape[0]
        if active < running:
            ended.append(tuple(state[active:] for state in states))
            states = tuple(state[:active] for state in states)
        elif active > running:
            joining = (first[running:active] for first in start)
            states = tuple(torch.cat(pair) for pair in zip(states, joining, strict=True))
        states = step(steps[t], states)
        outputs.append(states[0])
    if layout.reverse:
        outputs.reverse()
    if start[0].shape[0] > layout.sizes[0]:
        ended.insert(0, tuple(first[layout.sizes[0] :] for first in start))
    if ended:
        states = tuple(torch.cat(parts) for parts in zip(states, *reversed(ended), strict=True))
    return torch.cat(outputs), states


def run(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As of :func:`qkan.kernels.recurrence.api.run`."""
    spec, steps, weights = without_inputs(spec, steps, weights)
    encoder, projection = weights.encoder, weights.projection
    matrix = weights.matrix.flatten(0, 1)

    def step(from_input: Tensor, states: States) -> States:
        h = states[0]
        z = h if encoder is None else from_input + F.linear(h, encoder)
        joined = torch.cat(features(spec, weights, z), -1)
        a = (
            joined @ matrix
            if spec.matmul_dtype is None
            else (joined.to(spec.matmul_dtype) @ matrix.to(spec.matmul_dtype)).to(z.dtype)
        )
        a = a + weights.bias
        if spec.cell == "gru":
            return (gru_step(from_input, a, h),)
        u, c = lstm_step(a if encoder is not None else from_input + a, states[1])
        return (u if projection is None else F.linear(u, projection)), c

    outputs, finals = scan(step, steps, layout, (h_0,) if c_0 is None else (h_0, c_0))
    return outputs, finals[0], finals[1] if len(finals) > 1 else None
