"""Options that other options turn off.

One rule for all: a value that was asked for and that another option leaves without effect is refused; one that only the
data leave without effect is said in a notice, and the run goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qkan.forecasting.config.configs import DataAndTrainingOptions

SEASONAL_OPTIONS: tuple[str, ...] = ("season_encoding", "season_terms", "seasonal_lags")
"""What a model without a season has no use for."""

VALIDATED_OPTIONS: tuple[str, ...] = ("patience", "lbfgs_steps", "restarts")
"""What a training without a validation part has no use for."""

_NOTHING = {("lbfgs_steps", 0)}
"""Values that turn off by themselves what another option may leave without effect."""

_NO_TEXT = (".parquet", ".xlsx")

OF_PROTOCOLS: tuple[str, ...] = (
    *("time_col", "time_format", "target_col", "id_col", "past_cols", "future_cols", "static_cols", "category_cols"),
    *("time_zone", "freq", "missing", "split"),
)
"""Options that the protocol of a benchmark leaves no choice of."""


def asked_for(config: DataAndTrainingOptions, names: Iterable[str]) -> list[str]:
    """Return those of some options whose value is not the default, and not one that asks for nothing."""
    values = {name: getattr(config, name) for name in names}
    defaults = type(config)
    return [name for name, own in values.items() if own != getattr(defaults, name) and (name, own) not in _NOTHING]


def about_seasons(config: DataAndTrainingOptions) -> list[str]:
    """Return the options that were asked for and have no effect without a season."""
    return asked_for(config, SEASONAL_OPTIONS) + ["level"] * (config.level == "season")


def idle_options(config: DataAndTrainingOptions) -> dict[str, str]:
    """Return, by name, which options have no effect beside the others, whatever their value, and why."""
    found = {}
    if not config.skip:
        found["dropout"] = "it hides values from the linear skip, and skip=0 leaves none"
    if config.level == "season" and (config.season == "none" or config.per_series):
        own = "per_series gives every series a season of its own"
        found["level"] = own if config.per_series else "season='none' leaves no season"
    if config.season == "none":
        found |= dict.fromkeys(SEASONAL_OPTIONS, "season='none' leaves no season")
    elif config.season_encoding == "auto" and config.protocol == "m4" and not config.per_series:
        found["season_terms"] = "series of protocol='m4' have no common clock, so no phase is an input"
    elif config.season_encoding not in ("auto", "circuit", "sincos") and not config.per_series:
        found["season_terms"] = f"season_encoding={config.season_encoding!r} has no harmonics"
    if config.data.lower().endswith(_NO_TEXT):
        found |= dict.fromkeys(("sep", "decimal", "encoding"), "it is about CSV files, and data names another kind")
    if not config.split[1]:
        found |= dict.fromkeys(VALIDATED_OPTIONS, f"split={config.split} leaves no validation part to stop by")
    if config.dropout:
        found["lbfgs_steps"] = f"dropout={config.dropout:g} changes the loss at random, and LBFGS searches along it"
    if getattr(config, "processes", 1) > 1:
        found |= dict.fromkeys(("lbfgs_steps", "restarts"), "it is for models that one process trains")
    if not config.preact_trainable:
        found["lr_frequencies"] = "preact_trainable=False leaves the frequencies as they start"
    return found


def refuse_idle(config: DataAndTrainingOptions) -> None:
    """Refuse values that were asked for and have no effect.

    Raises:
        ValueError: there is one; the sentence names it, its value and the reason.
    """
    idle = idle_options(config)
    for name in asked_for(config, idle):
        raise ValueError(f"{name}={getattr(config, name)!r} has no effect: {idle[name]}; leave one of them out")
