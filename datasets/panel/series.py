"""A panel on disk as a `Series`: nothing of it is in memory but one row a series."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError
from qkan.datasets.panel.store import Store
from qkan.datasets.series import Series
from qkan.datasets.steps import asked_step, natural_season, step_alias, step_size
from qkan.datasets.table_form import Clock, TableForm


class LazyFrame:
    """What stands for the frame of a panel: who asks for its rows gets all of them in memory.

    Args:
        store: where they are.
    """

    columns = ("unique_id", "ds", "y")

    def __init__(self, store: Store) -> None:
        self.store = store

    def load(self, begin: int = 0, end: int | None = None) -> pd.DataFrame:
        """The frame from one row to another, or all of it."""
        table, end = self.store.series, len(self) if end is None else end
        rows, ends = np.arange(begin, end), np.cumsum(table["length"].to_numpy())
        owner = np.searchsorted(ends, rows, side="right")
        ids = table["unique_id"].to_numpy(dtype=object)
        frame = pd.DataFrame({"unique_id": ids[owner], "ds": times_in(self.store, rows, owner)}, copy=False)
        return frame.assign(y=self.store.read("values", rows))

    def __len__(self) -> int:
        return int(self.store.facts["points"])

    def __getitem__(self, key: Any) -> Any:
        return self.load()[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by copy and the like before there is a store
            raise AttributeError(name)
        return getattr(self.load(), name)


def times_in(store: Store, rows: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Times of rows of the series ``owner``, both of any shape that agree."""
    kind = "int64" if store.facts["frequency"] is None else "datetime64[ns]"
    if "times" in store.columns:
        return store.read("times", rows).astype(kind)
    table, step = store.series, int(store.facts["step"])
    first, begins = table["first"].to_numpy(), np.cumsum(table["length"].to_numpy()) - table["length"].to_numpy()
    return np.asarray((first[owner] + step * (rows - begins[owner])).astype(kind))


@dataclass(frozen=True, eq=False)
class PanelSeries(Series):
    """A `Series` whose values lie in a panel; open it with `open_panel`.

    Args:
        held: first of the series that will be looked at, and the one after the last: no others are mapped. None stands
            for all. What is asked of others is read without a map.
    """

    frame: Any
    held: tuple[int, int] | None = None
    mapped = True

    def __post_init__(self) -> None:  # all was checked when the panel was prepared
        pass

    def __getstate__(self) -> dict[str, Any]:
        """All but what is mapped, which whoever takes it maps anew."""
        return {name: own for name, own in vars(self).items() if name not in ("values", "_own")}

    @property
    def store(self) -> Store:
        """The files."""
        store: Store = self.frame.store
        return store

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of every series and, last, the number of rows: int64, shape (series + 1,)."""
        return np.concatenate([[0], np.cumsum(self.store.series["length"].to_numpy())]).astype(np.int64)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names of the single series, sorted."""
        return tuple(self.store.series["unique_id"])

    @cached_property
    def values(self) -> np.ndarray:
        """All values by memory map, float64, shape (rows,)."""
        return self.store.map("values", 0, self.points)

    @property
    def times(self) -> np.ndarray:
        """All times, computed anew, shape (rows,)."""
        return times_in(self.store, np.arange(self.points), self.owners())

    @cached_property
    def _own(self) -> tuple[int, np.ndarray]:
        """First row that is held, and the values from there on."""
        if self.held is None:
            return 0, self.values
        begin, end = (int(self.starts[place]) for place in self.held)
        return begin, self.store.map("values", begin, end)

    def values_at(self, rows: np.ndarray) -> np.ndarray:
        """Values in some rows, float64, of the shape of ``rows``."""
        first, values = self._own
        places = np.asarray(rows) - first
        if self.held is not None and places.size and (places.min() < 0 or places.max() >= len(values)):
            return self.store.read("values", np.asarray(rows))
        return values[places]

    def times_at(self, rows: np.ndarray) -> np.ndarray:
        """Times in some rows, of the shape of ``rows``."""
        return times_in(self.store, np.asarray(rows), self.owners(rows))

    def values_of(self, index: int) -> np.ndarray:
        """Values of the series ``ids[index]``, float64, shape (length,)."""
        begin, end = (int(self.starts[place]) for place in (index, index + 1))
        if self.held is None or self.held[0] <= index < self.held[1]:
            first, values = self._own
            return values[begin - first : end - first]
        return self.store.read("values", np.arange(begin, end))

    def times_of(self, index: int) -> np.ndarray:
        """Times of the series ``ids[index]``, shape (length,)."""
        return self.times_at(np.arange(self.starts[index], self.starts[index + 1]))

    def only(self, begin: int, end: int) -> Series:
        """The same series, of which only ``ids[begin:end]`` are mapped."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        return PanelSeries(**{**known, "held": (begin, end)})

    def _rows(self, rows: slice) -> pd.DataFrame:
        found: pd.DataFrame = self.frame.load(rows.start, rows.stop)
        return found

    def mapped_values(self) -> int:
        """How many values were mapped so far."""
        edges = sorted((begin, end) for name, begin, end in self.store.mapped if name == "values")
        total, last = 0, 0
        for begin, end in edges:
            total += max(0, end - max(begin, last))
            last = max(last, end)
        return total

    def with_frame(self, frame: pd.DataFrame, **changes: Any) -> Series:
        """A series of other rows, in memory."""
        known = {item.name: getattr(self, item.name) for item in fields(Series)}
        return Series(**{**known, "frame": frame, **changes})

    def fingerprint(self) -> str:
        """The sha256 that a series of the same rows in memory has."""
        return str(self.store.facts["fingerprint"])

    @property
    def step(self) -> int | None:
        """The whole-number step; None for times of a calendar."""
        found = self.store.facts["step"]
        return int(found) if self.frequency is None and found is not None else None


def open_panel(
    path: Path,
    *,
    missing: str = "refuse",
    frequency: Any = None,
    given: Mapping[str, Any] | None = None,
) -> PanelSeries:
    """Open a panel that `qkan data prepare` wrote.

    Args:
        path: the folder.
        missing: must be what the panel was prepared with, or ``refuse`` there; values were filled then.
        frequency: the step that it must have; None takes any.
        given: names of columns and how times are written, as the user gave them; they must be those of the panel.

    Raises:
        DataError: the folder is no whole panel, or was prepared otherwise.
    """
    store = Store(path)
    facts = store.facts
    _check_given(store, missing, frequency, given or {})
    observed = store.map("observed", 0, facts["points"]) if "observed" in store.columns else None
    lengths = store.series["length"].to_numpy()
    return PanelSeries(
        name=path.resolve().name,
        frame=LazyFrame(store),
        frequency=facts["frequency"],
        season=natural_season(facts["frequency"], int(np.median(lengths))),
        source=str(path),
        licence="not stated",
        summary=f"column {facts['form']['target_col']!r} of {facts['source']}, a panel",
        missing=missing if facts["missing"] == "refuse" else facts["missing"],
        observed=observed,
        form=form_of(facts["form"], store.series),
    )


def _check_given(store: Store, missing: str, frequency: Any, given: Mapping[str, Any]) -> None:
    facts = store.facts
    if facts["missing"] not in ("refuse", missing):
        raise DataError(
            f"the panel {store.shown} was prepared with missing={facts['missing']!r}, but missing={missing!r} was "
            f"given; use missing={facts['missing']!r}"
        )
    covariates = ("past_cols", "future_cols", "static_cols", "category_cols")
    for name in covariates:
        if given.get(name):
            raise DataError(
                f"{name}={given[name]!r} was given, but the panel {store.shown} holds no covariates, as no panel does; "
                "give the file that it was prepared from"
            )
    known = {**facts["form"], "time_format": facts["form"]["read_as"], "time_zone": facts["form"]["assumed_zone"]}
    for name, value in given.items():
        if value and value != known.get(name):
            raise DataError(
                f"{name}={value!r} was given, but the panel {store.shown} was prepared with "
                f"{name}={known.get(name)!r}; leave it out, or prepare another panel with it"
            )
    if frequency is None:
        return
    frequency = asked_step(frequency)
    try:
        same = (
            frequency == facts["step"]
            if facts["frequency"] is None
            else step_size(step_alias(frequency)) == step_size(facts["frequency"])
        )
    except (ValueError, TypeError):
        same = False
    if not same:
        found = facts["step"] if facts["frequency"] is None else facts["frequency"]
        raise DataError(
            f"freq={frequency!r} was given, but the step of the panel {store.shown} is {found!r}; leave it out"
        )


def form_to_dict(form: TableForm) -> dict[str, Any]:
    """A form without ids and order, ready for JSON."""
    times = None if form.times is None else "date" if form.times is dt.date else str(form.times)
    zone = None if form.clock.zone is None else str(form.clock.zone)
    names = ("named", "format", "read_as", "assumed_zone", "id_col", "time_col", "target_col")
    return {**{name: getattr(form, name) for name in names}, "times": times, "zone": zone, "wall": form.clock.wall}


def form_of(facts: Mapping[str, Any], table: pd.DataFrame) -> TableForm:
    """The form that `form_to_dict` described, of the series in a table of them."""
    kept = dict(facts)
    times, zone, wall = (kept.pop(name) for name in ("times", "zone", "wall"))
    if times is not None:
        times = dt.date if times == "date" else pd.api.types.pandas_dtype(times)
    clock = Clock(None if zone is None else pd.Timestamp(0, tz=zone).tz, wall)
    ids = table["id"] if "id" in table else table["unique_id"] if facts["named"] else None
    place = table["order"].to_numpy() if facts["named"] else None
    return TableForm(ids=ids, order=place, times=times, clock=clock, **kept)


def same_ids(ids: Sequence[Any], texts: Sequence[str]) -> bool:
    """Whether ids are their own texts."""
    return all(isinstance(own, str) and own == text for own, text in zip(ids, texts, strict=True))
