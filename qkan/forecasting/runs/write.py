"""Writing a run folder; a crash never leaves half a file, and the manifest comes after all results."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qkan._util.csv_cells import csv_text, unguarded
from qkan.forecasting.evaluation.frames import check_frame
from qkan.forecasting.evaluation.intervals import interval_columns, median
from qkan.forecasting.io.files import (
    RunError,
    holds_nothing,
    read_bytes,
    read_json,
    refuse_link,
    write_atomic,
    write_json,
    write_text,
)
from qkan.forecasting.runs.record import CONFIG, FORMAT_VERSION, run_record

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.model.build import RecurrentForecaster
    from qkan.forecasting.runs.evaluation import Evaluation
    from qkan.forecasting.runs.run import Run

MANIFEST, WEIGHTS, METRICS = "manifest.json", "model.safetensors", "metrics.json"
VALIDATION, HISTORY, PREDICTIONS, BY_SERIES = (
    "validation.csv", "history.csv", "predictions.csv", "metrics_by_series.csv",
)  # fmt: skip
TUNING = "tuning.csv"
SUMMED = (WEIGHTS, METRICS, VALIDATION, HISTORY, PREDICTIONS, BY_SERIES, TUNING)
"""The files whose sums the manifest holds."""
CHECKPOINT = Path("checkpoint") / "last.ckpt"


def claim_folder(out: Path, overwrite: bool) -> None:
    """Empty a folder that :func:`only_writer` gave of what would make a new run look finished or resumable.

    Raises:
        RunError: the folder holds something else, or a run that is not to be overwritten.
    """
    if holds_nothing(out):
        return
    if not (out / CONFIG).exists() or "format_version" not in read_json(out / CONFIG):
        raise RunError(f"{out} exists and is not a run folder; choose another folder for the run")
    if not overwrite:
        raise RunError(
            f"there is a run in {out} already; choose another folder, or pass overwrite=True to "
            "replace it or resume=True to finish it"
        )
    refuse_link((out / CHECKPOINT).parent)
    for own in (out / MANIFEST, out / TUNING, *checkpoints_in(out)):
        own.unlink(missing_ok=True)


def checkpoints_in(out: Path) -> list[Path]:
    """Return the checkpoints in a run folder: one for every start of a training with restarts."""
    return sorted((out / CHECKPOINT).parent.glob(f"{CHECKPOINT.stem}*{CHECKPOINT.suffix}"))


def write_run(out: Path, run: Run, history: Sequence[Mapping[str, float]]) -> None:
    """Write a trained model that is in memory as a finished run into a folder that :func:`claim_folder` gave.

    Args:
        out: The folder.
        run: The model and what is known of it.
        history: One row per epoch.
    """
    write_json(out / CONFIG, run_record(run.config, run.data, run.scaler))
    write_text(out / HISTORY, csv_text(pd.DataFrame(history)))
    _write_weights(out, run.model)
    write_json(out / METRICS, run.metrics)
    (out / VALIDATION).unlink(missing_ok=True)  # that of a run which this one replaces
    if run.kept_validation is not None:
        write_text(out / VALIDATION, csv_text(run.kept_validation))
    manifest = {
        "format_version": FORMAT_VERSION,
        "status": "complete",
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sha256": {name: _sha256(read_bytes(out / name)) for name in SUMMED if (out / name).exists()},
    }
    write_json(out / MANIFEST, manifest)


def check_sum(folder: Path, name: str, sums: object) -> None:
    """Refuse a file of a run folder that is not as :func:`write_run` left it.

    Args:
        folder: The run folder.
        name: The file.
        sums: What its manifest says under ``sha256``.

    Raises:
        RunError: it was changed.
    """
    if not isinstance(sums, dict) or _sha256(read_bytes(folder / name)) != sums.get(name):
        raise RunError(
            f"{folder / name} is not the file that the run wrote (its sha256 differs): it is damaged or was changed; "
            "restore the file or train again"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_validation(folder: Path, model: str, frequency: str | None) -> pd.DataFrame:
    """Read what :func:`write_run` wrote of the validation part.

    Args:
        folder: The run folder.
        model: Name of the model.
        frequency: Of the data; ``None`` for whole-number times.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / VALIDATION
    try:
        texts = pd.read_csv(io.BytesIO(read_bytes(path)), dtype=str, keep_default_na=False)
        times = (lambda own: own.astype(np.int64)) if frequency is None else pd.to_datetime
        frame = texts.assign(
            **{name: times(texts[name]) for name in ("ds", "cutoff")},
            step=texts["step"].astype(np.int64),
            **{name: texts[name].astype(np.float64) for name in ("y", model)},  # exactly as it was written
            unit=texts["unit"].replace("", "nan").astype(np.float64),
        )
        units, frame["unique_id"] = frame["unit"], unguarded(frame["unique_id"])
        return check_frame(frame.drop(columns="unit"), (model,)).assign(unit=units)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"cannot read {path}: {error}; restore the file, or train again in another folder") from error


def write_evaluation(out: Path, config: TrainConfig, data: ForecastData, found: Evaluation) -> None:
    """Write forecasts and errors on the test part: ``predictions.csv`` and ``metrics_by_series.csv``."""
    from qkan.datasets import has_clock, notice

    series, kept = data.series, found.kept
    if len(kept) < len(data.test):
        notice(
            f"{PREDICTIONS} holds {len(kept):,} of {len(data.test):,} windows of the test part, evenly spread; the "
            "errors are those of all"
        )
    thinned = replace(data, test=data.test.pick(kept))
    table = series.give_back(_predictions_frame(config, thinned, found.quantiles))
    write_text(out / PREDICTIONS, csv_text(table, with_clock=has_clock(series.frequency)))
    write_text(out / BY_SERIES, csv_text(series.give_back(found.by_series)))


def _write_weights(out: Path, model: RecurrentForecaster) -> None:
    import safetensors.torch

    weights = safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})
    write_atomic(out / WEIGHTS, lambda file: file.write(weights))


def _predictions_frame(config: TrainConfig, data: ForecastData, quantiles: np.ndarray) -> pd.DataFrame:
    windows, horizon = data.test, data.horizon
    ends, name = interval_columns(config), config.model_name
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(data.ids, dtype=object)[windows.series], horizon),
            "ds": data.target_times("test").ravel(),
            "cutoff": np.repeat(data.series.times_at(data.target_rows("test")[:, 0] - 1), horizon),
            "y": np.where(data.target_observed("test"), data.target_values("test"), np.nan).ravel(),
            name: median(quantiles).ravel(),
            **{f"{name}{ending}": quantiles[:, :, place].ravel() for ending, place in ends.items()},
        }
    )
