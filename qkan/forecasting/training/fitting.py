"""From options and windows to a trained forecaster: what run folders, ``Forecaster`` and comparisons share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.load import tensors
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.build import RecurrentForecaster, build_forecaster, count_parameters
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.training.distributed import training_device
from qkan.forecasting.training.first_use import compile_kernels
from qkan.forecasting.training.frequencies import start_frequencies
from qkan.forecasting.training.gate import set_gate
from qkan.forecasting.training.progress import Progress
from qkan.forecasting.training.start import start_skip, validation_loss

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.training.loop import FitResult


@dataclass(frozen=True, eq=False)
class Fitted:
    """A forecaster that was trained.

    Attributes:
        config: What it was trained with.
        data: What it was trained on.
        model: The forecaster with its best weights, on the device that it was trained on.
        result: How the training went.
    """

    config: TrainConfig
    data: ForecastData
    model: RecurrentForecaster
    result: FitResult

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

    def metrics(self) -> dict[str, Any]:
        """Return the part of ``metrics.json`` that tells of the training."""
        gate = self.model.gate
        return {
            "parameters": count_parameters(self.model),
            "epochs": len(self.result.history),
            "best_epoch": self.result.best_epoch,
            "best_validation_loss": self.result.best_loss if len(self.data.validation) else None,
            "train_seconds": round(self.result.seconds, 3),
            **({} if gate is None else {"gate": "open" if float(gate) else "closed"}),
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

    Kernels that are not compiled yet are compiled before the clock of the training runs.

    Args:
        config: The model, its training, and the device.
        data: Windows that were cut as ``config`` says.
        checkpoint, resume, progress: As of :func:`qkan.forecasting.training.loop.fit`.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C; the checkpoint holds the last saved epoch.
        RunError: the checkpoint cannot be read or written.
        ValueError: an option's value is unknown to the cell, or the model cannot be trained on this device.
    """
    from qkan.forecasting.training.loop import fit

    device = training_device(config)
    model = build_forecaster(config, torch.Generator().manual_seed(config.seed)).to(device)
    compile_kernels(config, model)
    train, validation = tensors(data.train), tensors(data.validation)
    if config.preact_init == "auto":
        start_frequencies(model, train)
    loss = loss_of(config)
    start = start_skip(model, train, validation, loss) if len(data.ids) == 1 else None
    result = fit(model, train, validation, config, checkpoint=checkpoint, resume=resume, progress=progress)
    if start is not None and start.loss is not None and start.loss <= validation_loss(model, validation, loss):
        model.load_state_dict(start.weights)
        result = replace(result, best_epoch=0, best_loss=start.loss)
    set_gate(model, validation, squared=config.loss == "mse")
    return Fitted(config, data, model, result)
