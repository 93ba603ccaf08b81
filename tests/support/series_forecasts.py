"""Fit a model to the first values of a series and forecast from later ones, in one call."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


def forecast(
    fit: Callable[..., Any], values: np.ndarray, known: int, first: np.ndarray, horizon: int, season: int
) -> SimpleNamespace:
    """Return ``mean``, ``error`` and ``choice`` of a model that was fitted to ``known`` values."""
    model = fit(values[:known], season)
    rolled = model.roll(values, first, horizon)
    return SimpleNamespace(mean=rolled.mean, error=rolled.error, choice=model.choice)
