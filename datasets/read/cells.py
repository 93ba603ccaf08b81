"""The cells of a table as numbers, names and times; the first one that cannot be used is named in the error."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from qkan.datasets.errors import DataError, shortened
from qkan.datasets.series import MAX_MAGNITUDE

EXACT = 2**53
"""The largest magnitude up to which float64 holds every whole number."""

_rows: ContextVar[np.ndarray | None] = ContextVar("rows", default=None)
_WHOLE = re.compile(r"\s*[+-]?\d{16,150}\s*", re.ASCII)
MISSING = " or NaN; fill it first, or say how to treat missing values with missing='mask', 'interpolate' or 'zero'"
"""What follows "row 1 of column 'y' is missing"."""


def numbers_of(column: pd.Series, what: str, fix: str, *, missing: bool) -> np.ndarray:
    """The numbers of a column, float64, shape (rows,); NaN where one is missing.

    Args:
        column: the cells.
        what: what messages call the column.
        fix: what to do about a column without numbers.
        missing: whether numbers may be missing.

    Raises:
        DataError: a cell is no number, infinite, beyond :data:`MAX_MAGNITUDE`, a whole number that float64 would
            round, or missing though it may not.
    """
    name = column.name
    if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "mMc":
        raise DataError(f"{what} holds {column.dtype} values, not numbers; {fix}")
    absent, numbers, where = column.isna().to_numpy(dtype=bool), _as_floats(column), f"column {name!r}"
    bad = np.isnan(numbers) & ~absent
    refuse_cell(bad, where, column, f", not a number; {_fix_of(''.join(column[bad].head(1).astype(str)))}")
    rounded = ", a whole number above 2^53 that would be rounded; subtract a constant, or choose a larger unit"
    refuse_cell(rounded_cells(column), where, column, rounded)
    if not missing:
        refuse_cell(absent, where, None, MISSING)
    refuse_cell(np.isinf(numbers), where, numbers, "; every value must be finite, so correct it")
    large = f", outside +-{MAX_MAGNITUDE:g}; correct it, or choose a larger unit"
    refuse_cell(np.abs(numbers) > MAX_MAGNITUDE, where, numbers, large)
    return numbers


def _fix_of(text: str) -> str:
    """What to do about text in the place of a number."""
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return "write it without commas between thousands: df['y'].str.replace(',', '')"
    if re.fullmatch(r"[+-]?[\d.]+,\d+", text):
        return "correct it, or say that numbers have decimal commas with decimal=',' where the file is read"
    return "correct or drop it"


@contextlib.contextmanager
def numbered_as(rows: np.ndarray) -> Iterator[None]:
    """Let messages inside the block count the rows of a table as those of the file that they were taken from.

    Args:
        rows: row of the file, from 0, of every row of the table, int64, shape (rows,).
    """
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def row_number(place: int) -> int:
    """The number of a row of a table for a message, from 1 in its file."""
    rows = _rows.get()
    return int(place if rows is None else rows[place]) + 1


def refuse_cell(bad: npt.ArrayLike, where: str, cells: pd.Series | np.ndarray | None, reason: str) -> None:
    """Raise a DataError about the first cell that is ``bad``, bool, shape (rows,); with None it is missing."""
    rows = np.flatnonzero(bad)
    if rows.size:
        row = int(rows[0])
        value = "missing"
        if cells is not None:
            value = _number_text(cells[row]) if isinstance(cells, np.ndarray) else shortened(cells.iloc[row])
        raise DataError(f"row {row_number(row)} of {where} is {value}{reason}")


def _number_text(number: float) -> str:
    """A number in few digits, or in as many as tell it from a whole one."""
    short = f"{number:g}"
    return repr(float(number)) if float(short).is_integer() and float(short) != number and abs(number) < 1e15 else short


def rounded_cells(column: pd.Series) -> np.ndarray:
    """Which cells hold a whole number, or its text, that float64 cannot: bool, shape (rows,)."""
    if column.dtype.kind == "f" or (column.dtype.kind in "iu" and not ((column > EXACT) | (column < -EXACT)).any()):
        return np.zeros(len(column), dtype=bool)
    return np.fromiter(map(_is_rounded, column), dtype=bool, count=len(column))


def _is_rounded(value: Any) -> bool:
    if isinstance(value, str):
        value = int(value) if _WHOLE.fullmatch(value) else 0
    if isinstance(value, Decimal):
        small = value.is_finite() and abs(value) <= MAX_MAGNITUDE
        value = int(value) if small and value == value.to_integral_value() else 0
    if not isinstance(value, Integral) or not EXACT < abs(int(value)) <= MAX_MAGNITUDE:
        return False
    held = float(value)
    return int(held) != value and Decimal(repr(held)) != int(value)  # 10^23 is not held, but comes back as 1e23


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
    """The series of every row, str, shape (rows,): ``name`` if no column holds them.

    Raises:
        DataError: an id is missing, is a list or record, or has the text of another one.
    """
    if id_col is None:
        return np.full(len(frame), name, dtype=object)
    absent = frame[id_col].isna() | (frame[id_col] == "")
    refuse_cell(absent, f"id column {id_col!r}", None, "; every row must say which series it belongs to")
    if isinstance(frame[id_col].iloc[0], list | dict | np.ndarray):
        raise DataError(f"id column {id_col!r} holds lists or records, not names; choose another id_col")
    texts = frame[id_col].astype(str).to_numpy(dtype=object)
    if frame[id_col].dtype == object and frame[id_col].nunique() > len(set(texts)):
        values = frame[id_col].drop_duplicates().astype(str)
        twice = values[values.duplicated()].iloc[0]
        raise DataError(f"id column {id_col!r} holds {twice} as a number and as text; write it in one way")
    return texts
