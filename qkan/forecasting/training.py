"""The one training loop: any forecaster, a loss of scaled values, Adam with a one-cycle schedule.

Lightning runs the loop, stops early, writes checkpoints and resumes from them. A resumed run repeats an uninterrupted
one bit for bit: the order of the windows and every random number depend only on (seed, epoch).

This module imports lightning; import it inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from qkan.forecasting.batches import Batch, WindowTensors, in_order
from qkan.forecasting.cells import count_parameters
from qkan.forecasting.checkpoints import AtomicCheckpointIO
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.losses import loss_of
from qkan.forecasting.progress import Progress, Silent

_GRADIENT_NORM = 1.0
_CHECKPOINT_SHARE = 0.05  # of the training time that may go into writing checkpoints
_PROGRESS_SECONDS = 0.1
# Below this size a second thread costs more in waiting than it saves in work (a telecom epoch on a busy machine: 0.8 s
# with one thread, 4.5 s with two).
_ONE_THREAD_PARAMETERS = 50_000


@dataclass(frozen=True)
class FitResult:
    """What a training run ended with.

    Attributes:
        history: One row per epoch: epoch (from 1), train_loss, val_loss (if there is a validation part), lr.
            Losses are those of scaled values that the configuration names; train_loss is the mean over the steps.
        best_epoch: The epoch (from 1) whose weights the model now has: the one with the lowest validation loss,
            or the last one without a validation part; 0 if no epoch ended with finite losses.
        best_loss: That epoch's validation loss (training loss without a validation part); infinity for epoch 0.
        diverged: Whether training stopped because a loss was not finite.
        seconds: Time spent training, without that of epochs that were lost before a resumption.
    """

    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float
    diverged: bool
    seconds: float


def resolve_batch_size(batch_size: int | None, windows: int) -> int:
    """Return the batch size to use: the given one, or a power of two.

    It gives 32 steps an epoch, but is never below 8, and above 128 only where it gives more than 512 steps an epoch;
    never above 1024, and never more than there are windows.
    """
    if batch_size is not None:
        return min(batch_size, windows)

    def power(steps: int) -> int:
        return int(2 ** int(math.log2(max(1, windows / steps))))

    return min(max(8, min(128, power(32)), min(1024, power(512))), windows)


def resolve_device(name: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises:
        ValueError: this CUDA device is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device {name!r} is not available: PyTorch sees {count} CUDA devices here; use device='cpu'")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch: unrelated for neighbouring seeds and epochs, the same on every machine."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def fit(
    model: nn.Module,
    train: WindowTensors,
    validation: WindowTensors,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train ``model`` in place and leave it with its best weights.

    Args:
        model: as of :func:`qkan.forecasting.batches.roll`, with the horizon of the windows.
        train: The training windows.
        validation: The validation windows; with none of them, all epochs are trained.
        config: ``epochs``, ``batch_size``, ``lr``, ``patience``, ``seed``, ``device`` and the loss are used.
        checkpoint: File to save the state of the training in; if it exists, training goes on from there.
        progress: Told about every epoch and, a few times a second, about steps.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C; the checkpoint holds the last saved epoch.
        RunError: the checkpoint cannot be read or written.
        ValueError: the device is not there.
    """
    progress = progress or Silent()
    device = resolve_device(config.device)
    train_data, validation_data = _WindowSet(train, device), _WindowSet(validation, device)
    batches = _ShuffledBatches(len(train_data), resolve_batch_size(config.batch_size, len(train_data)), config.seed)
    watched = "val_loss" if len(validation_data) else "train_loss"
    module = _Module(model, config, total_steps=config.epochs * len(batches))
    recorder = _Recorder(module, watched, checkpoint, progress)
    callbacks: list[Callback] = [recorder]  # Lightning calls it last
    if len(validation_data):
        stopper = EarlyStopping(
            watched, min_delta=0.0, patience=config.patience, check_on_train_epoch_end=True, verbose=False
        )
        callbacks.append(stopper)
    small = device.type == "cpu" and count_parameters(model) <= _ONE_THREAD_PARAMETERS
    with _quiet_lightning(), _reproducible(device), one_thread() if small else contextlib.nullcontext():
        trainer = _trainer(config, device, callbacks)
        train_loader = _loader(train_data, batches)
        validation_loader = _loader(validation_data, in_order(len(validation_data)))
        resume_from = checkpoint if checkpoint is not None and checkpoint.exists() else None
        with _keyboard_interrupts_pass():
            trainer.fit(
                module,
                train_loader,
                validation_loader if len(validation_data) else None,
                ckpt_path=resume_from,
                weights_only=True,
            )
    recorder.start()  # Lightning starts nothing where the checkpoint holds the last epoch already
    recorder.restore_best()
    progress.finish()
    return recorder.result()


def _trainer(config: TrainConfig, device: torch.device, callbacks: list[Callback]) -> pl.Trainer:
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index] if device.type == "cuda" else 1,
        max_epochs=config.epochs,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=_GRADIENT_NORM,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _WindowSet(Dataset[Batch]):
    """Windows on the training device; a batch is gathered in a few indexing operations, not collated of samples."""

    def __init__(self, windows: WindowTensors, device: torch.device) -> None:
        self.windows = windows.to(device)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: Tensor) -> Batch:
        return self.windows.batch(index)


class _ShuffledBatches(Sampler[Tensor]):
    """Index batches of a permutation that depends on (seed, epoch) alone; Lightning calls ``set_epoch``."""

    def __init__(self, windows: int, batch_size: int, seed: int) -> None:
        self.windows, self.batch_size, self.seed, self.epoch = windows, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        yield from torch.randperm(self.windows, generator=generator).split(self.batch_size)

    def __len__(self) -> int:
        return -(-self.windows // self.batch_size)


def _loader(data: _WindowSet, batches: Iterable[Tensor]) -> DataLoader[Batch]:
    # Every iterator of a loader draws a seed. From the global state, that would shift the random numbers of a resumed
    # run, which makes its iterators at other moments than an uninterrupted one.
    return DataLoader(data, sampler=batches, batch_size=None, generator=torch.Generator())


class _Module(pl.LightningModule):
    """The training step and the optimizer of every cell."""

    def __init__(self, model: nn.Module, config: TrainConfig, total_steps: int) -> None:
        super().__init__()
        self.model, self.config, self.total_steps, self.loss = model, config, total_steps, loss_of(config)
        self.loss_sum, self.steps = torch.zeros(()), 0

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the data set lies on the device already; Lightning's walk through the batch would cost time

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(epoch_seed(self.config.seed, self.trainer.current_epoch))
        self.loss_sum, self.steps = torch.zeros((), device=self.device), 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(self.model(*batch.arguments), batch.targets, batch.weights)
        self.loss_sum, self.steps = self.loss_sum + loss.detach(), self.steps + 1
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self.loss(self.model(*batch.arguments), batch.targets, batch.weights)
        counted = len(batch.targets) if batch.weights is None else int(batch.weights.sum())
        self.log("val_loss", loss, batch_size=counted)  # so that the mean is over all observed targets

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.config.lr, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.config.lr, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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
        names = ("history", "best_epoch", "best_loss", "best_weights", "stopped", "seconds")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

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
        row = {"epoch": trainer.current_epoch + 1, "train_loss": float(self.module.loss_sum) / self.module.steps}
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
            self.best_weights = {name: value.detach().clone() for name, value in self.module.model.state_dict().items()}
        trainer.should_stop = self.stopped = trainer.should_stop or not finite
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        """Save the state, unless the last saving was so recent that saving would slow the training down."""
        if self.checkpoint is None:
            return
        start = time.perf_counter()
        last = self.stopped or len(self.history) == trainer.max_epochs
        if last or (start - self.saved_at) * _CHECKPOINT_SHARE >= self.saving_took:
            trainer.save_checkpoint(self.checkpoint)
            self.saved_at = time.perf_counter()
            self.saving_took = self.saved_at - start

    def restore_best(self) -> None:
        if self.best_weights:
            self.module.model.load_state_dict(self.best_weights)

    def result(self) -> FitResult:
        last = self.history[-1]
        diverged = not all(math.isfinite(value) for value in last.values())
        return FitResult(self.history, self.best_epoch, self.best_loss, diverged, self.seconds)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's hints about loggers, workers and devices, which say nothing about these small runs."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Give the training its own random state and leave the caller's as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: small models gain nothing from more, and sums do not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _keyboard_interrupts_pass() -> Iterator[None]:
    """Turn Lightning's answer to Ctrl-C (ignore further signals, exit the process) back into KeyboardInterrupt."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt("training was interrupted; resume it from its last checkpoint") from error
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
