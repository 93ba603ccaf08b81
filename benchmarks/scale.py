"""Throughput of training on one and on several processes, and what it makes of large panels.

    python -m benchmarks.scale                                # QKAN-LSTM and LSTM, 1 and 2 processes
    python -m benchmarks.scale --windows 50000 --devices 1

Windows a second of training alone, at hidden size 16, window 24, horizon 1 and batches of 1,024 windows of all
processes together: by the clock, and by the time that the processes (one thread each) had a core, which says more on a
busy machine. Of the epochs, the best counts: other work only takes away. Then what the second number makes of an epoch
of larger panels, if every process has a core. Every measurement is a script of its own.
"""

import json
import os
import resource
import subprocess
import sys
import time

import click
import numpy as np
import torch

from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import build_forecaster, count_parameters
from qkan.forecasting.training.distributed import rank_of, training_device
from qkan.forecasting.training.first_use import compile_kernels
from qkan.forecasting.training.loop import fit
from qkan.forecasting.training.progress import Silent

PANELS = {"10,000 series of 8,928 points": 10_000 * 8_928, "1,000,000 series of 8,928 points": 1_000_000 * 8_928}
POINTS = 1_488


def made_windows(count: int, window: int) -> WindowTensors:
    """Windows of noisy days, one after the other in series of equal length."""
    rng = np.random.default_rng(0)
    series = -(-count // (POINTS - window))
    hours = np.arange(series * POINTS)
    values = torch.from_numpy(np.sin(hours * (2 * np.pi / 24)) + 0.1 * rng.normal(size=len(hours))).float()[:, None]
    first = torch.arange(series * POINTS)
    first = first[first % POINTS < POINTS - window][:count]
    return WindowTensors(values, torch.zeros(len(values), 0), None, first, window, 1, series=first // POINTS)


class Clock(Silent):
    """Notes when epochs end, and how much of a core this process has had by then."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def epoch(self, metrics: object) -> None:
        """Note the time."""
        self.times.append((time.perf_counter(), time.process_time()))


def measure(config: TrainConfig, windows: int) -> None:
    """Train and print the result as a line of JSON, in the first process."""
    train = made_windows(windows, config.window)
    model = build_forecaster(config, torch.Generator().manual_seed(0)).to(training_device(config))
    compile_kernels(config, model)
    clock = Clock()
    fit(model, train, made_windows(0, config.window), config, progress=clock)
    if rank_of(config):
        return
    seconds, core_seconds = np.diff(clock.times, axis=0).min(axis=0)
    report = {
        "cell": config.cell,
        "parameters": count_parameters(model),
        "processes": config.processes,
        "precision": config.precision,
        "windows_per_second": round(windows / seconds),
        "windows_per_core_second": round(windows / config.processes / core_seconds),
        "memory_mib_each": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load": round(os.getloadavg()[0], 1),
    }
    click.echo(json.dumps(report))


@click.command()
@click.option("--cells", default="qkan,lstm", show_default=True)
@click.option("--devices", default="1,2", show_default=True, help="Numbers of processes.")
@click.option("--windows", default=100_000, show_default=True)
@click.option("--epochs", default=4, show_default=True)
@click.option("--precision", default="32-true", show_default=True)
@click.option("--alone", is_flag=True, help="Measure in this process; of the first cell and number only.")
def main(cells: str, devices: str, windows: int, epochs: int, precision: str, alone: bool) -> None:
    """Print throughput and estimates."""
    wanted = [(cell, int(count)) for cell in cells.split(",") for count in devices.split(",")]
    if alone:
        cell, count = wanted[0]
        shape = {"hidden_size": 16, "window": 24, "batch_size": 1024, "epochs": epochs, "lr": 3e-3}
        measure(TrainConfig(data=FRAME, cell=cell, devices=count, precision=precision, season="none", **shape), windows)
        return
    for cell, count in wanted:
        options = f"--cells {cell} --devices {count} --windows {windows} --epochs {epochs} --precision {precision}"
        command = [sys.executable, __file__, *options.split(), "--alone"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report = json.loads(done.stdout)
        click.echo(json.dumps(report))
        for name, values in PANELS.items():
            hours = 0.7 * values / (report["windows_per_core_second"] * count) / 3600
            click.echo(f"  {name}: {hours:,.1f} hours an epoch of 70 % of them")


if __name__ == "__main__":
    main()
