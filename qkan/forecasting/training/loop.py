"""The one training loop: any forecaster, a loss of scaled values, Adam with a one-cycle schedule.

Lightning runs the loop, stops early, writes checkpoints and resumes from them. A resumed run repeats an uninterrupted
one bit for bit: the order of the windows and every random number depend only on (seed, epoch).

This module imports lightning; import it inside functions.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from torch import Tensor, nn

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.batches import Batch, WindowTensors
from qkan.forecasting.data.loaders import epoch_seed, resolve_batch_size, training_loader
from qkan.forecasting.data.loaders import validation_loader as validation_shares
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.build import RecurrentForecaster, count_parameters
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.training.checkpoints import does_not_fit
from qkan.forecasting.training.distributed import children_end_on_failure, rank_of, trainer_options, training_device
from qkan.forecasting.training.lbfgs import Finish
from qkan.forecasting.training.process_state import (
    children_end_with,
    keyboard_interrupts_pass,
    leave_signals,
    one_thread,
    own_random_state,
    quiet_lightning,
)
from qkan.forecasting.training.progress import Progress, Silent
from qkan.layers.frequencies import HasFrequencies

_GRADIENT_NORM = 1.0
_CHECKPOINT_SHARE = 0.05  # of the training time that may go into writing checkpoints
_PROGRESS_SECONDS = 0.1
# Below this size a second thread costs more in waiting than it saves in work (a telecom epoch on a busy machine: 0.8 s
# with one thread, 4.5 s with two).
_ONE_THREAD_PARAMETERS = 50_000
_RATE_OF_STARTED = 0.1  # times that of the cell: the full rate takes a least-squares fit of a hundred waves apart


@dataclass(frozen=True)
class FitResult:
    """What a training run ended with.

    Attributes:
        history: One row per epoch: epoch (from 1), train_loss, val_loss (if there is a validation part), lr.
            Losses are those of scaled values that the configuration names; train_loss is the mean over the steps.
        best_epoch: The epoch (from 1) whose weights the model now has: the one with the lowest validation loss,
            or the last one without a validation part; 0 if no epoch ended with finite losses, or none was better than
            the weights that training started with.
        best_loss: That epoch's validation loss (training loss without a validation part); infinity for epoch 0.
            Behind a finish that lowered it, that of its weights.
        diverged: Whether training stopped because a loss was not finite.
        seconds: Time spent training, without that of epochs that were lost before a resumption.
        finish: What LBFGS did behind the epochs; ``None`` if it was not asked for.
        starts: The lowest validation loss from each of the initial weights, if there were several; the history is that
            of the best.
    """

    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float
    diverged: bool
    seconds: float
    finish: Finish | None = None
    starts: tuple[float, ...] = ()


def fit(
    model: nn.Module,
    train: WindowTensors,
    validation: WindowTensors,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> FitResult:
    """Train ``model`` in place and leave it with its best weights, in all processes alike.

    Args:
        model: as of :func:`qkan.forecasting.data.batches.recursive_forecast`, with the horizon of the windows.
        train: The training windows.
        validation: The validation windows; with none of them, all epochs are trained.
        config: ``epochs``, ``batch_size``, ``lr``, ``patience``, ``seed``, ``device``, ``precision``, the loss and the
            options of several processes are used.
        checkpoint: File to save the state of the training in. All processes must see it.
        resume: Whether to go on from the checkpoint if there is one.
        progress: Told about every epoch and, a few times a second, about steps; in the first process only.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C; the checkpoint holds the last saved epoch.
        RunError: the checkpoint cannot be read or written.
        ValueError: the device is not there, or the processes cannot be started; see :func:`training_device`.
    """
    device, rank = training_device(config), rank_of(config)
    progress = Silent() if progress is None or rank else progress
    shares = {"shards": config.shards, "rank": rank, "processes": config.processes}
    batch_size = resolve_batch_size(config.batch_size, len(train))
    train_loader = training_loader(train, batch_size, device, seed=config.seed, **shares)
    validation_loader = validation_shares(validation, device, **shares) if len(validation) else None
    module = _Module(
        model,
        config,
        total_steps=config.epochs * len(train_loader),
        rank=rank,
        one_thread=_wants_one_thread(model),
        total=getattr(train_loader.sampler, "total", None) if train.weights is None else None,
    )
    watched = "train_loss" if validation_loader is None else "val_loss"
    recorder = _Recorder(module, watched, checkpoint, progress)
    callbacks: list[Callback] = [recorder]  # Lightning calls it last
    if validation_loader is not None and config.patience is not None:
        stopper = EarlyStopping(
            watched, min_delta=0.0, patience=config.patience, check_on_train_epoch_end=True, verbose=False
        )
        callbacks.append(stopper)
    resume_from = checkpoint if resume and checkpoint is not None and checkpoint.exists() else None
    with quiet_lightning(), own_random_state(device), one_thread(module.one_thread):
        trainer = _trainer(config, device, callbacks)
        leave_signals(trainer)
        reading = _fitting_checkpoint(resume_from, recorder)
        with keyboard_interrupts_pass(), children_end_with(trainer), children_end_on_failure(), reading:
            trainer.fit(module, train_loader, validation_loader, ckpt_path=resume_from, weights_only=True)
    recorder.start()  # Lightning starts nothing where the checkpoint holds the last epoch already
    recorder.restore_best(model)
    progress.finish()
    return recorder.result()


def threads_for(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Compute with one thread where the model is so small that more would cost time."""
    return one_thread(_wants_one_thread(model))


def _wants_one_thread(model: nn.Module) -> bool:
    return next(model.parameters()).device.type == "cpu" and count_parameters(model) <= _ONE_THREAD_PARAMETERS


def _trainer(config: TrainConfig, device: torch.device, callbacks: list[Callback]) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=config.epochs,
        callbacks=callbacks,
        gradient_clip_val=_GRADIENT_NORM,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer_options(config, device),
    )


class _Module(pl.LightningModule):
    """The training step and the optimizer of every cell.

    The loss of a batch is the mean over its observed targets in all processes. Lightning averages the gradients of the
    processes, so each of them scales its own mean by its part of these targets times the number of processes.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        total_steps: int,
        *,
        rank: int = 0,
        one_thread: bool = False,
        total: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__()
        self.total = total
        self.model, self.config, self.total_steps, self.loss = model, config, total_steps, loss_of(config)
        self.rank, self.one_thread = rank, one_thread
        self.loss_sum, self.steps, self.validation = torch.zeros(()), 0, torch.zeros(2, dtype=torch.float64)

    def setup(self, stage: str) -> None:
        if self.one_thread:  # Lightning has just given every process its part of the cores
            torch.set_num_threads(1)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the data set lies on the device already; Lightning's walk through the batch would cost time

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(epoch_seed(self.config.seed, self.trainer.current_epoch, self.rank))
        self.loss_sum, self.steps = torch.zeros((), device=self.device), 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, self.steps = self._loss(batch), self.steps + 1
        if self.config.processes > 1:
            observed = batch.observed()
            # Where all targets count, every process knows how many there are: small models would wait for each other
            # as long as they compute.
            whole = (
                self.over_processes(observed)
                if self.total is None
                else self.total(batch_idx) * batch.targets[0].numel()
            )
            loss = loss * (observed / whole).to(loss.dtype)
        self.loss_sum = self.loss_sum + loss.detach()
        return loss * self.config.processes if self.config.processes > 1 else loss

    def mean_loss(self) -> float:
        """The mean over the steps of the epoch of the losses of whole batches."""
        return float(self.over_processes(self.loss_sum)) / self.steps

    def on_validation_epoch_start(self) -> None:
        self.validation = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        observed = batch.observed()  # so that the mean is over all observed targets
        self.validation += torch.stack([self._loss(batch) * observed, observed])

    def on_validation_epoch_end(self) -> None:
        loss, observed = self.over_processes(self.validation)
        self.log("val_loss", loss / observed)

    def over_processes(self, values: Tensor) -> Tensor:
        """Add up what the processes have; all of them must come here."""
        if self.config.processes > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def configure_optimizers(self) -> Any:
        # A fused step would undo the scaling of 16-bit gradients by itself, after they were clipped.
        fused = not self.config.precision.endswith("mixed")
        groups = parameter_groups(self.model, self.config)
        optimizer = torch.optim.Adam(groups, lr=self.config.lr, fused=fused)
        peaks = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Batch) -> Tensor:
        predictions = self.model(*batch.arguments)
        return self.loss(predictions.to(batch.targets.dtype), batch.targets, batch.weights)


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameters by learning rate: those of ``lr`` first, then frequencies of circuits, and what starts from least
    squares, where they differ."""
    of_circuits = {
        id(parameter): config.lr_frequencies or 1.0
        for module in model.modules()
        if isinstance(module, HasFrequencies)
        for name, parameter in module.named_parameters(recurse=False)
        if name in ("preact_weight", "preact_bias")
    }
    started = {id(parameter): _RATE_OF_STARTED for part in _started(model) for parameter in part.parameters()}
    factors_of = of_circuits | started
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in model.parameters():
        groups.setdefault(factors_of.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": parameters, "lr": config.lr * factor} for factor, parameters in groups.items()]


def _started(model: nn.Module) -> list[nn.Module]:
    """The parts of a forecaster around a mean season, which starts from least squares as they do."""
    if not isinstance(model, RecurrentForecaster) or model.mean is None or model.cell is None:
        return []
    return [part for part in (model.mean, model.skip, model.known) if part is not None]


_RECORDED: dict[str, Any] = {
    "history": list,
    "best_epoch": int,
    "best_loss": float,
    "best_weights": dict,
    "stopped": bool,
    "seconds": float,
}
"""What a checkpoint keeps of a recorder, and of which type."""


@contextlib.contextmanager
def _fitting_checkpoint(path: Path | None, recorder: _Recorder) -> Iterator[None]:
    """Turn what goes wrong before the first step, when a checkpoint is taken over, into a RunError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if path is None or recorder.started or isinstance(error, RunError):
            raise
        raise does_not_fit(path) from error


class _Recorder(Checkpoint):
    """Keeps the history and the best weights, reports progress and saves a checkpoint at the end of an epoch.

    Being a Checkpoint, it is called behind early stopping, so what it saves knows whether the training has stopped.
    """

    def __init__(self, module: _Module, watched: str, checkpoint: Path | None, progress: Progress) -> None:
        self.module, self.watched, self.checkpoint, self.progress = module, watched, checkpoint, progress
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best_loss = 0, math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.started = self.stopped = False
        self.steps_to_report, self.reported_at = 0, 0.0
        self.saved_at, self.saving_took = time.perf_counter(), 0.0
        self.seconds, self.clock = 0.0, time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _RECORDED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Nothing else is taken from a file that may come from elsewhere, such as the path to write to.
        for name, kind in _RECORDED.items():
            if not isinstance(state_dict[name], kind):
                raise TypeError(f"{name} must be {kind}")
            setattr(self, name, state_dict[name])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.strategy.broadcast(len(self.history))
        if len(self.history) != epochs:
            raise RunError(
                f"process {self.module.rank} finds {len(self.history)} trained epochs in {self.checkpoint}, the first "
                f"process {epochs}; put the run folder on a file system that all nodes share"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.stopped  # a run killed after its last epoch has no next one
        self.start()

    def start(self) -> None:
        self.clock = time.perf_counter()
        if not self.started:
            steps = self.module.total_steps // self.module.config.epochs
            self.progress.start(self.module.config.epochs, steps, len(self.history))
            self.started = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps_to_report += 1
        now = time.perf_counter()
        if now - self.reported_at >= _PROGRESS_SECONDS:
            self.progress.step(float(outputs["loss"]), self.steps_to_report)
            self.steps_to_report, self.reported_at = 0, now

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {"epoch": trainer.current_epoch + 1, "train_loss": self.module.mean_loss()}
        if "val_loss" in trainer.callback_metrics:
            row["val_loss"] = float(trainer.callback_metrics["val_loss"])
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.history.append(row)
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        if self.steps_to_report:
            self.progress.step(row["train_loss"], self.steps_to_report)
            self.steps_to_report = 0
        self.progress.epoch(row)
        finite = math.isfinite(row["train_loss"]) and math.isfinite(row[self.watched])
        if finite and (row[self.watched] < self.best_loss or self.watched == "train_loss"):
            self.best_epoch, self.best_loss = len(self.history), row[self.watched]
            self.best_weights = {name: value.clone() for name, value in self.module.model.state_dict().items()}
        trainer.should_stop = self.stopped = trainer.should_stop or not finite
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        """Save the state, unless the last saving was so recent that saving would slow the training down."""
        if self.checkpoint is None:
            return
        start = time.perf_counter()
        last = self.stopped or len(self.history) == trainer.max_epochs
        due = last or (start - self.saved_at) * _CHECKPOINT_SHARE >= self.saving_took
        if trainer.strategy.broadcast(due):  # all processes save together, and their clocks differ
            trainer.save_checkpoint(self.checkpoint)
            self.saved_at = time.perf_counter()
            self.saving_took = self.saved_at - start

    def restore_best(self, model: nn.Module) -> None:
        if self.module.config.precision == "64-true":
            model.float()
        if self.best_weights:
            model.load_state_dict(self.best_weights)

    def result(self) -> FitResult:
        last = self.history[-1]
        diverged = not all(math.isfinite(value) for value in last.values())
        return FitResult(self.history, self.best_epoch, self.best_loss, diverged, self.seconds)
