"""What every series of a panel has of its own beside the shared cell: season, level and amplitude."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qkan.forecasting.model.parts import Level
from qkan.layers.qkan_layer import QKANLayer

_NEWEST = 2.0
"""Logit of the weight of the newest value in a level before training: 0.88."""


class PerSeries(nn.Module):
    """Seasonal circuits, the memory of the level and the amplitude of every series (the hybrid of ES-RNN, Smyl 2020).

    A series is y = level + season(phase) + amplitude * forecast of the shared cell for what is left. Its season is one
    DARUAN a season of ``reps`` repetitions with a trained weight: a trigonometric polynomial with as many harmonics,
    whose constant is left to the level. Training starts from no season and amplitude 1. Series with the number -1 are
    unknown ones and have the means of all.

    Args:
        series: How many there are.
        seasons: Lengths of their seasons, in steps; may be empty.
        reps: Repetitions of every circuit.
    """

    angles: Tensor
    waves: Tensor

    def __init__(self, series: int, seasons: tuple[int, ...], reps: int) -> None:
        super().__init__()
        self.series, self.seasons, self.reps = series, seasons, reps
        self.circuit: QKANLayer | None = None
        if seasons:
            self.circuit = QKANLayer(
                1, series * len(seasons), reps, base_activation=None, postact_weight_trainable=True
            )
            nn.init.zeros_(self.circuit.postact_weight)
            points = 2 * reps + 1
            angles = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
            turns = torch.outer(torch.arange(1, reps + 1, dtype=torch.float64), angles)
            waves = torch.cat([turns.cos(), turns.sin()]) * (2 / points)
            self.register_buffer("angles", angles.float().unsqueeze(1), persistent=False)
            self.register_buffer("waves", waves.float(), persistent=False)
        self.memory = nn.Parameter(torch.full((series,), _NEWEST))
        self.amplitude = nn.Parameter(torch.zeros(series))

    def coefficients(self) -> Tensor:
        """Return the cosines' and then the sines' coefficients of every series and season, (series, seasons, 2 reps).

        The circuits are band-limited, so their values at 2 reps + 1 equidistant angles give them exactly.
        """
        if self.circuit is None:
            return self.memory.new_zeros(self.series, 0, 2 * self.reps)
        return (self.waves @ self.circuit(self.angles)).T.unflatten(0, (self.series, len(self.seasons)))

    def of(self, numbers: Tensor) -> OwnParts:
        """Return what the series of some windows have; ``numbers`` (B,) are places among the series of the training."""
        index = torch.where(numbers < 0, self.series, numbers).long()
        with_mean = (torch.cat([own, own.mean(dim=0, keepdim=True)])[index] for own in self._numbers())
        coefficients, memory, amplitude = with_mean
        return OwnParts(coefficients, memory, amplitude)

    def _numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.coefficients(), self.memory, self.amplitude


class OwnParts:
    """What the series of B windows have of their own.

    Args:
        coefficients: (B, seasons, 2 reps).
        memory: Logits of the weight of the newest value in the level, (B,).
        amplitude: Logarithms of the amplitude, (B,).
    """

    def __init__(self, coefficients: Tensor, memory: Tensor, amplitude: Tensor) -> None:
        self.coefficients, self.memory, self.factor = coefficients, memory.unsqueeze(1), amplitude.exp().unsqueeze(1)

    def season(self, phases: Tensor) -> Tensor:
        """Return the season at phase angles (B, steps, seasons), (B, steps)."""
        turns = torch.arange(1, self.coefficients.shape[2] // 2 + 1, device=phases.device, dtype=phases.dtype)
        angles = phases.unsqueeze(3) * turns
        waves = torch.cat([angles.cos(), angles.sin()], dim=3)
        return (waves * self.coefficients.unsqueeze(1)).sum(dim=(2, 3))

    def level(self, values: Tensor) -> Level:
        """Return the exponentially smoothed level of windows (B, window), oldest value first.

        The newest value has the weight a, each one before it 1 - a times that of the next; the weights add up to 1.
        """
        ages = torch.arange(values.shape[1] - 1, -1, -1, device=values.device, dtype=values.dtype)
        weights = torch.softmax(nn.functional.logsigmoid(-self.memory) * ages, dim=1)
        return Level((weights * values).sum(dim=1, keepdim=True), None)
