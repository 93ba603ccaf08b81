"""Small data and small runs that the tests of forecasting share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import tiny_config

from qkan.datasets import ForecastData, Series, SplitFractions, make_forecast_data
from qkan.forecasting import Run, train


def frame_of(values: dict[str, list[float]]) -> pd.DataFrame:
    """A long frame with step times from plain lists."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y), dtype=np.int64), "y": np.array(y, dtype=np.float64)})
        for name, y in values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def build_data(
    values: dict[str, list[float]],
    *,
    window: int = 2,
    horizon: int = 1,
    season: tuple[int, ...] = (),
    split: tuple[float, float, float] = (0.5, 0.0, 0.5),
    scaler: str = "minmax",
) -> ForecastData:
    """Windows from plain lists of values."""
    series = Series("made", frame_of(values), season=season)
    return make_forecast_data(series, window=window, horizon=horizon, split=SplitFractions(*split), scaler=scaler)


@pytest.fixture(scope="session")
def make_data() -> Callable[..., ForecastData]:
    """``make_data({"a": [1.0, ...]}, window=2, horizon=1, season=(3,), split=(0.5, 0.0, 0.5))`` gives windows."""
    return build_data


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on damped-shm; tests that change its folder copy it first."""
    return train(tiny_config(), tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture(scope="session")
def two_series_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two series, hourly times and different levels."""
    times = pd.date_range("2024-01-01", periods=60, freq="h")
    step = np.arange(60)
    frames = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": level + np.sin(step / 3)})
        for name, level in (("east", 10.0), ("west", -50.0))
    ]
    path = tmp_path_factory.mktemp("files") / "two.csv"
    pd.concat(frames).to_csv(path, index=False)
    return path
