"""Writing a run folder; a crash never leaves half a file, and the manifest comes last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qkan._util.csv_cells import csv_text
from qkan.forecasting.evaluation.intervals import interval_columns, median
from qkan.forecasting.io.files import (
    RunError,
    holds_nothing,
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
    from qkan.forecasting.runs.inference import Evaluation
    from qkan.forecasting.runs.run import Run

MANIFEST, WEIGHTS, METRICS = "manifest.json", "model.safetensors", "metrics.json"
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
            f"there is a run in {out} already; choose another folder, or pass overwrite=True (--overwrite) to "
            "replace it or resume=True (--resume) to finish it"
        )
    refuse_link((out / CHECKPOINT).parent)
    (out / MANIFEST).unlink(missing_ok=True)
    (out / CHECKPOINT).unlink(missing_ok=True)


def write_run(out: Path, run: Run, history: Sequence[Mapping[str, float]]) -> None:
    """Write a trained model that is in memory as a finished run into a folder that :func:`claim_folder` gave.

    Args:
        out: The folder.
        run: The model and what is known of it.
        history: One row per epoch.
    """
    write_json(out / CONFIG, run_record(run.config, run.data, run.scaler))
    write_text(out / "history.csv", csv_text(pd.DataFrame(history)))
    digest = _write_weights(out, run.model)
    write_json(out / METRICS, run.metrics)
    manifest = {
        "format_version": FORMAT_VERSION,
        "status": "complete",
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sha256": digest,
    }
    write_json(out / MANIFEST, manifest)


def write_evaluation(out: Path, config: TrainConfig, data: ForecastData, found: Evaluation) -> None:
    """Write forecasts and errors on the test part: ``predictions.csv``, ``metrics_by_series.csv``, ``forecast.png``."""
    from qkan.datasets import has_clock
    from qkan.forecasting.runs.plots import save_forecast_plot

    series = data.series
    table = series.give_back(_predictions_frame(config, data, found.quantiles))
    text = csv_text(table, with_clock=has_clock(series.frequency))
    write_text(out / "predictions.csv", text)
    write_text(out / "metrics_by_series.csv", csv_text(series.give_back(found.by_series)))
    save_forecast_plot(out / "forecast.png", data, found.forecasts)


def _write_weights(out: Path, model: RecurrentForecaster) -> str:
    """Write the weights and return their sha256."""
    import safetensors.torch

    weights = safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})
    write_atomic(out / WEIGHTS, lambda file: file.write(weights))
    return hashlib.sha256(weights).hexdigest()


def _predictions_frame(config: TrainConfig, data: ForecastData, quantiles: np.ndarray) -> pd.DataFrame:
    windows, horizon = data.test, data.horizon
    ends = interval_columns(config)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(data.ids, dtype=object)[windows.series], horizon),
            "ds": data.target_times("test").ravel(),
            "step": np.tile(np.arange(1, horizon + 1), len(windows)),
            "y": np.where(data.target_observed("test"), data.target_values("test"), np.nan).ravel(),
            "yhat": median(quantiles).ravel(),
            **{f"yhat{ending}": quantiles[:, :, place].ravel() for ending, place in ends.items()},
        }
    )
