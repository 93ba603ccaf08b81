"""Series from a user's own file: every value and every time is checked before anything is computed with it."""

from __future__ import annotations

import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from qkan.datasets.frequency import Timeline, find_frequency, natural_season
from qkan.datasets.series import MAX_MAGNITUDE, DataError, Series

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "null", "NULL", "None")
_YEARS = "1678 to 2261"  # of datetime64[ns]
_MIN_POINTS = 3  # fewer show no regular step


def is_data_path(name: str | Path) -> bool:
    """Whether ``name`` can only mean a file: it has one of the known endings, names a folder, or exists."""
    text = str(name)
    return isinstance(name, Path) or "/" in text or "\\" in text or _suffix(text) is not None or os.path.exists(text)


def read_series(
    path: str | Path, *, time_col: str | None = None, target_col: str | None = None, id_col: str | None = None
) -> Series:
    """One or many series from a ``.csv``, ``.csv.gz`` or ``.parquet`` file in long form, one row a value.

    Args:
        path: the file. A CSV file is comma-separated UTF-8 text whose first line names the columns.
        time_col: column of the times: ISO 8601 text, timestamps, or whole numbers (steps). By default ``ds`` if the
            file has it, otherwise the order of the rows is the time. Times with a zone are converted to UTC.
        target_col: column of the values; by default ``y``, or else the only numeric column.
        id_col: column that tells several series apart; by default ``unique_id`` if the file has it, otherwise there is
            one series, named after the file.

    Returns:
        a series named after the file, with the frequency found in its times and the seasons usual for that frequency.

    Raises:
        DataError: the file cannot be read, a column is missing or ambiguous, a value is missing, infinite, huge or no
            number, or the times are missing, of mixed time zones, duplicated, unsorted or irregular. The message names
            the first offending row, counted from 1 below the header.
    """
    path = Path(path)
    frame = _read(path, id_col)
    name = path.name[: -len(_suffix(path.name) or "")]
    time_col = _column(frame, path, "time", time_col, default="ds")
    id_col = _column(frame, path, "id", id_col, default="unique_id")
    target_col = _target(frame, path, target_col, taken=(time_col, id_col))
    y = _numbers(frame[target_col], target_col)
    ids = _ids(frame, id_col, name)
    codes, names = pd.factorize(ids, sort=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    _check_counts(names, np.diff(np.append(starts, len(codes))))
    if time_col is None:
        ds = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
        frequency = None
    else:
        ds = _times(frame[time_col], time_col)[order]
        several = id_col is not None
        frequency = find_frequency(Timeline(ds, starts, order, time_col, tuple(map(str, names)) if several else ()))
    shortest = int(np.diff(np.append(starts, len(codes))).min())
    return Series(
        name=name,
        frame=pd.DataFrame({"unique_id": ids[order], "ds": ds, "y": y[order]}),
        frequency=frequency,
        season=natural_season(frequency, shortest),
        source=str(path),
        licence="not stated",
        summary=f"column {target_col!r} of {path.name}",
    )


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), None)


def _read(path: Path, id_col: str | None) -> pd.DataFrame:
    suffix = _suffix(path.name)
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}; check the path, or give the name of a built-in series")
    if path.is_dir():
        raise DataError(f"{str(path)!r} is a folder; give the path of one {', '.join(_SUFFIXES)} file")
    if suffix is None:
        raise DataError(f"{str(path)!r} is none of {', '.join(_SUFFIXES)}; convert it to one of these")
    if path.stat().st_size == 0:
        raise DataError(f"{str(path)!r} is empty; it needs a header line and one row a value")
    try:
        frame = _read_parquet(path) if suffix == ".parquet" else _read_csv(path, id_col)
    except (pa.ArrowException, pd.errors.ParserError, ValueError, OSError, EOFError, zlib.error) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"{str(path)!r} cannot be read as {suffix} ({reason}); is it damaged or of another type?"
        ) from error
    if len(frame) == 0:
        raise DataError(f"{str(path)!r} has no rows below its header; a series needs at least {_MIN_POINTS} values")
    return frame


def _read_csv(path: Path, id_col: str | None) -> pd.DataFrame:
    form: dict[str, Any] = {
        "compression": "gzip" if path.name.lower().endswith(".gz") else None,
        "encoding": "utf-8-sig",
        "skip_blank_lines": False,  # in a file of one column a blank line is a missing value
    }
    ids = id_col or "unique_id"
    others = [column for column in pd.read_csv(path, nrows=0, **form).columns if column != ids]
    form |= {"low_memory": False, "index_col": False, "dtype": {ids: str}}
    form |= {"keep_default_na": False, "na_values": dict.fromkeys(others, _MISSING)}  # an id "NA" is no missing one
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(path, **form)
        except pd.errors.ParserWarning as warning:
            raise ValueError("its rows have more fields than its first line has names") from warning
    names = pd.Series(list(map(str, frame.columns)))
    if len(frame) and pd.to_numeric(names, errors="coerce").notna().all():
        raise ValueError(f"its first line {', '.join(names)!r} holds numbers, but must name the columns")
    filled = np.flatnonzero(~(frame.isna() | (frame == "")).all(axis=1).to_numpy())
    return frame.iloc[: filled[-1] + 1 if filled.size else 0]  # blank lines at the end are no values


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _column(frame: pd.DataFrame, path: Path, role: str, given: str | None, *, default: str) -> str | None:
    if given is None:
        return default if default in frame.columns else None
    if given not in frame.columns:
        raise DataError(f"{path.name!r} has no {role} column {given!r}; its columns are {_listed(frame.columns)}")
    return given


def _target(frame: pd.DataFrame, path: Path, given: str | None, *, taken: tuple[str | None, ...]) -> str:
    found = _column(frame, path, "target", given, default="y")
    if found is not None:
        return found
    others = [column for column in frame.columns if column not in taken]
    numeric = [
        c for c in others if pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c])
    ]
    if len(numeric) == 1:
        return numeric[0]
    if numeric:
        raise DataError(f"{path.name!r} has several numeric columns, {_listed(numeric)}; choose one with --target-col")
    raise DataError(
        f"{path.name!r} has no numeric column among {_listed(others)}; name the one to forecast with --target-col, and "
        "check that the file is comma-separated with decimal points"
    )


def _listed(names: pd.Index | list[str]) -> str:
    shown = ", ".join(repr(str(name)) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _first(mask: np.ndarray) -> int | None:
    rows = np.flatnonzero(mask)
    return int(rows[0]) if rows.size else None


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"target column {name!r} holds {column.dtype} values, not numbers; choose another --target-col")
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    missing = column.isna().to_numpy(dtype=bool)
    row = _first(np.isnan(numbers) & ~missing)
    if row is not None:
        raise DataError(
            f"row {row + 1} of column {name!r} is {str(column.iloc[row])!r}, not a number; correct or drop it"
        )
    row = _first(missing)
    if row is not None:
        raise DataError(
            f"row {row + 1} of column {name!r} is missing or NaN; fill the gap, e.g. by interpolation, first"
        )
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


def _ids(frame: pd.DataFrame, id_col: str | None, name: str) -> np.ndarray:
    if id_col is None:
        return np.full(len(frame), name, dtype=object)
    row = _first((frame[id_col].isna() | (frame[id_col] == "")).to_numpy(dtype=bool))
    if row is not None:
        raise DataError(
            f"row {row + 1} of id column {id_col!r} is missing; every row must say which series it belongs to"
        )
    return frame[id_col].astype(str).to_numpy(dtype=object)


def _check_counts(names: np.ndarray, counts: np.ndarray) -> None:
    short = _first(counts < _MIN_POINTS)
    if short is not None:
        raise DataError(
            f"series {str(names[short])!r} has {counts[short]} points; every series needs at least {_MIN_POINTS}, so "
            "drop it or check the id column"
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
            f"time column {name!r} mixes time zones: row 1 is {texts.iloc[0]!r}, but row {row + 1} is "
            f"{texts.iloc[row]!r}; write all times in UTC"
        )
    times = pd.to_datetime(different, format="ISO8601", errors="coerce", utc=True)
    row = _first(times.isna().to_numpy(dtype=bool)[codes])
    if row is not None:
        raise DataError(
            f"row {row + 1} of time column {name!r} is {texts.iloc[row]!r}, not an ISO 8601 time such as 2024-01-31 or "
            f"2024-01-31 07:05 in the years {_YEARS}; rewrite it, or {_fix(name)}"
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
