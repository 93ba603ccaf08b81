"""Errors of forecasters on the files of public benchmarks that you have: medians over seeds, parameters and seconds.

    python -m benchmarks.protocols ETTh1.csv --protocol ltsf --horizons 96,192,336,720
    python -m benchmarks.protocols exchange_rate.csv --protocol ltsf --horizons 96 --set window=96
    python -m benchmarks.protocols Hourly-train.csv --protocol m4

Every model trains with the same options but those that make it what it is (:data:`MODELS`); ``--set`` changes options
of all of them. The validation part chooses the epoch and the gate. Seconds are those of the training on one thread.
"""

import json
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import click
import torch

from qkan.datasets import DataNotice, ForecastData
from qkan.forecasting import TrainConfig
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows, load_series_of
from qkan.forecasting.evaluation.protocols import PROTOCOL_METRICS, protocol_scores
from qkan.forecasting.runs.inference import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster

PERIODS = {"order": "periods", "season_encoding": "none", "lr": 1e-2}
MODELS: dict[str, dict[str, Any]] = {
    "sparse": {"cell": "sparse", "lr": 1e-2},
    "linear": {"cell": "linear", "lr": 1e-3},
    "cycle": {"cell": "cycle", "lr": 1e-3},
    "hqkan-periods": {"cell": "hqkan", "reps": 2, **PERIODS},
    "lstm-periods": {"cell": "lstm", **PERIODS},
    "lowrank-periods": {"cell": "lowrank", **PERIODS},
    "qkan-periods": {"cell": "qkan", **PERIODS},
    "hqkan-periods-season": {"cell": "hqkan", "reps": 2, **PERIODS, "season_encoding": "circuit"},
    "hqkan-segments": {"cell": "hqkan", "latent_features": 4, "segment": 24, "skip": 0, "hidden_size": 16, "lr": 1e-2},
    "gru-segments": {"cell": "gru", "segment": 24, "skip": 0, "hidden_size": 16, "lr": 1e-2},
}
"""What is trained, by what it is called."""


def score(config: TrainConfig, data: ForecastData) -> dict[str, Any]:
    """Train one model and return its errors, parameters and seconds."""
    begun = time.perf_counter()
    fitted = fit_forecaster(config, data)
    seconds = time.perf_counter() - begun
    metrics = fitted.metrics()
    errors = protocol_scores(str(config.protocol), data, {"model": forecast_windows(fitted.model, data)})["model"]
    row = {"parameters": metrics["parameters"], "validation": metrics["best_validation_loss"], "seconds": seconds}
    return {**row, "gate": metrics.get("gate", "open"), **errors}


@click.command(help=__doc__)
@click.argument("file")
@click.option("--protocol", type=click.Choice(list(PROTOCOL_METRICS)), required=True)
@click.option("--horizons", default="", help="Separated by commas; by default that of the protocol.")
@click.option("--models", default=",".join(MODELS), show_default=True, help="Separated by commas.")
@click.option("--seeds", default=3)
@click.option("--set", "changes", multiple=True, help="An option of all models, as NAME=JSON.")
def main(file: str, protocol: str, horizons: str, models: str, seeds: int, changes: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataNotice)
    given: dict[str, Any] = {
        name: json.loads(value) for name, _, value in (change.partition("=") for change in changes)
    }
    series = load_series_of(TrainConfig(data=file, protocol=protocol))
    print("| horizon | model | parameters |", *(f"{name} |" for name in PROTOCOL_METRICS[protocol]), "gate | seconds |")
    print("|---" * (5 + len(PROTOCOL_METRICS[protocol])) + "|")
    for horizon in [int(own) for own in horizons.split(",") if own] or [None]:
        for name in models.split(","):
            own = {**MODELS[name], **given}
            config = TrainConfig(data=file, protocol=protocol, **own)
            config = sized(config, series, {"window": own.get("window"), "horizon": horizon})
            data = cut_windows(series, config)
            found = [score(as_cut(replace(config, seed=seed), data), data) for seed in range(seeds)]
            middle = {key: statistics.median(row[key] for row in found) for key in ("parameters", "seconds")}
            errors = [statistics.median(row[key] for row in found) for key in PROTOCOL_METRICS[protocol]]
            gates = "/".join(sorted({row["gate"] for row in found}))
            shown = " | ".join(f"{error:.4f}" for error in errors)
            row = [f"{middle['parameters']:,}", shown, gates, f"{middle['seconds']:.0f}"]
            print(f"| {config.horizon} | {name} |", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
