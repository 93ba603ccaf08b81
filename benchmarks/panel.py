"""A panel on disk, from the file to the forecasts: seconds and memory of every stage, each in a process of its own.

    python -m benchmarks.panel                              # 1,000 series of 8,928 values, a tenth of the city
    python -m benchmarks.panel --series 10000               # 10,000 series of 8,928 values
    python -m benchmarks.panel --series 10000 --most-seconds 60   # an epoch cut short, and what it makes of a whole one

The series are made here: a daily and a weekly wave of ten-minute values, of different size in each, and noise. Stages:
``make`` (writes the Parquet file), ``prepare``, ``train`` (one process: open, one epoch, evaluation of the test part),
``predict`` (what follows the last value of every series) and ``two`` (two processes that map a shard each). ``seconds``
are by the clock, ``core_seconds`` those that the first process had a core, which says more on a busy machine.
``peak_mib`` is the largest memory of the first process, mapped pages of the panel and all, and ``pss_mib`` that of all
processes together, where a page that two of them map counts once; ``pss_anon_mib`` of it is no file's. All have one
thread.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.harness.memory import run_measured

_FEW_STEPS = 100
STAGES = ("make", "prepare", "train", "predict", "two")


class Watch:
    """Clock and core time since its begin."""

    def __init__(self) -> None:
        self.begin = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds since then."""
        now = time.perf_counter(), time.process_time()
        own = [round(end - begin, 2) for begin, end in zip(self.begin, now, strict=True)]
        return dict(zip(("seconds", "core_seconds"), own, strict=True))


class EnoughError(Exception):
    """The epoch is cut short."""


def make(path: Path, series: int, points: int) -> dict[str, Any]:
    """Write the file, row groups of whole series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw, steps = np.random.default_rng(0), np.arange(points)
    ds = (np.datetime64("2013-11-01", "ns") + np.timedelta64(10, "m") * steps).astype("datetime64[ns]")
    schema = pa.schema([("unique_id", pa.string()), ("ds", pa.timestamp("ns")), ("y", pa.float64())])
    group = max(1, 1_000_000 // points)
    with pq.ParquetWriter(path, schema, use_dictionary=["unique_id", "ds"]) as writer:
        for begin in range(0, series, group):
            count = min(group, series - begin)
            size, phase = draw.uniform(1, 10, (2, count, 1)), draw.uniform(0, 2 * np.pi, (count, 1))
            waves = size[0] * np.sin(2 * np.pi * steps / 144 + phase) + size[1] * np.sin(2 * np.pi * steps / 1008)
            names = np.array([f"s{place:07d}" for place in range(begin, begin + count)], dtype=object)
            y = (20 + waves + draw.normal(size=waves.shape)).ravel()
            writer.write_table(pa.table([np.repeat(names, points), np.tile(ds, count), y], schema=schema))
    return {"values": series * points, "bytes": path.stat().st_size}


def prepare(path: Path, panel: Path) -> dict[str, Any]:
    """Prepare the panel."""
    from qkan.datasets import prepare_panel

    facts = prepare_panel(path, panel, overwrite=True).facts
    return {"parts": len(facts["parts"]), "bytes": sum(own["bytes"] for own in facts["files"].values())}


def train(panel: Path, out: Path, processes: int, most_seconds: float, shape: dict[str, Any]) -> dict[str, Any]:
    """Train one epoch, whole or for some seconds; a whole one is evaluated."""
    from qkan.forecasting import TrainConfig
    from qkan.forecasting import train as train_run
    from qkan.forecasting.data.loaders import resolve_batch_size
    from qkan.forecasting.training.progress import Silent

    class Clock(Silent):
        """Notes when the epoch begins and ends, and ends it early."""

        def start(self, epochs: int, steps: int, done: int = 0) -> None:
            self.done, self.before, self.watch = 0, whole.read(), Watch()
            self.cold = steps > _FEW_STEPS

        def step(self, loss: float, count: int = 1) -> None:
            self.done += count
            if self.cold:  # what runs for the first time is not the epoch's
                self.done, self.cold, self.watch = 0, False, Watch()
            elif most_seconds and self.watch.read()["seconds"] > most_seconds:
                raise EnoughError

        def epoch(self, metrics: object) -> None:
            self.epoch_took = self.watch.read()

    whole, clock = Watch(), Clock()
    several = {"devices": processes, "shards": processes}
    options: dict[str, Any] = {"data": str(panel), "epochs": 1, "device": "cpu", "lbfgs_steps": 0, **several, **shape}
    try:
        run = train_run(TrainConfig(**options), out, overwrite=True, progress=clock)
        took = clock.epoch_took
    except EnoughError:
        run, took = None, clock.watch.read()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return {}
    facts = json.loads((panel / "manifest.json").read_text())
    windows = sum(round(own * 0.7) - shape["window"] for own in _lengths(panel))
    batch_size = resolve_batch_size(shape.get("batch_size"), windows)
    seen = min(windows, clock.done * batch_size)
    report: dict[str, Any] = {
        "processes": processes,
        "batch_size": batch_size,
        "values": facts["points"],
        "windows": windows,
        "before_the_epoch": clock.before,
        "windows_per_second": round(seen / took["seconds"]),
        "windows_per_core_second": round(seen / processes / took["core_seconds"]),
        "whole_epoch_seconds": round(windows / seen * took["seconds"], 1),
        "whole_epoch_core_seconds": round(windows / seen * took["core_seconds"], 1),
    }
    if run is not None:
        evaluated = whole.read()["seconds"] - clock.before["seconds"] - took["seconds"]
        report |= {"parameters": run.metrics["parameters"], "mapped_values": run.metrics["mapped_values"]}
        report |= {
            "after_the_epoch_seconds": round(evaluated, 1),
            "mase": run.metrics["test"][run.config.model_name]["mase"],
        }
    return report


def _lengths(panel: Path) -> list[int]:
    import pandas as pd

    lengths: list[int] = pd.read_parquet(panel / "series.parquet")["length"].tolist()
    return lengths


def predict(panel: Path, out: Path, shape: dict[str, Any]) -> dict[str, Any]:
    """Forecast what follows every series, with the run that was trained or, where an epoch was cut short, as drawn."""
    from qkan.forecasting import load_run
    from qkan.forecasting import predict as predict_run

    run = load_run(out) if (out / "manifest.json").exists() else untrained(panel, out, shape)
    watch = Watch()
    return {"forecasts": len(predict_run(run)), "predict": watch.read()}


def untrained(panel: Path, out: Path, shape: dict[str, Any]) -> Any:
    """A run whose weights are as drawn."""
    import torch

    from qkan.forecasting import Run, TrainConfig
    from qkan.forecasting.data.load import as_cut, load_windows
    from qkan.forecasting.model.build import build_forecaster

    config = TrainConfig(data=str(panel.resolve()), **shape)
    data = load_windows(config)
    config = as_cut(config, data)
    model = build_forecaster(config, torch.Generator().manual_seed(0)).eval()
    return Run(out, config, model, data.scaler, data.series.describe(), {})


def stage(name: str, folder: Path, series: int, points: int, most_seconds: float, shape: dict[str, Any]) -> None:
    """Do one stage in this process and print a line of JSON."""
    import torch

    torch.set_num_threads(1)
    table, panel, run = folder / "table.parquet", folder / "panel", folder / "run"
    watch = Watch()
    if name == "make":
        report = make(table, series, points)
    elif name == "prepare":
        report = prepare(table, panel)
    elif name == "predict":
        report = predict(panel, run, shape)
    else:
        two = name == "two"
        report = train(panel, folder / "two" if two else run, 2 if two else 1, most_seconds, shape)
        if not report:
            return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    load = round(os.getloadavg()[0], 1)
    click.echo(json.dumps({"stage": name, **watch.read(), "peak_mib": peak, "load": load, **report}))


@click.command()
@click.option("--series", default=1000, show_default=True)
@click.option("--points", default=8928, show_default=True)
@click.option("--cell", default="qkan", show_default=True)
@click.option("--hidden-size", default=9, show_default=True)
@click.option("--window", default=24, show_default=True)
@click.option("--batch-size", type=int, help="Of all processes together.  [default: that of qkan train]")
@click.option("--season", default="none", show_default=True)
@click.option("--most-seconds", default=0.0, show_default=True, help="Of an epoch; 0 trains a whole one.")
@click.option("--stages", default=",".join(STAGES), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("panel-benchmark"), show_default=True)
@click.option("--alone", is_flag=True, hidden=True)
def main(
    series: int,
    points: int,
    most_seconds: float,
    stages: str,
    folder: Path,
    alone: bool,
    **shape: Any,
) -> None:
    """Print what every stage took as a line of JSON."""
    wanted = stages.split(",")
    if alone:
        shape = {name: value for name, value in shape.items() if value is not None}
        stage(wanted[0], folder, series, points, most_seconds, {**shape, "horizon": 1})
        return
    folder.mkdir(parents=True, exist_ok=True)
    given = {"series": series, "points": points, "most-seconds": most_seconds, "folder": folder, **shape}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    for name in wanted:
        command = [sys.executable, "-m", "benchmarks.panel", *options, f"--stages={name}", "--alone"]
        printed, memory = run_measured(command)
        for line in printed.splitlines():
            if line.startswith("{"):
                click.echo(json.dumps({**json.loads(line), **memory}))


if __name__ == "__main__":
    main()
