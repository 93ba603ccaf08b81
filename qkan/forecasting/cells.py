"""From a cell's name to a forecaster: cell, its last output, a linear head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qkan.forecasting.config import LIMITS, TrainConfig

MAX_PARAMETERS = 100_000_000
"""Models with more trained parameters are refused before they are built."""

_Build = Callable[[TrainConfig, dict[str, Any]], nn.Module]


def _qkan(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.recurrent import QKANLSTM

    return QKANLSTM(
        **shared,
        reps=config.reps,
        ansatz=config.ansatz,
        preact_trainable=config.preact_trainable,
        base_activation=config.base_activation,
        group=None if config.group == "edge" else config.group,
        # Gates that share a circuit would be equal without weights of their own.
        postact_weight_trainable=config.group != "edge",
    )


def _hqkan(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.recurrent import HQKANLSTM

    return HQKANLSTM(
        **shared,
        latent_features=config.latent_features,
        reps=config.reps,
        ansatz=config.ansatz,
        preact_trainable=config.preact_trainable,
        base_activation=config.base_activation,
    )


def _lowrank(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.recurrent import HQKANLSTM

    return HQKANLSTM(**shared, latent_features=config.latent_features, latent="linear")


def _gr_kan(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.recurrent import HQKANLSTM

    return HQKANLSTM(**shared, latent_features=config.latent_features, latent="gr-kan")


def _qlstm(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.qlstm import QLSTM

    return QLSTM(**shared, qubits=config.qubits, circuit_layers=config.circuit_layers)


_BUILDERS: dict[str, _Build] = {
    "qkan": _qkan,
    "hqkan": _hqkan,
    "lowrank": _lowrank,
    "lstm": lambda config, shared: nn.LSTM(**shared),
    "gru": lambda config, shared: nn.GRU(**shared),
    "qlstm": _qlstm,
    "gr-kan": _gr_kan,
}


class RecurrentForecaster(nn.Module):
    """A recurrent cell that reads the window and a linear head on its last output.

    Args:
        cell: Module with the call contract of ``nn.LSTM(batch_first=True)``: (B, window, channels) ->
            ((B, window, hidden_size), state).
        hidden_size: Width of the cell's output.
        horizon: Steps to predict.
    """

    def __init__(self, cell: nn.Module, hidden_size: int, horizon: int) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(hidden_size, horizon)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map scaled windows (B, window, channels) to scaled predictions (B, horizon)."""
        output, _ = self.cell(inputs)
        return self.head(output[:, -1])


def build_forecaster(config: TrainConfig, generator: torch.Generator) -> RecurrentForecaster:
    """Build the model that a configuration asks for, with weights drawn from ``generator``.

    The global random state stays as it is. Inputs have one channel: the series itself.

    Args:
        config: ``cell``, ``hidden_size``, ``num_layers``, ``bias``, ``horizon`` and the cell's own options are used.
        generator: A CPU generator; it moves on, so two calls give two different models.

    Raises:
        ValueError: an option's value is unknown to the cell (an ansatz, say), or the model would have more than
            :data:`MAX_PARAMETERS` parameters.
    """
    parameters = parameters_at(config, config.hidden_size)
    if parameters > MAX_PARAMETERS:
        raise ValueError(
            f"a {config.cell!r} cell of hidden_size={config.hidden_size} and num_layers={config.num_layers} would have "
            f"{parameters:,} parameters, above the limit of {MAX_PARAMETERS:,}; take a smaller hidden_size"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return _assemble(config)


def _assemble(config: TrainConfig) -> RecurrentForecaster:
    shared = {
        "input_size": 1,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_layers,
        "bias": config.bias,
        "batch_first": True,
    }
    return RecurrentForecaster(_BUILDERS[config.cell](config, shared), config.hidden_size, config.horizon)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def parameters_at(config: TrainConfig, hidden_size: int) -> int:
    """Return the number of trained parameters of a model of another hidden size, without storage for it."""
    with torch.device("meta"):
        return count_parameters(_assemble(replace(config, hidden_size=hidden_size)))


def largest_hidden_size(config: TrainConfig, budget: int) -> int | None:
    """Return the largest hidden size whose model has at most ``budget`` trained parameters, ``None`` if none has.

    Sizes are found by building models, so the count is what training would train.
    """

    def fits(hidden_size: int) -> bool:
        return parameters_at(config, hidden_size) <= budget

    low, high = LIMITS["hidden_size"]
    if not fits(low):
        return None
    while low < high:  # parameters grow with the hidden size, so bisection finds the last size that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
