"""Small data and small runs that the tests of forecasting share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
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
    **options: Any,
) -> ForecastData:
    """Windows from plain lists of values."""
    series = Series("made", frame_of(values), season=season)
    return make_forecast_data(
        series, window=window, horizon=horizon, split=SplitFractions(*split), scaler=scaler, **options
    )


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


def build_frame(
    *, series: int = 2, origins: int = 30, horizon: int = 1, seed: int = 0, dates: bool = False, **errors: float
) -> pd.DataFrame:
    """A cross-validation frame of noise; each keyword names a model and the spread of its errors."""
    rng = np.random.default_rng(seed)
    parts = []
    for index in range(series):
        y = rng.normal(10.0 * (index + 1), 1.0, origins + horizon)
        for origin in range(origins):
            rows = origin + np.arange(1, horizon + 1)
            part = pd.DataFrame({"unique_id": f"s{index}", "ds": rows, "cutoff": origin, "y": y[rows]})
            for name, spread in (errors or {"good": 0.5, "bad": 2.0}).items():
                part[name] = part["y"] - rng.normal(0.0, spread, horizon)
            parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    if dates:
        start = np.datetime64("2024-01-01", "ns")
        for name in ("ds", "cutoff"):
            frame[name] = start + frame[name].to_numpy() * np.timedelta64(1, "h")
    return frame


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    """``make_frame(series=2, origins=30, horizon=1, good=0.5, bad=2.0)`` gives a cross-validation frame."""
    return build_frame


def seasonal_series(points: int = 160, season: int = 6, seed: int = 0, trend: float = 0.0) -> np.ndarray:
    """A season, a random walk and noise around 30."""
    rng = np.random.default_rng(seed)
    step = np.arange(points)
    wave = 5 * np.sin(2 * np.pi * step / season)
    return 30 + wave + trend * step + np.cumsum(rng.normal(0, 0.3, points)) + rng.normal(0, 1, points)


@pytest.fixture(scope="session")
def wavy() -> Callable[..., np.ndarray]:
    """``wavy(points=160, season=6, seed=0, trend=0.0)`` gives the values of one series."""
    return seasonal_series


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures
