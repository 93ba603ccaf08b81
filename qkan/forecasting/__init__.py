"""Forecasting pipelines: train, compare, predict, evaluate.

Importing this package loads no torch, lightning, pandas or matplotlib: the names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkan.forecasting.cells import RecurrentForecaster, build_forecaster
    from qkan.forecasting.comparison import Comparison, compare
    from qkan.forecasting.config import CELLS, EXPORT_FORMATS, CompareConfig, TrainConfig
    from qkan.forecasting.exported import Exported, load_exported
    from qkan.forecasting.exporting import Export, export
    from qkan.forecasting.files import RunError
    from qkan.forecasting.forecaster import Forecaster
    from qkan.forecasting.inference import evaluate, predict
    from qkan.forecasting.progress import CompareProgress, Progress
    from qkan.forecasting.runs import Run, load_run, read_config, train

_HOME = {
    "CELLS": "config",
    "EXPORT_FORMATS": "config",
    "CompareConfig": "config",
    "CompareProgress": "progress",
    "Comparison": "comparison",
    "Export": "exporting",
    "Exported": "exported",
    "Forecaster": "forecaster",
    "Progress": "progress",
    "RecurrentForecaster": "cells",
    "Run": "runs",
    "RunError": "files",
    "TrainConfig": "config",
    "build_forecaster": "cells",
    "compare": "comparison",
    "evaluate": "inference",
    "export": "exporting",
    "load_exported": "exported",
    "load_run": "runs",
    "predict": "inference",
    "read_config": "runs",
    "train": "runs",
}

__all__ = [
    "CELLS",
    "EXPORT_FORMATS",
    "CompareConfig",
    "CompareProgress",
    "Comparison",
    "Export",
    "Exported",
    "Forecaster",
    "Progress",
    "RecurrentForecaster",
    "Run",
    "RunError",
    "TrainConfig",
    "build_forecaster",
    "compare",
    "evaluate",
    "export",
    "load_exported",
    "load_run",
    "predict",
    "read_config",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
