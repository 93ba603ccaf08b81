"""Which runs a comparison does: sizes that fit the budgets, then learning rates, then seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any, NamedTuple

from qkan.forecasting.config import LEARNING_RATES, LINEAR_CELLS, CompareConfig, TrainConfig
from qkan.forecasting.model.build import largest_hidden_size, parameters_at

Record = dict[str, Any]
"""A row of ``runs.csv``."""


@dataclass(frozen=True)
class Point:
    """One place in the comparison: a cell at one size."""

    cell: str
    budget: int
    hidden_size: int
    parameters: int


@dataclass(frozen=True)
class Skipped:
    """A cell whose smallest model is above a parameter budget."""

    cell: str
    budget: int
    smallest: int


def plan_points(config: CompareConfig) -> tuple[list[Point], list[Skipped]]:
    """Return the sizes to compare and the budgets that are too small for a cell.

    Where two budgets lead to the same size of a cell, the size is listed once, under the smaller budget. A linear
    forecaster has one size, whatever the budgets.

    Raises:
        ValueError: no cell fits any budget, or an option's value is unknown to a cell.
    """
    points: list[Point] = []
    skipped: list[Skipped] = []
    for cell in config.cells:
        smallest = config.train_config(cell=cell, hidden_size=1, lr=LEARNING_RATES[0], seed=0)
        if cell in LINEAR_CELLS:
            own = parameters_at(smallest, 1)
            points.append(Point(cell, own, 1, own))
            continue
        sizes: set[int] = set()
        for budget in sorted(config.budget_params):
            hidden_size = largest_hidden_size(smallest, budget)
            if hidden_size is None:
                skipped.append(Skipped(cell, budget, parameters_at(smallest, 1)))
            elif hidden_size not in sizes:
                sizes.add(hidden_size)
                points.append(Point(cell, budget, hidden_size, parameters_at(smallest, hidden_size)))
    if not points:
        least = min(skip.smallest for skip in skipped)
        raise ValueError(
            f"no cell fits budget_params={config.budget_params}; the smallest model has {least} parameters, so raise it"
        )
    return points, skipped


def choose_learning_rate(config: CompareConfig, point: Point, records: list[Record], fold: int = 1) -> float:
    """Return the learning rate of the lowest median validation error of a fold over the tuning seeds; the first of
    equals."""
    tuning = [
        record
        for record in records
        if (record["fold"], record["cell"], record["hidden_size"]) == (fold, point.cell, point.hidden_size)
        and record["seed"] < config.tuning_seeds
    ]

    def error(lr: float) -> float:
        errors = [record["validation_loss"] for record in tuning if record["lr"] == lr]
        return statistics.median(errors) if errors else math.inf

    return min(LEARNING_RATES[: config.trials], key=error)


class FoldRun(NamedTuple):
    """A training of one fold, counted from 1."""

    fold: int
    config: TrainConfig


def tuning_runs(config: CompareConfig, points: list[Point]) -> list[FoldRun]:
    """Return the runs that choose the learning rates."""
    rates, seeds, folds = LEARNING_RATES[: config.trials], range(config.tuning_seeds), range(1, config.folds + 1)
    return [_run(config, fold, point, lr, seed) for fold in folds for point in points for lr in rates for seed in seeds]


def remaining_runs(config: CompareConfig, points: list[Point], records: list[Record]) -> list[FoldRun]:
    """Return the runs with the chosen learning rates and the other seeds."""
    seeds = range(config.tuning_seeds, config.seeds)
    return [
        _run(config, fold, point, choose_learning_rate(config, point, records, fold), seed)
        for fold in range(1, config.folds + 1)
        for point in points
        for seed in seeds
    ]


def runs_in_all(config: CompareConfig, points: list[Point]) -> int:
    """Return how many trainings a comparison does."""
    return config.folds * len(points) * (config.trials * config.tuning_seeds + config.seeds - config.tuning_seeds)


def _run(config: CompareConfig, fold: int, point: Point, lr: float, seed: int) -> FoldRun:
    return FoldRun(fold, config.train_config(cell=point.cell, hidden_size=point.hidden_size, lr=lr, seed=seed))


def key_of(run: FoldRun | Record) -> tuple[Any, ...]:
    """Return what tells the runs of a comparison apart: fold, cell, hidden size, learning rate and seed."""
    values = run if isinstance(run, dict) else {"fold": run.fold, **vars(run.config)}
    return tuple(values[name] for name in ("fold", "cell", "hidden_size", "lr", "seed"))


def run_name(record: Record) -> str:
    """Return what a run is called among the losses that a comparison keeps."""
    return f"{record['cell']}-{record['hidden_size']}-{record['lr']:g}-{record['seed']}"
