"""The gate behind a trained forecaster: it repeats the last value where the validation part shows no gain over that."""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.forecasting.data.batches import WindowTensors, by_time, in_order
from qkan.forecasting.model.build import RecurrentForecaster

BLOCKS = 10
"""Parts of the validation windows, in order of time, over which errors are compared."""


def set_gate(model: RecurrentForecaster, validation: WindowTensors, *, squared: bool) -> None:
    """Close the gate of a forecaster unless its validation error is below that of the last value.

    Below means: by more than the standard error of the difference, over :data:`BLOCKS` parts of the windows, each with
    one stretch of time of all series, which err together. Without a validation part the gate stays open.

    Args:
        model: Trained, on any device; its gate is set.
        validation: Windows that trained nothing.
        squared: Whether errors are squared or absolute.
    """
    if model.gate is None or not len(validation):
        return
    model.gate.fill_(1.0)
    gains = _gains(model, validation, squared=squared)[by_time(validation)]
    parts = torch.stack([part.mean() for part in gains.tensor_split(min(BLOCKS, len(gains)))])
    error = parts.std() / len(parts) ** 0.5 if len(parts) > 1 else parts.new_zeros(())
    if not gains.mean() > error:
        model.gate.fill_(0.0)


def _gains(model: RecurrentForecaster, validation: WindowTensors, *, squared: bool) -> Tensor:
    """By how much the error of the last value exceeds that of the model, by window: float64 (N,)."""
    device = next(model.parameters()).device
    windows, was_training, found = validation.to(device), model.training, []
    model.eval()
    with torch.inference_mode():
        for index in in_order(len(windows)):
            batch = windows.batch(index)
            predicted = model(*batch.arguments)
            middle = predicted if predicted.dim() == 2 else predicted[..., predicted.shape[2] // 2]
            ours, theirs = (own - batch.targets for own in (middle, batch.arguments[0][:, -1:, 0]))
            gain = theirs.square() - ours.square() if squared else theirs.abs() - ours.abs()
            weights = torch.ones_like(gain) if batch.weights is None else batch.weights
            found.append(((gain * weights).sum(dim=1) / weights.sum(dim=1)).double().cpu())
    model.train(was_training)
    return torch.cat(found)
