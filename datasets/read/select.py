"""Keeping some of many series."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from qkan.datasets.errors import DataError, shortened
from qkan.datasets.series import Series


def keep_series(series: Series, names: Sequence[str]) -> Series:
    """Only the series of these names, in the order of the ids; all if there is no name.

    Args:
        series: one or many series.
        names: values of ``unique_id``.

    Raises:
        DataError: there is no series of a name.

    Examples:
        >>> from qkan.datasets import keep_series, load_series
        >>> squares = load_series("milan-24")
        >>> keep_series(squares, squares.ids[:2]).lengths
        array([1488, 1488])
    """
    if not names:
        return series
    check_names(names, series.ids, series.name)
    kept = series.frame["unique_id"].isin(names).to_numpy(dtype=bool)
    observed = None if series.observed is None else series.observed[kept]
    futr_exog = series.futr_exog
    if futr_exog is not None:
        futr_exog = futr_exog[futr_exog["unique_id"].isin(names)].reset_index(drop=True)
    frame = series.frame[kept].reset_index(drop=True)
    form = series.form.pick(np.flatnonzero(kept[series.starts[:-1]]))
    return series.with_frame(frame, observed=observed, futr_exog=futr_exog, form=form)


def check_names(names: Sequence[str], ids: Sequence[str], where: str) -> None:
    """Refuse the first of ``names`` that is not among ``ids``, which ``where`` holds.

    Raises:
        DataError: with the closest name there is, and how many there are.
    """
    known = set(ids)
    unknown = next((name for name in names if name not in known), None)
    if unknown is None:
        return
    close = difflib.get_close_matches(unknown, ids, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    some = f"{len(ids):,} series, {ids[0]!r} to {ids[-1]!r}" if len(ids) > 1 else f"the series {ids[0]!r} only"
    raise DataError(f"there is no series {unknown!r} in {where!r}{hint}; it has {some}")


def left_out(names: Sequence[str], total: int, reason: str) -> str:
    """What to say of series that are ``reason``, such as "too short", while others are not.

    Examples:
        >>> from qkan.datasets import left_out
        >>> left_out(["harbour", "market"], 30, "too short")
        "left out 2 of 30 series, too short: 'harbour', 'market'"
    """
    some = ", ".join(map(shortened, names[:5])) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
    return f"left out {len(names):,} of {total:,} series, {reason}: {some}"


def first_values(series: Series, lengths: Sequence[int]) -> Series:
    """The series as they were when they had so many values each, without future rows.

    Examples:
        >>> from qkan.datasets import first_values, read_series
        >>> first_values(read_series("traffic.csv"), [100]).lengths
        array([100])
    """
    place = np.arange(len(series.frame)) - np.repeat(series.starts[:-1], series.lengths)
    kept = place < np.repeat(np.asarray(lengths, dtype=np.int64), series.lengths)
    observed = None if series.observed is None or series.observed[kept].all() else series.observed[kept]
    return series.with_frame(series.frame[kept].reset_index(drop=True), observed=observed, futr_exog=None)
