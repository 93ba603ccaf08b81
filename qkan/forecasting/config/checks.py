"""Checks of single options: each raises a ValueError that names the option, its value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping

LIMITS: dict[str, tuple[int, int]] = {
    "hidden_size": (1, 4096),
    "num_layers": (1, 32),
    "reps": (1, 64),
    "latent_features": (1, 1024),
    "qubits": (1, 12),
    "circuit_layers": (1, 64),
    "window": (1, 100_000),
    "horizon": (1, 10_000),
    "epochs": (1, 100_000),
    "batch_size": (1, 1_000_000),
    "patience": (1, 100_000),
    "seed": (0, 2**32 - 1),
    "devices": (1, 1024),
    "num_nodes": (1, 10_000),
    "shards": (1, 1_000_000),
    "seeds": (1, 100),
    "tuning_seeds": (1, 100),
    "trials": (1, 8),  # config.LEARNING_RATES has as many
    "budget_params": (1, 100_000_000),
    "workers": (1, 256),
}
"""Smallest and largest value of every integer option."""


def check_int(name: str, value: object) -> None:
    """Refuse what is no integer within :data:`LIMITS`."""
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer between {low} and {high}, got {value!r}")


def check_bool(name: str, value: object) -> None:
    """Refuse what is not True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_text(name: str, value: object, *, optional: bool = False) -> None:
    """Refuse what is no text, or blank; ``None`` too unless it is optional."""
    if optional and value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a non-empty string, got {value!r}")


def check_number(name: str, value: object) -> float:
    """Return a finite number as float, and refuse anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")


def has_twins(values: tuple[object, ...]) -> bool:
    """Tell whether a value comes twice; values of a damaged file may have no hash."""
    return any(value in values[:place] for place, value in enumerate(values))


def check_names(name: str, values: object, known: Mapping[str, object] | None = None) -> None:
    """Refuse what is no tuple of different names, or names outside ``known``."""
    if not isinstance(values, tuple) or has_twins(values):
        raise ValueError(f"{name} must be a tuple of names, each of them once, got {values!r}")
    for value in values:
        check_text(f"every name of {name}", value)
        if known is not None and value not in known:
            raise ValueError(f"unknown {name} feature {value!r}; choose from {', '.join(known)}")


def check_levels(levels: object, loss: str) -> None:
    """Refuse what are no different percentages, and any without the quantile loss."""
    if not isinstance(levels, tuple) or has_twins(levels):
        raise ValueError(f"levels must be a tuple of percentages, each of them once, got {levels!r}")
    for level in levels:
        if not 0 < check_number("every level", level) < 100:
            raise ValueError(f"levels must lie between 0 and 100 %, both excluded, got {level!r}; 90 is 5 % to 95 %")
    if levels and loss != "quantile":
        raise ValueError(f"levels={levels!r} need the loss that trains quantiles: loss='quantile', not loss={loss!r}")


def check_split(split: object) -> None:
    """Refuse what are not three fractions that sum to 1."""
    if not isinstance(split, tuple) or len(split) != 3:
        raise ValueError(f"split must be three fractions (train, validation, test), got {split!r}")
    train, validation, test = (check_number("every fraction of split", part) for part in split)
    if train <= 0 or test <= 0 or validation < 0 or abs(train + validation + test - 1) > 1e-9:
        raise ValueError(
            f"split must be three fractions that sum to 1 with train > 0, validation >= 0 and test > 0, got {split!r}"
        )
