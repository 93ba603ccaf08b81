"""Where the ends of prediction intervals lie among the quantiles of a model, and what their columns are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from qkan.forecasting.config import DataAndTrainingOptions

Numbers = TypeVar("Numbers", np.ndarray, Tensor)


def median(quantiles: Numbers) -> Numbers:
    """Return the middle one of an odd number of ascending quantiles: (..., quantiles) -> (...)."""
    return quantiles[..., quantiles.shape[-1] // 2]


def as_levels(level: Sequence[float] | float | None) -> tuple[float, ...] | None:
    """Return percentages as a tuple, a single number too; ``None`` stays."""
    if level is None:
        return None
    return tuple(np.atleast_1d(np.asarray(level)).tolist())


def interval_columns(config: DataAndTrainingOptions, level: Sequence[float] | float | None = None) -> dict[str, int]:
    """Return endings of column names, ``-lo-90`` and the like, and the place of their quantiles in the model's.

    Args:
        config: Of the model.
        level: Percentages of the wanted intervals, of those that the model was trained for; ``None`` takes all.
    """
    level = as_levels(level)
    trained = config.interval_levels
    places = {one: place for place, one in enumerate(trained)}
    columns = {}
    for one in trained if level is None else level:
        columns[f"-lo-{one:g}"] = len(trained) - 1 - places[one]
        columns[f"-hi-{one:g}"] = len(trained) + 1 + places[one]
    return columns
