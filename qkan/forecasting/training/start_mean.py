"""Where a mean season starts that is the level of a forecast: the ridge regression of the values on its waves."""

from __future__ import annotations

import torch

from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import RecurrentForecaster

_MOST_ROWS = 100_000  # the newest
_PENALTY = 1e-4  # of the mean square of a wave, times the rows: the day is a part of the week, too


def start_mean(model: RecurrentForecaster, train: WindowTensors) -> None:
    """Let the mean season of a fresh model start as that of the training part.

    Args:
        model: Changed in place; without a mean season it stays as it is.
        train: Windows of the training part, on the CPU.
    """
    mean = model.mean
    if mean is None:
        return
    rows = train.rows_of(train.first)
    if train.weights is not None:
        rows &= train.weights > 0
    values = train.values[rows, 0][-_MOST_ROWS:].double()
    phases = train.futr_exog[rows, -len(mean.circuits.seasons) :][-_MOST_ROWS:].double()
    angles = phases @ mean.circuits.frequencies.cpu().double()
    waves = torch.cat([angles.sin(), angles.cos(), torch.ones_like(angles[:, :1])], dim=1)
    penalty = torch.full((waves.shape[1],), _PENALTY / 2 * len(waves), dtype=waves.dtype)
    penalty[-1] = 0.0  # the constant is free
    sines, cosines = torch.linalg.solve(waves.T @ waves + penalty.diag(), waves.T @ values).split(
        [angles.shape[1], angles.shape[1] + 1]
    )
    mean.start(sines, cosines[:-1], cosines[-1])
