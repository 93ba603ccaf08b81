"""Proof that the fast path equals the circuit: backends against PennyLane, the price of shots and noise.

Importing this package loads neither torch nor PennyLane: the names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkan.validation.hardware import Demand, demand
    from qkan.validation.layers import Case, Difference, validate_layers
    from qkan.validation.runs import noise_curve, shot_errors, validate_run, with_backend

_HOME = {
    "Case": "layers",
    "Demand": "hardware",
    "Difference": "layers",
    "demand": "hardware",
    "noise_curve": "runs",
    "shot_errors": "runs",
    "validate_layers": "layers",
    "validate_run": "runs",
    "with_backend": "runs",
}

__all__ = [
    "Case",
    "Demand",
    "Difference",
    "demand",
    "noise_curve",
    "shot_errors",
    "validate_layers",
    "validate_run",
    "with_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
