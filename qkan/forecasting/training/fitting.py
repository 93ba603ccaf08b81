"""From options and windows to a trained forecaster: what run folders, ``Forecaster`` and comparisons share."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.idle import asked_for
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.data.load import tensors
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.build import RecurrentForecaster, build_forecaster, count_parameters
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.training.distributed import mapped_values, rank_of, training_device
from qkan.forecasting.training.first_use import compile_kernels
from qkan.forecasting.training.frequencies import start_frequencies
from qkan.forecasting.training.gate import set_gate
from qkan.forecasting.training.lbfgs import finish_steps, finish_with_lbfgs
from qkan.forecasting.training.objective import Glimpse, Objective, Shown
from qkan.forecasting.training.progress import FinishProgress, LiveProgress, Progress
from qkan.forecasting.training.start import Start, start_from_regression, start_mean
from qkan.forecasting.training.units import read_in_units, say_in_units

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.training.loop import FitResult


_MOST_JUDGING = (
    500_000  # evenly spread, of the windows that choose between weights: more would take as long as training
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A forecaster that was trained.

    Attributes:
        config: What it was trained with.
        data: What it was trained on.
        model: The forecaster with its best weights, on the device that it was trained on.
        result: How the training went.
        mapped: How many values of a panel on disk every process mapped for it.
    """

    config: TrainConfig
    data: ForecastData
    model: RecurrentForecaster
    result: FitResult
    mapped: tuple[int, ...] = ()

    def check_converged(self) -> None:
        """Refuse a training whose loss stopped being finite.

        Raises:
            RunError: it did.
        """
        if self.result.diverged:
            unscaled = " or another scaler than 'none'" if self.config.scaler == "none" else ""
            raise RunError(
                f"the training diverged: the loss of epoch {len(self.result.history)} is not finite; "
                f"use a learning rate below lr={self.config.lr:g}{unscaled}"
            )

    def outline(self) -> dict[str, Any]:
        """Return what tells this training from others, and how it went, as a row of a table of trainings."""
        return {
            "cell": self.config.cell,
            "hidden_size": self.config.hidden_size,
            "parameters": count_parameters(self.model),
            "lr": self.config.lr,
            "seed": self.config.seed,
            "epochs": len(self.result.history),
            "best_epoch": self.result.best_epoch,
            "diverged": self.result.diverged,
            "seconds": round(self.result.seconds, 3),
        }

    def metrics(self) -> dict[str, Any]:
        """Return the part of ``metrics.json`` that tells of the training."""
        gate = self.model.gate
        starts = [loss if math.isfinite(loss) else None for loss in self.result.starts]
        return {
            "parameters": count_parameters(self.model),
            "epochs": len(self.result.history),
            "best_epoch": self.result.best_epoch,
            "best_validation_loss": self.result.best_loss if len(self.data.validation) else None,
            "train_seconds": round(self.result.seconds, 3),
            **({} if gate is None else {"gate": "open" if float(gate) else "closed"}),
            **({} if self.result.finish is None else {"lbfgs": asdict(self.result.finish)}),
            **({"starts": starts} if starts else {}),
            **({"mapped_values": list(self.mapped)} if self.mapped else {}),
        }


def fit_forecaster(
    config: TrainConfig,
    data: ForecastData,
    *,
    checkpoint: Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> Fitted:
    """Build the forecaster that a configuration asks for and train it on windows.

    With ``restarts`` it is built and trained so many times, and the model with the lowest validation loss is taken.
    Kernels that are not compiled yet are compiled before the clock of the training runs.

    Args:
        config: The model, its training, and the device.
        data: Windows that were cut as ``config`` says.
        checkpoint, resume, progress: As of :func:`qkan.forecasting.training.loop.fit`; starts after the first one have
            files of their own beside ``checkpoint``.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C; the checkpoint holds the last saved epoch.
        RunError: the checkpoint cannot be read or written.
        ValueError: an option's value is unknown to the cell, or the model cannot be trained on this device.
    """
    device = training_device(config)
    generator = torch.Generator().manual_seed(config.seed)
    train, validation = tensors(data.train), tensors(data.validation)
    told = None if rank_of(config) else progress
    if not len(validation):
        _say_unjudged(config)
    fits: list[tuple[RecurrentForecaster, FitResult]] = []
    for start in range(config.restarts if len(validation) else 1):
        model = build_forecaster(config, generator).to(device)
        if start == 0:
            steps = finish_steps(config, count_parameters(model), len(train)) if len(validation) else 0
            compile_kernels(config, model, (torch.float32, torch.float64)[: 2 if steps else 1])
        start_mean(model, train)
        if steps:
            read_in_units(model, train)
        if config.preact_init == "auto":
            start_frequencies(model, train, start)
        saved = checkpoint if checkpoint is None or not start else checkpoint.with_stem(f"{checkpoint.stem}-{start}")
        saving: dict[str, Any] = {"checkpoint": saved, "resume": resume, "progress": told}
        result = _fit_once(model, train, validation, config, steps, **saving)
        fits.append((model, result))
    model, result = min(fits, key=lambda found: math.inf if found[1].diverged else found[1].best_loss)
    if len(fits) > 1:
        losses = tuple(math.inf if found.diverged else found.best_loss for _, found in fits)
        result = replace(result, seconds=sum(found.seconds for _, found in fits), starts=losses)
    mapped = mapped_values(config, data)
    set_gate(model, validation.evenly(_MOST_JUDGING), squared=config.loss == "mse")
    return Fitted(config, data, model, result, mapped)


def _judging(train: WindowTensors, validation: WindowTensors) -> WindowTensors:
    """The windows that choose between weights: those of the validation part, or of training if it has none."""
    return (validation if len(validation) else train).evenly(_MOST_JUDGING)


def _say_unjudged(config: TrainConfig) -> None:
    """Say which options a training without validation windows leaves without effect."""
    from qkan.datasets import notice

    for name in asked_for(config, ("lbfgs_steps", "restarts")):
        notice(f"{name}={getattr(config, name)} has no effect: there are no validation windows to judge by")


def _fit_once(
    model: RecurrentForecaster,
    train: WindowTensors,
    validation: WindowTensors,
    config: TrainConfig,
    steps: int,
    *,
    checkpoint: Path | None,
    **saving: Any,
) -> FitResult:
    """Train from one start, with a finish of at most so many steps.

    Training starts from a regression where that says much, and takes its weights where no epoch is better: by the
    validation windows or, without any, where the training ends with a higher loss of its own.
    Beside a regression the cell has little slope to learn by, and a finish does not get away from there. So with a
    finish the model is trained from its weights as drawn, too, and the validation windows choose.
    """
    loss, judge = loss_of(config), _judging(train, validation)
    drawn = copy.deepcopy(model.state_dict())
    start = start_from_regression(model, train, judge, loss)
    if steps and start is not None and start.begins:
        say_in_units(model, train)
        start = start._replace(weights=copy.deepcopy(model.state_dict()))
    rest = (train, validation, config, steps)
    first = _trained(model, *rest, start, checkpoint, **saving)
    if start is None or not start.begins or not steps:
        return first
    best = math.inf if first.diverged else Objective(model, judge, loss).value()
    weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(drawn)
    second = _trained(model, *rest, None, checkpoint and checkpoint.with_stem(f"{checkpoint.stem}-drawn"), **saving)
    seconds = first.seconds + second.seconds
    if not second.diverged and Objective(model, judge, loss).value() < best:
        return replace(second, seconds=seconds)
    model.load_state_dict(weights)
    return replace(first, seconds=seconds)


def _trained(
    model: RecurrentForecaster,
    train: WindowTensors,
    validation: WindowTensors,
    config: TrainConfig,
    steps: int,
    start: Start | None,
    checkpoint: Path | None,
    **saving: Any,
) -> FitResult:
    """Train from the weights that the model has, take those of ``start`` if they are better, and finish."""
    from qkan.forecasting.training.loop import fit, threads_for

    loss, judge = loss_of(config), _judging(train, validation)
    progress = saving["progress"]
    shown: FinishProgress | None = progress if isinstance(progress, FinishProgress) else None
    if isinstance(progress, LiveProgress) and len(validation):
        shown = saving["progress"] = Shown(progress, Glimpse(model, validation, loss))
    result = fit(model, train, validation, config, checkpoint=checkpoint, **saving)
    if start is not None and start.loss <= Objective(model, judge, loss).value():
        model.load_state_dict(start.weights)
        result = replace(result, best_epoch=0, best_loss=start.loss)
    if not steps or result.diverged:
        return result
    with threads_for(model):
        finish = finish_with_lbfgs(model, train, validation, config, steps, shown)
    best_loss = finish.after if finish.steps else result.best_loss
    return replace(result, best_loss=best_loss, seconds=result.seconds + finish.seconds, finish=finish)
