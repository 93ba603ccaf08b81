"""What an engine of a stream is, and the newest steps of every series, in memory that does not grow."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Rings:
    """The newest steps of S series, each held twice so that they always stand one behind the other.

    Attributes:
        value: (S, 2 * context) float32, scaled values, as an engine wants them.
        extra: (S, 2 * window, numbers) float32: further channels, then what was known of a step in advance.
        number: (S, 2 * window) int64, numbers of steps.
        place: (S, 2) int64, where the oldest value and the oldest of the rest stand.
        h, c: (S, hidden) float32, the states of a cell that are kept from value to value.
    """

    def __init__(self, series: int, context: int, window: int, numbers: int, hidden: int) -> None:
        self.context, self.window = context, window
        self.value = np.zeros((series, 2 * context), dtype=np.float32)
        self.extra = np.zeros((series, 2 * window, numbers), dtype=np.float32)
        self.number = np.zeros((series, 2 * window), dtype=np.int64)
        self.place = np.zeros((series, 2), dtype=np.int64)
        self.h, self.c = (np.zeros((series, hidden), dtype=np.float32) for _ in range(2))

    def append(self, rows: np.ndarray, value: np.ndarray, extra: np.ndarray, number: np.ndarray) -> None:
        """Put a step behind those of some series: (B,), (B, numbers), (B,)."""
        for copy in range(2):
            at, behind = (self.place[rows] + copy * np.array([self.context, self.window])).T
            self.value[rows, at], self.extra[rows, behind], self.number[rows, behind] = value, extra, number
        self.place[rows] = (self.place[rows] + 1) % [self.context, self.window]

    def newest(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The newest steps of some series, oldest first: (B, context), (B, window, numbers) and (B, window)."""
        at = self.place[rows, :1] + np.arange(self.context)
        behind = self.place[rows, 1:] + np.arange(self.window)
        rows = rows[:, None]
        return self.value[rows, at], self.extra[rows, behind], self.number[rows, behind]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name."""
        return {name: getattr(self, name) for name in ("value", "extra", "number", "place", "h", "c")}

    def copy_rows(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of all that belongs to some series, for :meth:`put_back`."""
        return {name: own[rows] for name, own in self.arrays().items()}

    def put_back(self, rows: np.ndarray, kept: dict[str, np.ndarray]) -> None:
        """Undo what happened to some series since :meth:`copy_rows`."""
        for name, own in self.arrays().items():
            own[rows] = kept[name]

    def clear(self, rows: np.ndarray) -> None:
        """Forget some series."""
        for own in self.arrays().values():
            own[rows] = 0


class Engine(Protocol):
    """What moves a stream on. ``rows`` are places of series, int64 (B,), each at most once."""

    rings: Rings
    quantiles: int

    def append(
        self, rows: np.ndarray, values: np.ndarray, others: np.ndarray, covariates: np.ndarray, numbers: np.ndarray
    ) -> None:
        """Put a value behind those of every row.

        Args:
            rows: As of the class.
            values: In the unit of the series, float64 (B,).
            others: Further channels that are known up to now, scaled, float32 (B, past - 1).
            covariates: Channels known in advance but the phases, scaled, float32 (B, covariates).
            numbers: Numbers of the step, as of :func:`qkan.datasets.windows.step_numbers`, and of those behind it,
                int64 (B, 1 + horizon).
        """

    def forecast(
        self, rows: np.ndarray, covariates: np.ndarray, numbers: np.ndarray, *, begin: bool, moved: bool
    ) -> np.ndarray:
        """Forecasts of the steps behind the newest one: (B, horizon, quantiles) float64, ascending.

        Args:
            rows: As of the class.
            covariates: Channels known in advance of the steps to forecast, float32 (B, horizon, covariates).
            numbers: As of :meth:`append`.
            begin: Whether the state begins with the window, also where it is kept from value to value.
            moved: Whether a value was appended since the last call: else a state that is kept stays where it is.
        """
