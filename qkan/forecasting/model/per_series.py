"""What every series of a panel has of its own beside the shared cell: season, level and amplitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.forecasting.model.parts import Level, harmonics

_NEWEST = 2.0
"""Logit of the weight of the newest value in a level before training: 0.88."""


class OwnParts(NamedTuple):
    """What the series of B windows have of their own.

    Attributes:
        cosines, sines: Coefficients of the waves of their seasons, (B, waves).
        turns: How many times the wave of each column goes round in each season, (seasons, waves).
        memory: Logits of the weight of the newest value in the level, (B, 1).
        factor: What the forecast of the shared cell is multiplied with, (B, 1).
    """

    cosines: Tensor
    sines: Tensor
    turns: Tensor
    memory: Tensor
    factor: Tensor

    def season(self, phases: Tensor) -> Tensor:
        """Return the sum of the seasons at phase angles (B, steps, seasons), (B, steps)."""
        angles = phases @ self.turns
        waves = angles.cos() * self.cosines.unsqueeze(1) + angles.sin() * self.sines.unsqueeze(1)
        return waves.sum(dim=2)

    def level(self, values: Tensor) -> Level:
        """Return the exponentially smoothed level of windows (B, window), oldest value first.

        The newest value has the weight a, each one before it 1 - a times that of the next, all divided by their sum.
        """
        ages = torch.arange(values.shape[1] - 1, -1, -1, device=values.device, dtype=values.dtype)
        weights = torch.softmax(nn.functional.logsigmoid(-self.memory) * ages, dim=1)
        return Level((weights * values).sum(dim=1, keepdim=True), None)


class PerSeries(nn.Module):
    """Season, memory of the level and amplitude of every series (the hybrid of ES-RNN, Smyl 2020).

    A series is level + season(phases) + amplitude * what the shared cell says of the rest. The season has a circuit per
    harmonic of every season: amplitude * <X> = amplitude * cos(k phase + phi), both trained. Training starts from no
    season and amplitude 1. A series with the number -1 is unknown and has the means of all.

    Args:
        series: How many there are.
        seasons: Lengths of their seasons in steps; may be empty.
        terms: Harmonics of every season.
    """

    turns: Tensor

    def __init__(self, series: int, seasons: Sequence[int], terms: int) -> None:
        super().__init__()
        multiples = [(place, turn) for place, own in enumerate(seasons) for turn in range(1, harmonics(own, terms) + 1)]
        turns = torch.zeros(len(seasons), len(multiples))
        for column, (place, turn) in enumerate(multiples):
            turns[place, column] = turn
        self.register_buffer("turns", turns, persistent=False)
        self.angles = nn.Parameter(2 * math.pi * torch.rand(series, len(multiples)))
        self.weights = nn.Parameter(torch.zeros(series, len(multiples)))
        self.memory = nn.Parameter(torch.full((series,), _NEWEST))
        self.amplitude = nn.Parameter(torch.zeros(series))  # its logarithm

    def of(self, numbers: Tensor) -> OwnParts:
        """Return what the series of some windows have; ``numbers`` (B,) are places among the series of the training."""
        index = torch.where(numbers < 0, len(self.memory), numbers).long()
        own = (self.weights * self.angles.cos(), -self.weights * self.angles.sin())
        cosines, sines, memory, amplitude = (
            torch.cat([part, part.mean(dim=0, keepdim=True)])[index]
            for part in (*own, self.memory.unsqueeze(1), self.amplitude.unsqueeze(1))
        )
        return OwnParts(cosines, sines, self.turns, memory, amplitude.exp())
