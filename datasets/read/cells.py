"""The cells of a table as numbers, names and times; the first one that cannot be used is named in the error."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from qkan.datasets.series import MAX_MAGNITUDE, DataError, shortened

_YEARS = "1678 to 2261"  # of datetime64[ns]
MISSING = " or NaN; fill it first, or say how to treat missing values with --missing (mask, interpolate or zero)"
"""What follows "row 1 of column 'y' is missing"."""


def numbers_of(column: pd.Series, what: str, fix: str, *, missing: bool) -> np.ndarray:
    """The numbers of a column, float64, shape (rows,); NaN where one is missing.

    Args:
        column: the cells.
        what: what messages call the column.
        fix: what to do about a column without numbers.
        missing: whether numbers may be missing.

    Raises:
        DataError: a cell is no number, infinite, beyond :data:`MAX_MAGNITUDE`, or missing though it may not.
    """
    name = column.name
    if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "mM":
        raise DataError(f"{what} holds {column.dtype} values, not numbers; {fix}")
    absent, numbers, where = column.isna().to_numpy(dtype=bool), _as_floats(column), f"column {name!r}"
    _refuse(np.isnan(numbers) & ~absent, where, column, ", not a number; correct or drop it")
    if not missing:
        _refuse(absent, where, None, MISSING)
    _refuse(np.isinf(numbers), where, numbers, "; every value must be finite, so correct it")
    large = f", outside +-{MAX_MAGNITUDE:g}; correct it, or choose a larger unit"
    _refuse(np.abs(numbers) > MAX_MAGNITUDE, where, numbers, large)
    return numbers


def _refuse(bad: npt.ArrayLike, where: str, cells: pd.Series | np.ndarray | None, reason: str) -> None:
    """Raise a DataError about the first cell that is ``bad``, bool, shape (rows,); with None it is missing."""
    rows = np.flatnonzero(bad)
    if rows.size:
        row = int(rows[0])
        value = "missing"
        if cells is not None:
            value = f"{cells[row]:g}" if isinstance(cells, np.ndarray) else shortened(cells.iloc[row])
        raise DataError(f"row {row + 1} of {where} is {value}{reason}")


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


def ids_of(frame: pd.DataFrame, id_col: str | None, name: str) -> np.ndarray:
    """The series of every row, str, shape (rows,): ``name`` if no column holds them."""
    if id_col is None:
        return np.full(len(frame), name, dtype=object)
    absent = frame[id_col].isna() | (frame[id_col] == "")
    _refuse(absent, f"id column {id_col!r}", None, "; every row must say which series it belongs to")
    if isinstance(frame[id_col].iloc[0], list | dict | np.ndarray):
        raise DataError(f"id column {id_col!r} holds lists or records, not names; choose another --id-col")
    return frame[id_col].astype(str).to_numpy(dtype=object)


def times_of(column: pd.Series, name: str) -> np.ndarray:
    """The times of a column, datetime64[ns] or int64 steps, shape (rows,)."""
    _refuse(column.isna(), f"time column {name!r}", None, f"; {_fix(name)}")
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
        broken = (numbers != np.round(numbers)) | (np.abs(numbers) >= 2.0**53)
    reason = f"; numeric times must be whole steps below 2^53, so write them so, or {_fix(name)}"
    _refuse(broken, f"time column {name!r}", numbers, reason)
    return numbers.astype(np.int64)


def _parse(texts: pd.Series, name: str) -> np.ndarray:
    codes, kinds = pd.factorize(texts)  # series share their times, so there are often few different ones
    different = pd.Series(kinds)
    zones = different.str.extract(r"(Z|[+-]\d\d:?\d\d)$", expand=False).fillna("")
    other = np.flatnonzero((zones != zones.iloc[0]).to_numpy()[codes])
    if other.size:
        raise DataError(
            f"time column {name!r} mixes time zones: row 1 is {shortened(texts.iloc[0])}, but row {other[0] + 1} is "
            f"{shortened(texts.iloc[other[0]])}; write all times in UTC"
        )
    written = different.where(different.str.match(r"[+-]?\d"))  # "now" and "today" are no times of the data
    times = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True)
    reason = f", not an ISO 8601 time such as 2024-01-31 or 2024-01-31 07:05 in the years {_YEARS}; rewrite it, or "
    _refuse(times.isna().to_numpy()[codes], f"time column {name!r}", texts, reason + _fix(name))
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
