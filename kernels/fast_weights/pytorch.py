"""Fast weights in plain PyTorch: pieces of time as one matrix product each, or one step after the other.

Within a piece of K steps behind theta_0,

    theta_t = c_t theta_0 + sum_(s <= t) (c_t / c_s) (1 - g_s) delta_s,    c_t = g_1 g_2 ... g_t,

is a product with a triangular K x K matrix of each sequence. Its quotients are taken of logarithms, so all are at most
1 whatever the gates. A backward pass keeps what stands at the borders of pieces and runs each piece again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from qkan.kernels.circuits.bloch.pytorch import Options, circuits, plain_circuits
from qkan.kernels.common.host_sync import exporting, tracing, transformed
from qkan.kernels.fast_weights.types import Engine, Spec
from qkan.kernels.recurrence.types import Layout

#: Steps of a piece of time.
PIECE = 32


def _layer(spec: Spec, theta: Tensor, x: Tensor) -> Tensor:
    """The fast layer: (N, O) from theta (N, rows, angles, L, O) and x (N, L)."""
    if spec.ansatz is None:
        return (theta[:, 0, 0] * x.unsqueeze(-1)).sum(1)
    weight = None
    if any(w != 1 for w in spec.frequencies):
        weight = x.new_tensor(spec.frequencies).expand(spec.outputs, spec.inputs, spec.reps)
    own = theta.permute(0, 4, 3, 1, 2)
    if exporting():
        return plain_circuits(Options(spec.ansatz, spec.reps, "z", True), x, own, weight, None, None)
    return circuits(x, own, weight, None, None, ansatz=spec.ansatz, reps=spec.reps, readout="z", reduce=True)


def _deltas(spec: Spec, emitted: Tensor) -> Tensor:
    """The steps (..., size) that were emitted, without their gates."""
    a, b, _ = emitted.split(spec.parts, -1)
    rows = a.unflatten(-1, (spec.rows, 1, 1, spec.outputs))
    return (rows * b.unflatten(-1, (1, spec.inputs, spec.angles, 1)).transpose(-2, -3)).flatten(-4)


def _piece(spec: Spec, emitted: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (K, B, O) of K steps of B sequences, and theta behind the last one."""
    steps, batch = emitted.shape[:2]
    logits = emitted[..., -spec.gates :].permute(1, 2, 0)
    logs = F.logsigmoid(logits).cumsum(-1)  # (B, G, K)
    moment = torch.arange(steps, device=x.device)
    quotients = (logs.unsqueeze(-1) - logs.unsqueeze(-2)).masked_fill(moment.unsqueeze(-1) < moment, -torch.inf).exp()
    matrix = quotients * torch.sigmoid(-logits).unsqueeze(-2)

    def by_gates(numbers: Tensor) -> Tensor:
        """(..., size) as (..., G, size / G): outputs of one gate beside each other."""
        return numbers.unflatten(-1, (-1, spec.gates, spec.outputs // spec.gates)).transpose(-2, -3).flatten(-2)

    delta = by_gates(_deltas(spec, emitted)).permute(1, 2, 0, 3)
    found = torch.matmul(matrix, delta) + logs.exp().unsqueeze(-1) * by_gates(theta).unsqueeze(-2)
    # (B, G, K, size / G) as (K, B, rows, angles, L, O)
    shared = spec.outputs // spec.gates
    all_theta = found.permute(2, 0, 1, 3).unflatten(-1, (-1, shared)).transpose(-2, -3).flatten(-2).flatten(2)
    shaped = all_theta.flatten(0, 1).unflatten(-1, (spec.rows, spec.angles, spec.inputs, spec.outputs))
    return _layer(spec, shaped, x.flatten(0, 1)).unflatten(0, (steps, batch)), all_theta[-1]


def run(spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """As :attr:`qkan.kernels.fast_weights.types.Engine.run`."""
    outputs, ended = [], []
    for first, last in _stretches(layout.sizes):
        size = layout.sizes[first]
        if theta.shape[0] > size:
            ended.append(theta[size:])
            theta = theta[:size]
        rows = slice(layout.offsets[first], layout.offsets[last])
        part = (emitted[rows].unflatten(0, (-1, size)), x[rows].unflatten(0, (-1, size)), theta)
        if torch.is_grad_enabled() and not (torch.compiler.is_compiling() or tracing() or transformed()):
            out, theta = checkpoint(_piece, spec, *part, use_reentrant=False)
        else:
            out, theta = _piece(spec, *part)
        outputs.append(out.flatten(0, 1))
    return torch.cat(outputs), torch.cat((theta, *reversed(ended)))


def _stretches(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last (exclusive) steps of pieces in which the number of sequences stays."""
    found, first = [], 0
    for t in range(1, len(sizes) + 1):
        if t == len(sizes) or t - first == PIECE or sizes[t] != sizes[first]:
            found.append((first, t))
            first = t
    return found


def run_steps(spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The same one step after the other, as the equations stand: what others are compared with."""
    outputs, ended = [], []
    for t, size in enumerate(layout.sizes):
        if theta.shape[0] > size:
            ended.append(theta[size:])
            theta = theta[:size]
        rows = slice(layout.offsets[t], layout.offsets[t + 1])
        shape = (size, spec.rows, spec.angles, spec.inputs, spec.outputs)
        gate = torch.sigmoid(emitted[rows, -spec.gates :]).unflatten(-1, (1, 1, 1, -1))
        now = gate * theta.reshape(shape) + (1 - gate) * _deltas(spec, emitted[rows]).reshape(shape)
        outputs.append(_layer(spec, now, x[rows]))
        theta = now.flatten(1)
    return torch.cat(outputs), torch.cat((theta, *reversed(ended)))


def _takes_all(spec: Spec, tensors: Sequence[Any]) -> str | None:
    return None


ENGINE = Engine("torch", _takes_all, run)
