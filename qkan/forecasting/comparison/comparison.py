"""The honest comparison: every cell gets the same budget of sizes, learning rates and seeds.

For every cell and parameter budget: the largest hidden size that fits; a few learning rates of one grid, tried with
the first seed or seeds and chosen by the validation error; then the other seeds with the chosen one. Test errors
choose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan._util.csv_cells import csv_text, read_exact
from qkan.forecasting.baselines import check_baselines
from qkan.forecasting.comparison import workers
from qkan.forecasting.comparison.baseline_runs import BASELINES, left_out, losses_path, run_baselines
from qkan.forecasting.comparison.plan import (
    Point,
    Record,
    Skipped,
    key_of,
    plan_points,
    remaining_runs,
    run_name,
    runs_in_all,
    tuning_runs,
)
from qkan.forecasting.comparison.significance import write_losses
from qkan.forecasting.config import CompareConfig
from qkan.forecasting.executors import check_executor
from qkan.forecasting.io.files import RunError, holds_nothing, only_writer, read_json, write_json, write_text
from qkan.forecasting.training.progress import CompareProgress, SilentCompare

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData

FORMAT_VERSION = 1
_CONFIG, _ENVIRONMENT, _RUNS = "config.json", "environment.json", "runs.csv"
_NOT_COMPARED = ("out", "workers", "executor")  # options that change no result


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found; the same tables are in its folder.

    Attributes:
        path: The folder.
        config: What was compared.
        table: One row per cell, at the size with the lowest median validation error, then one per baseline.
        points: One row per cell and size.
        runs: One row per training run.
        baselines: One row per baseline.
        skipped: Cells and budgets that do not fit.
        conclusion: Which simple method would have done as well, in words.
        left_out: Which baselines are missing, and why, in words.

    Examples:
        >>> from qkan.forecasting import CompareConfig, compare
        >>> config = CompareConfig(
        ...     data="damped-shm", cells=("lstm",), budget_params=(150,), out="compared",
        ...     seeds=1, trials=1, epochs=1, workers=1,
        ... )
        >>> found = compare(config)
        >>> len(found.runs), len(found.skipped)
        (1, 0)
    """

    path: Path
    config: CompareConfig
    table: pd.DataFrame = field(repr=False)
    points: pd.DataFrame = field(repr=False)
    runs: pd.DataFrame = field(repr=False)
    baselines: pd.DataFrame = field(repr=False)
    skipped: tuple[Skipped, ...]
    conclusion: str
    left_out: tuple[str, ...] = ()


def compare(
    config: CompareConfig,
    *,
    overwrite: bool = False,
    progress: CompareProgress | None = None,
    folds: Sequence[ForecastData] | None = None,
) -> Comparison:
    """Compare cells on one data set and leave tables and a plot in ``config.out``.

    An interrupted comparison goes on where it stopped when called again with the same options.

    Args:
        config: What to compare.
        overwrite: Start anew where ``config.out`` holds a comparison with other options.
        progress: Told about every baseline and training run.
        folds: The windows that ``config`` asks for; ``None`` reads and cuts them.

    Raises:
        DataError: the data cannot be used.
        KeyboardInterrupt: the user pressed Ctrl-C; the finished runs are kept.
        ModuleNotFoundError: Ray is asked for and not installed.
        NotInstalled: a baseline needs a package that is not there.
        RunError: the folder holds something else, or cannot be written.
        ValueError: an option's value is unknown to a cell, or no cell fits any budget.

    Examples:
        >>> from qkan.forecasting import CompareConfig, compare
        >>> config = CompareConfig(
        ...     data="damped-shm", cells=("lstm",), budget_params=(150,), out="compared",
        ...     seeds=1, trials=1, epochs=1, workers=1,
        ... )
        >>> found = compare(config)
        >>> found.path.name
        'compared'
    """
    from qkan.forecasting.comparison.folds import cut_folds
    from qkan.forecasting.data.load import as_cut, load_series_of
    from qkan.forecasting.runs.environment import describe_environment
    from qkan.forecasting.training.distributed import resolve_device

    out = Path(config.out)
    progress = progress or SilentCompare()
    device = resolve_device(config.device)
    check_baselines(config.baselines)
    check_executor(config.executor)
    data = list(cut_folds(load_series_of(config), config) if folds is None else folds)
    config = as_cut(config, data[0])
    points, skipped = plan_points(config)
    with only_writer(out):
        records = _open_folder(out, config, data[-1], overwrite)
        if not records:
            write_json(out / _ENVIRONMENT, describe_environment(device))
        baselines = run_baselines(out, config, data, progress)
        _train_missing(out, config, data, points, records, progress)
        comparison = write_comparison(config, data, points, skipped, records, baselines)
    progress.finish()
    return comparison


def _train_missing(
    out: Path,
    config: CompareConfig,
    data: list[ForecastData],
    points: list[Point],
    records: list[Record],
    progress: CompareProgress,
) -> None:
    """Train what is not among the records, add it to them and put them in the order of the plan."""
    progress.start(runs_in_all(config, points), len(records))
    with workers.trainer(config, data) as train_all:
        tuning = tuning_runs(config, points)
        for find in (lambda: tuning, lambda: remaining_runs(config, points, records)):
            done = {key_of(record) for record in records}
            for record, losses in train_all([run for run in find() if key_of(run) not in done]):
                write_losses(losses_path(out, record["fold"], run_name(record)), losses)
                records.append(record)
                _write_runs(out, records)
                progress.run(record)
    planned = tuning + remaining_runs(config, points, records)
    order = {key_of(run): place for place, run in enumerate(planned)}
    records.sort(key=lambda record: order[key_of(record)])
    _write_runs(out, records)


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
                "to start anew"
            )
        for name in (_RUNS, BASELINES):
            (out / name).unlink(missing_ok=True)
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
    if not (out / _RUNS).exists():
        return []
    try:
        records = read_exact(out / _RUNS).to_dict("records")
        [key_of(record) for record in records]
    except (ValueError, KeyError) as error:
        raise RunError(f"cannot read {out / _RUNS}: {error}; delete it to start the comparison anew") from error
    return [{str(name): value for name, value in record.items()} for record in records]


def _write_runs(out: Path, records: list[Record]) -> None:
    import pandas as pd

    write_text(out / _RUNS, csv_text(pd.DataFrame(records)))


def write_comparison(
    config: CompareConfig,
    folds: Sequence[ForecastData],
    points: list[Point],
    skipped: list[Skipped],
    records: list[Record],
    baselines: Sequence[Mapping[str, Any]],
) -> Comparison:
    """Write ``points.csv``, ``comparison.csv``, ``comparison.md`` and ``comparison.png``; return them as an object."""
    import pandas as pd

    from qkan.forecasting.comparison.page import comparison_page
    from qkan.forecasting.comparison.plots import save_comparison_plot
    from qkan.forecasting.comparison.tables import baseline_table, main_table, points_table
    from qkan.forecasting.runs.plots import draw_or_warn

    out, series = Path(config.out), folds[0].series
    all_points = points_table(config, points, records)
    simple = baseline_table(config, baselines)
    table, conclusion = main_table(config, all_points, simple, records, folds[0].horizon)
    write_text(out / "points.csv", csv_text(all_points))
    write_text(out / "comparison.csv", csv_text(table))
    page = comparison_page(config, folds[0], table, all_points, skipped, baselines, conclusion)
    write_text(out / "comparison.md", page)
    plot = out / "comparison.png"
    draw_or_warn(
        plot,
        lambda: save_comparison_plot(
            plot, all_points, simple, title=series.name, unit=series.unit, metric=config.judged_by
        ),
    )
    return Comparison(
        out, config, table, all_points, pd.DataFrame(records), simple, tuple(skipped), conclusion,
        tuple(left_out(baselines, config.folds)),
    )  # fmt: skip
