"""What to do about missing values: refuse them, or fill them in one of three ways.

``mask`` repeats the last known value and remembers that nobody observed it; the model is told so by a channel of its
own. ``interpolate`` draws a line over each gap. ``zero`` says that what is absent is zero, a value like any other.
Filled values of the first two carry no loss and no metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qkan.datasets.errors import DataError, shown
from qkan.datasets.read.frequency import Grid


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of several series, one series after the other in the order of time.

    Args:
        times: shape (rows,).
        starts: first row of every series, int64, shape (series,).
        values: NaN where missing, float64, shape (rows,).
        covariates: NaN where missing, float64, shape (rows, covariates).
        source: row of the file, from 0, shape (rows,); -1 for a row that is not in it.
    """

    times: np.ndarray
    starts: np.ndarray
    values: np.ndarray
    covariates: np.ndarray
    source: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """Index of the series of every row, int64, shape (rows,)."""
        lengths = np.diff(np.append(self.starts, len(self.times)))
        return np.repeat(np.arange(len(self.starts)), lengths)

    def keep(self, kept: np.ndarray) -> Rows:
        """Only the rows that ``kept`` (bool, shape (rows,)) says; every series must keep one."""
        starts = np.flatnonzero(np.diff(self.owner[kept], prepend=-1))
        return Rows(self.times[kept], starts, self.values[kept], self.covariates[kept], self.source[kept])


def without_gaps(rows: Rows, grid: Grid) -> Rows:
    """The rows with one for every time between the first and the last of each series; new ones hold NaN."""
    ends = np.append(rows.starts[1:], len(rows.times))
    first = grid.number[rows.starts]
    lengths = grid.number[ends - 1] - first + 1
    if lengths.sum() == len(rows.times):
        return rows
    starts = np.cumsum(lengths) - lengths
    owner = np.repeat(np.arange(len(starts)), lengths)
    offset = np.arange(lengths.sum()) - starts[owner]
    at = starts[rows.owner] + grid.number - first[rows.owner]
    values = np.full(len(owner), np.nan)
    covariates = np.full((len(owner), rows.covariates.shape[1]), np.nan)
    source = np.full(len(owner), -1, dtype=np.int64)
    values[at], covariates[at], source[at] = rows.values, rows.covariates, rows.source
    times = grid.times(rows.times[rows.starts][owner], first[owner], offset, owner)
    return Rows(times, starts, values, covariates, source)


def last_known(known: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Per row, the newest row of its series up to it that is known: int64, shape (rows,); -1 if there is none."""
    rows = np.arange(len(known))
    newest = np.maximum.accumulate(np.where(known, rows, -1))
    lengths = np.diff(np.append(starts, len(known)))
    return np.where(newest >= np.repeat(starts, lengths), newest, -1)


def fill(rows: Rows, treatment: str, names: tuple[str, ...]) -> tuple[Rows, np.ndarray | None]:
    """Fill missing values as ``treatment`` says, and repeat the last known value of covariates.

    Args:
        rows: without gaps; with ``mask`` and ``interpolate`` every series must have a value.
        treatment: ``mask``, ``interpolate`` or ``zero``. The first two drop what comes before the first value of a
            series. Missing values after the last one are those of the last one.
        names: of the covariates, for messages.

    Returns:
        the filled rows, and which of their values were observed; None if that is of no interest or all were.

    Raises:
        DataError: a covariate has no value before or at a row.
    """
    if treatment != "zero":
        rows = rows.keep(last_known(~np.isnan(rows.values), rows.starts) >= 0)
    observed = ~np.isnan(rows.values)
    if treatment == "zero":
        values = np.where(observed, rows.values, 0.0)
    elif treatment == "mask":
        values = rows.values[last_known(observed, rows.starts)]
    else:
        values = _interpolated(rows, observed)
    covariates = rows.covariates.copy()
    for column, name in enumerate(names):
        newest = last_known(~np.isnan(covariates[:, column]), rows.starts)
        bad = np.flatnonzero(newest < 0)
        if bad.size:
            raise DataError(
                f"covariate {name!r} has no value at {shown(rows.times[bad[0]])}, nor any before it in its series to "
                "repeat; fill the start of the column"
            )
        covariates[:, column] = covariates[newest, column]
    filled = Rows(rows.times, rows.starts, values, covariates, rows.source)
    return filled, None if treatment == "zero" or observed.all() else observed


def _interpolated(rows: Rows, observed: np.ndarray) -> np.ndarray:
    """Values with a line over each gap, per series."""
    place, values = np.arange(len(observed)), rows.values.copy()
    for begin, end in zip(rows.starts, np.append(rows.starts[1:], len(observed)), strict=True):
        own, known = place[begin:end], observed[begin:end]
        values[begin:end] = np.interp(own, own[known], rows.values[begin:end][known])
    return values
