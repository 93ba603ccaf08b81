"""Where training starts: the linear skip from least squares, where lags alone say much; and what to keep of that."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.model.losses import Loss
from qkan.forecasting.model.parts import Level, Skip
from qkan.forecasting.training.objective import Objective

_MOST_WINDOWS = 5000  # evenly spread
_JUDGED = 0.25  # of them, the newest, judge
_ENOUGH = 0.15  # of the error of repeating the last value: where lags leave more, the map bends too much to start from
_PENALTIES = (1e-9, 1e-7, 1e-5, 1e-3, 1e-1)
"""In units of the mean square of the inputs, times the number of windows."""


class Start(NamedTuple):
    """Weights that training started from.

    Attributes:
        weights: The state of the model.
        loss: Their loss on the windows that judge.
    """

    weights: dict[str, Tensor]
    loss: float


def start_skip(model: RecurrentForecaster, train: WindowTensors, judge: WindowTensors, loss: Loss) -> Start | None:
    """Let the linear skip of a fresh model of one series start as the ridge regression of the targets on the window.

    Small steps of a gradient do not find the map of a smooth motion, whose lags are nearly the same; a regression does.
    The head of the cell starts at zero, so that the whole forecast is that of the regression. The penalty is that of
    the smallest error on the newest quarter of the training windows. Where that is above 15 % of the error of
    repeating the last value, everything stays as it is: there the last value is as good a begin.

    Args:
        model: Changed in place.
        train: Windows of the training part, on the CPU.
        judge: Windows that judge the weights of the start, on the CPU.
        loss: Their loss.

    Returns:
        The start; ``None`` where everything stays.
    """
    skip, head = model.skip, model.head
    if not isinstance(skip, Skip) or head is None or model.own is not None or len(train) < 2:
        return None
    inputs, targets = _lagged(model, train)
    one_bias = model.decodes_steps or model.order.kind == "segments"  # shared by the steps: it cannot be that of one
    # What a mean season leaves over is small, and so is what is lost if the cell starts beside a whole regression.
    found = _regression(inputs, targets, constant=not one_bias, enough=_ENOUGH if model.mean is None else 1.0)
    if found is None:
        return None
    weights, constant = found
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        if not one_bias:
            head.bias.copy_(constant.repeat_interleave(model.quantiles))
        if skip.courses is None:
            skip.patterns.weight.copy_(weights.T)
        else:  # the courses of the regression's forecasts that vary most
            said = inputs @ weights
            courses = torch.linalg.eigh(said.T @ said).eigenvectors[:, -len(skip.patterns.weight) :]
            skip.courses.weight.copy_(courses)
            skip.patterns.weight.copy_((weights @ courses).T)
    return Start(copy.deepcopy(model.state_dict()), Objective(model, judge, loss).value())


def _lagged(model: RecurrentForecaster, train: WindowTensors) -> tuple[Tensor, Tensor]:
    """What the skip reads and has to say of training windows, float64 (N, window) and (N, horizon)."""
    places = torch.linspace(0, len(train) - 1, min(len(train), _MOST_WINDOWS)).round().long()
    batch = train.batch(places)
    values, targets = batch.arguments[0][..., 0].double(), batch.targets.double()
    if model.mean is not None:
        device = next(model.parameters()).device
        with torch.no_grad():
            of_inputs, of_targets = model.mean_of(*(argument.to(device) for argument in batch.arguments))
        values, targets = values - of_inputs.cpu(), targets - of_targets.cpu()
    values = values[:, -model.around.window :]
    if batch.weights is not None:
        seen = batch.weights.bool().all(dim=1)
        values, targets = values[seen], targets[seen]
    level = Level.of(values, model.around.level)
    return (values, targets) if level is None else (level.remove(values), level.remove(targets))


def _regression(inputs: Tensor, targets: Tensor, *, constant: bool, enough: float) -> tuple[Tensor, Tensor] | None:
    """Weights (window, horizon) and constants (horizon,) of the best ridge regression; ``None`` if it says little."""
    count = len(inputs) - round(_JUDGED * len(inputs))
    size = float(inputs.square().mean())
    if len(inputs) - count < 2 or count <= inputs.shape[1] or not size > 0:
        return None

    def fitted(end: int, penalty: float) -> tuple[Tensor, Tensor]:
        middle, level = (
            own[:end].mean(dim=0) if constant else own.new_zeros(own.shape[1]) for own in (inputs, targets)
        )
        x, y = inputs[:end] - middle, targets[:end] - level
        gram = x.T @ x + penalty * size * end * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(gram, x.T @ y)
        return weights, level - middle @ weights

    def error(penalty: float) -> float:
        weights, level = fitted(count, penalty)
        return float((inputs[count:] @ weights + level - targets[count:]).abs().mean())

    errors = {penalty: error(penalty) for penalty in _PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty])
    naive = float((targets[count:] - inputs[count:, -1:]).abs().mean())
    return fitted(len(inputs), best) if errors[best] < enough * naive else None
