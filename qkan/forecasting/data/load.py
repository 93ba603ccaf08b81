"""From options to windows: the one way that training, comparing and evaluating get their data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from qkan.forecasting.config import DataAndTrainingOptions, TrainConfig
from qkan.forecasting.data.batches import WindowTensors

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Scaler, Series
    from qkan.datasets.windows import Split, Windows


def load_series_of(
    config: DataAndTrainingOptions, data: str | Path | None = None, expected: str | None = None
) -> Series:
    """Return the series that a configuration names, or the one in ``data`` read with the same columns.

    Args:
        config: Names data and columns.
        data: Other data; ``None`` takes that of the configuration.
        expected: Alias of the step to take if the times fit it; a few of them may fit several.

    Raises:
        DataError: the data cannot be found, read or used.
    """
    from qkan.datasets import resolve_series

    source = config.data if data is None else data
    return resolve_series(
        source,
        expected=expected,
        time_col=config.time_col,
        time_format=config.time_format,
        sep=config.sep,
        decimal=config.decimal,
        encoding=config.encoding,
        target_col=config.target_col,
        id_col=config.id_col,
        past_cols=config.past_cols,
        future_cols=config.future_cols,
        missing=config.missing,
        series=config.series,
    )


def load_windows(config: DataAndTrainingOptions) -> ForecastData:
    """Return the windows that a configuration asks for: read, split, scaled and cut.

    Raises:
        DataError: the data cannot be found, read or used, or is too short for a window in every part.
    """
    return cut_windows(load_series_of(config), config)


def with_whole_path(config: TrainConfig) -> TrainConfig:
    """Return the options with the whole path of their data file, so that a run is of use in any working directory."""
    from qkan.datasets import names_file

    return replace(config, data=os.path.abspath(config.data)) if names_file(config.data) else config


def cut_windows(
    series: Series, config: DataAndTrainingOptions, scaler: Scaler | None = None, split: Split | None = None
) -> ForecastData:
    """Split, scale and window a series as a configuration says, or with ``scaler``, the one a model was trained with.

    Args:
        series: The data.
        config: How.
        scaler: ``None`` fits one on the training parts.
        split: ``None`` takes the fractions of the configuration.

    Raises:
        DataError: the series is too short for a window in every part.
    """
    from qkan.datasets import SplitFractions, make_forecast_data

    return make_forecast_data(
        series,
        window=config.window,
        horizon=config.horizon,
        split=SplitFractions(*config.split) if split is None else split,
        scaler=config.scaler if scaler is None else scaler,
        calendar=config.calendar,
        seasons=config.season,
        seasonal_lags=config.seasonal_lags,
        trained_horizon=config.trained_horizon,
    )


_Config = TypeVar("_Config", bound=DataAndTrainingOptions)


def as_cut(config: _Config, data: ForecastData) -> _Config:
    """Return the options with the seasons that ``data``, cut by them, turned out to have."""
    return replace(config, season=data.seasons or "none")


def tensors(windows: Windows) -> WindowTensors:
    """Return windows as tensors on the CPU that share their memory."""
    observed = windows.observed
    return WindowTensors(
        values=torch.from_numpy(windows.values),
        futr_exog=torch.from_numpy(windows.futr_exog),
        weights=None if observed is None else torch.from_numpy(observed).float(),
        first=torch.from_numpy(windows.first),
        window=windows.window,
        horizon=windows.horizon,
        masked=windows.masked,
        series=torch.from_numpy(windows.series),
    )


def some_windows(data: ForecastData, count: int) -> ForecastData:
    """The data with at most ``count`` windows of the test part, evenly spread."""
    rows = np.unique(np.linspace(0, len(data.test) - 1, min(count, len(data.test))).round().astype(np.int64))
    return replace(data, test=data.test.pick(rows))
