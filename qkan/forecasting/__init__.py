"""Forecasting pipelines: train, compare, predict, evaluate.

Importing this package loads no torch, lightning, pandas or matplotlib: the names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkan.forecasting.config import CELLS, CompareConfig, TrainConfig
    from qkan.forecasting.progress import CompareProgress, Progress

_HOME = {
    "CELLS": "config",
    "CompareConfig": "config",
    "TrainConfig": "config",
    "CompareProgress": "progress",
    "Progress": "progress",
}

__all__ = ["CELLS", "CompareConfig", "CompareProgress", "Progress", "TrainConfig"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
