"""Help of commands with many options: what belongs to the command itself first, the rest under headings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from qkan.forecasting.config import OPTIONS

SECTIONS: dict[str, tuple[str, ...]] = {
    "Data": (
        *("data", "protocol", "series", "time_col", "target_col", "id_col", "freq", "missing", "time_format"),
        *("time_zone", "sep", "decimal", "encoding", "new_series"),
    ),
    "Covariates": ("past_cols", "future_cols", "static_cols", "category_cols", "category_sizes", "calendar"),
    "What is read and forecast": ("window", "horizon", "season", "strategy", "order", "segment", "decoder"),
    "The cell": (
        *("cell", "cells", "hidden_size", "num_layers", "reps", "ansatz", "group", "preact_trainable", "preact_init"),
        *("base_activation", "latent_features", "terms", "qubits", "circuit_layers", "bias"),
    ),
    "Around the cell": (
        *("level", "skip", "season_encoding", "season_terms", "seasonal_lags", "per_series", "dropout", "gate"),
    ),
    "Training": (
        *("split", "scaler", "metric", "loss", "levels", "intervals", "epochs", "patience", "batch_size", "lr"),
        *("tune", "lr_frequencies", "lbfgs_steps", "restarts", "seed"),
    ),
    "Comparison": ("budget_params", "trials", "tuning_seeds", "seeds", "folds", "baselines"),
    "Machine": ("device", "precision", "workers", "executor", "devices", "num_nodes", "shards"),
}
"""Headings with the names of :data:`qkan.forecasting.config.OPTIONS` below them."""

_HEADING = {name: heading for heading, names in SECTIONS.items() for name in names}


class SectionedCommand(click.Command):
    """A command whose help shows the options of the table under headings.

    Args:
        first: Names of options of the table that are shown with those of the command itself.
    """

    def __init__(self, *args: Any, first: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first = tuple(first)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one list a heading."""
        lists: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Options", *SECTIONS)}
        order = {name: place for place, name in enumerate(_HEADING)}
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        for parameter in sorted(options, key=lambda one: self._place(one, order)):
            record = parameter.get_help_record(ctx)
            if record is not None:
                lists[self._heading(parameter)].append(record)
        for heading, records in lists.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def _heading(self, option: click.Option) -> str:
        """Return the heading of an option; one that only shares its name with one of the table is the command's own."""
        name = self._name(option)
        own = name in self.first or name not in _HEADING or not (option.help or "").startswith(OPTIONS[name].help)
        return "Options" if own else _HEADING[name]

    def _place(self, option: click.Option, order: dict[str, int]) -> int:
        return -1 if self._heading(option) == "Options" else order[self._name(option)]

    @staticmethod
    def _name(option: click.Option) -> str:
        return option.opts[0].lstrip("-").replace("-", "_")
