"""Small cross-validation frames that the tests of evidence share."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest


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
