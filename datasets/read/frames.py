"""Tables of other packages as data frames of pandas, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from qkan.datasets.errors import DataError

_HINTS = {
    "Series": "make a table of it: y.rename('y').rename_axis('ds').reset_index()",
    "LazyFrame": "call collect() on it first",
    "RecordBatch": "call pyarrow.Table.from_batches([batch]) first",
    "Dataset": "call to_table() on it first",
    "GroupBy": "give the frame itself, whose column unique_id tells series apart",
}


def as_pandas(table: Any, label: str = "the data") -> pd.DataFrame:
    """A table as a pandas data frame: itself, or a copy of an eager one of polars, pyarrow or whatever narwhals knows.

    Raises:
        TypeError: it is no table in memory.
        DataError: its columns have several levels.
    """
    if not isinstance(table, pd.DataFrame):
        table = _foreign(table, label).to_pandas()
    if table.columns.nlevels > 1:
        raise DataError(f"the columns of {label} have {table.columns.nlevels} levels; give them one name each")
    return table


def like(table: Any) -> Callable[[pd.DataFrame], Any]:
    """What makes a pandas data frame one of the package of ``table``, with the types that its columns have there."""
    if isinstance(table, pd.DataFrame):
        return lambda result: result
    import narwhals as nw

    foreign = nw.from_native(table, eager_only=True)
    types, package = foreign.schema, foreign.implementation

    def convert(result: pd.DataFrame) -> Any:
        arrow = nw.from_native(result, eager_only=True).to_arrow()
        made = nw.DataFrame.from_arrow(arrow, backend=package)
        own = {name: types[name] for name in made.columns if name in types and types[name] != made.schema[name]}
        return made.with_columns(nw.col(name).cast(own[name]) for name in own).to_native()

    return convert


def _foreign(table: Any, label: str) -> Any:
    import narwhals as nw
    from narwhals.exceptions import DuplicateError

    try:
        return nw.from_native(table, eager_only=True)
    except DuplicateError:
        names = list(table.column_names)
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{label} has more than one column {twice!r}; rename or drop the others") from None
    except TypeError:
        kind = type(table).__name__
        hint = next((hint for end, hint in _HINTS.items() if kind.endswith(end)), None)
        raise TypeError(
            f"{label} must be a data frame of pandas, polars or pyarrow, got {kind}; "
            + (hint or "make one: pd.DataFrame({'unique_id': ..., 'ds': ..., 'y': ...})")
        ) from None
