"""Columns of names: categories, and what holds for a series as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from qkan.datasets.errors import DataError, shortened
from qkan.datasets.read.cells import numbers_of, row_number

Names = Mapping[str, tuple[str, ...]]
"""The categories of columns of codes, by column: a code is a place among them, NaN where a cell is empty."""


def covariate_cells(
    column: pd.Series, *, names: bool, static: bool
) -> tuple[npt.NDArray[np.float64], tuple[str, ...] | None]:
    """The cells of a covariate as numbers, float64, shape (rows,), and the categories if they are codes.

    Args:
        column: the cells.
        names: whether they are categories, whatever they look like.
        static: whether they are those if they are no numbers.

    Raises:
        DataError: a cell is neither, or too many are different to be categories.
    """
    if not names and not (static and _is_text(column)):
        return numbers_of(column, f"covariate {column.name!r}", "leave it out", missing=True), None
    absent = (column.isna() | (column == "")).to_numpy(dtype=bool)
    texts = column[~absent].map(_as_text)
    lists = texts.isna()
    if lists.any():
        raise DataError(f"row {row_number(lists.index[lists][0])} of column {column.name!r} is no name; leave it out")
    codes, found = pd.factorize(texts, sort=True)
    if len(found) > MOST_CATEGORIES:
        raise DataError(
            f"column {column.name!r} holds {len(found):,} different names, above the limit of {MOST_CATEGORIES:,}; "
            "group them, or leave it out"
        )
    cells = np.full(len(column), np.nan)
    cells[~absent] = codes
    return cells, tuple(map(str, found))


MOST_CATEGORIES = 1000


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_numeric_dtype(column):
        return False
    present = column[column.notna() & (column != "")]
    return bool(pd.to_numeric(present.astype(str), errors="coerce").isna().any())


def _as_text(value: Any) -> str | None:
    """The text of a category: a whole number is written alike whether a column holds it as an integer or a float."""
    if isinstance(value, list | dict | tuple | set | np.ndarray | bytes):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def one_per_series(values: np.ndarray, starts: np.ndarray, ids: Sequence[str], column: str, names: Names) -> np.ndarray:
    """The one value of every series in all of its rows, float64, shape (rows,).

    Args:
        values: of the column, NaN where a cell is empty, one series after the other.
        starts: first row of every series.
        ids: names of the series.
        column: name of the column.
        names: the categories of columns of codes.

    Raises:
        DataError: a series has none, or several.
    """
    lengths = np.diff(np.append(starts, len(values)))
    low = np.fmin.reduceat(values, starts)
    high = np.fmax.reduceat(values, starts)
    none, several = np.flatnonzero(np.isnan(low)), np.flatnonzero(low < high)
    if none.size:
        raise DataError(
            f"static column {column!r} has no value for series {shortened(ids[none[0]])}; give it one, or leave it out"
        )
    if several.size:
        at = int(several[0])
        two = [names[column][int(v)] if column in names else f"{v:g}" for v in (low[at], high[at])]
        other = "category_cols" if column in names else "future_cols or past_cols"
        raise DataError(
            f"static column {column!r} has more than one value in series {shortened(ids[at])}, such as "
            f"{shortened(two[0])} and {shortened(two[1])}; what changes with time goes into {other}"
        )
    return np.repeat(low, lengths)


def with_names(frame: pd.DataFrame, names: Names) -> pd.DataFrame:
    """A frame with the categories in the place of their codes; None where there is none."""
    for column in set(names) & set(frame.columns):
        codes = frame[column].to_numpy()
        texts = np.array([*names[column], None], dtype=object)
        frame[column] = texts[np.where(np.isnan(codes), len(names[column]), codes).astype(np.int64)]
    return frame
