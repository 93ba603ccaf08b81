"""The 27 tasks of a benchmark of quantum models (arXiv 2504.12416): chaotic series, forecast h steps ahead.

    python -m benchmarks.quantum_series                             # equal tuning: half an hour of a core
    python -m benchmarks.quantum_series --protocol paper --seeds 10 # the paper's training; hours
    python -m benchmarks.quantum_series --table                     # the tables of what is there already

Mackey-Glass (1, 70 and 140 steps ahead), Hénon (1, 2, 4) and Lorenz (1, 13, 25) from windows of 4, 8 and 16 points,
all coordinates in and out, 1,000 points, scaled to [0, 1] by the whole series (the paper's leak, kept for comparing).
The windows are parted in time, 60, 20 and 20 %. Every cell has the largest width that fits the budget of parameters,
and a linear head behind its last step. The weights of the epoch with the lowest validation error are kept.

* ``--protocol tuned``: Adam with one cycle of the rate; of all rates, tried with the first seeds, the lower median
  validation error chooses; the same for every cell.
* ``--protocol paper``: Adam at 1e-3, until the validation error has not fallen for 20 epochs.

One JSON file a task takes every run as it ends; what is there is not run again. Test errors choose nothing.
"""

from __future__ import annotations

import copy
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn

from qkan import HQKANLSTM, QKANGRU, QKANLSTM
from qkan._util.files import write_atomic
from qkan.datasets.catalog.synthetic import lorenz, mackey_glass

BATCH, PATIENCE, GRADIENT_NORM = 64, 20, 1.0
RATES = {"tuned": (1e-2, 3e-2), "paper": (1e-3,)}
EPOCHS = {"tuned": 50, "paper": 500}
PUBLISHED = {
    **{"LSTM": 1.78, "RNN": 2.70, "le-QLSTM": 2.85, "MLP": 4.22},
    **{"d-QNN": 4.70, "ru-QNN": 5.33, "QLSTM": 7.04, "QRNN": 7.37},
}
"""Mean ranks that the paper reports, among its own eight models of its own sizes: beside ours, not comparable."""


def henon() -> np.ndarray:
    """Both coordinates of (x, y) <- (1 - 1.4 x^2 + y, 0.3 x) from (0, 0), the first of 1,000 points.

    In the order of operations of reservoirpy 0.3.12: chaos makes another order another series after 80 points, which is
    why this is not the built-in series of that name.
    """
    points = np.zeros((1000, 2))
    for x, y in pairwise(points):
        y[:] = 1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]
    return points


SYSTEMS: dict[str, tuple[Callable[[], np.ndarray], tuple[int, ...]]] = {
    "mackey-glass": (lambda: mackey_glass()[:, None], (1, 70, 140)),
    "henon": (henon, (1, 2, 4)),
    "lorenz": (lorenz, (1, 13, 25)),
}
WINDOWS = (4, 8, 16)


@dataclass(frozen=True)
class Task:
    """One of the 27: which system, how far ahead, from how many points."""

    system: str
    horizon: int
    window: int

    def __str__(self) -> str:
        return f"{self.system}-h{self.horizon}-w{self.window}"

    @cache  # noqa: B019  (there are 27)
    def parts(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs (N, window, coordinates) and targets (N, coordinates) of training, validation and test, float32."""
        values = SYSTEMS[self.system][0]()
        low, high = values.min(axis=0), values.max(axis=0)
        scaled = torch.from_numpy((values - low) / (high - low)).float()
        count = len(scaled) - self.window - self.horizon + 1
        inputs = scaled.unfold(0, self.window, 1)[:count].transpose(1, 2).contiguous()
        targets = scaled[self.window + self.horizon - 1 :]
        cuts = [0, round(0.6 * count), round(0.8 * count), count]
        return [(inputs[a:b], targets[a:b]) for a, b in pairwise(cuts)]


TASKS = {
    str(task): task
    for task in (
        Task(name, horizon, window)
        for name, (_, horizons) in SYSTEMS.items()
        for horizon in horizons
        for window in WINDOWS
    )
}


class LastStep(nn.Module):
    """A recurrence of nn.LSTM's contract and a linear head behind its last step."""

    def __init__(self, recurrence: nn.Module, width: int, features: int) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.head = nn.Linear(width, features)

    def forward(self, window: Tensor) -> Tensor:
        """Map (B, window, features) to (B, features)."""
        return self.head(self.recurrence(window)[0][:, -1])


BINARY: dict[str, Any] = {"reps": 3, "preact_trainable": True, "preact_init": "binary"}
SHARED: dict[str, Any] = {"group": "input", "postact_weight_trainable": True}
RECURRENCES: dict[str, tuple[Any, dict[str, Any]]] = {
    "qkan": (QKANLSTM, {"reps": 2, **SHARED}),
    "qkan-binary": (QKANLSTM, {**SHARED, **BINARY}),
    "qkangru": (QKANGRU, {"reps": 2, **SHARED}),
    "hqkan": (HQKANLSTM, {"latent_features": 3, "reps": 2}),
    "hqkan-binary": (HQKANLSTM, {"latent_features": 3, **BINARY}),
    "lowrank": (HQKANLSTM, {"latent_features": 3, "latent": "linear"}),
    **{name: (HQKANLSTM, {"latent_features": 3, "latent": name}) for name in ("fourier", "rff", "spline", "chebyshev")},
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn": (nn.RNN, {}),
}
CELLS = (*RECURRENCES, "mlp", "linear")
"""``fourier`` to ``chebyshev`` are ``hqkan`` without its circuit; ``mlp`` and ``linear`` read the window at once."""


def build(cell: str, task: Task, features: int, width: int) -> nn.Module:
    """Return an untrained model of a cell, its weights drawn from torch's default generator."""
    if cell == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(task.window * features, features))
    if cell == "mlp":
        first = nn.Linear(task.window * features, width)
        return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Linear(width, features))
    make, options = RECURRENCES[cell]
    return LastStep(make(features, width, batch_first=True, **options), width, features)


def parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@cache
def widest(cell: str, task: Task, features: int, budget: int) -> int:
    """Return the largest width of at most ``budget`` parameters.

    Raises:
        click.UsageError: the smallest has more.
    """

    def size(width: int) -> int:
        with torch.device("meta"):
            return parameters(build(cell, task, features, width))

    if size(1) > budget:
        raise click.UsageError(f"the smallest {cell!r} for {task} has {size(1)} parameters; use --budget {size(1)}")
    width = 1
    while cell != "linear" and size(width + 1) <= budget:
        width += 1
    return width


@torch.no_grad()
def error(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Mean squared error of scaled values over all windows and coordinates."""
    return float((model(part[0]) - part[1]).square().mean())


@dataclass(frozen=True)
class Training:
    """How models are trained."""

    protocol: str
    epochs: int
    budget: int

    def run(self, cell: str, task: Task, rate: float, seed: int) -> dict[str, Any]:
        """Train one model and return its errors, parameters, epochs and seconds."""
        train, validation, test = task.parts()
        features = train[1].shape[1]
        width = widest(cell, task, features, self.budget)
        torch.manual_seed(seed)
        model = build(cell, task, features, width)
        best, weights, best_epoch = error(model, validation), copy.deepcopy(model.state_dict()), 0
        begun = time.perf_counter()
        for epoch, failed in enumerate(self._epochs(model, train, rate), 1):
            now = error(model, validation)
            if now < best:
                best, weights, best_epoch = now, copy.deepcopy(model.state_dict()), epoch
            if failed or (self.protocol == "paper" and epoch - best_epoch >= PATIENCE):
                break
        seconds = time.perf_counter() - begun
        model.load_state_dict(weights)
        return {
            "cell": cell, "rate": rate, "seed": seed, "width": width, "parameters": parameters(model), "epochs": epoch,
            "best_epoch": best_epoch, "validation": best, "test": error(model, test), "seconds": round(seconds, 3),
        }  # fmt: skip

    def _epochs(self, model: nn.Module, train: tuple[Tensor, Tensor], rate: float) -> Any:
        """Train, and yield after every epoch whether its loss stopped being finite."""
        optimizer = torch.optim.Adam(model.parameters(), rate)
        steps = -(-len(train[0]) // BATCH)
        cycle = None
        if self.protocol == "tuned":
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=self.epochs * steps)
        for _ in range(self.epochs):
            for chosen in torch.randperm(len(train[0])).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(train[0][chosen]), train[1][chosen])
                loss.backward()
                if cycle is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
                optimizer.step()
                if cycle is not None:
                    cycle.step()
            yield not bool(torch.isfinite(loss))


def read_runs(path: Path, settings: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the runs that a file holds, none if there is no file.

    Raises:
        click.UsageError: the file is damaged, or was made with other settings.
    """
    if not path.exists():
        return []
    try:
        known = json.loads(path.read_text())
        runs, found = list(known["runs"]), known["settings"]
    except (ValueError, KeyError, TypeError):
        raise click.UsageError(
            f"{path} holds no runs of this benchmark; remove it, or give --out another folder"
        ) from None
    if settings is not None and found != settings:
        raise click.UsageError(f"{path} was made with {found}, not {settings}; give --out another folder")
    return runs


class Record:
    """The runs of one task in a JSON file, written whenever one is added."""

    def __init__(self, path: Path, training: Training) -> None:
        self.path, self.settings = path, vars(training)
        self.runs = read_runs(path, self.settings)

    def run(self, training: Training, cell: str, task: Task, rate: float, seed: int) -> dict[str, Any]:
        """Return the run that is there, or train it."""
        key = (cell, rate, seed)
        for row in self.runs:
            if (row["cell"], row["rate"], row["seed"]) == key:
                return row
        row = training.run(cell, task, rate, seed)
        self.runs.append(row)
        lines = ",\n".join(json.dumps(one) for one in self.runs)
        text = f'{{"settings": {json.dumps(self.settings)}, "runs": [\n{lines}\n]}}\n'
        write_atomic(self.path, lambda file: file.write(text.encode()))
        return row


def chosen_runs(runs: list[dict[str, Any]], cell: str) -> list[dict[str, Any]]:
    """Return the runs of the rate with the lowest median validation error over the seeds that tried every rate."""
    own = [row for row in runs if row["cell"] == cell]
    by_rate = {rate: {row["seed"]: row for row in own if row["rate"] == rate} for rate in {row["rate"] for row in own}}
    if not by_rate:
        return []
    tuning = set.intersection(*(set(rows) for rows in by_rate.values()))

    def judged(rate: float) -> float:
        return statistics.median(by_rate[rate][seed]["validation"] for seed in tuning)

    return list(by_rate[min(sorted(by_rate), key=judged)].values())


def ranks(errors: dict[str, dict[str, float]]) -> dict[str, dict[str, int]]:
    """Return the rank of every cell in every task, the lowest error first, from errors by task and cell."""
    placed = {task: sorted(own, key=own.__getitem__) for task, own in errors.items()}
    return {task: {cell: cells.index(cell) + 1 for cell in cells} for task, cells in placed.items()}


def medians(out: Path, cells: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return medians over the seeds of test errors, parameters and seconds, by task and cell.

    Raises:
        click.UsageError: no task has runs of all cells.
    """
    found: dict[str, dict[str, dict[str, float]]] = {"test": {}, "parameters": {}, "seconds": {}}
    for name in TASKS:
        runs = read_runs(out / f"{name}.json")
        chosen = {cell: chosen_runs(runs, cell) for cell in cells}
        if all(chosen.values()):
            for key, by_task in found.items():
                by_task[name] = {cell: statistics.median(row[key] for row in rows) for cell, rows in chosen.items()}
    if not found["test"]:
        raise click.UsageError(
            f"{out} has no task with runs of all of {', '.join(cells)}; run them, or name other --cells"
        )
    return found


def show(out: Path, cells: list[str]) -> None:
    """Print the mean ranks over the tasks that all cells have, then the errors by task."""
    found = medians(out, cells)
    errors, place = found["test"], ranks(found["test"])
    mean = {cell: statistics.fmean(own[cell] for own in place.values()) for cell in cells}
    columns = ("cell", f"mean rank of {len(place)} tasks", *SYSTEMS, "first", "below lstm", "parameters", "seconds")
    print("|", " | ".join(columns), "|\n" + "|---" * len(columns) + "|")
    for cell in sorted(cells, key=mean.__getitem__):
        by_system = [
            [float(own[cell]) for name, own in place.items() if TASKS[name].system == system] or [math.nan]
            for system in SYSTEMS
        ]
        sizes = [own[cell] for own in found["parameters"].values()]
        shown = (
            f"`{cell}`",
            f"{mean[cell]:.2f}",
            *(f"{statistics.fmean(own):.2f}" for own in by_system),
            f"{sum(own[cell] == 1 for own in place.values())}",
            f"{sum(own[cell] < own['lstm'] for own in errors.values())}" if "lstm" in cells else "-",
            f"{min(sizes):.0f} to {max(sizes):.0f}",
            f"{statistics.median(own[cell] for own in found['seconds'].values()):.1f}",
        )
        print("|", " | ".join(shown), "|")
    told = ", ".join(f"{name} {rank}" for name, rank in PUBLISHED.items())
    print(f"\nThe paper's own mean ranks, among its eight models: {told}")
    print("\n| task |", " | ".join(f"`{cell}`" for cell in cells), "|\n" + "|---" * (len(cells) + 1) + "|")
    for name, own in errors.items():
        marked = (f"**{own[cell]:.3g}**" if place[name][cell] == 1 else f"{own[cell]:.3g}" for cell in cells)
        print(f"| {name} |", " | ".join(marked), "|")


def listed(text: str, known: tuple[str, ...], option: str) -> list[str]:
    """Return the names of a list with commas.

    Raises:
        click.UsageError: a name that is not known.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.UsageError(f"{option} has no {(unknown or [text])[0]!r}; choose from {', '.join(known)}")
    return names


@click.command(help=__doc__)
@click.option("--protocol", type=click.Choice(list(RATES)), default="tuned", show_default=True)
@click.option("--tasks", default=",".join(TASKS), help="Separated by commas.")
@click.option("--cells", default=",".join(CELLS), help="Separated by commas.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--tuning-seeds", default=1, show_default=True, type=click.IntRange(1), help="Seeds that try every rate.")
@click.option("--budget", default=400, show_default=True, type=click.IntRange(8), help="Most parameters of a model.")
@click.option("--epochs", default=None, type=click.IntRange(1), help="By default 50 tuned, at most 500 as the paper.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/quantum-series"), show_default=True)
@click.option("--table", is_flag=True, help="Print the tables of what is there and run nothing.")
def main(
    protocol: str,
    tasks: str,
    cells: str,
    seeds: int,
    tuning_seeds: int,
    budget: int,
    epochs: int | None,
    out: Path,
    table: bool,
) -> None:
    torch.set_num_threads(1)
    names, asked = listed(tasks, tuple(TASKS), "--tasks"), listed(cells, CELLS, "--cells")
    if tuning_seeds > seeds:
        raise click.UsageError(f"--tuning-seeds must be between 1 and --seeds {seeds}, got {tuning_seeds}")
    folder = out / protocol
    training = Training(protocol, epochs or EPOCHS[protocol], budget)
    for name in [] if table else names:
        folder.mkdir(parents=True, exist_ok=True)
        record = Record(folder / f"{name}.json", training)
        for cell in asked:
            for seed in range(tuning_seeds):
                for rate in RATES[protocol]:
                    record.run(training, cell, TASKS[name], rate, seed)
            rate = chosen_runs(record.runs, cell)[0]["rate"]
            for seed in range(tuning_seeds, seeds):
                record.run(training, cell, TASKS[name], rate, seed)
        click.echo(f"{name} done", err=True)
    show(folder, asked)


if __name__ == "__main__":
    main()
