"""The honest comparison: every cell gets the same budget of sizes, learning rates and seeds.

For every cell and parameter budget: the largest hidden size that fits; a few learning rates of one grid, tried with
the first seed or seeds and chosen by the validation error; then the other seeds with the chosen one. Test errors
choose nothing.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan.forecasting.comparison import workers
from qkan.forecasting.config.options import LEARNING_RATES, CompareConfig, TrainConfig
from qkan.forecasting.io.files import RunError, holds_nothing, only_writer, read_json, write_json, write_text
from qkan.forecasting.training.progress import CompareProgress, SilentCompare

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.forecasting.runs.inference import Scores

FORMAT_VERSION = 1
_CONFIG, _ENVIRONMENT, _RUNS = "config.json", "environment.json", "runs.csv"
_NOT_COMPARED = ("out", "workers")  # options that change no result
_MOST_DEFAULT_WORKERS = 8

Record = dict[str, Any]


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


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found; the same tables are in its folder.

    Attributes:
        path: The folder.
        config: What was compared.
        table: One row per cell, at the size with the lowest median validation error, then one per baseline.
        points: One row per cell and size.
        runs: One row per training run.
        baselines: Test metrics of the naive forecasts, by name.
        skipped: Cells and budgets that do not fit.
    """

    path: Path
    config: CompareConfig
    table: pd.DataFrame = field(repr=False)
    points: pd.DataFrame = field(repr=False)
    runs: pd.DataFrame = field(repr=False)
    baselines: Scores = field(repr=False)
    skipped: tuple[Skipped, ...]


def compare(config: CompareConfig, *, overwrite: bool = False, progress: CompareProgress | None = None) -> Comparison:
    """Compare cells on one data set and leave tables and a picture in ``config.out``.

    An interrupted comparison goes on where it stopped when called again with the same options.

    Args:
        config: What to compare.
        overwrite: Start anew where ``config.out`` holds a comparison with other options.
        progress: Told about every training run.

    Raises:
        DataError: the data cannot be used.
        KeyboardInterrupt: the user pressed Ctrl-C; the finished runs are kept.
        RunError: the folder holds something else, or cannot be written.
        ValueError: an option's value is unknown to a cell, or no cell fits any budget.
    """
    from qkan.forecasting.comparison.tables import write_comparison
    from qkan.forecasting.data.load import cut_windows, load_series_of
    from qkan.forecasting.evaluation.panel_scores import score_baselines
    from qkan.forecasting.runs.environment import describe_environment
    from qkan.forecasting.training.distributed import resolve_device

    out = Path(config.out)
    progress = progress or SilentCompare()
    device = resolve_device(config.device)
    data = cut_windows(load_series_of(config), config)
    points, skipped = plan_points(config)
    with only_writer(out):
        records = _open_folder(out, config, data, overwrite)
        if not records:
            write_json(out / _ENVIRONMENT, describe_environment(device))
        _train_missing(out, config, data, points, records, progress)
        processes = config.workers or min(_MOST_DEFAULT_WORKERS, _cores())
        baselines, failures = score_baselines(data, config.baselines, processes)
        comparison = write_comparison(config, data.series, points, skipped, records, baselines, failures)
    progress.finish()
    return comparison


def _train_missing(
    out: Path,
    config: CompareConfig,
    data: ForecastData,
    points: list[Point],
    records: list[Record],
    progress: CompareProgress,
) -> None:
    """Train what is not among the records, add it to them and put them in the order of the plan."""
    runs_each = config.trials * config.tuning_seeds + config.seeds - config.tuning_seeds
    progress.start(len(points) * runs_each, len(records))
    with _trainer(config, data) as train_all:
        for wanted in (_tuning_runs, _remaining_runs):
            missing = _missing(wanted(config, points, records), records)
            for record in train_all(missing):
                records.append(record)
                _write_runs(out, records)
                progress.run(record)
    order = {key: place for place, key in enumerate(_keys(_all_runs(config, points, records)))}
    records.sort(key=lambda record: order[_key_of(record)])
    _write_runs(out, records)


def plan_points(config: CompareConfig) -> tuple[list[Point], list[Skipped]]:
    """Return the sizes to compare and the budgets that are too small for a cell.

    Where two budgets lead to the same size of a cell, the size is listed once, under the smaller budget.

    Raises:
        ValueError: no cell fits any budget, or an option's value is unknown to a cell.
    """
    from qkan.forecasting.model.build import largest_hidden_size, parameters_at

    points: list[Point] = []
    skipped: list[Skipped] = []
    for cell in config.cells:
        smallest = config.train_config(cell=cell, hidden_size=1, lr=LEARNING_RATES[0], seed=0)
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


def choose_learning_rate(config: CompareConfig, point: Point, records: list[Record]) -> float:
    """Return the learning rate of the lowest median validation error over the tuning seeds; the first of equals."""
    tuning = [
        record
        for record in records
        if (record["cell"], record["hidden_size"]) == (point.cell, point.hidden_size)
        and record["seed"] < config.tuning_seeds
    ]

    def error(lr: float) -> float:
        errors = [record["validation_loss"] for record in tuning if record["lr"] == lr]
        return statistics.median(errors) if errors else math.inf

    return min(LEARNING_RATES[: config.trials], key=error)


def _tuning_runs(config: CompareConfig, points: list[Point], records: list[Record]) -> list[TrainConfig]:
    rates, seeds = LEARNING_RATES[: config.trials], range(config.tuning_seeds)
    return [_run(config, point, lr, seed) for point in points for lr in rates for seed in seeds]


def _remaining_runs(config: CompareConfig, points: list[Point], records: list[Record]) -> list[TrainConfig]:
    chosen = [(point, choose_learning_rate(config, point, records)) for point in points]
    return [_run(config, point, lr, seed) for point, lr in chosen for seed in range(config.tuning_seeds, config.seeds)]


def _all_runs(config: CompareConfig, points: list[Point], records: list[Record]) -> list[TrainConfig]:
    return _tuning_runs(config, points, records) + _remaining_runs(config, points, records)


def _run(config: CompareConfig, point: Point, lr: float, seed: int) -> TrainConfig:
    return config.train_config(cell=point.cell, hidden_size=point.hidden_size, lr=lr, seed=seed)


def _keys(runs: list[TrainConfig]) -> list[tuple[Any, ...]]:
    return [(run.cell, run.hidden_size, run.lr, run.seed) for run in runs]


def _key_of(record: Record) -> tuple[Any, ...]:
    return record["cell"], record["hidden_size"], record["lr"], record["seed"]


def _missing(wanted: list[TrainConfig], records: list[Record]) -> list[TrainConfig]:
    done = {_key_of(record) for record in records}
    return [run for run, key in zip(wanted, _keys(wanted), strict=True) if key not in done]


def _open_folder(out: Path, config: CompareConfig, data: ForecastData, overwrite: bool) -> list[Record]:
    """Check that a folder is empty or holds this very comparison; return the runs that are done."""
    options = {name: value for name, value in config.to_dict().items() if name not in _NOT_COMPARED}
    record = {"format_version": FORMAT_VERSION, "compare": options, "data": data.series.describe()}
    if (out / _CONFIG).exists():
        difference = _first_difference(read_json(out / _CONFIG), record, out)
        if difference is None:
            return _read_runs(out)
        if not overwrite:
            raise RunError(
                f"the comparison in {out} was made with {difference}; choose another folder, or pass overwrite=True "
                "(--overwrite) to start anew"
            )
        (out / _RUNS).unlink(missing_ok=True)
    elif not holds_nothing(out):
        raise RunError(f"{out} exists and holds no comparison; choose another folder")
    write_json(out / _CONFIG, record)
    return []


def _first_difference(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> str | None:
    if not isinstance(found.get("compare"), dict):
        raise RunError(f"{out} exists and holds no comparison; choose another folder")
    version = found.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version > FORMAT_VERSION:
        raise RunError(
            f"the comparison in {out} has format version {version}, this version of qkan reads up to "
            f"{FORMAT_VERSION}; update qkan or choose another folder"
        )
    for name, value in wanted["compare"].items():
        if found["compare"].get(name) != value:
            return f"{name}={found['compare'].get(name)!r}, not {value!r}"
    if found["data"] != wanted["data"]:
        return f"other values of {wanted['compare']['data']!r}"
    return None


def _read_runs(out: Path) -> list[Record]:
    import pandas as pd

    if not (out / _RUNS).exists():
        return []
    try:
        records = pd.read_csv(out / _RUNS).to_dict("records")
        [_key_of(record) for record in records]
    except (ValueError, KeyError) as error:
        raise RunError(f"cannot read {out / _RUNS}: {error}; delete it to start the comparison anew") from error
    return [{str(name): value for name, value in record.items()} for record in records]


def _write_runs(out: Path, records: list[Record]) -> None:
    import pandas as pd

    write_text(out / _RUNS, pd.DataFrame(records).to_csv(index=False))


@contextmanager
def _trainer(config: CompareConfig, data: ForecastData) -> Iterator[Any]:
    """Give a function that trains a list of runs, here or in worker processes, and yields records as they come."""
    import multiprocessing

    processes = _processes(config)
    if processes == 1:
        from qkan.forecasting.training.process_state import one_thread

        with one_thread():
            yield lambda runs: (workers.train_and_score(run, data) for run in runs)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=workers.start, initargs=(config,)
    )
    try:
        yield lambda runs: (done.result() for done in as_completed([pool.submit(workers.work, run) for run in runs]))
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()  # they write nothing, and the finished runs are on disk
        pool.shutdown(cancel_futures=True)  # its own thread reaps the workers, so the pool is what to wait for
        raise
    pool.shutdown()


def _processes(config: CompareConfig) -> int:
    return config.workers or min(_MOST_DEFAULT_WORKERS, _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
