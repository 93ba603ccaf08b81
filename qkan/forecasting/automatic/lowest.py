"""Below what no forecast is: counts are never negative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qkan.datasets import Series


def lowest_forecasts(series: Series, nonnegative: bool | None, known: np.ndarray | None = None) -> np.ndarray:
    """Return 0 for series of which no forecast is below 0, and minus infinity for others: float64 (series,).

    Args:
        series: The data; what was filled rather than observed says nothing.
        nonnegative: Whether none is; ``None`` decides for every series: where all observed values are counts, so whole
            numbers of which none is below 0.
        known: How many values of every series count, (series,); ``None`` for all.

    Raises:
        DataError: an observed value is below 0, and ``nonnegative`` is true.
    """
    from qkan.datasets import DataError

    observed = np.ones(len(series.values), dtype=bool) if series.observed is None else series.observed
    if nonnegative and (negative := np.flatnonzero(observed & (series.values < 0))).size:
        owner = series.ids[int(np.searchsorted(series.starts, negative[0], side="right")) - 1]
        raise DataError(
            f"series {owner!r} has the value {series.values[negative[0]]:g}, so its forecasts may be below 0, too; "
            "leave out the option nonnegative, or correct the value"
        )
    if nonnegative is not None:
        return np.full(len(series.ids), 0.0 if nonnegative else -np.inf)
    position = np.arange(len(series.values)) - np.repeat(series.starts[:-1], series.lengths)
    counts = (series.values >= 0) & (series.values == np.rint(series.values)) | ~observed
    if known is not None:
        counts |= position >= np.repeat(known, series.lengths)
    return np.where(np.logical_and.reduceat(counts, series.starts[:-1]), 0.0, -np.inf)
