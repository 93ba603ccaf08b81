"""Series from a table: every value and every time is checked before anything is computed with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, notice, refuse, shortened
from qkan.datasets.read.categories import Names, covariate_cells, one_per_series, with_names
from qkan.datasets.read.cells import MISSING, ids_of, numbers_of, row_number
from qkan.datasets.read.columns import Columns, column_of, find_columns
from qkan.datasets.read.frames import as_pandas, with_columns_only
from qkan.datasets.read.frequency import Timeline, find_frequency, grid_of
from qkan.datasets.read.missing import Rows, fill, last_known, without_gaps
from qkan.datasets.read.select import left_out
from qkan.datasets.read.times import THE_INDEX, times_of
from qkan.datasets.read.zones import AssumedZone
from qkan.datasets.series import TREATMENTS, Series
from qkan.datasets.steps import natural_season
from qkan.datasets.table_form import Clock, TableForm

MIN_POINTS = 3  # fewer show no regular step


class Settled(NamedTuple):
    """What the first rows of a file settled about its times, for the rows that are read later.

    Attributes:
        expected: alias of their step.
        usual: ticks of a step of one length; None for another.
        clock: that they are read by.
    """

    expected: str | None
    usual: int | None
    clock: Clock


def series_from_frame(
    frame: Any,
    *,
    name: str = "frame",
    missing: str = "refuse",
    frequency: Any = None,
    expected: str | None = None,
    until: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Series:
    """One or many series from a table in long form, one row a value.

    Rows at the end of a series whose value is missing are its future: the series ends before them. They count with
    future covariates or another ``missing`` than ``refuse``; otherwise every missing value is refused. Rows are sorted
    by time within each series, and a `DataNotice` says so where they were not.

    Args:
        frame: the table, of pandas, polars, pyarrow or another package that narwhals knows; it stays as it is.
        name: of the series, and of the one in it if there is no id column.
        missing: one of :data:`qkan.datasets.series.TREATMENTS`: what to do about missing values and missing times;
            see :mod:`qkan.datasets.read.missing`.
        frequency: the step that the times must have, as `qkan.datasets.steps.step_alias` takes it, or a whole number;
            None finds it.
        expected: alias of the step to take if the times fit it.
        until: the last time of each series by its id: what comes after is the future, whatever its values are.
        columns: which columns hold what, as `Columns.named` takes them.

    The columns are

    * ``time_col``: timestamps, periods, dates, ISO 8601 text, text of ``time_format``, or whole numbers (steps, or
      dates such as 20240131). By default ``ds``, else the only one that holds times (a `DataNotice` says so), else the
      order of the rows is the time; ``"rows"`` stands for that too. Times of ``time_zone`` that do not name it are
      told apart by their order where an hour comes twice, and come back as they were. Times with
      a zone are kept on the clock on which they are regular: see :class:`qkan.datasets.table_form.Clock`.
    * ``target_col``: the values; by default ``y``, or else the only numeric column that is no covariate.
    * ``id_col``: tells several series apart; by default ``unique_id`` if there is one.
    * ``past_cols`` and ``future_cols``: covariates whose values are known up to now, and in advance.
    * ``static_cols``: one number or one name a series.
    * ``category_cols``: names that may change with time and are known in advance. One that never changes in a series
      stays as it is after its end, where no future row says otherwise.

    Returns:
        a series with the frequency found in its times and the seasons usual for that frequency.

    Raises:
        DataError: a column is missing or ambiguous, a value is missing, infinite, huge or no number, or the times are
            missing, duplicated or irregular. The message names the first offending row, counted from 1.
        TypeError: the table is none.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import series_from_frame
        >>> ds = pd.date_range("2026-01-01", periods=48, freq="h")
        >>> series = series_from_frame(pd.DataFrame({"ds": ds, "y": range(48)}), name="counts")
        >>> series.name, series.frequency
        ('counts', 'h')
    """
    label, source = "the data frame", "a data frame"
    return table_series(
        as_pandas(frame),
        Columns.named(**columns),
        name=name,
        label=label,
        source=source,
        missing=missing,
        steps=(frequency, expected),
        until=until,
    )


def table_series(
    frame: pd.DataFrame,
    columns: Columns,
    *,
    name: str,
    label: str,
    source: str,
    missing: str,
    steps: tuple[Any, str | None] = (None, None),
    until: Mapping[str, Any] | None = None,
    settled: Settled | None = None,
) -> Series:
    """The series of a table called ``label`` that comes from ``source``; see `series_from_frame` for the rest.

    ``steps`` are ``frequency`` and ``expected``.
    """
    if missing not in TREATMENTS:
        raise DataError(f"missing={missing!r} is unknown; choose one of {', '.join(TREATMENTS)}")
    frame = with_columns_only(frame, label)
    if len(frame) == 0:
        raise DataError(f"{label!r} has no rows; a series needs at least {MIN_POINTS} values")
    columns = find_columns(frame, label, columns)
    lenient = missing != "refuse" or bool(columns.future or columns.category) or until is not None
    rows, ids, form, names = _rows(frame, columns, name, lenient, None if settled is None else settled.clock)
    past = _is_past(rows, ids, until)
    short = np.bincount(rows.owner[past], minlength=len(ids)) < MIN_POINTS
    if short.all():
        _check_counts(ids, np.bincount(rows.owner[past], minlength=len(ids)))
    if short.any():
        notice(left_out([str(name) for name in ids[short]], len(ids), f"of fewer than {MIN_POINTS} values"))
        kept = ~short[rows.owner]
        rows, past, ids, form = rows.keep(kept), past[kept], ids[~short], form.pick(np.flatnonzero(~short))
    alias, history, observed = None, rows.keep(past), None
    if columns.time is not None:
        labels = tuple(map(str, ids)) if columns.id is not None else ()
        timeline = Timeline(rows.times, rows.starts, rows.source, columns.time, labels, form.clock)
        usual, expected = (None, steps[1]) if settled is None else (settled.usual, settled.expected)
        gaps = missing != "refuse"
        alias = find_frequency(timeline, gaps=gaps, frequency=steps[0], expected=expected, usual=usual)
    if missing == "refuse":
        _refuse_missing(history, columns)
    else:
        if columns.time is not None:
            timeline = Timeline(history.times, history.starts, history.source, columns.time, (), form.clock)
            history = without_gaps(history, grid_of(timeline, alias))
        history, observed = fill(history, missing, columns.covariates)
    return Series(
        name=name,
        frame=with_names(_long(history, ids, columns.covariates, history.values), names),
        frequency=alias,
        season=natural_season(alias, int(np.median(np.bincount(history.owner)))),
        source=source,
        licence="not stated",
        summary=f"column {columns.target!r} of {label}",
        past=columns.past,
        future=columns.future,
        static=tuple(name for name in columns.static if name not in names),
        categories=tuple(names),
        missing=missing,
        observed=observed,
        futr_exog=_future_rows(rows, past, ids, columns, names) if columns.future or names else None,
        form=form,
    )


def future_frame(
    frame: Any, series: Series, *, label: str, time_col: str | None = None, id_col: str | None = None
) -> pd.DataFrame:
    """Rows that a table gives for the future of some series, for `Series.with_futr_exog`.

    Args:
        frame: columns of times, ids (not needed for a single series) and the future covariates; others are not looked
            at.
        series: whose future it is.
        label: what messages call the table.
        time_col, id_col: names of the columns; None takes those of the table of the series.

    Raises:
        DataError: a column is missing, a value is no number, or a time cannot be read.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import future_frame, series_from_frame
        >>> ds = pd.date_range("2026-01-01", periods=50, freq="h")
        >>> table = pd.DataFrame({"ds": ds, "y": range(50), "holiday": 0.0})
        >>> series = series_from_frame(table[:48], future_cols=["holiday"])
        >>> list(future_frame(table.loc[48:, ["ds", "holiday"]], series, label="the future").columns)
        ['unique_id', 'ds', 'holiday']
    """
    form = series.form
    frame = with_columns_only(as_pandas(frame, label), label)
    time_col, id_col = time_col or form.time_col, id_col or form.id_col
    if time_col == "ds" and "ds" not in frame.columns and THE_INDEX in frame.columns:
        time_col = THE_INDEX
    for column in (time_col, *series.future):
        column_of(frame, label, "future" if column != time_col else "time", column, default="")
    if len(frame) == 0:
        raise DataError(f"{label!r} has no rows; give one for every step to forecast")
    if id_col in frame.columns:
        ids = ids_of(frame, id_col, "")
    elif len(series.ids) == 1:
        ids = ids_of(frame, None, series.ids[0])
    else:
        raise DataError(f"{label!r} has no id column {id_col!r}; it must say which of the series each row belongs to")
    clock = None if series.frequency is None else form.clock
    zone = None if form.assumed_zone is None else AssumedZone(form.assumed_zone, pd.factorize(ids)[0])
    times = times_of(frame[time_col], time_col, format=form.read_as or form.format, clock=clock, zone=zone)
    values = {"unique_id": ids, "ds": times.values}
    names: dict[str, tuple[str, ...]] = {}
    for name in (*series.future, *(own for own in series.categories if own in frame.columns)):
        values[name], found = covariate_cells(frame[name], names=name in series.categories, static=False)
        names |= {} if found is None else {name: found}
    return with_names(pd.DataFrame(values), names).sort_values(["unique_id", "ds"], ignore_index=True)


def _rows(
    frame: pd.DataFrame, columns: Columns, name: str, lenient: bool, clock: Clock | None = None
) -> tuple[Rows, np.ndarray, TableForm, dict[str, tuple[str, ...]]]:
    """The rows of a table sorted by series and time, the sorted names of the series, the form, and its categories.

    ``name`` is that of a single series, ``clock`` that of the times; None finds it.
    """
    target = columns.target
    y = numbers_of(frame[target], f"target column {target!r}", "choose another target_col", missing=lenient)
    codes, ids = pd.factorize(ids_of(frame, columns.id, name), sort=True)
    form = TableForm(named=columns.id is not None, target_col=str(target))
    if columns.id is not None:
        _, first = np.unique(codes, return_index=True)
        form = replace(form, ids=frame[columns.id].iloc[first], order=np.argsort(first), id_col=columns.id)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    if columns.time is None:
        ds = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    else:
        zone = None if columns.time_zone is None else AssumedZone(columns.time_zone, codes)
        times = times_of(frame[columns.time], columns.time, format=columns.time_format, clock=clock, zone=zone)
        form = replace(form, assumed_zone=columns.time_zone, times=times.dtype, clock=times.clock)
        form = replace(form, time_col="ds" if columns.time == THE_INDEX else columns.time)
        form = replace(form, format=times.format, read_as=columns.time_format)
        sorted_order = np.lexsort((times.values, codes))
        if not np.array_equal(order, sorted_order):
            order = sorted_order
            notice(f"the rows are not in the order of time column {columns.time!r}; they were sorted by it")
        ds = times.values[order]
    covariates, names = np.empty((len(frame), len(columns.covariates))), dict[str, tuple[str, ...]]()
    for place, column in enumerate(columns.covariates):
        static = column in columns.static
        cells, found = covariate_cells(frame[column], names=column in columns.category, static=static)
        names |= {} if found is None else {column: found}
        cells = cells[order]
        covariates[:, place] = one_per_series(cells, starts, ids, column, names) if static else cells
    return Rows(ds, starts, y[order], covariates, order), ids, form, names


def _is_past(rows: Rows, names: np.ndarray, until: Mapping[str, Any] | None) -> np.ndarray:
    """Which rows belong to the series, bool, shape (rows,); the others are its future."""
    if until is not None:
        last = np.array([until[str(name)] for name in names], dtype=rows.times.dtype)
        return rows.times <= last[rows.owner]
    backwards = last_known(
        ~np.isnan(rows.values[::-1]), len(rows.values) - np.append(rows.starts[1:], len(rows.values))[::-1]
    )
    return backwards[::-1] >= 0


def _future_rows(rows: Rows, past: np.ndarray, ids: np.ndarray, columns: Columns, names: Names) -> pd.DataFrame:
    """The rows of the future with the covariates that are known in advance."""
    frame = with_names(_long(rows, ids, columns.covariates).drop(columns=list(columns.past)), names)
    return frame[~past].reset_index(drop=True)


def _refuse_missing(rows: Rows, columns: Columns) -> None:
    for column, values in zip((columns.target, *columns.covariates), (rows.values, *rows.covariates.T), strict=True):
        lacking = rows.source[np.isnan(values)]
        if lacking.size:
            raise DataError(f"row {row_number(lacking.min())} of column {column!r} is missing{MISSING}")


def _long(rows: Rows, ids: np.ndarray, names: tuple[str, ...], y: np.ndarray | None = None) -> pd.DataFrame:
    columns: dict[str, Any] = {"unique_id": ids[rows.owner], "ds": rows.times}
    if y is not None:
        columns["y"] = y
    return pd.DataFrame(columns | dict(zip(names, rows.covariates.T, strict=True)))


def _check_counts(names: np.ndarray, counts: np.ndarray) -> None:
    refuse(
        counts < MIN_POINTS,
        lambda place: (
            f"series {shortened(names[place])} has {counts[place]} points; every series needs at least "
            f"{MIN_POINTS}, so drop it or check the id column"
        ),
    )
