"""What the defaults of `qkan train` give on series that nobody tuned them for, beside what they are to beat.

    python -m benchmarks.defaults
    python -m benchmarks.defaults --cells lstm,hqkan --seeds 3 --only chirp,counts

prints a Markdown table: one made series a row (oscillations, maps, walks, counts; noise drawn with a seed of its own),
what the training part chose, and test MAEs in the unit of the series: all defaults, the bare cell (no level, skip or
season) of the same window and horizon, the last value repeated, and ridge. Medians over the seeds. Behind them come
dated series of kinds that a forecaster meets (demand, load, breaks, spikes, gaps, odd sizes).
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace

import click
import numpy as np
import pandas as pd
import torch
from scipy.integrate import solve_ivp
from scipy.special import jv

from benchmarks.ablation import BARE
from qkan.datasets import Series, series_from_frame
from qkan.forecasting.config import FRAME, TrainConfig, model_name
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows
from qkan.forecasting.runs.evaluation import evaluate_model
from qkan.forecasting.training.fitting import fit_forecaster


def _motion(slope: Callable[..., list[float]], start: tuple[float, ...], end: float, points: int) -> np.ndarray:
    """First coordinate of the solution of an ordinary differential equation."""
    times = np.linspace(0.0, end, points)
    return np.asarray(solve_ivp(slope, (0.0, end), start, t_eval=times, rtol=1e-9, atol=1e-9).y[0])


def _iterated(step: Callable[[float], float], start: float, points: int) -> np.ndarray:
    values = [start]
    for _ in range(points - 1):
        values.append(step(values[-1]))
    return np.array(values)


def _recursion(noise: np.ndarray, *weights: float) -> np.ndarray:
    values = np.zeros(len(noise))
    for at in range(len(weights), len(noise)):
        values[at] = noise[at] + sum(weight * values[at - lag] for lag, weight in enumerate(weights, 1))
    return values


def made_series() -> dict[str, np.ndarray]:
    """Return values by name."""
    n, m = np.arange(500.0), np.arange(700)
    noise = np.random.default_rng(0).standard_normal((8, 700))
    two = np.sin(2 * np.pi * n / 20) + 0.7 * np.sin(2 * np.pi * n * np.sqrt(2) / 20)
    day = 6 + 5 * np.sin(2 * np.pi * m / 24)
    return {
        "pendulum": _motion(lambda _, s: [s[1], -0.3 * s[1] - 9.81 * np.sin(s[0])], (2.0, 0.0), 30.0, 300),
        "noisy pendulum": _motion(lambda _, s: [s[1], -0.1 * s[1] - 9.81 * np.sin(s[0])], (2.0, 0.0), 40.0, 500)
        + 0.05 * noise[0, :500],
        "Bessel J0": jv(0, np.linspace(1, 80, 300)),
        "Bessel J5": jv(5, np.linspace(5, 150, 400)),
        "chirp": np.sin(2 * np.pi * (n / 60 + n**2 / 12000)),
        "amplitude modulation": (1 + 0.5 * np.sin(2 * np.pi * n / 91)) * np.sin(2 * np.pi * n / 11.3),
        "two sines": two,
        "three noisy sines": two + 0.5 * np.sin(n / np.sqrt(3)) + 0.1 * noise[1, :500],
        "Van der Pol": _motion(lambda _, s: [s[1], 2 * (1 - s[0] ** 2) * s[1] - s[0]], (1.0, 0.0), 100.0, 500),
        "Lorenz": _motion(
            lambda _, s: [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]],
            (1.0, 1.0, 1.0),
            40.0,
            1000,
        ),
        "logistic map": _iterated(lambda x: 3.8 * x * (1 - x), 0.4, 700),
        "quadratic map": _iterated(lambda x: 1 - 1.7 * x * x, 0.3, 700),
        "cycle without a clock": _recursion(noise[2], 1.6, -0.8),
        "walk": np.cumsum(noise[3]),
        "walk with a season": np.cumsum(noise[4]) + 4 * np.sin(2 * np.pi * m / 12),
        "trend with a season": 0.05 * m + 3 * np.sin(2 * np.pi * m / 12) + noise[5],
        "counts of a day": np.random.default_rng(1).poisson(day).astype(float),
        "rare counts": np.random.default_rng(2).poisson(0.4 + 0 * day).astype(float),
        "noise": noise[6],
        "decay": np.exp(-n / 80),
        "pulses": np.tile(np.exp(-(((np.arange(30) - 15) / 2.8) ** 2)), 20) * np.exp(-np.arange(600) / 300),
        "constant": np.full(300, 3.0),
    }


def dated_series() -> dict[str, pd.DataFrame]:
    """Return frames of ``ds`` and ``y`` by name, some with missing values."""
    rng = np.random.default_rng(7)

    def dated(freq: str, count: int, values: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
        ds = pd.date_range("2000-01-03", periods=count, freq=freq)
        return pd.DataFrame({"ds": ds, "y": values(np.arange(count, dtype=float))})

    def noise(t: np.ndarray) -> np.ndarray:
        return rng.standard_normal(len(t))

    def wave(t: np.ndarray, season: int) -> np.ndarray:
        return np.sin(2 * np.pi * t / season)

    def week_of_hours(t: np.ndarray) -> np.ndarray:
        return (1 + 0.4 * wave(t - 8, 24) + 0.15 * wave(t, 12)) * np.where(t // 24 % 7 >= 5, 0.7, 1.0)

    def walk(t: np.ndarray, memory: float) -> np.ndarray:
        return _recursion(noise(t), memory)

    found = {
        "airline": dated("MS", 144, lambda t: 100 * np.exp(0.01 * t + 0.2 * wave(t, 12) + 0.04 * noise(t))),
        "intermittent demand": dated("D", 400, lambda t: (rng.random(len(t)) < 0.25) * rng.poisson(4, len(t)) * 1.0),
        "hourly load": dated("h", 1500, lambda t: 1000 * week_of_hours(t) + 30 * walk(t, 0.8)),
        "step of the level": dated("D", 500, lambda t: 10 + 8 * (t > 170) + wave(t, 7) + 0.5 * noise(t)),
        "late step of the level": dated("D", 500, lambda t: 10 + 8 * (t > 430) + wave(t, 7) + 0.5 * noise(t)),
        "spikes": dated("D", 600, lambda t: (5 + wave(t, 7) + 0.3 * noise(t)) * (1 + 19 * (rng.random(len(t)) < 0.01))),
        "missing stretches": dated("h", 900, lambda t: 50 * week_of_hours(t) + 2 * noise(t)),
        "tiny": dated("h", 600, lambda t: 1e-9 * (3 + wave(t, 24) + 0.2 * noise(t))),
        "huge": dated("h", 600, lambda t: 1e9 * (3 + wave(t, 24) + 0.2 * noise(t))),
        "far from zero": dated("h", 600, lambda t: 1e9 + wave(t, 24) + 0.2 * noise(t)),
        "falling": dated("W", 260, lambda t: 500 - 1.5 * t + 5 * noise(t)),
        "quarterly, 40 values": dated("QS", 40, lambda t: 50 + 0.8 * t + 4 * wave(t, 4) + noise(t)),
    }  # fmt: skip
    for begin in (100, 330, 555):
        found["missing stretches"].loc[begin : begin + 20, "y"] = np.nan
    return found


def scores(series: Series, cell: str, seed: int) -> tuple[TrainConfig, dict[str, float]]:
    """Return the options that were chosen, and test MAEs: all defaults, the bare cell, the last value, ridge."""
    asked = sized(
        TrainConfig(data=FRAME, cell=cell, seed=seed, missing=series.missing),
        series,
        {"window": None, "horizon": None, "loss": None},
    )
    found: dict[str, float] = {}
    for name, config in (("bare", replace(asked, **BARE)), ("defaults", asked)):
        data = cut_windows(series, config)
        fitted = fit_forecaster(as_cut(config, data), data)
        judged = evaluate_model(fitted.model.cpu().eval(), "own", data).scores
        named = {name: "own", "naive": model_name("naive"), "ridge": model_name("ridge")}
        mae = {own: judged.get(word, {}).get("mae") for own, word in named.items()}
        found |= {own: float("nan") if value is None else value for own, value in mae.items()}
    return fitted.config, found


@click.command(help=__doc__)
@click.option("--cells", default="lstm,hqkan", show_default=True, help="Separated by commas.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--only", default="", help="Some of the series, separated by commas.")
def main(cells: str, seeds: int, only: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(
        "| series | cell | window, horizon, season, level | defaults | bare cell | Naive | Ridge |\n" + "|---" * 7 + "|"
    )
    frames = {name: pd.DataFrame({"y": values}) for name, values in made_series().items()} | dated_series()
    for name, frame in frames.items():
        if only and name not in only.split(","):
            continue
        missing = "mask" if frame["y"].isna().any() else "refuse"
        for cell in cells.split(","):
            rows = [scores(series_from_frame(frame, missing=missing), cell, seed) for seed in range(seeds)]
            config = rows[0][0]
            season = " and ".join(map(str, config.seasons)) or "none"
            mae = {own: statistics.median(row[1][own] for row in rows) for own in rows[0][1]}
            shown = " | ".join(f"{mae[own]:.3g}" for own in ("defaults", "bare", "naive", "ridge"))
            chosen = f"{config.window}, {config.horizon}, {season}, {config.level}"
            print(f"| {name} | {model_name(cell)} | {chosen} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
