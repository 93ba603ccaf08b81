"""Series from a table: every value and every time is checked before anything is computed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qkan.datasets.read.cells import MISSING, ids_of, numbers_of, times_of
from qkan.datasets.read.frequency import Timeline, find_frequency, grid_of, natural_season
from qkan.datasets.read.missing import Rows, fill, last_known, without_gaps
from qkan.datasets.series import COLUMNS, TREATMENTS, DataError, Series, refuse, shortened

MIN_POINTS = 3  # fewer show no regular step


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what: see `series_from_frame`; None stands for the default, then for none."""

    time: str | None = None
    target: str | None = None
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the covariates known up to now, then of those known in advance."""
        return (*self.past, *self.future)


def series_from_frame(
    frame: pd.DataFrame,
    *,
    name: str = "frame",
    time_col: str | None = None,
    target_col: str | None = None,
    id_col: str | None = None,
    past_cols: Sequence[str] = (),
    future_cols: Sequence[str] = (),
    missing: str = "refuse",
    frequency: str | int | None = None,
    until: Mapping[str, Any] | None = None,
) -> Series:
    """One or many series from a table in long form, one row a value.

    Rows at the end of a series whose value is missing are its future: the series ends before them. They count with
    ``future_cols`` or another ``missing`` than ``refuse``; otherwise every missing value is refused.

    Args:
        frame: the table; it stays as it is.
        name: of the series, and of the one in it if there is no id column.
        time_col: column of the times: ISO 8601 text, timestamps, or whole numbers (steps). By default ``ds`` if there
            is one, otherwise the order of the rows is the time. Times with a zone are converted to UTC.
        target_col: column of the values; by default ``y``, or else the only numeric column that is no covariate.
        id_col: column that tells several series apart; by default ``unique_id`` if there is one.
        past_cols: covariates whose values are known up to now.
        future_cols: covariates whose values are known in advance.
        missing: one of :data:`qkan.datasets.series.TREATMENTS`: what to do about missing values and missing times;
            see :mod:`qkan.datasets.read.missing`.
        frequency: pandas alias (or whole-number step) that the times must have; None finds it.
        until: the last time of each series by its id: what comes after is the future, whatever its values are.

    Returns:
        a series with the frequency found in its times and the seasons usual for that frequency.

    Raises:
        DataError: a column is missing or ambiguous, a value is missing, infinite, huge or no number, or the times are
            missing, of mixed time zones, duplicated, unsorted or irregular. The message names the first offending row,
            counted from 1.
    """
    columns = Columns(time_col, target_col, id_col, tuple(past_cols), tuple(future_cols))
    label, source = "the data frame", "a data frame"
    return table_series(
        frame, columns, name=name, label=label, source=source, missing=missing, frequency=frequency, until=until
    )


def table_series(
    frame: pd.DataFrame,
    columns: Columns,
    *,
    name: str,
    label: str,
    source: str,
    missing: str,
    frequency: str | int | None = None,
    until: Mapping[str, Any] | None = None,
) -> Series:
    """The series of a table called ``label`` that comes from ``source``; see `series_from_frame` for the rest."""
    if missing not in TREATMENTS:
        raise DataError(f"missing={missing!r} is unknown; choose one of {', '.join(TREATMENTS)}")
    frame = _with_columns_only(frame, label)
    columns = _find_columns(frame, label, columns)
    lenient = missing != "refuse" or bool(columns.future) or until is not None
    rows, ids = _rows(frame, columns, name, lenient)
    past = _is_past(rows, ids, until)
    _check_counts(ids, np.bincount(rows.owner[past], minlength=len(ids)))
    alias, history, observed = None, rows.keep(past), None
    if columns.time is not None:
        labels = tuple(map(str, ids)) if columns.id is not None else ()
        timeline = Timeline(rows.times, rows.starts, rows.source, columns.time, labels)
        alias = find_frequency(timeline, gaps=missing != "refuse", frequency=frequency)
    if missing == "refuse":
        _refuse_missing(history, columns)
    else:
        if columns.time is not None:
            timeline = Timeline(history.times, history.starts, history.source, columns.time, ())
            history = without_gaps(history, grid_of(timeline, alias))
        history, observed = fill(history, missing, columns.covariates)
    return Series(
        name=name,
        frame=_long(history, ids, columns.covariates, history.values),
        frequency=alias,
        season=natural_season(alias, int(np.bincount(history.owner).min())),
        source=source,
        licence="not stated",
        summary=f"column {columns.target!r} of {label}",
        past=columns.past,
        future=columns.future,
        missing=missing,
        observed=observed,
        futr_exog=_future_rows(rows, past, ids, columns) if columns.future else None,
    )


def future_frame(frame: pd.DataFrame, series: Series, *, label: str, time_col: str, id_col: str) -> pd.DataFrame:
    """Rows that a table gives for the future of some series, for `Series.with_futr_exog`.

    Args:
        frame: columns ``time_col``, ``id_col`` (not needed for a single series) and the future covariates; other
            columns are not looked at.
        series: whose future it is.
        label: what messages call the table.
        time_col, id_col: names of the columns.

    Raises:
        DataError: a column is missing, a value is no number, or a time cannot be read.
    """
    frame = _with_columns_only(frame, label)
    for column in (time_col, *series.future):
        _column(frame, label, "future" if column != time_col else "time", column, default="")
    if id_col in frame.columns:
        ids = ids_of(frame, id_col, "")
    elif len(series.ids) == 1:
        ids = ids_of(frame, None, series.ids[0])
    else:
        raise DataError(f"{label!r} has no id column {id_col!r}; it must say which of the series each row belongs to")
    values = {"unique_id": ids, "ds": times_of(frame[time_col], time_col)}
    for name in series.future:
        values[name] = numbers_of(frame[name], f"covariate {name!r}", "correct it", missing=True)
    return pd.DataFrame(values).sort_values(["unique_id", "ds"], ignore_index=True)


def _with_columns_only(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with a named index as columns, if no column comes twice."""
    named = any(name is not None for name in frame.index.names)
    frame = frame.reset_index(drop=not named)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{label!r} has more than one column {twice[0]!r}; rename or drop the others")
    return frame


def _find_columns(frame: pd.DataFrame, label: str, given: Columns) -> Columns:
    """The columns that a table has: those given, or those that stand for them by their names or types."""
    time = _column(frame, label, "time", given.time, default="ds")
    id_col = _column(frame, label, "id", given.id, default="unique_id")
    for role, covariates in (("past", given.past), ("future", given.future)):
        for name in covariates:
            _column(frame, label, role, name, default="")
    names = given.covariates
    target = _target(frame, label, given.target, taken=(time, id_col, *names))
    roles = {"time": time, "id": id_col, "target": target}
    for role, column in roles.items():
        other = next(first for first, found in roles.items() if found == column)
        if column is not None and other != role:
            raise DataError(f"column {column!r} cannot be both the {other} and the {role}; choose another --{role}-col")
    for place, name in enumerate(names):
        if name in roles.values():
            raise DataError(f"covariate {name!r} is the time, target or id column already; name another column")
        if name in COLUMNS:
            raise DataError(f"a covariate cannot be called {name!r} here; rename the column")
        if name in names[:place]:
            raise DataError(f"covariate {name!r} is named twice; name it once, in --past-cols or in --future-cols")
    return Columns(time, target, id_col, given.past, given.future)


def _rows(frame: pd.DataFrame, columns: Columns, name: str, lenient: bool) -> tuple[Rows, np.ndarray]:
    """The rows of a table sorted by series, and the sorted names of these; ``name`` is that of a single one."""
    target = columns.target
    y = numbers_of(frame[target], f"target column {target!r}", "choose another --target-col", missing=lenient)
    codes, ids = pd.factorize(ids_of(frame, columns.id, name), sort=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    if columns.time is None:
        ds = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    else:
        ds = times_of(frame[columns.time], columns.time)[order]
    covariates = np.empty((len(frame), len(columns.covariates)))
    for place, column in enumerate(columns.covariates):
        covariates[:, place] = numbers_of(frame[column], f"covariate {column!r}", "leave it out", missing=True)
    return Rows(ds, starts, y[order], covariates[order], order), ids


def _is_past(rows: Rows, names: np.ndarray, until: Mapping[str, Any] | None) -> np.ndarray:
    """Which rows belong to the series, bool, shape (rows,); the others are its future."""
    if until is not None:
        last = np.array([until[str(name)] for name in names], dtype=rows.times.dtype)
        return rows.times <= last[rows.owner]
    backwards = last_known(
        ~np.isnan(rows.values[::-1]), len(rows.values) - np.append(rows.starts[1:], len(rows.values))[::-1]
    )
    return backwards[::-1] >= 0


def _future_rows(rows: Rows, past: np.ndarray, ids: np.ndarray, columns: Columns) -> pd.DataFrame:
    """The rows of the future with the covariates that are known in advance."""
    frame = _long(rows, ids, columns.covariates).drop(columns=list(columns.past))
    return frame[~past].reset_index(drop=True)


def _refuse_missing(rows: Rows, columns: Columns) -> None:
    for column, values in zip((columns.target, *columns.covariates), (rows.values, *rows.covariates.T), strict=True):
        lacking = rows.source[np.isnan(values)]
        if lacking.size:
            raise DataError(f"row {lacking.min() + 1} of column {column!r} is missing{MISSING}")


def _long(rows: Rows, ids: np.ndarray, names: tuple[str, ...], y: np.ndarray | None = None) -> pd.DataFrame:
    columns: dict[str, Any] = {"unique_id": ids[rows.owner], "ds": rows.times}
    if y is not None:
        columns["y"] = y
    return pd.DataFrame(columns | dict(zip(names, rows.covariates.T, strict=True)))


def _column(frame: pd.DataFrame, label: str, role: str, given: str | None, *, default: str) -> str | None:
    if given is None:
        return default if default in frame.columns else None
    if given not in frame.columns:
        raise DataError(f"{label!r} has no {role} column {given!r}; its columns are {_listed(frame.columns)}")
    return given


def _target(frame: pd.DataFrame, label: str, given: str | None, *, taken: tuple[str | None, ...]) -> str:
    found = _column(frame, label, "target", given, default="y")
    if found is not None:
        return found
    others = [column for column in frame.columns if column not in taken]
    numeric = [
        c for c in others if pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c])
    ]
    if len(numeric) == 1:
        return numeric[0]
    if numeric:
        raise DataError(f"{label!r} has several numeric columns, {_listed(numeric)}; choose one with --target-col")
    raise DataError(
        f"{label!r} has no numeric column among {_listed(others)}; name the one to forecast with --target-col, and "
        "check that the file is comma-separated with decimal points"
    )


def _listed(names: pd.Index | list[str]) -> str:
    shown = ", ".join(shortened(name) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _check_counts(names: np.ndarray, counts: np.ndarray) -> None:
    refuse(
        counts < MIN_POINTS,
        lambda place: (
            f"series {shortened(names[place])} has {counts[place]} points; every series needs at least "
            f"{MIN_POINTS}, so drop it or check the id column"
        ),
    )
