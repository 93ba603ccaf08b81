"""The runs of one task in a JSON file, written whenever one is added, so that nothing is trained twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchmarks.quantum_series.tasks import Task
from benchmarks.quantum_series.training import RATES, Training
from qkan._util.files import write_atomic


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
    """The runs of one task.

    Args:
        path: The file; it need not be there.
        training: How its models are trained.
        task: The task.
    """

    def __init__(self, path: Path, training: Training, task: Task) -> None:
        self.path, self.training, self.task = path, training, task
        self.runs = read_runs(path, vars(training))

    def add(self, cell: str, seeds: int) -> None:
        """Train what is missing of a cell: all rates with seed 0, the rate that it chooses with the other seeds."""
        for seed in range(seeds):
            known = chosen_runs(self.runs, cell)
            if seed not in {row["seed"] for row in known}:
                rates = (known[0]["rate"],) if known else RATES[self.training.protocol]
                self.runs += self.training.runs(cell, self.task, rates, seed)
                self._write()

    def _write(self) -> None:
        lines = ",\n".join(json.dumps(one) for one in self.runs)
        text = f'{{"settings": {json.dumps(vars(self.training))}, "runs": [\n{lines}\n]}}\n'
        write_atomic(self.path, lambda file: file.write(text.encode()))


def chosen_runs(runs: list[dict[str, Any]], cell: str) -> list[dict[str, Any]]:
    """Return the runs of a cell with the rate that its seed 0 chose by validation, by seed."""
    return sorted((row for row in runs if row["cell"] == cell and row["chosen"]), key=lambda row: row["seed"])
