"""Frequencies that the circuits of a forecaster start with, found in the training part (``preact_init="auto"``)."""

from __future__ import annotations

from torch import Tensor, nn

from qkan._util.periodogram import MOST_SAMPLES, wanted_frequencies
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.training.leftover import leftover
from qkan.layers.frequencies import HasFrequencies

#: Newest steps of what the cell reads that targets are looked at over.
_STEPS = 2


def start_frequencies(model: RecurrentForecaster, train: WindowTensors, start: int = 0) -> None:
    """Let the circuits of a fresh model start with the frequencies of what the model leaves over.

    Looked at are the errors of the fresh model at observed targets over the numbers that its cell reads last. All
    circuits start with the same frequencies: those of the hidden state and of a latent see the inputs through linear
    maps near one.

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
    read, errors = _read_last(model, model.cell, train)
    for layer in layers:
        layer.set_frequencies(wanted_frequencies(read, errors, layer.reps))


def _read_last(model: RecurrentForecaster, cell: nn.Module, train: WindowTensors) -> tuple[Tensor, Tensor]:
    """What a model's cell reads last of windows, (windows, numbers), and its errors behind that, (windows, targets).

    Of several sequences of a window it is the first: the others are first ones of other windows. The errors of targets
    that nobody observed are the mean of the others in their column, which shows no wave; windows without an observed
    target are left out.
    """
    given, errors, observed = leftover(model, train, cell, MOST_SAMPLES)
    read = given[:: len(given) // len(errors), -_STEPS:].flatten(1)  # a target read by itself is a row, too
    first = slice(None, None, model.order.sequences)
    errors, known = (
        model.order.of_targets(own.unsqueeze(2))[first].flatten(1) for own in (errors, observed.to(errors))
    )
    seen = (known > 0).any(dim=1)
    read, errors, known = read[seen], errors[seen], known[seen]
    mean = (errors * known).sum(dim=0) / known.sum(dim=0).clamp_min(1)
    return read, errors.where(known > 0, mean)
