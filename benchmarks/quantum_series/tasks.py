"""The series, and the windows of the 27 tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from qkan.datasets.catalog.synthetic import lorenz, mackey_glass


def henon() -> np.ndarray:
    """Both coordinates of (x, y) <- (1 - 1.4 x^2 + y, 0.3 x) from (0, 0), the first of 1,000 points.

    In the order of operations of reservoirpy 0.3.12: chaos makes another order another series after 80 points, which is
    why this is not the built-in series of that name.
    """
    points = np.zeros((1000, 2))
    for x, y in pairwise(points):
        y[:] = 1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]
    return points


Part = tuple[Tensor, Tensor]
"""Inputs (N, window, coordinates) and targets (N, coordinates) of some windows."""

SYSTEMS: dict[str, tuple[Callable[[], np.ndarray], tuple[int, ...]]] = {
    "mackey-glass": (lambda: mackey_glass()[:, None], (1, 70, 140)),
    "henon": (henon, (1, 2, 4)),
    "lorenz": (lorenz, (1, 13, 25)),
}
WINDOWS = (4, 8, 16)


@dataclass(frozen=True)
class Task:
    """One of the 27: which system, how far ahead, from how many points."""

    system: str
    horizon: int
    window: int

    def __str__(self) -> str:
        return f"{self.system}-h{self.horizon}-w{self.window}"

    @cache  # noqa: B019  (there are 27)
    def parts(self) -> list[Part]:
        """Inputs (N, window, coordinates) and targets (N, coordinates) of training, validation and test, float32."""
        values = SYSTEMS[self.system][0]()
        low, high = values.min(axis=0), values.max(axis=0)
        scaled = torch.from_numpy((values - low) / (high - low)).float()
        count = len(scaled) - self.window - self.horizon + 1
        inputs = scaled.unfold(0, self.window, 1)[:count].transpose(1, 2).contiguous()
        targets = scaled[self.window + self.horizon - 1 :]
        cuts = [0, round(0.6 * count), round(0.8 * count), count]
        return [(inputs[a:b], targets[a:b]) for a, b in pairwise(cuts)]


TASKS = {
    str(task): task
    for task in (
        Task(name, horizon, window)
        for name, (_, horizons) in SYSTEMS.items()
        for horizon in horizons
        for window in WINDOWS
    )
}
