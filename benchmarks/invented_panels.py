"""Forecasts with all defaults of invented panels that move: growing, breaking, multiplied, short, mostly zero.

``python -m benchmarks.invented_panels`` prints the table of docs/guides/forecasting.md: medians over the series of the
test MAE, read as a single series would be and as a panel is by default. Each panel has eight series, whose sizes
differ up to a thousandfold.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.small_series import evaluate_sized
from qkan.datasets import series_from_frame
from qkan.forecasting.config import FRAME, TrainConfig, model_name

_SERIES = 8
_FIRST = {"YS": "1950-01-01"}  # not after the last date that pandas holds


class Kind(NamedTuple):
    """A kind of panel.

    Args:
        freq: Step of its times, as an alias of pandas.
        shortest, longer: Values of the first series, and how many more each next one has.
        values: Given a generator, the steps (values,) and the size of the series, its values.
    """

    freq: str
    shortest: int
    longer: int
    values: Callable[[np.random.Generator, np.ndarray, float], np.ndarray]


def _wave(t: np.ndarray, season: int) -> np.ndarray:
    return np.sin(2 * np.pi * t / season)


def _noise(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return rng.normal(size=len(t))


KINDS: dict[str, Kind] = {
    "yearly: a trend and a random walk": Kind(
        "YS", 30, 5, lambda rng, t, own: own * (1 + 0.03 * t * rng.uniform(0.2, 2) + 0.05 * np.cumsum(_noise(rng, t)))
    ),
    "weekly: a trend and a year": Kind(
        "W", 120, 20, lambda rng, t, own: own * (1 + 0.2 * _wave(t, 52) + 0.005 * t + 0.05 * _noise(rng, t))
    ),
    "daily: a week that grows": Kind(
        "D", 100, 10, lambda rng, t, own: own * ((1 + 0.02 * t) * (1 + 0.1 * _wave(t, 7)) + 0.05 * _noise(rng, t))
    ),
    "monthly: exponential growth times a year": Kind(
        "MS", 96, 12, lambda rng, t, own: own * np.exp(0.02 * t) * (1 + 0.25 * _wave(t, 12) + 0.03 * _noise(rng, t))
    ),
    "monthly: a year": Kind("MS", 72, 0, lambda rng, t, own: own * (1 + 0.1 * _noise(rng, t) + 0.3 * _wave(t, 12))),
    "hourly: a day, 40 to 250 values": Kind(
        "h", 40, 30, lambda rng, t, own: own * (1 + 0.3 * _wave(t, 24) + 0.1 * _noise(rng, t))
    ),
    "daily: counts, mostly zero": Kind(
        "D", 150, 0, lambda rng, t, own: (rng.random(len(t)) < 0.2) * rng.integers(1, 9, len(t)).astype(float)
    ),
    "daily: a random walk": Kind("D", 120, 0, lambda rng, t, own: own * (10 + np.cumsum(_noise(rng, t)))),
    "quarterly: a line": Kind("QS", 60, 0, lambda rng, t, own: own * (t + 0.3 * _noise(rng, t))),
    "daily: a break and a week": Kind(
        "D", 120, 0, lambda rng, t, own: own * (1 + 2 * (t > 70) + 0.1 * _noise(rng, t) + 0.2 * _wave(t, 7))
    ),
    "hourly: a day and weekends": Kind(
        "h",
        800,
        50,
        lambda rng, t, own: (
            own * ((1 + 0.4 * _wave(t - 8, 24)) * np.where(t // 24 % 7 >= 5, 0.7, 1.0) + 0.05 * _noise(rng, t))
        ),
    ),
    "daily: steps of the level": Kind(
        "D",
        200,
        0,
        lambda rng, t, own: own * (3 + (t > rng.integers(30, 190)) + 0.3 * _wave(t, 7) + 0.1 * _noise(rng, t)),
    ),
    "daily: spikes": Kind(
        "D",
        250,
        0,
        lambda rng, t, own: (
            own * ((5 + _wave(t, 7) + 0.3 * _noise(rng, t)) * np.where(rng.random(len(t)) < 0.01, 20, 1))
        ),
    ),
    "daily: sizes from 1e-9 to 1e9": Kind(
        "D", 150, 0, lambda rng, t, own: 10.0 ** rng.integers(-9, 10) * (3 + 0.5 * _wave(t, 7) + 0.2 * _noise(rng, t))
    ),
    "weekly: lines that fall": Kind("W", 120, 0, lambda rng, t, own: own * (100 - 0.7 * t + 3 * _noise(rng, t))),
    "weekly: a decay": Kind("W", 80, 0, lambda rng, t, own: own * (np.exp(-0.03 * t) + 0.02 * _noise(rng, t))),
}


def panel(name: str, seed: int = 0) -> pd.DataFrame:
    """Return one of :data:`KINDS` as a frame of ``unique_id``, ``ds`` and ``y``."""
    kind, rng, frames = KINDS[name], np.random.default_rng(seed), []
    for place in range(_SERIES):
        count = kind.shortest + place * kind.longer
        size = 10 ** rng.uniform(0, 3)
        ds = pd.date_range(_FIRST.get(kind.freq, "2010-01-01"), periods=count, freq=kind.freq)
        y = kind.values(rng, np.arange(count), size)
        frames.append(pd.DataFrame({"unique_id": f"s{place}", "ds": ds, "y": y}))
    return pd.concat(frames, ignore_index=True)


def row(name: str, cell: str, seed: int) -> list[str]:
    """Return the cells of a row of the table."""
    series, config = series_from_frame(panel(name, seed)), TrainConfig(data=FRAME, cell=cell)
    single = TrainConfig(data=FRAME, cell=cell, level="last", seasonal_lags=False)
    _, before = evaluate_sized(single, series)
    chosen, now = evaluate_sized(config, series, loss=None)
    medians = now.medians or {}
    own = config.model_name
    simple = {name: scores["mae"] for name, scores in medians.items() if name != own and scores["mae"] is not None}
    found = [(before.medians or {})[own]["mae"], medians[own]["mae"], simple["Naive"], simple.get("Ridge")]
    pooled = now.scores[own]["mae"] / now.scores["Naive"]["mae"] - 1
    numbers = ["-" if value is None else f"{value:.4g}" for value in found]
    return [name, f"{chosen.window}, {chosen.horizon}", *numbers, f"{pooled:+.0%}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", default="qkan")
    parser.add_argument("--seed", type=int, default=0, help="of the panels")
    parser.add_argument("--panels", default=";".join(KINDS), help="some of them, separated by semicolons")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    own = model_name(asked.cell)
    head = ["panel", "window, horizon", f"{own} as one series", own, "Naive", "Ridge", "all series against Naive"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name in asked.panels.split(";"):
        print(f"| {' | '.join(row(name, asked.cell, asked.seed))} |", flush=True)


if __name__ == "__main__":
    main()
