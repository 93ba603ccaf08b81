"""From options to a forecaster: the cell by its name, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.cells import CONTROL_CELLS, LINEAR_CELLS
from qkan.forecasting.config.options import HIDDEN_SIZE
from qkan.forecasting.model.forecaster import RecurrentForecaster, Surroundings

MAX_PARAMETERS = 100_000_000
"""Models with more trained parameters are refused before they are built."""

_Build = Callable[[TrainConfig, dict[str, Any]], nn.Module]


def _qkan(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.rnn.lstm import QKANLSTM

    return QKANLSTM(
        **shared,
        reps=config.reps,
        ansatz=config.ansatz,
        preact_trainable=config.preact_trainable,
        preact_init=config.preact_init,
        base_activation=None if config.base_activation == "none" else config.base_activation,
        group=None if config.group == "edge" else config.group,
        # Gates that share a circuit would be equal without weights of their own.
        postact_weight_trainable=config.group != "edge",
    )


def _hqkan(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.rnn.lstm import HQKANLSTM

    return HQKANLSTM(
        **shared,
        latent_features=config.latent_features,
        reps=config.reps,
        ansatz=config.ansatz,
        preact_trainable=config.preact_trainable,
        preact_init=config.preact_init,
        base_activation=None if config.base_activation == "none" else config.base_activation,
    )


def _without_circuits(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    """HQKAN-LSTM with another latent: a cell is called what its latent is called, but for ``lowrank``."""
    from qkan.kan.jhcg import build_latent
    from qkan.rnn.lstm import HQKANLSTM

    def latent(width: int) -> nn.Module:
        return build_latent({"lowrank": "linear"}.get(config.cell, config.cell), width, {}, config.terms)

    return HQKANLSTM(**shared, latent_features=config.latent_features, latent=latent)


def _qlstm(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.rnn.qlstm import QLSTM

    return QLSTM(**shared, qubits=config.qubits, circuit_layers=config.circuit_layers)


def _fwp(config: TrainConfig, shared: dict[str, Any]) -> nn.Module:
    from qkan.rnn.fwp import QKANFWP

    if config.cell == "fwp-linear":
        return QKANFWP(**shared, latent_features=config.latent_features, fast="linear", gate="output")
    return QKANFWP(
        **shared,
        latent_features=config.latent_features,
        gate="output",
        reps=config.reps,
        ansatz=config.ansatz,
        base_activation=None if config.base_activation == "none" else config.base_activation or "silu",
    )


_BUILDERS: dict[str, _Build] = {
    "qkan": _qkan,
    "hqkan": _hqkan,
    "lowrank": _without_circuits,
    "lstm": lambda config, shared: nn.LSTM(**shared),
    "gru": lambda config, shared: nn.GRU(**shared),
    "qlstm": _qlstm,
    "fwp": _fwp,
    "fwp-linear": _fwp,
    "gr-kan": _without_circuits,
    **dict.fromkeys(CONTROL_CELLS, _without_circuits),
}


def build_forecaster(config: TrainConfig, generator: torch.Generator) -> RecurrentForecaster:
    """Build the model that a configuration asks for, with weights drawn from ``generator``.

    The global random state stays as it is.

    Args:
        config: Sizes, the cell's own options, and what decides on inputs and outputs: covariates, calendar, missing
            values, horizon, strategy and loss.
        generator: A CPU generator; it moves on, so two calls give two different models.

    Raises:
        ValueError: an option's value is unknown to the cell (an ansatz, say), or the model would have more than
            :data:`MAX_PARAMETERS` parameters.

    Examples:
        >>> import torch
        >>> from qkan.forecasting import TrainConfig, build_forecaster
        >>> config = TrainConfig(data="damped-shm", window=12, season="none", level="none")
        >>> model = build_forecaster(config, torch.Generator().manual_seed(0))
        >>> model(torch.rand(5, 12, 1)).shape
        torch.Size([5, 1])
    """
    check_size(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return _assemble(config)


def check_size(config: TrainConfig) -> int:
    """Return the number of trained parameters of the model that a configuration asks for, without building it.

    Raises:
        ValueError: as :func:`build_forecaster`.
    """
    parameters = parameters_at(config, config.hidden_size)
    if parameters > MAX_PARAMETERS:
        raise ValueError(
            f"a {config.cell!r} cell of hidden_size={config.hidden_size} and num_layers={config.num_layers} would have "
            f"{parameters:,} parameters, above the limit of {MAX_PARAMETERS:,}; take a smaller hidden_size"
        )
    return parameters


def _assemble(config: TrainConfig) -> RecurrentForecaster:
    config = config.decided()
    around = _around_nothing(config) if config.cell in LINEAR_CELLS else _around_cell(config)
    past, horizon = config.channels - config.futr_exog_channels, config.trained_horizon
    cell: nn.Module | None = None
    if config.cell not in LINEAR_CELLS:
        shared = {
            "input_size": around.read_channels(past, horizon),
            "hidden_size": config.hidden_size,
            "num_layers": config.num_layers,
            "bias": config.bias,
            "batch_first": True,
        }
        cell = _BUILDERS[config.cell](config, shared)
    return RecurrentForecaster(cell, config.channels, config.hidden_size, horizon, around, len(config.quantiles))


def _around_cell(config: TrainConfig) -> Surroundings:
    order = "steps" if config.segment is None else config.order
    return _around(
        config,
        skip=config.skip,
        newest=config.skip if order == "periods" else 0,
        season_encoding=config.season_encoding if config.seasons else "none",
        season_terms=config.season_terms,
        seasonal_lags=bool(config.seasonal_lags),
        series=int(config.per_series),
        decoder=config.decoder,
        order=order,
    )


def _around_nothing(config: TrainConfig) -> Surroundings:
    """What a linear forecaster is made of: a whole map of the window, or of the periods in it."""
    return _around(
        config,
        skip=min(config.window, config.trained_horizon),
        season_encoding="none",
        order="periods" if config.cell == "sparse" else "steps",
        cycle=config.cell == "cycle",
    )


def _around(config: TrainConfig, **own: Any) -> Surroundings:
    """The parts that every forecaster has, and its own."""
    return Surroundings(
        config.window,
        config.futr_exog_channels,
        level=config.level,
        gate=config.gate and (config.level != "none" or own["skip"] > 0),
        dropout=config.dropout,
        category_sizes=config.category_sizes,
        seasons=config.seasons,
        stride=config.segment or 1,
        **own,
    )


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
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

    low, high = HIDDEN_SIZE.low, 1 if config.cell in LINEAR_CELLS else HIDDEN_SIZE.high
    if not fits(low):
        return None
    while low < high:  # parameters grow with the hidden size, so bisection finds the last size that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
