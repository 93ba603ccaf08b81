"""What each part around a cell is worth: one data set, each part switched off or exchanged in turn, the same seeds.

    python -m benchmarks.ablation telecom
    python -m benchmarks.ablation duffing --cells qkan,lstm --set window=4 --seeds 5

prints a Markdown table: trained parameters, mean absolute errors of the validation and the test part in the unit of
the data, medians over the seeds, and seconds of one training. All rows train with the same options but those of their
part, at one hidden size, so a part that is switched off takes its parameters with it. A part that the data do not have
(a season) has no rows.
"""

import json
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch

from qkan.datasets import DataNotice, ForecastData
from qkan.forecasting import TrainConfig
from qkan.forecasting.config import model_name
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows, load_series_of
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster

_NO_SEASON: dict[str, Any] = {"season": "none", "seasonal_lags": None}
BARE: dict[str, Any] = {"level": "none", "skip": 0, **_NO_SEASON, "decoder": "last"}
PARTS: dict[str, dict[str, Any]] = {
    "all parts": {},
    "no level": {"level": "none"},
    "level: last": {"level": "last"},
    "level: mean": {"level": "mean"},
    "level: window": {"level": "window"},
    "level: season": {"level": "season"},
    "no skip": {"skip": 0},
    "no season": _NO_SEASON,
    "season as sines and cosines": {"season_encoding": "sincos"},
    "season as a table": {"season_encoding": "table"},
    "with seasonal lags": {"seasonal_lags": True},
    "without seasonal lags": {"seasonal_lags": None},
    "and a season of its own": {"per_series": True},
    "no gate": {"gate": False},
    "bare cell": BARE,
}
"""What is changed, by what it is called."""
_OF_SEASONS = {"season", "season_encoding", "seasonal_lags", "per_series"}


def score(config: TrainConfig, data: ForecastData) -> dict[str, Any]:
    """Train one model and return its errors, parameters and seconds."""
    begun = time.perf_counter()
    fitted = fit_forecaster(config, data)
    seconds = time.perf_counter() - begun
    metrics = fitted.metrics()
    row = {"parameters": metrics["parameters"], "gate": metrics.get("gate", "none"), "seconds": seconds}
    for part in ("validation", "test"):
        errors = np.abs(forecast_windows(fitted.model, data, part) - data.target_values(part))
        row[part] = float(errors[data.target_observed(part)].mean())
    return row


def median_score(config: TrainConfig, seeds: int) -> dict[str, Any]:
    """Train a model with every seed and return medians, and the smallest and the largest test error."""
    series = load_series_of(config)
    data = cut_windows(series, config)
    rows = [score(as_cut(replace(config, seed=seed), data), data) for seed in range(seeds)]
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0] if name != "gate"}
    tests = [row["test"] for row in rows]
    return {**found, "low": min(tests), "high": max(tests), "gate": "/".join(sorted({row["gate"] for row in rows}))}


def rows_of(data: str, cell: str, changes: dict[str, Any], parts: list[str]) -> dict[str, TrainConfig]:
    """Return the options of every row of the table of a cell, by what it is called."""
    config = TrainConfig(data=data, cell=cell, **changes)
    series = load_series_of(config)
    given = {name: changes.get(name) for name in ("window", "horizon", "loss")}
    config = sized(config, series, given)
    data = cut_windows(series, config)
    seasons, config = data.seasons, replace(config, level=as_cut(config, data).level)
    useful = [name for name in parts if name == "bare cell" or seasons or not _about_seasons(PARTS[name])]
    found = {name: _changed(config, PARTS[name]) for name in useful}
    return {name: own for name, own in found.items() if name == "all parts" or own != config}


def _about_seasons(part: dict[str, Any]) -> bool:
    """Whether a part is one of the season."""
    return bool(_OF_SEASONS & set(part)) or part.get("level") == "season"


def _changed(config: TrainConfig, part: dict[str, Any]) -> TrainConfig:
    """The options with those of a part; what leaves no mean season to take away takes the last value."""
    level = "last" if config.level == "season" and {"season", "per_series"} & set(part) else config.level
    return replace(config, **{"level": level, **part})


@click.command(help=__doc__)
@click.argument("data")
@click.option("--cells", default="qkan,lstm", show_default=True, help="Separated by commas.")
@click.option("--parts", default=",".join(PARTS), show_default=True, help="Separated by commas.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--set", "changes", multiple=True, help="An option of all rows, as NAME=JSON.")
def main(data: str, cells: str, parts: str, seeds: int, changes: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataNotice)
    given = {name: json.loads(value) for name, _, value in (change.partition("=") for change in changes)}
    print("| cell | parts | parameters | validation MAE | test MAE | gate | seconds |\n|---|---|---|---|---|---|---|")
    for cell in cells.split(","):
        for name, config in rows_of(data, cell, given, parts.split(",")).items():
            row = median_score(config, seeds)
            test = f"{row['test']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
            size, validation = f"{row['parameters']:,.0f}", f"{row['validation']:.4g}"
            shown = (model_name(cell), name, size, validation, test, row["gate"], f"{row['seconds']:.0f}")
            print("|", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()
