"""From options to windows: the one way that training, comparing and evaluating get their data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qkan.forecasting.config import DataAndTrainingOptions, TrainConfig

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Scaler, Series
    from qkan.datasets.windows import Windows


def load_series_of(config: DataAndTrainingOptions, data: str | Path | None = None) -> Series:
    """Return the series that a configuration names, or the one in ``data`` read with the same columns.

    Raises:
        DataError: the data cannot be found, read or used.
    """
    from qkan.datasets import resolve_series

    source = config.data if data is None else data
    return resolve_series(
        source,
        time_col=config.time_col,
        target_col=config.target_col,
        id_col=config.id_col,
        series=config.series,
    )


def with_whole_path(config: TrainConfig) -> TrainConfig:
    """Return the options with the whole path of their data file, so that a run is of use in any working directory."""
    from qkan.datasets import names_file

    return replace(config, data=os.path.abspath(config.data)) if names_file(config.data) else config


def cut_windows(series: Series, config: DataAndTrainingOptions, scaler: Scaler | None = None) -> ForecastData:
    """Split, scale and window a series as a configuration says, or with ``scaler``, the one a model was trained with.

    Raises:
        DataError: the series is too short for a window in every part.
    """
    from qkan.datasets import SplitFractions, make_forecast_data

    return make_forecast_data(
        series,
        window=config.window,
        horizon=config.horizon,
        split=SplitFractions(*config.split),
        scaler=config.scaler if scaler is None else scaler,
    )


def tensors(windows: Windows) -> tuple[Tensor, Tensor]:
    """Return scaled float32 inputs (N, window, 1) and targets (N, horizon)."""
    inputs, targets = windows.batch(slice(None))
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def some_windows(data: ForecastData, count: int) -> ForecastData:
    """The data with at most ``count`` windows of the test part, evenly spread."""
    test = data.test
    rows = np.unique(np.linspace(0, len(test) - 1, min(count, len(test))).round().astype(np.int64))
    kept = {name: getattr(test, name)[rows] for name in ("first", "series", "target_index")}
    return replace(data, test=replace(test, **kept))
