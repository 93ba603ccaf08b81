"""Frequencies that the circuits of a forecaster start with, found in the training part (``preact_init="auto"``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.layers.frequencies import HasFrequencies
from qkan.layers.periodogram import MOST_SAMPLES, wanted_frequencies

#: Newest steps of what the cell reads that targets are looked at over.
_STEPS = 2


def start_frequencies(model: RecurrentForecaster, train: WindowTensors, start: int = 0) -> None:
    """Let the circuits of a fresh model start with the frequencies of what the model leaves over.

    Looked at are the errors of the fresh model over the numbers that its cell reads last. All circuits start with the
    same frequencies: those of the hidden state and of a latent see the inputs through linear maps near one.

    Args:
        model: changed in place; on any device.
        train: windows of the training part, on the CPU.
        start: number of the start, from 0; the first looks at data, and those after it try other frequencies in turn.

    Raises:
        ValueError: targets that are constant, or fewer windows than the frequencies need.
    """
    layers = [m for m in model.modules() if isinstance(m, HasFrequencies) and m.awaits_data]
    if model.cell is None or not layers:
        return
    if all(layer.start_otherwise(start) for layer in layers):
        return
    read: list[Tensor] = []

    def watch(cell: nn.Module, inputs: tuple[Any, ...]) -> None:
        read.append(inputs[0].detach()[:, -_STEPS:].flatten(1))

    chosen = torch.arange(0, len(train), max(1, len(train) // MOST_SAMPLES))
    windows = train.batch(chosen)
    device = next(model.parameters()).device
    handle = model.cell.register_forward_pre_hook(watch)
    try:
        with torch.no_grad():
            predicted = model(*(argument.to(device) for argument in windows.arguments))
    finally:
        handle.remove()
    if predicted.dim() == 3:
        predicted = predicted[..., predicted.shape[2] // 2]
    errors = windows.targets.to(device) - predicted
    for layer in layers:
        layer.set_frequencies(wanted_frequencies(read[0], errors, layer.reps))
