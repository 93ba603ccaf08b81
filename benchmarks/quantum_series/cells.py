"""The models: cells of a width that a budget of parameters allows, each with a linear head."""

from __future__ import annotations

from functools import cache
from typing import Any

import click
import torch
from torch import Tensor, nn

from benchmarks.quantum_series.tasks import Task
from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM


class LastStep(nn.Module):
    """A recurrence of nn.LSTM's contract and a linear head behind its last step."""

    def __init__(self, recurrence: nn.Module, width: int, features: int) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.head = nn.Linear(width, features)

    def forward(self, window: Tensor) -> Tensor:
        """Map (B, window, features) to (B, features)."""
        return self.head(self.recurrence(window)[0][:, -1])


BINARY: dict[str, Any] = {"reps": 3, "preact_trainable": True, "preact_init": "binary"}
SHARED: dict[str, Any] = {"group": "input", "postact_weight_trainable": True}
RECURRENCES: dict[str, tuple[Any, dict[str, Any]]] = {
    "qkan": (QKANLSTM, {"reps": 2, **SHARED}),
    "qkan-binary": (QKANLSTM, {**SHARED, **BINARY}),
    "qkangru": (QKANGRU, {"reps": 2, **SHARED}),
    "hqkan": (HQKANLSTM, {"latent_features": 3, "reps": 2}),
    "hqkan-binary": (HQKANLSTM, {"latent_features": 3, **BINARY}),
    "hqkan-line": (HQKANLSTM, {"latent_features": 3, **BINARY, "base_activation": "identity"}),
    "lowrank": (HQKANLSTM, {"latent_features": 3, "latent": "linear"}),
    **{name: (HQKANLSTM, {"latent_features": 3, "latent": name}) for name in ("fourier", "rff", "spline", "chebyshev")},
    "qlstm": (QLSTM, {"qubits": 4}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn": (nn.RNN, {}),
}
CELLS = (*RECURRENCES, "mlp", "linear")
"""``hqkan-line`` has the identity beside its circuits; ``fourier`` to ``chebyshev`` are ``hqkan`` without its circuit;
``mlp`` and ``linear`` read the window at once."""
CIRCUITS = ("qkan", "qkan-binary", "qkangru", "hqkan", "hqkan-binary", "hqkan-line")
"""Cells of this package with one-qubit circuits; ``qlstm`` has entangled ones."""


def build(cell: str, task: Task, features: int, width: int) -> nn.Module:
    """Return an untrained model of a cell, its weights drawn from torch's default generator."""
    if cell == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(task.window * features, features))
    if cell == "mlp":
        first = nn.Linear(task.window * features, width)
        return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(width, features))
    make, options = RECURRENCES[cell]
    return LastStep(make(features, width, batch_first=True, **options), width, features)


def parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@cache
def widest(cell: str, task: Task, features: int, budget: int) -> int:
    """Return the largest width of at most ``budget`` parameters.

    Raises:
        click.UsageError: the smallest has more.
    """

    def size(width: int) -> int:
        with torch.device("meta"):
            return parameters(build(cell, task, features, width))

    if size(1) > budget:
        raise click.UsageError(f"the smallest {cell!r} for {task} has {size(1)} parameters; use --budget {size(1)}")
    width = 1
    while cell != "linear" and size(width + 1) <= budget:
        width += 1
    return width
