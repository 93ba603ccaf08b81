"""Errors of forecasters on the files of public benchmarks that you have: medians over seeds, parameters and seconds.

    python -m benchmarks.protocols ETTh1.csv --protocol ltsf --horizons 96,192,336,720
    python -m benchmarks.protocols exchange_rate.csv --protocol ltsf --horizons 96 --set window=96
    python -m benchmarks.protocols Hourly-train.csv --protocol m4

Every model trains as ``qkan train`` would with the options that make it what it is (:data:`MODELS`); ``--set`` changes
options of all of them. ``--baselines dlinear,ridge`` stand below them, each with the best of ``--trials`` settings by
validation. The validation part chooses the epoch and the gate. Seconds are those of the training on one thread. Errors
of several seeds are medians, with the smallest and the largest in brackets.
"""

import json
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import click
import torch

from benchmarks.dlinear import OPTIONS as DLINEAR
from benchmarks.dlinear import score_dlinear
from qkan.datasets import DataNotice, ForecastData, Series
from qkan.forecasting import TrainConfig
from qkan.forecasting.baselines import Fitting, Origins, fit_baselines
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows, load_series_of
from qkan.forecasting.evaluation.protocols import PROTOCOL_METRICS, protocol_scores
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster

PERIODS = {"order": "periods", "season_encoding": "none", "lr": 1e-2}
MODELS: dict[str, dict[str, Any]] = {
    "hqkan": {"cell": "hqkan"},
    "sparse": {"cell": "sparse"},
    "linear": {"cell": "linear", "lr": 1e-3},
    "cycle": {"cell": "cycle"},
    "hqkan-periods": {"cell": "hqkan", "reps": 2, **PERIODS},
    "lstm-periods": {"cell": "lstm", **PERIODS},
    "lowrank-periods": {"cell": "lowrank", **PERIODS},
    "qkan-periods": {"cell": "qkan", **PERIODS},
    "hqkan-periods-season": {"cell": "hqkan", "reps": 2, **PERIODS, "season_encoding": "circuit"},
    "hqkan-segments": {"cell": "hqkan", "latent_features": 4, "segment": 24, "skip": 0, "hidden_size": 16, "lr": 1e-2},
    "dlinear": DLINEAR,
    "gru-segments": {"cell": "gru", "segment": 24, "skip": 0, "hidden_size": 16, "lr": 1e-2},
}
"""What is trained, by what it is called."""


def shown(errors: list[float]) -> str:
    """The median of errors; of several, with the smallest and the largest."""
    spread = f" ({min(errors):.3f} to {max(errors):.3f})" if len(errors) > 1 else ""
    return f"{statistics.median(errors):.4f}{spread}"


def baseline_rows(config: TrainConfig, data: ForecastData, names: list[str], trials: int) -> list[dict[str, Any]]:
    """Fit baselines and return their errors, parameters and seconds; what the data do not allow is said."""
    fitting = Fitting(trials=trials, left_out=lambda name, why: click.echo(f"{name}: {why}", err=True))
    rows = []
    for fitted in fit_baselines(data, names, fitting):
        forecasts = {fitted.name: fitted.forecast(Origins.of(data)).mean}
        errors = protocol_scores(str(config.protocol), data, forecasts)[fitted.name]
        row = {"name": fitted.name, "parameters": fitted.parameters or 0, "seconds": fitted.seconds}
        rows.append({**row, "validation": None, "gate": "-", **errors})
    return rows


def score(name: str, config: TrainConfig, data: ForecastData) -> dict[str, Any]:
    """Train one model and return its errors, parameters and seconds."""
    if name == "dlinear":
        return score_dlinear(str(config.protocol), data, config.seed)
    begun = time.perf_counter()
    fitted = fit_forecaster(config, data)
    seconds = time.perf_counter() - begun
    metrics = fitted.metrics()
    errors = protocol_scores(str(config.protocol), data, {"model": forecast_windows(fitted.model, data)})["model"]
    row = {"parameters": metrics["parameters"], "validation": metrics["best_validation_loss"], "seconds": seconds}
    return {**row, "gate": metrics.get("gate", "open"), **errors}


def print_row(config: TrainConfig, name: str, found: list[dict[str, Any]]) -> None:
    """Print the row of a model, trained with one or several seeds."""
    middle = {key: statistics.median(row[key] for row in found) for key in ("parameters", "seconds")}
    errors = [shown([row[key] for row in found]) for key in PROTOCOL_METRICS[str(config.protocol)]]
    gates = "/".join(sorted({row["gate"] for row in found}))
    judged = [row["validation"] for row in found if row["validation"] is not None]
    validation = shown(judged) if judged else "-"
    row = [f"{middle['parameters']:,}", validation, *errors, gates, f"{middle['seconds']:.0f}"]
    print(f"| {config.horizon} | {name} |", " | ".join(row), "|", flush=True)


@click.command(help=__doc__)
@click.argument("file")
@click.option("--protocol", type=click.Choice(list(PROTOCOL_METRICS)), required=True)
@click.option("--horizons", default="", help="Separated by commas; by default that of the protocol.")
@click.option("--models", default=",".join(MODELS), show_default=True, help="Separated by commas; empty for none.")
@click.option("--baselines", default="", help="Separated by commas.")
@click.option("--trials", default=3, help="Settings that a baseline tries.")
@click.option("--seeds", default=3)
@click.option("--set", "changes", multiple=True, help="An option of all models, as NAME=JSON.")
def main(
    file: str, protocol: str, horizons: str, models: str, baselines: str, trials: int, seeds: int,
    changes: tuple[str, ...],
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataNotice)
    given: dict[str, Any] = {
        name: json.loads(value) for name, _, value in (change.partition("=") for change in changes)
    }
    series = load_series_of(TrainConfig(data=file, protocol=protocol))
    columns = ("horizon", "model", "parameters", "validation", *PROTOCOL_METRICS[protocol], "gate", "seconds")
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for horizon in [int(own) for own in horizons.split(",") if own] or [None]:
        for name in models.split(",") if models else []:
            fixed = DLINEAR if name == "dlinear" else {}
            config, data = cut(file, protocol, {**MODELS[name], **given, **fixed}, horizon, series)
            found = [score(name, as_cut(replace(config, seed=seed), data), data) for seed in range(seeds)]
            print_row(config, name, found)
        if baselines:
            of_window = {name: given[name] for name in ("window", "season") if name in given}
            config, data = cut(file, protocol, of_window, horizon, series)
            for row in baseline_rows(config, data, baselines.split(","), trials):
                print_row(config, row["name"], [row])


def cut(
    file: str, protocol: str, options: dict[str, Any], horizon: int | None, series: Series
) -> tuple[TrainConfig, ForecastData]:
    """Return the options of a model, with sizes and epochs as ``qkan train`` decides on them, and its windows."""
    config = TrainConfig(data=file, protocol=protocol, **options)
    given = {name: options.get(name) for name in ("window", "epochs", "lr")}
    config = sized(config, series, {**given, "horizon": horizon})
    return config, cut_windows(series, config)


if __name__ == "__main__":
    main()
