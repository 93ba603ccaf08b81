"""The run folder: what one training run leaves behind, written so that a crash never leaves half a file.

``config.json`` (options, seeds, data fingerprint, scaler), ``environment.json``, ``checkpoint/`` (what resuming needs),
``history.csv``, ``model.safetensors``, ``predictions.csv``, ``metrics.json``, ``metrics_by_series.csv``, ``loss.png``,
``forecast.png`` and, last of all, ``manifest.json``: a folder without it is an unfinished run. Nothing in it is
executed when loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from qkan.forecasting.model.build import RecurrentForecaster, build_forecaster, count_parameters
from qkan.forecasting.config.options import PROCESSES, TrainConfig
from qkan.forecasting.data.load import cut_windows, load_series_of, tensors, with_whole_path
from qkan.forecasting.training.distributed import rank_of, training_device, wait_for_first
from qkan._util.files import remove_leftovers
from qkan.forecasting.io.files import (
    RunError,
    check_version,
    holds_nothing,
    make_folder,
    only_writer,
    read_bytes,
    read_json,
    write_atomic,
    write_json,
    write_text,
)
from qkan.forecasting.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Scaler
    from qkan.forecasting.training.loop import FitResult

FORMAT_VERSION = 1
_CONFIG, _MANIFEST, _WEIGHTS = "config.json", "manifest.json", "model.safetensors"
_CHECKPOINT = Path("checkpoint") / "last.ckpt"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run, read from its folder.

    Attributes:
        path: The run folder.
        config: The options it was trained with; a file's path in ``data`` is a whole one.
        model: The forecaster with its best weights, in eval mode, on the CPU.
        scaler: Scales every series as in training.
        data: What is known of the data: name, size, frequency, season, unit, fingerprint.
        metrics: ``parameters``, ``epochs``, ``best_epoch``, ``best_validation_loss``, ``train_seconds``; with a test
            part also ``mase_season``, under ``test`` the metrics of the model and of the baselines, and under
            ``test_median`` their medians over several series.
    """

    path: Path
    config: TrainConfig
    model: RecurrentForecaster = field(repr=False)
    scaler: Scaler = field(repr=False)
    data: dict[str, Any]
    metrics: dict[str, Any]
    margin: ClassVar[None] = None  # holds for inputs of any size, unlike some exported programs

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: epoch, train_loss, val_loss (if there is a validation part), lr."""
        import pandas as pd

        return pd.read_csv(self.path / "history.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        """Every target of the test part: unique_id, ds, step (1 to horizon), y (NaN if nobody observed it), yhat and
        the ends of intervals (yhat-lo-90, yhat-hi-90, ...), in original units."""
        import pandas as pd

        return pd.read_csv(self.path / "predictions.csv")


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train one forecaster, evaluate it on the test part and leave a run folder.

    With ``devices`` above 1, Lightning runs the calling script again in every further process, so the script must keep
    what is to run once under ``if __name__ == "__main__":`` and expect the same run in every process. The first process
    alone writes the folder.

    Args:
        config: What to train, on what.
        out: The run folder; made if missing.
        resume: Go on with the unfinished run in ``out`` (same data, same options but for those of processes); a
            finished one is just loaded.
        overwrite: Replace the run in ``out``, finished or not. A folder that is not a run folder is never replaced.
        progress: Told about every epoch and, a few times a second, about steps.

    Raises:
        DataError: the data cannot be used.
        KeyboardInterrupt: the user pressed Ctrl-C; ``resume=True`` goes on from the last saved epoch.
        RunError: the folder holds something already, cannot be written or does not fit to ``resume``, or the training
            diverged.
        ValueError: an option's value is unknown to the cell, the device is not there, or the processes cannot be
            started; see :func:`qkan.forecasting.training.distributed.training_device`.
    """
    from qkan.forecasting.training.first_use import compile_kernels
    from qkan.forecasting.training.loop import fit

    out, config = Path(out), with_whole_path(config)
    device, rank = training_device(config), rank_of(config)
    data = cut_windows(load_series_of(config), config)
    model = build_forecaster(config, torch.Generator().manual_seed(config.seed))
    if resume and not out.is_dir():
        raise RunError(f"there is no run to resume in {out}; leave out resume=True (--resume) to start one")
    record = run_record(config, data.series.describe(), data.scaler)
    with only_writer(out) if rank == 0 else contextlib.nullcontext():
        if _open_folder(out, record, device, rank, resume, overwrite):
            return load_run(out)
        compile_kernels(config)  # before the clock of the training runs
        result = fit(
            model.to(device),
            tensors(data.train),
            tensors(data.validation),
            config,
            checkpoint=out / _CHECKPOINT,
            resume=resume,
            progress=progress,
        )
        check_converged(result, config)
        if rank == 0:
            _write_results(out, config, model.cpu().eval(), data, result)
        if config.processes > 1:
            wait_for_first()
        return load_run(out)


def _open_folder(
    out: Path, record: dict[str, Any], device: torch.device, rank: int, resume: bool, overwrite: bool
) -> bool:
    """Let the first process make the folder ready for training; return whether it holds the finished run already."""
    from qkan.forecasting.runs.environment import describe_environment

    if resume:
        if _check_resumable(out, record):
            return True
    elif rank == 0:
        claim_folder(out, overwrite)
    if rank == 0:
        write_json(out / _CONFIG, record)
        make_folder((out / _CHECKPOINT).parent)
        remove_leftovers((out / _CHECKPOINT).parent)
        write_json(out / "environment.json", describe_environment(device))
    return False


def run_record(config: TrainConfig, data: dict[str, Any], scaler: Scaler) -> dict[str, Any]:
    """Return what ``config.json`` holds and :func:`parse_record` reads: options, data and scaler."""
    return {
        "format_version": FORMAT_VERSION,
        "config": config.to_dict(),
        "data": data,
        "scaler": scaler.to_dict(),
    }


def load_run(path: str | Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the folder is missing, unfinished, written by a newer version or damaged; the message says which.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"there is no run folder {path}; train one first")
    record = _read_record(path)
    if not (path / _MANIFEST).exists():
        raise RunError(f"the run {path} is unfinished; finish it with resume=True (--resume on the command line)")
    manifest = read_json(path / _MANIFEST)
    _check_version(path / _MANIFEST, manifest)
    config, scaler = parse_record(path / _CONFIG, record)
    model = build_forecaster(config, torch.Generator().manual_seed(config.seed))
    _load_weights(path / _WEIGHTS, model, manifest.get("sha256"))
    return Run(path, config, model.eval(), scaler, record["data"], read_json(path / "metrics.json"))


def read_config(path: str | Path) -> TrainConfig:
    """Return the options of a run, finished or not.

    Raises:
        RunError: the folder is no run folder, or its ``config.json`` is damaged or from a newer version.
    """
    path = Path(path)
    return parse_record(path / _CONFIG, _read_record(path))[0]


def _read_record(path: Path) -> dict[str, Any]:
    record = read_json(path / _CONFIG)
    _check_version(path / _CONFIG, record)
    return record


def _check_version(path: Path, content: dict[str, Any]) -> None:
    found = content.get("format_version")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise RunError(f"{path} has no format_version; {path.parent} is not a run folder, so give one")
    check_version(path, found, FORMAT_VERSION)


def parse_record(source: Path, record: dict[str, Any], again: str = "train again") -> tuple[TrainConfig, Scaler]:
    """Return options and scaler of what :func:`run_record` described.

    Args:
        source: The file that holds it.
        record: What it holds.
        again: How to get a new one, for the message.

    Raises:
        RunError: a key is missing or unknown, or a value out of its range.
    """
    from qkan.datasets import Scaler

    wanted = {"format_version", "config", "data", "scaler"}
    if set(record) != wanted or not all(isinstance(record[key], dict) for key in ("config", "data", "scaler")):
        raise RunError(f"{source} must hold exactly {sorted(wanted)}, got {sorted(record)}; {again}")
    if not isinstance(record["data"].get("fingerprint"), str) or "frequency" not in record["data"]:
        raise RunError(f"{source} lacks fingerprint or frequency of its data; restore the file or {again}")
    try:
        return TrainConfig.from_dict(record["config"]), Scaler.from_dict(record["scaler"])
    except ValueError as error:
        raise RunError(f"{source} cannot be used: {error}; restore the file or {again}") from error


def _load_weights(path: Path, model: RecurrentForecaster, sha256: object) -> None:
    import safetensors
    import safetensors.torch

    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RunError(
            f"{path} is not the file that the run wrote (its sha256 differs): it is damaged or was changed; "
            "restore the file or train again"
        )
    try:
        model.load_state_dict(safetensors.torch.load(content))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise RunError(f"the weights in {path} do not fit the model of config.json; train again") from error


def claim_folder(out: Path, overwrite: bool) -> None:
    """Empty a folder that :func:`only_writer` gave of what would make a new run look finished or resumable.

    Raises:
        RunError: the folder holds something else, or a run that is not to be overwritten.
    """
    if holds_nothing(out):
        return
    if not (out / _CONFIG).exists() or "format_version" not in read_json(out / _CONFIG):
        raise RunError(f"{out} exists and is not a run folder; choose another folder for the run")
    if not overwrite:
        raise RunError(
            f"there is a run in {out} already; choose another folder, or pass overwrite=True (--overwrite) to "
            "replace it or resume=True (--resume) to finish it"
        )
    (out / _MANIFEST).unlink(missing_ok=True)
    (out / _CHECKPOINT).unlink(missing_ok=True)


def _check_resumable(out: Path, record: dict[str, Any]) -> bool:
    """Refuse to resume another run than the one asked for; return whether the run is finished."""
    from qkan.forecasting.training.checkpoints import read_checkpoint

    if holds_nothing(out):  # killed before it had written anything
        return False
    found = _read_record(out)
    parse_record(out / _CONFIG, found)
    for name, value in record["config"].items():
        if name not in PROCESSES and found["config"].get(name, value) != value:
            raise RunError(
                f"the run in {out} was started with {name}={found['config'][name]!r}, not {value!r}; "
                "resume it with its own options or choose another folder"
            )
    if found["data"].get("fingerprint") != record["data"]["fingerprint"]:
        raise RunError(
            f"the data {record['config']['data']!r} has changed since the run in {out} was started; "
            "restore it or start a new run in another folder"
        )
    finished = (out / _MANIFEST).exists()
    if not finished and (out / _CHECKPOINT).exists():
        read_checkpoint(out / _CHECKPOINT)  # before anything is written
    return finished


def check_converged(result: FitResult, config: TrainConfig) -> None:
    """Refuse a training whose loss stopped being finite.

    Raises:
        RunError: it did.
    """
    if result.diverged:
        unscaled = " or another scaler than 'none'" if config.scaler == "none" else ""
        raise RunError(
            f"the training diverged: the loss of epoch {len(result.history)} is not finite; "
            f"use a learning rate below lr={config.lr:g}{unscaled}"
        )


def training_metrics(model: RecurrentForecaster, result: FitResult, data: ForecastData) -> dict[str, Any]:
    """Return the part of ``metrics.json`` that tells of the training."""
    return {
        "parameters": count_parameters(model),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "best_validation_loss": result.best_loss if len(data.validation) else None,
        "train_seconds": round(result.seconds, 3),
    }


def write_run(out: Path, run: Run, history: str) -> None:
    """Write a trained model that is in memory as a finished run into a folder that :func:`claim_folder` gave.

    Args:
        out: The folder.
        run: The model and what is known of it.
        history: Text of ``history.csv``.
    """
    write_json(out / _CONFIG, run_record(run.config, run.data, run.scaler))
    write_text(out / "history.csv", history)
    digest = _write_weights(out, run.model)
    write_json(out / "metrics.json", run.metrics)
    _write_manifest(out, digest)


def _write_results(
    out: Path, config: TrainConfig, model: RecurrentForecaster, data: ForecastData, result: FitResult
) -> None:
    from qkan.forecasting.baselines.simple import naive_forecasts
    from qkan.forecasting.runs.inference import forecast_quantiles
    from qkan.forecasting.evaluation.intervals import median
    from qkan.forecasting.evaluation.metrics import mase_season, median_scores, score, score_series
    from qkan.forecasting.runs.plots import save_forecast_plot, save_loss_plot

    write_text(out / "history.csv", history_csv(result.history))
    digest = _write_weights(out, model)
    quantiles = forecast_quantiles(model, data)
    forecasts = {"model": median(quantiles), **naive_forecasts(data)}
    write_text(out / "predictions.csv", _predictions_frame(config, data, quantiles).to_csv(index=False))
    by_series = score_series(data, forecasts)
    write_text(out / "metrics_by_series.csv", by_series.to_csv(index=False))
    metrics = training_metrics(model, result, data)
    metrics |= {"mase_season": mase_season(data), "test": score(data, forecasts)}
    if len(data.ids) > 1:
        metrics["test_median"] = median_scores(by_series)
    write_json(out / "metrics.json", metrics)
    save_loss_plot(out / "loss.png", result.history, result.best_epoch, loss=config.loss)
    save_forecast_plot(out / "forecast.png", data, forecasts)
    _write_manifest(out, digest)


def _write_weights(out: Path, model: RecurrentForecaster) -> str:
    """Write the weights and return their sha256."""
    import safetensors.torch

    weights = safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})
    write_atomic(out / _WEIGHTS, lambda file: file.write(weights))
    return hashlib.sha256(weights).hexdigest()


def _write_manifest(out: Path, digest: str) -> None:
    manifest = {
        "format_version": FORMAT_VERSION,
        "status": "complete",
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sha256": digest,
    }
    write_json(out / _MANIFEST, manifest)


def history_csv(rows: list[dict[str, float]]) -> str:
    """Return the text of ``history.csv``."""
    import pandas as pd

    return pd.DataFrame(rows).to_csv(index=False)


def _predictions_frame(config: TrainConfig, data: ForecastData, quantiles: Any) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from qkan.forecasting.evaluation.intervals import interval_columns, median

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
