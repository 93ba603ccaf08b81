"""What a model reads of training windows, and what its forecasts of them leave over."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster


class Leftover(NamedTuple):
    """Some windows of the training part, N of them, as a model sees them now; on its device.

    Args:
        given: What the watched module is given last.
        errors: Targets less their forecasts, of several quantiles the middle one, (N, horizon).
        observed: Which targets were observed, bool (N, horizon).
    """

    given: Tensor
    errors: Tensor
    observed: Tensor


@torch.no_grad()
def leftover(model: RecurrentForecaster, train: WindowTensors, module: nn.Module, most: int) -> Leftover:
    """Forecast windows that are evenly spread over the training part, and watch what a module is given.

    Args:
        model: The model; it stays as it is.
        train: Windows of the training part.
        module: A part of the model that its forecasts run through.
        most: Windows, at most.
    """
    places = torch.linspace(0, len(train) - 1, min(len(train), most)).round().long()
    batch, device = train.batch(places), next(model.parameters()).device
    given: list[Tensor] = []

    def watch(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        given.append(arguments[0])

    handle = module.register_forward_pre_hook(watch)
    try:
        predicted = model(*(argument.to(device) for argument in batch.arguments))
    finally:
        handle.remove()
    middle = predicted if predicted.dim() == 2 else predicted[..., predicted.shape[2] // 2]
    errors = batch.targets.to(device) - middle
    weights = torch.ones_like(errors) if batch.weights is None else batch.weights.to(device)
    return Leftover(given[-1], errors, weights > 0)
