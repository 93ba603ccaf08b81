"""Arrays that are computed where they are looked at: windows of a panel on disk take no memory of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qkan.datasets.series import Series


class Progression(np.lib.mixins.NDArrayOperatorsMixin):
    """Whole numbers, so many for every series: each a first one and those that follow it, or that one again.

    It is an array, int64, shape (N,): an operation on the whole of it makes one in memory.

    Args:
        base: the first number of every series, shape (series,).
        counts: how many numbers a series has, shape (series,).
        step: 1 or 0, what is added from one number to the next.
    """

    ndim, dtype = 1, np.dtype(np.int64)

    def __init__(self, base: np.ndarray, counts: np.ndarray, step: int) -> None:
        self.base, self.counts, self.step = base, counts, step
        self.ends = np.cumsum(counts)
        self.shape = (int(self.ends[-1]) if len(self.ends) else 0,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            return np.asarray(np.asarray(self)[index])
        places = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        if places.dtype == bool:
            places = np.flatnonzero(places)
        places = np.where(places < 0, places + len(self), places)
        owner = np.searchsorted(self.ends, places, side="right")
        if self.step == 0:
            return np.asarray(self.base[owner])
        return np.asarray(self.base[owner] + places - (self.ends[owner] - self.counts[owner]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        first = np.repeat(self.base, self.counts)
        if self.step:
            first += np.arange(len(self)) - np.repeat(self.ends - self.counts, self.counts)
        return first if dtype is None else first.astype(dtype)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(own) if isinstance(own, Progression) else own for own in inputs)
        return getattr(function, method)(*arrays, **options)

    def only(self, begin: int, end: int) -> Progression:
        """The numbers of some neighbouring series; the others have none."""
        counts = np.zeros_like(self.counts)
        counts[begin:end] = self.counts[begin:end]
        return Progression(self.base, counts, self.step)


@dataclass(frozen=True, eq=False)
class Channels:
    """Channels of the rows of a series, computed for the rows that are asked for: an array, shape (rows, channels).

    Args:
        series: whose rows.
        of_rows: the channels of some rows, float32, (..., channels) for rows of shape (...); those of the last axis
            belong to one series.
        width: how many there are.
    """

    series: Series
    of_rows: Callable[[Series, np.ndarray], np.ndarray]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self.series.points, self.width

    def __len__(self) -> int:
        return self.series.points

    def __getitem__(self, key: Any) -> np.ndarray:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))[:, None]
            return self.of_rows(self.series, rows)[(slice(None), 0, *rest)]
        rows = np.asarray(rows)
        found = self.of_rows(self.series, rows) if rows.ndim > 1 else self.of_rows(self.series, rows[:, None])[:, 0]
        return found[(..., *rest)]

    def only(self, begin: int, end: int) -> Channels:
        """The same channels, of which only those of some neighbouring series will be looked at."""
        return replace(self, series=self.series.only(begin, end))
