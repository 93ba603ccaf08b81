"""The run folder: what one training run leaves behind, written so that a crash never leaves half a file.

``config.json`` (options, seeds, data fingerprint, scaler), ``environment.json``, ``checkpoint/`` (what resuming needs),
``tuning.csv`` (the learning rates that were tried, if any), ``history.csv``, ``model.safetensors``, ``validation.csv``
(what conformal intervals are made of), ``predictions.csv``, ``metrics.json``, ``metrics_by_series.csv`` and, after all
of them, ``manifest.json``: a folder without it is an unfinished run. The plots ``loss.png`` and ``forecast.png`` come
last. Nothing in the folder is executed when loaded.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from qkan._util.csv_cells import read_exact, unguarded
from qkan._util.files import remove_leftovers
from qkan.forecasting.config import PROCESSES, TrainConfig, Tuning
from qkan.forecasting.data.load import as_cut, load_windows, with_whole_path
from qkan.forecasting.executors import check_executor
from qkan.forecasting.io.files import (
    RunError,
    holds_nothing,
    make_folder,
    only_writer,
    read_bytes,
    read_json,
    refuse_link,
    write_json,
)
from qkan.forecasting.model.build import RecurrentForecaster, build_forecaster, check_size
from qkan.forecasting.runs import tuning
from qkan.forecasting.runs.inference import validation_frame
from qkan.forecasting.runs.record import CONFIG, check_format, check_record, parse_record, read_record, run_record
from qkan.forecasting.runs.write import (
    CHECKPOINT,
    HISTORY,
    MANIFEST,
    METRICS,
    PREDICTIONS,
    TUNING,
    VALIDATION,
    WEIGHTS,
    check_sum,
    checkpoints_in,
    claim_folder,
    read_validation,
)
from qkan.forecasting.training.distributed import (
    children_end_on_failure,
    rank_of,
    sharing_of,
    training_device,
    wait_for_first,
)
from qkan.forecasting.training.fitting import Fitted, fit_forecaster
from qkan.forecasting.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Scaler


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run, read from its folder.

    Attributes:
        path: The run folder.
        config: The options it was trained with; a file's path in ``data`` is a whole one.
        model: The forecaster with its best weights, in eval mode, on the CPU.
        scaler: Scales every series as in training.
        data: What is known of the data: name, size, frequency, season, unit, fingerprint.
        metrics: ``parameters``, ``epochs``, ``best_epoch``, ``best_validation_loss``, ``train_seconds`` and, if there
            is one, ``gate`` (``open`` or ``closed``); with a test part also ``mase_season``, ``without_mase`` (how many
            series have none), under ``test`` the metrics of the model and of the baselines, under ``test_median`` their
            medians over several series, and under ``protocol`` the errors of
            :func:`qkan.forecasting.evaluation.protocols.protocol_scores` if one was asked for.
        kept_validation: What :attr:`validation` is, where it is not in the folder.
        sums: The sha256 of the files in the folder, which are compared when they are read; ``None`` if it was not read
            from there.

    Examples:
        >>> from qkan.forecasting import load_run
        >>> run = load_run("runs/demo")
        >>> run.config.cell, run.metrics["epochs"] > 0
        ('qkan', True)
    """

    path: Path
    config: TrainConfig
    model: RecurrentForecaster = field(repr=False)
    scaler: Scaler = field(repr=False)
    data: dict[str, Any]
    metrics: dict[str, Any]
    kept_validation: pd.DataFrame | None = field(default=None, repr=False)
    sums: dict[str, str] | None = field(default=None, repr=False)
    margin: ClassVar[None] = None  # holds for inputs of any size, unlike some exported programs

    @classmethod
    def of(cls, fitted: Fitted, path: Path) -> Run:
        """Return what was trained as a run without a test part; its model goes to the CPU."""
        data = fitted.data
        model = fitted.model.cpu().eval()
        validation = validation_frame(model, fitted.config, data)
        return cls(path, fitted.config, model, data.scaler, data.series.describe(), fitted.metrics(), validation)

    @property
    def validation(self) -> pd.DataFrame | None:
        """Observed targets of the validation part, for conformal intervals: see
        :func:`qkan.forecasting.runs.inference.validation_frame`; ``None`` if there is none.

        Raises:
            RunError: the file in the run folder is damaged.
        """
        if self.kept_validation is None and (self.path / VALIDATION).exists():
            found = read_validation(self.path, self.config.model_name, self.data["frequency"])
            self._check(VALIDATION)
            return found
        return self.kept_validation

    def _check(self, name: str) -> None:
        if self.sums is not None:
            check_sum(self.path, name, self.sums)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: epoch, train_loss, val_loss (if there is a validation part), lr."""
        self._check(HISTORY)
        return read_exact(self.path / HISTORY)

    @property
    def tuning(self) -> pd.DataFrame | None:
        """One row per learning rate that was tried: lr, validation_loss (infinite where it diverged), epochs,
        best_epoch, diverged, seconds; ``None`` if none was."""
        if not (self.path / TUNING).exists():
            return None
        self._check(TUNING)
        return tuning.read_tuning(self.path / TUNING)

    @property
    def predictions(self) -> pd.DataFrame:
        """Targets of the test part, of more than half a million those of every k-th window: unique_id, ds, cutoff (the
        last time that the model saw), y (NaN if nobody observed it), the model's name (``QKAN-LSTM``) and the ends of
        its intervals (``QKAN-LSTM-lo-90``, ...), in original units: what libraries for evaluation read."""
        import pandas as pd

        self._check(PREDICTIONS)
        path = self.path / PREDICTIONS
        numbers = [name for name in pd.read_csv(path, nrows=0).columns if name != "unique_id"]  # an id "NA" is one
        form: dict[str, Any] = {"dtype": {"unique_id": str}, "na_values": {key: [""] for key in numbers}}
        table = read_exact(path, keep_default_na=False, **form)
        return table.assign(unique_id=unguarded(table["unique_id"]))


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tune: Tuning | None = None,
    progress: Progress | None = None,
    data: ForecastData | None = None,
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
        tune: Learning rates to try first, of which the one with the lowest validation error takes the place of
            ``config.lr``; the run is then that of a training with it, and ``tuning.csv`` beside it. A script keeps the
            call under ``if __name__ == "__main__":``. A resumed run goes on with the trials it began with; here is
            where they run.
        progress: Told about every epoch and, a few times a second, about steps.
        data: The windows that ``config`` asks for; ``None`` reads and cuts them.

    Raises:
        DataError: the data cannot be used.
        KeyboardInterrupt: the user pressed Ctrl-C; ``resume=True`` goes on from the last saved epoch.
        ModuleNotFoundError: Ray is asked for and not installed.
        RunError: the folder holds something already, cannot be written or does not fit to ``resume``, or the training
            or all trials diverged, or whoever does the trials is gone.
        ValueError: an option's value is unknown to the cell, the device is not there, there is nothing to tune by, or
            the processes cannot be started; see :func:`qkan.forecasting.training.distributed.training_device`.

    Examples:
        >>> from qkan.forecasting import TrainConfig, train
        >>> run = train(TrainConfig(data="traffic.csv", epochs=1), "runs/traffic", overwrite=True)
        >>> run.path.name
        'traffic'
    """
    out, config = Path(out), with_whole_path(config)
    if tune is not None:
        tuning.check_tuning(config)
        check_executor(tune.executor)
    device, rank = training_device(config), rank_of(config)
    with children_end_on_failure():
        return _train(config, out, (device, rank), data, progress, resume=resume, overwrite=overwrite, tune=tune)


def _train(
    config: TrainConfig,
    out: Path,
    place: tuple[torch.device, int],
    data: ForecastData | None,
    progress: Progress | None,
    *,
    resume: bool,
    overwrite: bool,
    tune: Tuning | None,
) -> Run:
    """:func:`train`; ``place`` is the device and the number of this process."""
    device, rank = place
    data = load_windows(config, sharing_of(config)) if data is None else data
    config = as_cut(config, data)
    check_size(config)
    if resume and not out.is_dir():
        raise RunError(f"there is no run to resume in {out}; leave out resume=True to start one")
    if tune is not None:
        tuning.check_judged(config, data)
    record = run_record(config, data.series.describe(), data.scaler)
    with only_writer(out) if rank == 0 else contextlib.nullcontext():
        if rank == 0:
            listed = tuning.forget_listed(out, tune)
            tune = listed if resume else tune
        tune = tuning.asked_again(out, tune) if resume and not holds_nothing(out) else tune
        if _open_folder(out, record, (device, rank), resume, overwrite, tune):
            return load_run(out)
        if tune is not None:
            config = replace(config, lr=tuning.find_rate(out, config, data, tune, progress))
            if rank == 0:
                write_json(out / CONFIG, run_record(config, data.series.describe(), data.scaler))
        fitted = fit_forecaster(config, data, checkpoint=out / CHECKPOINT, resume=resume, progress=progress)
        fitted.check_converged()
        run = Run.of(fitted, out)
        if rank == 0:
            run = _evaluate_and_write(run, fitted)
        if config.processes > 1:
            wait_for_first()
        return replace(run, metrics=read_json(out / METRICS)) if rank else run


def _evaluate_and_write(run: Run, fitted: Fitted) -> Run:
    """Write what a finished run folder holds; return the run with the metrics of its test part."""
    from qkan.forecasting.evaluation.metrics import mase_season
    from qkan.forecasting.evaluation.protocols import protocol_scores
    from qkan.forecasting.runs.evaluation import evaluate_model
    from qkan.forecasting.runs.plots import draw_or_warn, save_forecast_plot, save_loss_plot
    from qkan.forecasting.runs.write import write_evaluation, write_run

    found = evaluate_model(run.model, run.config.model_name, fitted.data)
    metrics = run.metrics | {
        "mase_season": mase_season(fitted.data),
        "without_mase": found.without_mase,
        "test": found.scores,
    }
    if run.config.protocol is not None:
        metrics["protocol"] = protocol_scores(run.config.protocol, fitted.data, found.forecasts)
    if found.medians is not None:
        metrics["test_median"] = found.medians
    run = replace(run, metrics=metrics)
    write_evaluation(run.path, run.config, fitted.data, found)
    result, plots = fitted.result, (run.path / "loss.png", run.path / "forecast.png")
    write_run(run.path, run, result.history)
    draw_or_warn(plots[0], lambda: save_loss_plot(plots[0], result.history, result.best_epoch, loss=run.config.loss))
    draw_or_warn(plots[1], lambda: save_forecast_plot(plots[1], found.data, found.forecasts))
    return run


def _open_folder(
    out: Path,
    record: dict[str, Any],
    place: tuple[torch.device, int],
    resume: bool,
    overwrite: bool,
    tune: Tuning | None,
) -> bool:
    """Let the first process make the folder ready for training; return whether it holds the finished run already."""
    from qkan.forecasting.runs.environment import describe_environment

    device, rank = place
    begun = False
    if resume:
        if _check_resumable(out, record):
            return True
        begun = (out / CONFIG).exists() and (out / TUNING).exists()
    elif rank == 0:
        claim_folder(out, overwrite)
    if rank == 0:
        if not begun:  # a learning rate that was found is kept until it is found again
            if tune is not None:
                tuning.begin(out, tune)
            write_json(out / CONFIG, record)
        refuse_link((out / CHECKPOINT).parent)
        make_folder((out / CHECKPOINT).parent)
        remove_leftovers((out / CHECKPOINT).parent)
        write_json(out / "environment.json", describe_environment(device))
    return False


def load_run(path: str | Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the folder is missing, unfinished, written by a newer version or damaged; the message says which.

    Examples:
        >>> from qkan.forecasting import load_run
        >>> load_run("runs/demo").config.hidden_size
        2
    """
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"there is no run folder {path}; train one first")
    record = read_record(path)
    if not (path / MANIFEST).exists():
        raise RunError(f"the run {path} is unfinished; finish it with resume=True")
    manifest = read_json(path / MANIFEST)
    check_format(path / MANIFEST, manifest)
    config, scaler = parse_record(path / CONFIG, record)
    model = build_forecaster(config, torch.Generator().manual_seed(config.seed))
    sums = manifest.get("sha256")
    _load_weights(path, model, sums)
    metrics = read_json(path / METRICS)
    check_record(path / CONFIG, record)
    check_sum(path, METRICS, sums)
    return Run(path, config, model.eval(), scaler, record["data"], metrics, sums=sums)


def read_config(path: str | Path) -> TrainConfig:
    """Return the options of a run, finished or not.

    Raises:
        RunError: the folder is no run folder, or its ``config.json`` is damaged or from a newer version.

    Examples:
        >>> from qkan.forecasting import read_config
        >>> read_config("runs/demo").hidden_size
        2
    """
    path = Path(path)
    record = read_record(path)
    config, _ = parse_record(path / CONFIG, record)
    check_record(path / CONFIG, record)
    return config


def _load_weights(folder: Path, model: RecurrentForecaster, sums: object) -> None:
    import safetensors
    import safetensors.torch

    check_sum(folder, WEIGHTS, sums)
    try:
        model.load_state_dict(safetensors.torch.load(read_bytes(folder / WEIGHTS)))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise RunError(f"the weights in {folder / WEIGHTS} do not fit the model of config.json; train again") from error


def _check_resumable(out: Path, record: dict[str, Any]) -> bool:
    """Refuse to resume another run than the one asked for; return whether the run is finished."""
    from qkan.forecasting.training.checkpoints import read_checkpoint

    if holds_nothing(out):  # killed before it had written anything
        return False
    found = read_record(out)
    parse_record(out / CONFIG, found)
    free = (*PROCESSES, "lr") if (out / TUNING).exists() else PROCESSES
    for name, value in record["config"].items():
        if name not in free and found["config"].get(name, value) != value:
            raise RunError(
                f"the run in {out} was started with {name}={found['config'][name]!r}, not {value!r}; "
                "resume it with its own options or choose another folder"
            )
    check_record(out / CONFIG, found)
    if found["data"].get("fingerprint") != record["data"]["fingerprint"]:
        raise RunError(
            f"the data {record['config']['data']!r} has changed since the run in {out} was started; "
            "restore it or start a new run in another folder"
        )
    finished = (out / MANIFEST).exists()
    for own in [] if finished else checkpoints_in(out):
        read_checkpoint(own)  # before anything is written
    return finished
