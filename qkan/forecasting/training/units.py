"""The units that a cell reads and says values in, measured on the training windows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster

_MOST_WINDOWS = 5_000
_ROUNDING = 1e-6  # of scaled values: what differs by less is a constant


def read_in_units(model: RecurrentForecaster, train: WindowTensors) -> None:
    """Let the cell of a fresh model read values of standard deviation 1, less the level.

    The scaler has seen the series, but what is left of a window behind its level may be a twentieth of that, where a
    circuit is a line and stays one: training moves a frequency by about 1. Windows that are divided by their own scale
    stay as they are.

    Args:
        model: Changed in place; on any device.
        train: Windows of the training part.
    """
    if model.cell is None or model.around.level == "window":
        return
    read: list[Tensor] = []

    def watch(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        read.append(arguments[0][:, -model.reads :])

    handle = model.reads_in.register_forward_pre_hook(watch)
    try:
        _errors(model, train)
    finally:
        handle.remove()
    size = read[0].std()
    if size > _ROUNDING:
        _set(model.reads_in.factor, 1 / size)


def say_in_units(model: RecurrentForecaster, train: WindowTensors) -> None:
    """Let the cell beside a regression say what that leaves over in units of it.

    An epoch then moves the forecast by a part of what there is to learn, and no longer by a multiple.

    Args:
        model: A model that a regression began, changed in place; its forecasts stay what they are.
        train: Windows of the training part.
    """
    if model.head is None:
        return
    _set(model.says_in.factor, _errors(model, train).std())
    with torch.no_grad():
        model.head.bias.div_(model.says_in.factor)


@torch.no_grad()
def _errors(model: RecurrentForecaster, train: WindowTensors) -> Tensor:
    """Errors of the forecasts of observed targets, of some windows of the training part, evenly spread over it."""
    places = torch.linspace(0, len(train) - 1, min(len(train), _MOST_WINDOWS)).round().long()
    batch, device = train.batch(places), next(model.parameters()).device
    predicted = model(*(argument.to(device) for argument in batch.arguments))
    middle = predicted if predicted.dim() == 2 else predicted[..., predicted.shape[2] // 2]
    errors = batch.targets.to(device) - middle
    return errors if batch.weights is None else errors[batch.weights.to(device) > 0]


def _set(factor: Tensor, value: Tensor) -> None:
    """Take a factor, unless the windows say none: one of them, or constants."""
    if bool(value.isfinite()) and value > 0:
        factor.copy_(value)
