"""Options that several commands share. Names, types, defaults and limits are those of the configuration classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from qkan.forecasting.config.checks import LIMITS
from qkan.forecasting.config.options import (
    CALENDAR,
    CELLS,
    LOSSES,
    PRECISIONS,
    SCALERS,
    STRATEGIES,
    TREATMENTS,
    CompareConfig,
    TrainConfig,
)

Command = TypeVar("Command", bound=Callable[..., Any])

HELP: dict[str, str] = {
    "data": "A built-in series (see `qkan data list`) or a .csv, .csv.gz or .parquet file.",
    "time_col": "Column of the file that holds the time.  [default: ds if there is one, else the order of the rows]",
    "target_col": "Column of the file to forecast.  [default: y, or the only numeric column]",
    "id_col": "Column that tells the series of the file apart.  [default: unique_id if there is one]",
    "past_cols": "Covariates of the file known up to now only, separated by commas.",
    "future_cols": "Covariates of the file known in advance; for the steps to predict, the file goes on with rows "
    "without a value.",
    "calendar": "Features of the time, known in advance, separated by commas: " + ", ".join(CALENDAR) + ".",
    "missing": "Missing values and gaps: refuse them; mask (repeat the last value and tell the model), interpolate, "
    "or zero.",
    "series": "Series to keep of many, by their names, separated by commas.",
    "cell": "Recurrent cell. lowrank is hqkan without its circuits, gr-kan with rational functions in their "
    "place, qlstm the published quantum LSTM.",
    "cells": "Recurrent cells to compare, separated by commas.",
    "hidden_size": "Width of the recurrent state.",
    "num_layers": "Stacked recurrent layers.",
    "reps": "Times that each circuit reads its input (qkan, hqkan).",
    "ansatz": "Circuit: pz, rpz, real or mix (qkan, hqkan).",
    "latent_features": "Width of the bottleneck (hqkan, lowrank, gr-kan).",
    "preact_trainable": "Train a weight and a bias for each reading of the input (qkan, hqkan).",
    "base_activation": "Activation of a branch beside the circuits, such as silu (qkan, hqkan).  [default: none]",
    "group": "Circuits: edge (one per edge, as published), input (one per input), or how many are shared (qkan).",
    "qubits": "Qubits of each gate's circuit (qlstm).",
    "circuit_layers": "Entangling layers of each gate's circuit (qlstm).",
    "bias": "Bias of the gates.",
    "window": "Past values that the model sees, in steps.",
    "horizon": "Future values to predict, in steps.",
    "strategy": "direct predicts the horizon at once, recursive step by step, feeding predictions back.",
    "split": "Training, validation and test fractions of each series, in the order of time.",
    "scaler": "Scaling, fitted on the training part.",
    "loss": "What training minimises; quantile gives prediction intervals.",
    "levels": "Intervals in percent, separated by commas, of the quantile loss.  [default: 80,90]",
    "epochs": "Passes over the training windows, at most.",
    "batch_size": "Windows per training step.  [default: by the number of windows, 8 to 1024]",
    "lr": "Peak learning rate of the one-cycle schedule.",
    "patience": "Stop after this many epochs without a lower validation loss.",
    "seed": "Seed of the initial weights and of the order of the windows.",
    "precision": "What training computes in; bf16-mixed and 16-mixed keep weights in 32 bits, 16-mixed needs CUDA.",
    "devices": "Processes that train together on every node, one per CUDA device or core.",
    "num_nodes": "Machines that train together.",
    "shards": "Groups of series that batches take equal shares of; each process holds its own groups only.",
    "device": "auto, cpu, cuda or cuda:N. auto takes a CUDA device if there is one.",
    "seeds": "Training runs of every cell and size, with seeds 0, 1, ...",
    "tuning_seeds": "Seeds that every learning rate is tried with.",
    "trials": "Learning rates tried for every cell and size.",
    "budget_params": "Sizes, as numbers of trained parameters, separated by commas.",
    "baselines": "Statistical baselines to fit beside the naive ones: ets, sarima, theta, separated by commas.",
    "workers": "Processes that train at the same time.  [default: one per core, at most 8]",
}


class ListType(click.ParamType):
    """Values separated by commas, as a tuple."""

    def __init__(self, item: Callable[[str], Any], noun: str, example: str) -> None:
        self.item, self.noun, self.example = item, noun, example
        self.name = f"{noun},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Split the text and convert its parts."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(
                f"{value!r} is not a list of {self.noun}s separated by commas, such as {self.example}", param, ctx
            )


class GroupType(click.ParamType):
    """A number of circuits, or the name of a way to share them."""

    name = "name|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Make a number of what looks like one."""
        return int(value) if str(value).isdecimal() else value


ALIASES: dict[str, tuple[str, ...]] = {"series": ("--square",)}
"""Further flags of an option, by field."""

TYPES: dict[str, click.ParamType] = {
    "series": ListType(str, "name", "5161,5162"),
    "cell": click.Choice(CELLS),
    "scaler": click.Choice(SCALERS),
    "missing": click.Choice(TREATMENTS),
    "strategy": click.Choice(STRATEGIES),
    "precision": click.Choice(PRECISIONS),
    "loss": click.Choice(LOSSES),
    "past_cols": ListType(str, "column", "price,visitors"),
    "future_cols": ListType(str, "column", "holiday,discount"),
    "calendar": ListType(str, "name", "hour,weekday"),
    "levels": ListType(float, "percentage", "80,90"),
    "cells": ListType(str, "cell", "qkan,lstm"),
    "baselines": ListType(str, "baseline", "ets,sarima"),
    "budget_params": ListType(int, "whole number", "50,125,375"),
    "split": ListType(float, "number", "0.7,0.1,0.2"),
    "group": GroupType(),
}


def config_options(
    config: type[TrainConfig] | type[CompareConfig], *, leave_out: Sequence[str] = ()
) -> Callable[[Command], Command]:
    """Give a command one option for every field of ``config``, in the order of :data:`HELP`."""
    known = {field.name: field for field in fields(config)}

    def decorate(command: Command) -> Command:
        for name in reversed(HELP):
            if name in known and name not in leave_out:
                declarations, settings = _declaration(name, known[name].default)
                command = click.option(*declarations, **settings)(command)
        return command

    return decorate


RUN = click.argument("run", type=click.Path(path_type=Path))
"""Decorator: the argument RUN, the folder of a trained forecaster."""

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace the file.")
"""Decorator: the option ``--overwrite`` of a command that writes one file."""


def out_option(help: str) -> Callable[[Command], Command]:
    """Give a command the option ``--out``, a path."""
    return click.option("--out", type=click.Path(path_type=Path), help=help)


def data_option(purpose: str) -> Callable[[Command], Command]:
    """Give a command the option ``--data`` that takes the place of the run's own data; ``purpose`` begins its help."""
    return click.option("--data", help=f"{purpose} {HELP['data']}  [default: the data of the run]")


def count_option(
    flag: str, help: str, *, default: int | None = None, least: int = 1, most: int | None = None
) -> Callable[[Command], Command]:
    """Give a command an option that is a whole number from ``least`` to ``most``."""
    limits, shown = click.IntRange(least, most), default is not None
    return click.option(flag, type=limits, default=default, show_default=shown, metavar="N", help=help)


def data_stem(data: str) -> str:
    """Return the name of a series, or of a file without its folder and endings, for use in a folder's name."""
    return Path(data).name.partition(".")[0] or "data"


def _declaration(name: str, default: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the arguments of :func:`click.option` for a field of a configuration."""
    flag = "--" + name.replace("_", "-")
    if isinstance(default, bool):
        flag = f"{flag}/--no-{flag[2:]}"
    settings: dict[str, Any] = {"help": HELP[name], "default": None if default is MISSING else default}
    settings["show_default"] = settings["default"] not in (None, ())
    if name in TYPES:
        settings["type"] = TYPES[name]
    elif name in LIMITS:
        low, high = LIMITS[name]
        settings["type"], settings["metavar"] = click.IntRange(low, high), "N"
    elif isinstance(default, float):
        settings["type"], settings["metavar"] = float, "X"
    elif not isinstance(default, bool):
        settings["type"], settings["metavar"] = str, name.rpartition("_")[2].upper()
    return (flag, *ALIASES.get(name, ()), name), settings
