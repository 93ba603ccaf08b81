"""Series from a table: every value and every time is checked before anything is computed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from qkan.datasets.read.frequency import Timeline, find_frequency, grid_of, natural_season
from qkan.datasets.read.missing import Rows, fill, last_known, without_gaps
from qkan.datasets.series import COLUMNS, MAX_MAGNITUDE, TREATMENTS, DataError, Series, shortened

MIN_POINTS = 3  # fewer show no regular step
_YEARS = "1678 to 2261"  # of datetime64[ns]
_TREAT = "or say how to treat missing values with --missing (mask, interpolate or zero)"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what: see `series_from_frame`; None stands for the default, then for none."""

    time: str | None
    target: str | None
    id: str | None
    past: tuple[str, ...]
    future: tuple[str, ...]

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the covariates known up to now, then of those known in advance."""
        return (*self.past, *self.future)


def series_from_frame(
    frame: pd.DataFrame,
    *,
    name: str = "frame",
    label: str = "the data frame",
    source: str = "a data frame",
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
        label: what messages call the table.
        source: where it comes from.
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
    if missing not in TREATMENTS:
        raise DataError(f"missing={missing!r} is unknown; choose one of {', '.join(TREATMENTS)}")
    frame = _with_columns_only(frame, label)
    columns = _find_columns(frame, label, Columns(time_col, target_col, id_col, tuple(past_cols), tuple(future_cols)))
    lenient = missing != "refuse" or bool(future_cols) or until is not None
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
        futr_exog=_future_rows(rows, past, ids, columns) if future_cols else None,
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
        ids = _ids(frame, id_col, "")
    elif len(series.ids) == 1:
        ids = _ids(frame, None, series.ids[0])
    else:
        raise DataError(f"{label!r} has no id column {id_col!r}; it must say which of the series each row belongs to")
    values = {"unique_id": ids, "ds": _times(frame[time_col], time_col)}
    for name in series.future:
        values[name] = _numbers(frame[name], f"covariate {name!r}", "correct it", missing=True)
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
    y = _numbers(frame[target], f"target column {target!r}", "choose another --target-col", missing=lenient)
    codes, ids = pd.factorize(_ids(frame, columns.id, name), sort=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    if columns.time is None:
        ds = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    else:
        ds = _times(frame[columns.time], columns.time)[order]
    covariates = np.empty((len(frame), len(columns.covariates)))
    for place, column in enumerate(columns.covariates):
        covariates[:, place] = _numbers(frame[column], f"covariate {column!r}", "leave it out", missing=True)
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
            raise _is_missing(int(lacking.min()), str(column))


def _is_missing(row: int, column: str) -> DataError:
    return DataError(f"row {row + 1} of column {column!r} is missing or NaN; fill it first, {_TREAT}")


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


def _first(mask: np.ndarray) -> int | None:
    rows = np.flatnonzero(mask)
    return int(rows[0]) if rows.size else None


def _numbers(column: pd.Series, what: str, fix: str, *, missing: bool) -> np.ndarray:
    name = column.name
    if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "mM":
        raise DataError(f"{what} holds {column.dtype} values, not numbers; {fix}")
    absent = column.isna().to_numpy(dtype=bool)
    numbers = _as_floats(column)
    row = _first(np.isnan(numbers) & ~absent)
    if row is not None:
        raise DataError(
            f"row {row + 1} of column {name!r} is {shortened(column.iloc[row])}, not a number; correct or drop it"
        )
    row = None if missing else _first(absent)
    if row is not None:
        raise _is_missing(row, str(name))
    row = _first(np.isinf(numbers))
    if row is not None:
        raise DataError(
            f"row {row + 1} of column {name!r} is {numbers[row]}; every value must be finite, so correct it"
        )
    row = _first(np.abs(numbers) > MAX_MAGNITUDE)
    if row is not None:
        raise DataError(
            f"row {row + 1} of column {name!r} is {numbers[row]:g}, outside +-{MAX_MAGNITUDE:g}; correct it, or choose "
            "a larger unit"
        )
    return numbers


def _as_floats(column: pd.Series) -> np.ndarray:
    """The numbers of a column, NaN where there is none."""
    if column.dtype == object:
        column = column.map(_as_number)
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)


def _as_number(value: Any) -> Any:
    """A number or its text; None for bytes, True or a time of day, which would become numbers by chance."""
    if isinstance(value, bool) or not isinstance(value, str | Real | Decimal):
        return None
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value) if abs(value) < 2**1023 else (np.inf if value > 0 else -np.inf)
    return value


def _ids(frame: pd.DataFrame, id_col: str | None, name: str) -> np.ndarray:
    if id_col is None:
        return np.full(len(frame), name, dtype=object)
    row = _first((frame[id_col].isna() | (frame[id_col] == "")).to_numpy(dtype=bool))
    if row is not None:
        raise DataError(
            f"row {row + 1} of id column {id_col!r} is missing; every row must say which series it belongs to"
        )
    if isinstance(frame[id_col].iloc[0], list | dict | np.ndarray):
        raise DataError(f"id column {id_col!r} holds lists or records, not names; choose another --id-col")
    return frame[id_col].astype(str).to_numpy(dtype=object)


def _check_counts(names: np.ndarray, counts: np.ndarray) -> None:
    short = _first(counts < MIN_POINTS)
    if short is not None:
        raise DataError(
            f"series {shortened(names[short])} has {counts[short]} points; every series needs at least {MIN_POINTS}, "
            "so drop it or check the id column"
        )


def _times(column: pd.Series, name: str) -> np.ndarray:
    row = _first(column.isna().to_numpy(dtype=bool))
    if row is not None:
        raise DataError(f"row {row + 1} of time column {name!r} is missing; {_fix(name)}")
    if pd.api.types.is_datetime64_any_dtype(column):
        return _naive_utc(column)
    if pd.api.types.is_bool_dtype(column):
        raise DataError(f"time column {name!r} holds true and false, not times; {_fix(name)}")
    if pd.api.types.is_numeric_dtype(column):
        return _steps(column, name)
    return _parse(column.astype(str), name)


def _steps(column: pd.Series, name: str) -> np.ndarray:
    numbers = column.to_numpy(dtype="float64")
    with np.errstate(invalid="ignore"):
        row = _first((numbers != np.round(numbers)) | (np.abs(numbers) >= 2.0**53))
    if row is not None:
        raise DataError(
            f"row {row + 1} of time column {name!r} is {numbers[row]:g}; numeric times must be whole steps below 2^53, "
            f"so write them so, or {_fix(name)}"
        )
    return numbers.astype(np.int64)


def _parse(texts: pd.Series, name: str) -> np.ndarray:
    codes, kinds = pd.factorize(texts)  # series share their times, so there are often few different ones
    different = pd.Series(kinds)
    zones = different.str.extract(r"(Z|[+-]\d\d:?\d\d)$", expand=False).fillna("")
    row = _first((zones != zones.iloc[0]).to_numpy(dtype=bool)[codes])
    if row is not None:
        raise DataError(
            f"time column {name!r} mixes time zones: row 1 is {shortened(texts.iloc[0])}, but row {row + 1} is "
            f"{shortened(texts.iloc[row])}; write all times in UTC"
        )
    written = different.where(different.str.match(r"[+-]?\d"))  # "now" and "today" are no times of the data
    times = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True)
    row = _first(times.isna().to_numpy(dtype=bool)[codes])
    if row is not None:
        raise DataError(
            f"row {row + 1} of time column {name!r} is {shortened(texts.iloc[row])}, not an ISO 8601 time such as "
            f"2024-01-31 or 2024-01-31 07:05 in the years {_YEARS}; rewrite it, or {_fix(name)}"
        )
    return _naive_utc(times.rename(name))[codes]


def _naive_utc(times: pd.Series) -> np.ndarray:
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    try:
        return times.dt.as_unit("ns").to_numpy()
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(
            f"time column {times.name!r} leaves the years {_YEARS} ({error}); use whole-number steps"
        ) from error


def _fix(name: str) -> str:
    return f"leave out --time-col {name} (or drop the column) to use the row order as time"
