"""Exported runs: seconds to export, size, parity, and latency of onnxruntime and PyTorch for one window and for 1,000.

    python -m benchmarks.export                         # a QKAN-LSTM on the telecom series, window 24
    python -m benchmarks.export --cell lstm --window 168

The weights are those of one short epoch: neither time nor size depends on them. Latency is the median over repeated
calls on one thread, after warming up; the run itself (PyTorch, this package's engines) and both programs take turns in
every round, so that a busy machine slows all of them alike.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import click
import torch

from qkan.forecasting import EXPORT_FORMATS, TrainConfig, export, train
from qkan.forecasting.exporting.programs import FORMATS
from qkan.forecasting.model.build import count_parameters


def latencies(models: dict, arguments: tuple, rounds: int) -> dict[str, float]:
    """Median milliseconds of a call of each model."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(rounds + 3):
            for name, model in models.items():
                start = time.perf_counter()
                model(*arguments)
                if number >= 3:
                    taken[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 3) for name, values in taken.items()}


@click.command()
@click.option("--cell", default="qkan", show_default=True)
@click.option("--hidden-size", default=4, show_default=True)
@click.option("--window", default=24, show_default=True)
@click.option("--horizon", default=24, show_default=True)
@click.option("--preact-trainable", is_flag=True)
@click.option("--group", default="input", show_default=True)
@click.option("--rounds", default=200, show_default=True)
def main(
    cell: str, hidden_size: int, window: int, horizon: int, preact_trainable: bool, group: str, rounds: int
) -> None:
    """Train, export and measure, and print the figures as JSON."""
    torch.set_num_threads(1)
    options = {"preact_trainable": preact_trainable, "group": group} if cell == "qkan" else {}
    config = TrainConfig(
        data="telecom", cell=cell, hidden_size=hidden_size, window=window, horizon=horizon, epochs=1, **options
    )
    report: dict = {"cell": cell, "hidden_size": hidden_size, "window": window, "horizon": horizon, **options}
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run")
        report["parameters"] = count_parameters(run.model)
        models: dict = {"run": run.model}
        for format in FORMATS:
            suffix = EXPORT_FORMATS[format]
            start, before = time.perf_counter(), time.process_time()
            made = export(run, Path(folder) / f"model{suffix}", format)
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - before
            report[format] = {
                "bytes": made.size,
                "difference": made.difference,
                "windows_compared": made.windows,
                "export_seconds": round(seconds, 1),
                "export_cpu_seconds": round(cpu_seconds, 1),
            }
            models[format] = FORMATS[format].load(made.path.read_bytes())
    for windows in (1, 1000):
        arguments = tuple(torch.rand_like(part) - 0.5 for part in run.model.example(windows, window))
        report[f"milliseconds_{windows}"] = latencies(models, arguments, rounds if windows == 1 else rounds // 10)
    report["torch"] = torch.__version__
    click.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
