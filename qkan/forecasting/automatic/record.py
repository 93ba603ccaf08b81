"""The run folder of a search: what was tried and how, its forecasts from the origins, the forecast and a report.

``config.json`` (options, data, and every candidate with its own and the command that tries it alone),
``environment.json``, ``candidates.csv``, ``origins.csv`` (the cross-validation frame), ``forecast.csv``,
``report.html`` and, for every network in the forecast, ``models/NAME``: a run folder of its own.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan._util.csv_cells import csv_text
from qkan.forecasting.automatic.candidates import Candidate, FittedNetwork
from qkan.forecasting.automatic.forecast import forecast_table
from qkan.forecasting.automatic.options import DEFAULT_CANDIDATES
from qkan.forecasting.automatic.summary import verdict
from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.io.files import (
    RunError,
    holds_nothing,
    only_writer,
    read_json,
    refuse_link,
    write_json,
    write_text,
)
from qkan.forecasting.runs.environment import describe_environment
from qkan.forecasting.runs.write import claim_folder, write_run
from qkan.forecasting.training.distributed import training_device

if TYPE_CHECKING:
    import pandas as pd

    from qkan.forecasting.automatic.trials import Search

FORMAT_VERSION = 1
CONFIG, FORECAST, ORIGINS, CANDIDATES, REPORT = (
    "config.json", "forecast.csv", "origins.csv", "candidates.csv", "report.html",
)  # fmt: skip
_KIND = "forecast"
_NOT_ASKED = ("data", "window", "metric", "loss", "scaler")
"""Options of a training that a search chooses."""
_CHOSEN = "The best was chosen by the very errors that are shown, so expect somewhat larger ones of what comes next."


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder that a search may not write into, before it begins.

    Raises:
        RunError: it holds something else, or a search that is not to be overwritten.
    """
    if not out.exists() or holds_nothing(out):
        return
    if not (out / CONFIG).exists() or read_json(out / CONFIG).get("kind") != _KIND:
        raise RunError(f"{out} exists and holds no automatic forecast; choose another folder")
    if not overwrite:
        raise RunError(f"there is a forecast in {out} already; choose another folder, or pass overwrite=True")


def write_search(out: Path, found: Search, levels: Sequence[float], *, overwrite: bool = False) -> list[str]:
    """Write the folder of a search; return the sentences of the forecast.

    Raises:
        RunError: as :func:`check_folder`, or it cannot be written.
        ValueError: a level is out of range.
    """
    from qkan.datasets import has_clock

    table, notes = forecast_table(found, levels)
    lines = verdict(found, found.series.unit)
    with only_writer(out):
        check_folder(out, overwrite)
        for name in (FORECAST, CANDIDATES, ORIGINS, REPORT):
            (out / name).unlink(missing_ok=True)
        refuse_link(out / "models")
        shutil.rmtree(out / "models", ignore_errors=True)
        write_json(out / CONFIG, _record(found, levels, lines))
        write_json(out / "environment.json", describe_environment(training_device(found.config.train)))
        clock = has_clock(found.series.frequency)
        write_text(out / FORECAST, csv_text(found.series.give_back(table), with_clock=clock))
        if found.parts is not None:
            write_text(out / CANDIDATES, csv_text(candidates_table(found)))
            write_text(out / ORIGINS, csv_text(found.series.give_back(found.frame()), with_clock=clock))
            _write_report(out, found, table, lines, [*found.notes, *notes])
        for one, _ in found.members:
            if isinstance(one, FittedNetwork):
                folder = out / "models" / one.name
                with only_writer(folder):
                    claim_folder(folder, overwrite)
                    write_run(folder, one.run, one.history)
    return [*found.notes, *notes]


def candidates_table(found: Search) -> pd.DataFrame:
    """Return what was tried: columns model, mae, seconds, parameters, weight, note; what was left out comes last."""
    import pandas as pd

    rows: list[dict[str, Any]] = [
        {
            "model": one.name,
            "mae": error,
            "seconds": round(one.seconds, 3),
            "parameters": one.parameters,
            "weight": round(float(weight), 4),
            "note": one.note,
        }
        for one, error, weight in zip(found.candidates, found.errors, found.weights, strict=True)
    ]
    rows += [{"model": name, "weight": 0.0, "note": why} for name, why in found.skipped.items()]
    return pd.DataFrame(rows, columns=["model", "mae", "seconds", "parameters", "weight", "note"])


def command_of(
    found: Search,
    levels: Sequence[float],
    candidates: Sequence[str] = (),
    out: str = "",
    epochs: int | None = None,
) -> str:
    """Return the command that makes a forecast again; ``candidates`` tries some of them alone, without a limit."""
    train = replace(found.config.train, epochs=epochs or found.config.train.epochs)
    words = ["qkan", "forecast", train.data]
    for option in fields(TrainConfig):
        value = getattr(train, option.name)
        if option.name in _NOT_ASKED or (value == option.default and option.name != "horizon"):
            continue
        flag = option.name.replace("_", "-")
        words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    words += ["--level", ",".join(f"{level:g}" for level in levels)] if levels else []
    asked = tuple(candidates) or found.config.candidates
    words += ["--candidates", ",".join(asked)] if asked != DEFAULT_CANDIDATES else []
    words += ["--future", found.config.future] if found.config.future else []
    nonnegative = found.config.nonnegative
    words += [] if nonnegative is None else ["--nonnegative", "yes" if nonnegative else "no"]
    budget = found.config.budget
    words += ["--budget", "none" if candidates or budget is None else f"{budget:g}s"]
    return shlex.join([*words, *(["--out", out] if out else [])])


def _record(found: Search, levels: Sequence[float], lines: Sequence[str]) -> dict[str, Any]:
    tried = [
        {
            "model": one.name,
            "options": one.options,
            "command": _command(found, levels, one),
        }
        for one in found.candidates
    ]
    return {
        "format_version": FORMAT_VERSION,
        "kind": _KIND,
        "config": found.config.to_dict(),
        "levels": list(levels),
        "data": found.series.describe(),
        "windows": None if found.parts is None else _windows(found),
        "candidates": tried,
        "skipped": found.skipped,
        "weights": {one.name: weight for one, weight in found.members},
        "seconds": round(found.seconds, 3),
        "verdict": list(lines),
        "command": None if found.config.train.data == FRAME else command_of(found, levels),
    }


def _windows(found: Search) -> dict[str, Any]:
    """What was judged by: enough to cut the same windows again."""
    parts = found.parts
    if parts is None:
        return {}
    data = parts.judged
    return {
        "window": data.window,
        "horizon": data.horizon,
        "seasons": list(data.seasons),
        "origins": len(data.test),
        "held_values": int(data.series.lengths[0] - data.boundaries[0, 1]),
        "validation_values": int(data.boundaries[0, 1] - data.boundaries[0, 0]),
    }


def _command(found: Search, levels: Sequence[float], one: Candidate) -> str | None:
    """The command that tries a candidate alone, a network with as many epochs as it had."""
    train = found.config.train
    if train.data == FRAME:
        return None
    epochs = one.options.get("train", {}).get("epochs", train.epochs)
    return command_of(found, levels, (one.asked,), f"runs/only-{one.asked}", epochs)


def _write_report(out: Path, found: Search, table: pd.DataFrame, lines: Sequence[str], notes: Sequence[str]) -> None:
    from qkan.forecasting.evaluation.metrics import mase_season
    from qkan.forecasting.evaluation.window_frame import values_of
    from qkan.forecasting.report import write_report
    from qkan.forecasting.report.chart import history_of

    parts = found.parts
    if parts is None:
        return
    data, values = parts.judged, values_of(parts.judged)
    position = values.groupby("unique_id", sort=False).cumcount().to_numpy()
    ends = data.boundaries[:, 1].repeat(data.series.lengths)
    record = found.config.train
    command = [] if record.data == FRAME else [command_of(found, ())]
    said = [*lines[:1], *lines[2:], _CHOSEN]  # without the line on naive and ridge, with which the page begins
    skipped = [f"{name} was left out: {why}." for name, why in found.skipped.items()]
    write_report(
        out / REPORT,
        found.frame(),
        title=f"{found.name} on {found.series.name}",
        season=mase_season(data),
        training=values[position < ends],
        facts={"data": found.series.name, "frequency": found.series.frequency or "steps"},
        settings={one.name: f"{one.seconds:.1f} s, {one.parameters or 0:,} parameters" for one in found.candidates},
        reference=found.name,
        notes=[*said, *notes, *skipped],
        commands=command,
        unit=found.series.unit,
        coming=table,
        history=history_of(found.series),
        wall_times=found.series.wall_times,
        overwrite=True,
    )
