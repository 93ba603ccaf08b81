"""Tables of other packages as data frames of pandas, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from qkan.datasets.errors import DataError
from qkan.datasets.read.times import THE_INDEX, holds_dates

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

    Examples:
        >>> import polars
        >>> from qkan.datasets import as_pandas
        >>> as_pandas(polars.DataFrame({"ds": [1, 2], "y": [0.5, 1.5]})).shape
        (2, 2)
    """
    if not isinstance(table, pd.DataFrame):
        table = _foreign(table, label).to_pandas()
    if table.columns.nlevels > 1:
        raise DataError(f"the columns of {label} have {table.columns.nlevels} levels; give them one name each")
    return table


def like(table: Any) -> Callable[[pd.DataFrame], Any]:
    """What makes a pandas data frame one of the package of ``table``, with the types that its columns have there.

    For the path of a panel it stays one of pandas.

    Examples:
        >>> import pandas as pd
        >>> import polars
        >>> from qkan.datasets import like
        >>> back = like(polars.DataFrame({"y": [0.5]}))
        >>> type(back(pd.DataFrame({"y": [1.5]})))
        <class 'polars.dataframe.frame.DataFrame'>
    """
    if isinstance(table, pd.DataFrame | str | Path):
        return _as_it_is
    import narwhals as nw

    foreign = nw.from_native(table, eager_only=True)
    return partial(_converted, dict(foreign.schema), foreign.implementation)


def _as_it_is(result: pd.DataFrame) -> pd.DataFrame:
    return result


def _converted(types: Mapping[str, Any], package: Any, result: pd.DataFrame) -> Any:
    """A data frame as one of another package, with the types of ``types``; at the top of the module to be pickled."""
    import narwhals as nw

    arrow = nw.from_native(result, eager_only=True).to_arrow()
    made = nw.DataFrame.from_arrow(arrow, backend=package)
    own = {name: types[name] for name in made.columns if name in types and types[name] != made.schema[name]}
    return made.with_columns(nw.col(name).cast(own[name]) for name in own).to_native()


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


def with_columns_only(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with a named index, or one of times, as columns, if no column comes twice."""
    index = frame.index
    named = any(name is not None for name in index.names)
    none = named or isinstance(index, pd.RangeIndex)
    levels = [] if none else [index.get_level_values(place) for place in range(index.nlevels)]
    if any(holds_dates(level.to_series()) for level in levels):
        frame, named = frame.set_axis(_named_index(index, levels), axis=0), True
    both = [name for name in index.names if name is not None and name in frame.columns]
    if both:
        raise DataError(f"{both[0]!r} is a column of {label!r} and its index too; rename or drop one of them")
    frame = frame.reset_index(drop=not named)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{label!r} has more than one column {twice[0]!r}; rename or drop the others")
    return frame


def _named_index(index: pd.Index, levels: Sequence[pd.Index]) -> pd.Index:
    """An index without names, with that of the times; of two levels the other one tells series apart."""
    if index.nlevels != 2:
        return index.rename(THE_INDEX) if index.nlevels == 1 else index
    dated = [holds_dates(level.to_series()) for level in levels]
    return index.rename([THE_INDEX if own else "unique_id" for own in dated]) if sum(dated) == 1 else index
