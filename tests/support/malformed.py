"""The corpus of malformed input: every case writes its files into a folder and gives the command line that meets them.

The cases are in ``malformed_tables`` (contents of data files), ``malformed_files`` (damaged files, hostile paths),
``malformed_runs`` (run folders), ``malformed_milan`` and ``malformed_options``.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from qkan.forecasting import TrainConfig

Arguments = Sequence[str]


@dataclass(frozen=True)
class Case:
    """Something malformed.

    Args:
        name: What is wrong; unique.
        build: Writes the files into a folder and returns the arguments of ``qkan`` that meet them, with paths
            relative to that folder.
        says: Pattern that the error message contains: the offending value, row or file.
        code: The exit status.
        adds: Files that are there afterwards and were not before.
    """

    name: str
    build: Callable[[Path], Arguments]
    says: str
    code: int = 2
    adds: tuple[str, ...] = ()


READERS: tuple[tuple[str, ...], ...] = (
    ("data", "show"),
    ("train", "lstm", "--data"),
    ("compare", "lstm", "--data"),
    ("predict", "run", "--data"),
    ("evaluate", "run", "--data"),
)
"""The commands that read a data file."""


def data_case(place: int, name: str, file: str, write: Callable[[Path], object], says: str, options: str = "") -> Case:
    """A data file that one of the commands reads; ``place`` in a list decides which.

    Options go to commands that have them, and the others are then left out: the first three take columns, and of
    these ``data show`` no covariates.
    """
    usable = READERS if not options else READERS[:3]
    if "-cols" in options or "--calendar" in options:
        usable = READERS[1:3]
    reader = usable[place % len(usable)]

    def build(folder: Path) -> Arguments:
        write(folder / file)
        if "run" in reader:
            write_run_folder(folder / "run")
        return [*reader, file, *options.split()]

    return Case(f"{reader[0]}: {name}", build, says)


def write_run_folder(folder: Path, **options: object) -> None:
    """Write a finished run with the weights it starts with: no training is needed to be refused."""
    folder.mkdir()
    for name, content in _run_files(**options).items():
        (folder / name).write_bytes(content)


@functools.cache
def _run_files(**options: object) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _write_run(Path(folder), options)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _write_run(folder: Path, options: dict[str, object]) -> None:
    from qkan.forecasting.data.load import as_cut, load_windows, with_whole_path
    from qkan.forecasting.model.build import build_forecaster
    from qkan.forecasting.runs.run import Run
    from qkan.forecasting.runs.write import write_run

    chosen: dict[str, object] = {"data": "damped-shm", "cell": "lstm", "hidden_size": 2, "window": 4, "device": "cpu"}
    config = with_whole_path(TrainConfig(**(chosen | options)))
    data = load_windows(config)
    config = as_cut(config, data)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    metrics = {"parameters": 1, "epochs": 1, "best_epoch": 1, "train_seconds": 0.0, "mase_season": 1, "test": {}}
    run = Run(folder, config, model, data.scaler, data.series.describe(), metrics)
    write_run(folder, run, [{"epoch": 1, "train_loss": 1}])


def hours(count: int, start: str = "2024-01-01") -> list[str]:
    """So many hourly times."""
    return [str(moment).replace("T", " ") for moment in np.datetime64(start, "s") + np.arange(count) * 3600]


def lines(header: str, *rows: str) -> bytes:
    """Text of a CSV file."""
    return ("\n".join([header, *rows]) + "\n").encode()


def with_value(value: str, count: int = 40, at: int = 7) -> bytes:
    """A sound hourly file but for the value in one row."""
    return lines("ds,y", *(f"{ds},{value if row == at else row % 5}" for row, ds in enumerate(hours(count), 1)))


def with_time(time: str, count: int = 40, at: int = 7) -> bytes:
    """A sound hourly file but for the time in one row."""
    return lines("ds,y", *(f"{time if row == at else ds},{row % 5}" for row, ds in enumerate(hours(count), 1)))


def with_times(*times: str) -> bytes:
    """A file of these times."""
    return lines("ds,y", *(f"{time},{row % 5}" for row, time in enumerate(times)))


def every_case() -> list[Case]:
    """The corpus."""
    from malformed_files import file_cases
    from malformed_milan import milan_cases
    from malformed_options import option_cases
    from malformed_runs import run_cases
    from malformed_tables import table_cases

    return [*table_cases(), *file_cases(), *run_cases(), *milan_cases(), *option_cases()]
