"""One epoch of a global QKAN-LSTM over many series: seconds and windows a second.

    python -m benchmarks.panel                      # 1,000 series of 1,488 hourly values
    python -m benchmarks.panel --series 100 --window 168 --horizon 24

The series are made here: a daily and a weekly wave of different size in each, noise, and no covariates. The time counts
training alone, without reading, validation and compilation; on a busy machine the time of the CPU (one thread) says
more than the clock's. Memory is the largest of the whole process.
"""

import json
import resource
import time

import click
import numpy as np
import pandas as pd
import torch

from qkan.datasets import LastSteps, Series
from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.data.load import cut_windows, tensors
from qkan.forecasting.model.build import build_forecaster, count_parameters
from qkan.forecasting.training.first_use import compile_kernels
from qkan.forecasting.training.loop import fit, resolve_batch_size


def made_panel(series: int, points: int) -> Series:
    """Series with days and weeks, sorted and regular."""
    rng = np.random.default_rng(0)
    hour = np.arange(points)
    size, phase = rng.uniform(1, 10, (2, series, 1)), rng.uniform(0, 2 * np.pi, (series, 1))
    waves = size[0] * np.sin(2 * np.pi * hour / 24 + phase) + size[1] * np.sin(2 * np.pi * hour / 168)
    times = pd.date_range("2013-11-01", periods=points, freq="h").as_unit("ns").to_numpy()
    names = np.array([f"s{number:05d}" for number in range(series)], dtype=object)
    y = (waves + rng.normal(size=waves.shape)).ravel()
    frame = pd.DataFrame({"unique_id": np.repeat(names, points), "ds": np.tile(times, series), "y": y})
    return Series("panel", frame, frequency="h", season=(24, 168))


def first(windows: WindowTensors, count: int) -> WindowTensors:
    """Some of the windows."""
    return WindowTensors(
        windows.values, windows.futr_exog, windows.weights, windows.first[:count], windows.window, windows.horizon
    )


@click.command()
@click.option("--series", default=1000, show_default=True)
@click.option("--points", default=1488, show_default=True)
@click.option("--cell", default="qkan", show_default=True)
@click.option("--hidden-size", default=16, show_default=True)
@click.option("--window", default=24, show_default=True)
@click.option("--horizon", default=1, show_default=True)
@click.option("--device", default="auto", show_default=True)
def main(series: int, points: int, cell: str, hidden_size: int, window: int, horizon: int, device: str) -> None:
    """Train one epoch and print what it took as JSON."""
    config = TrainConfig(
        data=FRAME,
        cell=cell,
        hidden_size=hidden_size,
        window=window,
        horizon=horizon,
        epochs=1,
        device=device,
        season="none",
    )
    start = time.perf_counter()
    data = cut_windows(made_panel(series, points), config, split=LastSteps(0))
    prepared = time.perf_counter() - start
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    compile_kernels(config, model)
    train, validation = tensors(data.train), tensors(data.validation)
    fit(model, first(train, 2048), validation, config)  # what runs for the first time is not the epoch's
    before = time.process_time()
    result = fit(model, train, validation, config)
    cpu_seconds = time.process_time() - before
    report = {
        "series": series,
        "points": points,
        "cell": cell,
        "hidden_size": hidden_size,
        "window": window,
        "horizon": horizon,
        "parameters": count_parameters(model),
        "windows": len(train),
        "batch_size": resolve_batch_size(None, len(train)),
        "epoch_seconds": round(result.seconds, 1),
        "epoch_cpu_seconds": round(cpu_seconds, 1),
        "windows_per_second": round(len(train) / result.seconds),
        "prepare_seconds": round(prepared, 1),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "torch": torch.__version__,
    }
    click.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
