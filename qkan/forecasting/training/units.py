"""The units that a cell reads and says values in, measured on the training windows."""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.training.leftover import leftover

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
    read = leftover(model, train, model.reads_in, _MOST_WINDOWS).given
    size = read[:, -model.reads :].std()
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
    left = leftover(model, train, model.says_in, _MOST_WINDOWS)
    _set(model.says_in.factor, left.errors[left.observed].std())
    with torch.no_grad():
        model.head.bias.div_(model.says_in.factor)


def _set(factor: Tensor, value: Tensor) -> None:
    """Take a factor, unless the windows say none: one of them, or constants."""
    if bool(value.isfinite()) and value > 0:
        factor.copy_(value)
