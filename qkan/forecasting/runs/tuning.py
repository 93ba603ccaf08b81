"""The learning rates that a run tries before it trains: ``tuning.csv`` in its folder.

The table has a row for every learning rate from the beginning; one without a validation loss is still to be tried. A
trial leaves nothing but its row: the run is trained with the rate that is taken as it would be if that had been asked
for.
"""

from __future__ import annotations

import contextlib
import math
import operator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan._util.csv_cells import csv_text, read_exact
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.options import OPTIONS
from qkan.forecasting.config.tuning import Tuning
from qkan.forecasting.executors import ExecutorError
from qkan.forecasting.io.files import RunError, holds_nothing, write_text
from qkan.forecasting.runs.write import TUNING
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.progress import Progress, TuningProgress

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData

_RESULTS = ("validation_loss", "epochs", "best_epoch", "diverged", "seconds")
COLUMNS = ("lr", *_RESULTS)


def check_tuning(config: TrainConfig) -> None:
    """Refuse trials for a run that several processes train.

    Raises:
        ValueError: they do.
    """
    if config.processes > 1:
        raise ValueError(
            f"every trial of a learning rate is trained by one process, not by the {config.processes} of "
            f"devices={config.devices}; find the rate with one, and train with it"
        )


def check_judged(config: TrainConfig, data: ForecastData) -> None:
    """Refuse trials without a validation part.

    Raises:
        ValueError: there is none.
    """
    if not len(data.validation):
        raise ValueError(
            f"trials of learning rates are judged by the validation part, which split={config.split} leaves empty; "
            "give it a share, or leave them out"
        )


def read_tuning(path: Path) -> pd.DataFrame:
    """Return the table of a run folder.

    Raises:
        RunError: it is damaged.
    """
    try:
        table = read_exact(path)
        if list(table) != list(COLUMNS) or len(table) < 2 or table["lr"].duplicated().any():
            raise ValueError("it holds no trials of learning rates")
        for name in COLUMNS:
            if name != "diverged":
                table[name].astype(float)
        for rate in table["lr"]:
            OPTIONS["lr"].check("lr", rate)
    except (ValueError, KeyError, OSError) as error:
        raise RunError(f"cannot read {path}: {error}; restore the file, or train again in another folder") from error
    return table


def planned_trials(out: Path) -> int | None:
    """Return how many learning rates a run folder tries or has tried; ``None`` where it tries none."""
    return len(read_tuning(out / TUNING)) if (out / TUNING).exists() else None


def asked_again(out: Path, tune: Tuning | None) -> Tuning | None:
    """Return how an interrupted run goes on with its trials: as it began, where the caller says.

    Raises:
        RunError: it began with another number of them, or without.
    """
    trials = planned_trials(out)
    if tune is not None and (trials is None or list(tune.rates) != read_tuning(out / TUNING)["lr"].tolist()):
        began = "without trials" if trials is None else f"with {trials} trials"
        raise RunError(
            f"the run in {out} was started {began} of learning rates, not with {tune.trials}; resume it as it was "
            "started, or choose another folder"
        )
    return tune if tune is not None or trials is None else Tuning(trials=trials)


def forget_listed(out: Path, tune: Tuning | None) -> Tuning | None:
    """Remove a table without results that is all there is of a run: it was killed before its options were written.

    Returns:
        how a resumed run finds its learning rate: as the caller says, else as that table does.
    """
    path = out / TUNING
    if path.exists() and holds_nothing(out, but=TUNING):
        with contextlib.suppress(RunError):  # a file of the user
            table = read_tuning(path)
            if table["validation_loss"].isna().all():
                path.unlink()
                return tune or Tuning(trials=len(table))
    return tune


def begin(out: Path, tune: Tuning) -> None:
    """Write the table without results."""
    _write(out, [{"lr": rate} for rate in tune.rates])


def find_rate(out: Path, config: TrainConfig, data: ForecastData, tune: Tuning, progress: Progress | None) -> float:
    """Try what is not tried yet, and return the learning rate of the lowest validation error; the first of equals.

    Args:
        out: The run folder, whose table was begun.
        config: The options of the run; its own learning rate counts for nothing.
        data: What it is trained on.
        tune: Where the trials run.
        progress: Told about every trial, if it has the methods of :class:`TuningProgress`.

    Raises:
        ModuleNotFoundError, RunError: as of :func:`qkan.forecasting.training.trials.start_trials`; or all diverged.
    """
    rows: list[dict[str, Any]] = [{str(name): own for name, own in row.items()} for row in _rows(out)]
    missing = [place for place, row in enumerate(rows) if math.isnan(row["validation_loss"])]
    if missing:
        check_tuning(config)
        check_judged(config, data)
        _try(out, config, data, tune, rows, missing, progress)
    best = min(rows, key=operator.itemgetter("validation_loss"))
    if math.isinf(best["validation_loss"]):
        raise RunError(
            f"all {len(rows)} trials diverged, down to a learning rate of {min(row['lr'] for row in rows):g}; choose a "
            "lower one without trials, or another scaler"
        )
    return float(best["lr"])


def _try(
    out: Path,
    config: TrainConfig,
    data: ForecastData,
    tune: Tuning,
    rows: list[dict[str, Any]],
    missing: list[int],
    progress: Progress | None,
) -> None:
    """Try learning rates, and put what comes of each into its row and on the disk at once."""
    from qkan.forecasting.training.trials import start_trials

    told = progress if isinstance(progress, TuningProgress) else None
    where: dict[str, Any] = {"executor": tune.executor, "workers": tune.workers, "device": config.device}
    if told is not None:
        told.trials_start(len(rows), len(rows) - len(missing))
    try:
        with start_trials(try_rate, data, **where, name=_name_of) as (device, do_all):
            jobs = [replace(config, lr=rows[place]["lr"], device=device) for place in missing]
            for number, result in do_all(jobs):
                rows[missing[number]] |= result
                _write(out, rows)
                if told is not None:
                    told.trial(rows[missing[number]])
    except ExecutorError as error:
        raise ExecutorError(
            f"{error}; the finished trials are kept, and resume=True goes on there, with any executor"
        ) from error
    if told is not None:
        told.trials_finish()


def try_rate(data: ForecastData, config: TrainConfig) -> dict[str, Any]:
    """Train with one thread, wherever it is done, and return the results of its row. Test errors are not computed."""
    from qkan.forecasting.training.process_state import one_thread

    with one_thread():
        fitted = fit_forecaster(config, data)
    loss = math.inf if fitted.result.diverged else fitted.result.best_loss
    row = fitted.outline() | {"validation_loss": loss}
    return {name: row[name] for name in _RESULTS}


def _rows(out: Path) -> list[dict[Any, Any]]:
    return read_tuning(out / TUNING).to_dict("records")


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    counts = {name: table[name].astype("Int64") for name in ("epochs", "best_epoch")}  # with missing ones
    write_text(out / TUNING, csv_text(table.assign(**counts)))


def _name_of(config: TrainConfig) -> str:
    return f"the trial of the learning rate {config.lr:g}"
