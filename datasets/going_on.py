"""Rows that go on from the end of some series: read by the rules that those were read by."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, DataNotice, refuse, shown
from qkan.datasets.read.cells import ids_of
from qkan.datasets.read.columns import Columns, find_columns
from qkan.datasets.read.frames import as_pandas, with_columns_only
from qkan.datasets.read.select import keep_series
from qkan.datasets.read.table import table_series
from qkan.datasets.read.times import THE_INDEX, times_of
from qkan.datasets.read.zones import AssumedZone
from qkan.datasets.series import Series
from qkan.datasets.table_form import TableForm

_LABEL = "the data frame"
_UNSORTED = "the rows are not in the order"


def last_values(series: Series, count: int) -> Series:
    """The newest values of every series, at most so many, without future rows.

    Examples:
        >>> from qkan.datasets import last_values, read_series
        >>> last_values(read_series("traffic.csv"), 100).lengths
        array([100])
    """
    left = np.repeat(series.starts[1:], series.lengths) - np.arange(len(series.frame))
    kept = left <= count
    observed = None if series.observed is None or series.observed[kept].all() else series.observed[kept]
    return replace(series, frame=series.frame[kept].reset_index(drop=True), observed=observed, futr_exog=None)


def series_going_on(frame: Any, tail: Series, *, expected: str | None = None, **columns: Any) -> Series:
    """The rows of a table behind the last rows of the series that they go on from.

    Duplicated, missing and unsorted rows are treated as in `series_from_frame`, and so is what lies between the last
    row of a series and the first new one.

    Args:
        frame: the new rows, of any number of series; it stays as it is.
        tail: the last rows of the series that are there already, as of `last_values`.
        expected, columns: as of `series_from_frame`.

    Returns:
        the series that the table has rows of: those of ``tail`` first. Their form is that of the table.

    Raises:
        DataError: the rows cannot be used.
        TypeError: the table is none.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import last_values, series_from_frame, series_going_on
        >>> ds = pd.date_range("2026-01-01", periods=48, freq="h")
        >>> table = pd.DataFrame({"ds": ds, "y": range(48)})
        >>> tail = last_values(series_from_frame(table[:47]), 3)
        >>> series_going_on(table[47:], tail).lengths
        array([4])
    """
    table, found, ids, times, form = _parsed(frame, tail, columns)
    given = set(ids)
    there = [name for name in tail.ids if name in given]
    old = keep_series(tail, there) if there else None
    names = {"unique_id": found.id or "unique_id", "ds": found.time or "ds", "y": str(found.target)}
    _refuse_older(tail, ids, times)
    whole = table.assign(**{names["unique_id"]: ids, names["ds"]: times})
    if old is not None:
        whole = pd.concat([whole, old.frame.rename(columns=names)], ignore_index=True)
    inside = replace(found, id=names["unique_id"], time=names["ds"], time_format=None, time_zone=None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataNotice)
        series = table_series(
            whole, inside, name=tail.name, label=_LABEL, source=tail.source, missing=tail.missing,
            steps=(None, expected),
        )  # fmt: skip
    in_order = bool(
        (np.lexsort((times, pd.factorize(ids)[0])) == np.argsort(pd.factorize(ids)[0], kind="stable")).all()
    )
    for one in said:
        if not (in_order and str(one.message).startswith(_UNSORTED)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return replace(series, form=_form_of(form, series, table, found, ids), season=tail.season, session=tail.session)


def _refuse_older(tail: Series, ids: np.ndarray, times: np.ndarray) -> None:
    """Refuse rows that come before the last one of their series; one of the same time is a duplicate."""
    last = dict(zip(tail.ids, tail.times[tail.starts[1:] - 1], strict=True))
    refuse(
        np.array([name in last and time < last[name] for name, time in zip(ids, times, strict=True)]),
        lambda row: (
            f"row {row + 1} is of series {ids[row]!r} at {shown(times[row])}, older than the last value that is known, "
            f"at {shown(last[ids[row]])}; a stream only goes forward, so leave the row out, or begin anew"
        ),
    )


def newer_rows(frame: Any, tail: Series, **columns: Any) -> np.ndarray:
    """Which rows of a table lie behind the last ones of their series: bool, shape (rows,).

    Args:
        frame, tail, columns: as of `series_going_on`.

    Raises:
        DataError, TypeError: as of `series_going_on`.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import last_values, newer_rows, series_from_frame
        >>> ds = pd.date_range("2026-01-01", periods=48, freq="h")
        >>> table = pd.DataFrame({"ds": ds, "y": range(48)})
        >>> newer_rows(table[44:], last_values(series_from_frame(table[:47]), 3)).tolist()
        [False, False, False, True]
    """
    _, _, ids, times, _ = _parsed(frame, tail, columns)
    last = dict(zip(tail.ids, tail.times[tail.starts[1:] - 1], strict=True))
    return np.array([name not in last or time > last[name] for name, time in zip(ids, times, strict=True)])


def _parsed(
    frame: Any, tail: Series, columns: dict[str, Any]
) -> tuple[pd.DataFrame, Columns, np.ndarray, np.ndarray, TableForm]:
    """A table, its columns, the series and the time of every row, and its form."""
    table = with_columns_only(as_pandas(frame), _LABEL)
    if len(table) == 0:
        raise DataError(f"{_LABEL} has no rows; give one for every new value")
    found = find_columns(table, _LABEL, Columns.named(**columns))
    if found.id is None and len(tail.ids) > 1:
        count = len(tail.ids)
        raise DataError(f"{_LABEL} has no id column; it must say which of the {count} series each row belongs to")
    ids = ids_of(table, found.id, tail.ids[0])
    if found.time is None:
        return table, found, ids, _by_order(tail, ids), replace(tail.form, times=None)
    clock = None if tail.frequency is None else tail.form.clock
    zone = None if found.time_zone is None else AssumedZone(found.time_zone, pd.factorize(ids)[0])
    written = found.time_format or tail.form.format
    read = times_of(table[found.time], found.time, format=written, clock=clock, zone=zone)
    if read.values.dtype != tail.times.dtype:
        raise DataError(
            f"the times are {read.values.dtype}, but those they go on from are {tail.times.dtype}; write them alike"
        )
    form = replace(tail.form, times=read.dtype, format=read.format, assumed_zone=found.time_zone)
    time_col = "ds" if found.time == THE_INDEX else found.time
    return table, found, ids, read.values, replace(form, time_col=time_col, read_as=found.time_format)


def _form_of(form: TableForm, series: Series, table: pd.DataFrame, found: Columns, ids: np.ndarray) -> TableForm:
    """The form of the table, with the ids of the series that were read."""
    form = replace(form, named=found.id is not None, target_col=str(found.target))
    if found.id is None:
        return replace(form, ids=None, order=None)
    first = pd.Series(np.arange(len(ids)), index=ids).groupby(level=0).first()[list(series.ids)].to_numpy()
    return replace(form, ids=table[found.id].iloc[first], order=np.argsort(first), id_col=found.id)


def _by_order(tail: Series, ids: np.ndarray) -> np.ndarray:
    """Whole-number times of rows that name none: each is the one behind that of the row before it."""
    last = dict(zip(tail.ids, tail.times[tail.starts[1:] - 1], strict=True))
    begin = np.array([last.get(name, -1) for name in ids], dtype=np.int64)
    place = pd.Series(ids).groupby(ids).cumcount().to_numpy()
    return begin + 1 + place
