"""Which columns of a table hold what: those that the user named, or those that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from qkan.datasets.errors import DataError, shortened
from qkan.datasets.read.frequency import ROW_ORDER
from qkan.datasets.read.times import find_time_column
from qkan.datasets.series import COLUMNS


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, and how it writes times; None stands for the default, then for none.

    See `series_from_frame`.
    """

    time: str | None = None
    target: str | None = None
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    time_format: str | None = None
    time_zone: str | None = None
    static: tuple[str, ...] = ()
    category: tuple[str, ...] = ()

    @classmethod
    def named(
        cls,
        *,
        time_col: str | None = None,
        target_col: str | None = None,
        id_col: str | None = None,
        past_cols: Sequence[str] = (),
        future_cols: Sequence[str] = (),
        time_format: str | None = None,
        time_zone: str | None = None,
        static_cols: Sequence[str] = (),
        category_cols: Sequence[str] = (),
    ) -> Columns:
        """The columns under the names of the options."""
        groups = (past_cols, future_cols, static_cols, category_cols)
        past, future, static, category = ((own,) if isinstance(own, str) else tuple(own) for own in groups)
        return cls(time_col, target_col, id_col, past, future, time_format, time_zone, static, category)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the covariates known up to now, then of those known in advance."""
        return (*self.past, *self.future, *self.static, *self.category)


def find_columns(frame: pd.DataFrame, label: str, given: Columns) -> Columns:
    """The columns that a table has: those given, or those that stand for them by their names or types.

    Raises:
        DataError: one is not there, or several could be meant.
    """
    id_col = column_of(frame, label, "id", given.id, default="unique_id")
    roles = (("past", given.past), ("future", given.future), ("static", given.static), ("category", given.category))
    for role, covariates in roles:
        for name in covariates:
            column_of(frame, label, role, name, default="")
    names = given.covariates
    if given.time == ROW_ORDER and ROW_ORDER not in frame.columns:
        time = None
    else:
        time = column_of(frame, label, "time", given.time, default="ds")
        if time is None:
            value = given.target or ("y" if "y" in frame.columns else None)
            time = find_time_column(frame, label, (value, id_col, *names))
    target = _target(frame, label, given.target, taken=(time, id_col, *names))
    columns = {"time": time, "id": id_col, "target": target}
    for role, column in columns.items():
        other = next(first for first, found in columns.items() if found == column)
        if column is not None and other != role:
            raise DataError(f"column {column!r} cannot be both the {other} and the {role}; choose another --{role}-col")
    for place, name in enumerate(names):
        if name in columns.values():
            raise DataError(f"covariate {name!r} is the time, target or id column already; name another column")
        if name in COLUMNS:
            raise DataError(f"a covariate cannot be called {name!r} here; rename the column")
        if name in names[:place]:
            raise DataError(
                f"covariate {name!r} is named twice; name it once, in one of past_cols, future_cols, static_cols and "
                "category_cols"
            )
    return replace(given, time=time, target=target, id=id_col)


def column_of(frame: pd.DataFrame, label: str, role: str, given: str | None, *, default: str) -> str | None:
    """The column of a role: the given one, or the one that bears the default name, if there is one.

    Raises:
        DataError: the given one is not there.
    """
    if given is None:
        return default if default in frame.columns else None
    if given not in frame.columns:
        raise DataError(f"{label!r} has no {role} column {given!r}; its columns are {_listed(frame.columns)}")
    return given


def _target(frame: pd.DataFrame, label: str, given: str | None, *, taken: tuple[str | None, ...]) -> str:
    found = column_of(frame, label, "target", given, default="y")
    if found is not None:
        return found
    others = [column for column in frame.columns if column not in taken]
    numeric = [
        c for c in others if pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c])
    ]
    if len(numeric) == 1:
        return numeric[0]
    if numeric:
        raise DataError(f"{label!r} has several numeric columns, {_listed(numeric)}; choose one with target_col")
    none = f"numeric column among {_listed(others)}" if others else f"column beside {_listed(frame.columns)}"
    raise DataError(
        f"{label!r} has no {none}; name the one to forecast with target_col, and "
        "check what stands between columns (sep=...) and the decimal mark (decimal=...)"
    )


def _listed(names: pd.Index | list[str]) -> str:
    shown = ", ".join(shortened(name) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
