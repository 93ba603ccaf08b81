"""The one shape that all data takes here: a validated long frame of one or many regular series."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, refuse, shown
from qkan.datasets.sessions import Session, session_times
from qkan.datasets.steps import following, months_of
from qkan.datasets.table_form import TableForm

COLUMNS = ("unique_id", "ds", "y")
TREATMENTS = ("refuse", "mask", "interpolate", "zero")
"""What can be done about missing values; see `qkan.datasets.read.missing`."""
MAX_MAGNITUDE = 1e100
"""Values beyond this are refused: sums of their squares, which every error needs, would overflow float64."""

MIN_MAGNITUDE = 1e-100
"""A series whose values are all smaller than this, but not all zero, is refused: their squares would vanish."""


@dataclass(frozen=True, eq=False)
class Series:
    """One or many regular time series in one long frame.

    Args:
        name: how the series is called in tables, plots and run folders.
        frame: columns ``unique_id`` (str), ``ds`` (``datetime64[ns]`` or ``int64`` steps) and ``y`` (``float64``),
            sorted by ``unique_id`` then ``ds``, without missing or infinite values and without duplicated times; no
            value is beyond :data:`MAX_MAGNITUDE`. Covariates are further ``float64`` columns under the same rules,
            or of names.
        frequency: alias of the step between two rows of a series (``"5min"``, ``"MS"``; see `qkan.datasets.steps`),
            or None if ``ds`` holds integer steps.
        season: seasonal periods in steps, shortest first; empty if there are none.
        unit: unit of ``y``, empty if it has none.
        source: where the values come from.
        licence: terms of the values, as far as known.
        summary: one line for lists.
        session: daily hours of a series that pauses over nights and weekends: then ``frequency`` is the step within
            a day, and a row follows its predecessor by one *trading* step, whatever the clock says in between.
        past: covariate columns whose values are known up to now.
        future: covariate columns whose values are known in advance.
        static: covariate columns with one value a series.
        categories: columns of names (str) that are known in advance; a name that never changes in a series stays.
        missing: one of :data:`TREATMENTS`: how values that nobody observed were filled.
        observed: which values of ``y`` were observed rather than filled, bool, shape (rows,); None if all were.
        futr_exog: covariates known in advance, for the times after the last row of a series: columns ``unique_id``,
            ``ds``, the ``future`` ones and ``categories`` (None or left out where unknown), sorted like ``frame``;
            series may have different numbers of rows or none.
        form: how the user's table writes ids and times.
        borders: as of `FixedBorders`, if the protocol of a benchmark prescribes the parts.
        mase_season: steps of the change that MASE divides by, if a protocol prescribes it; None is the shortest season.

    Raises:
        DataError: the frame breaks one of the rules above.

    Examples:
        >>> from qkan.datasets import read_series
        >>> series = read_series("traffic.csv")
        >>> series.ids, series.lengths, series.frequency
        (('centre',), array([400]), 'h')
    """

    name: str
    frame: pd.DataFrame
    frequency: str | None = None
    season: tuple[int, ...] = ()
    unit: str = ""
    source: str = ""
    licence: str = ""
    summary: str = ""
    session: Session | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str = "refuse"
    observed: np.ndarray | None = None
    futr_exog: pd.DataFrame | None = None
    form: TableForm = field(default_factory=TableForm)
    borders: tuple[int, int] | None = None
    mase_season: int | None = None

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_rows()
        self._check_covariates()
        if self.missing not in TREATMENTS:
            raise DataError(f"missing={self.missing!r} is unknown; choose one of {', '.join(TREATMENTS)}")
        if list(self.season) != sorted({s for s in self.season if s > 1}):
            raise DataError(
                f"season {self.season} of {self.name!r} must be ascending whole numbers above 1, e.g. (7, 364)"
            )

    def _check_columns(self) -> None:
        missing = [column for column in COLUMNS if column not in self.frame.columns]
        if missing:
            raise DataError(
                f"the frame of {self.name!r} has no column {missing[0]!r}; it must have {', '.join(COLUMNS)}"
            )
        if len(self.frame) == 0:
            raise DataError(f"the frame of {self.name!r} has no rows; a series needs at least one value")
        if self.frame["y"].dtype != np.float64:
            raise DataError(f"column 'y' of {self.name!r} is {self.frame['y'].dtype}; convert it to float64")
        times = self.frame["ds"].dtype
        wanted = np.dtype("int64") if self.frequency is None else np.dtype("datetime64[ns]")
        if times != wanted:
            raise DataError(
                f"column 'ds' of {self.name!r} is {times}, but frequency {self.frequency!r} needs {wanted}; "
                "give int64 steps without a frequency, or datetime64[ns] times with one"
            )

    def _check_rows(self) -> None:
        self._check_numbers(self.values, "value")
        self._check_sizes(self.values, "values")
        within = np.ones(len(self.frame), dtype=bool)
        within[self.starts[:-1]] = False
        ticks = self.times.astype("int64")
        refuse(
            within & (np.diff(ticks, prepend=ticks[:1]) <= 0),
            lambda row: (
                f"time {self.times[row]} in row {row} of {self.name!r} does not come after the time before it; "
                "sort by unique_id and ds and drop duplicates"
            ),
        )
        if list(self.ids) != sorted(set(self.ids)):
            raise DataError(f"the rows of {self.name!r} are not sorted by 'unique_id'; sort by unique_id and ds")

    def _check_numbers(self, values: np.ndarray, what: str) -> None:
        def told(row: int) -> str:
            return f"{what} {values[row]} in row {row} of {self.name!r} is"

        refuse(~np.isfinite(values), lambda row: f"{told(row)} not finite; fill or drop it first")
        refuse(
            np.abs(values) > MAX_MAGNITUDE,
            lambda row: f"{told(row)} outside +-{MAX_MAGNITUDE:g}; choose a larger unit",
        )

    def _check_sizes(self, values: np.ndarray, what: str) -> None:
        largest = np.maximum.reduceat(np.abs(values), self.starts[:-1])
        refuse(
            (largest > 0) & (largest < MIN_MAGNITUDE),
            lambda index: (
                f"the {what} of series {self.ids[index]!r} reach {largest[index]:g} at most, too small to compute with "
                f"(below {MIN_MAGNITUDE:g}); choose a smaller unit, so multiply them by {_inverse(largest[index])}"
            ),
        )

    def _check_covariates(self) -> None:
        for name in self.categories:
            if name not in self.frame.columns or not self.frame[name].map(type).eq(str).all():
                raise DataError(f"category {name!r} of {self.name!r} must be a column of names in the frame")
        for name in self.numeric:
            if name not in self.frame.columns or self.frame[name].dtype != np.float64:
                raise DataError(f"covariate {name!r} of {self.name!r} must be a float64 column of the frame")
            self._check_numbers(self.frame[name].to_numpy(), f"{name} =")
            self._check_sizes(self.frame[name].to_numpy(), f"values of {name}")
        if self.observed is not None and (self.observed.shape, self.observed.dtype) != (self.values.shape, bool):
            raise DataError(f"observed of {self.name!r} must be {len(self.frame)} truth values, one for every row")
        if self.futr_exog is not None:
            self._check_futr_exog(self.futr_exog)

    def _check_futr_exog(self, futr_exog: pd.DataFrame) -> None:
        """Future rows must follow each series without a gap; ids without a series may stay and are not looked at."""
        place = dict(zip(self.ids, range(len(self.ids)), strict=True))
        for name, rows in futr_exog.groupby("unique_id", sort=False):
            if name not in place:
                continue
            found, wanted = rows["ds"].to_numpy(), self.future_times(place[str(name)], len(rows))
            wrong = np.flatnonzero(found != wanted)
            if wrong.size:
                at = int(wrong[0])
                raise DataError(
                    f"future row {at + 1} of series {name!r} has the time {shown(found[at])}, but "
                    f"{shown(wanted[at])} comes there; give one row for every time after the last value, in order"
                )
            values = rows[list(self.future)].to_numpy(dtype=np.float64)
            bad = np.argwhere(~(np.abs(values) <= MAX_MAGNITUDE))
            if len(bad):
                row, column = bad[0]
                raise DataError(
                    f"the future value of {self.future[column]!r} of series {name!r} at {shown(found[row])} is "
                    f"{values[row, column]}; give a number for every future time"
                )

    @property
    def numeric(self) -> tuple[str, ...]:
        """Covariate columns that hold numbers."""
        return (*self.past, *self.future, *self.static)

    @cached_property
    def values(self) -> np.ndarray:
        """All values, float64, in the order of the frame, shape (rows,)."""
        return self.frame["y"].to_numpy()

    @cached_property
    def times(self) -> np.ndarray:
        """All times, datetime64[ns] or int64, in the order of the frame, shape (rows,)."""
        return self.frame["ds"].to_numpy()

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of every series and, last, the number of rows: int64, shape (series + 1,)."""
        ids = self.frame["unique_id"]
        changed = np.flatnonzero((ids != ids.shift()).to_numpy(dtype=bool)[1:]) + 1
        return np.concatenate([[0], changed, [len(ids)]]).astype(np.int64)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names of the single series, sorted."""
        return tuple(str(name) for name in self.frame["unique_id"].iloc[self.starts[:-1]])

    mapped = False
    """Whether values are read from a panel on disk where they are looked at, rather than held in memory."""

    @property
    def points(self) -> int:
        """Number of values of all series."""
        return int(self.starts[-1])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of values of every series, int64, shape (series,)."""
        return np.diff(self.starts)

    def values_of(self, index: int) -> np.ndarray:
        """Values of the series ``ids[index]``, float64, shape (length,)."""
        return self.values[self.starts[index] : self.starts[index + 1]]

    def times_of(self, index: int) -> np.ndarray:
        """Times of the series ``ids[index]``, shape (length,)."""
        return self.times[self.starts[index] : self.starts[index + 1]]

    def values_at(self, rows: np.ndarray) -> np.ndarray:
        """Values in some rows, float64, of the shape of ``rows``."""
        return np.asarray(self.values[rows])

    def times_at(self, rows: np.ndarray) -> np.ndarray:
        """Times in some rows, of the shape of ``rows``."""
        return np.asarray(self.times[rows])

    @property
    def span(self) -> tuple[Any, Any]:
        """First and last time of all series: timestamps, or whole numbers."""
        ends = self.times_at(np.concatenate([self.starts[:-1], self.starts[1:] - 1]))
        kind = int if self.frequency is None else pd.Timestamp
        return kind(ends.min()), kind(ends.max())

    def owners(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Position in ``ids`` of the series of rows, int64, of the shape of ``rows``; None stands for all rows."""
        if rows is None:
            return np.repeat(np.arange(len(self.ids)), self.lengths)
        return np.searchsorted(self.starts, rows, side="right") - 1

    def only(self, begin: int, end: int) -> Series:
        """The same series, of which only ``ids[begin:end]`` will be looked at: a panel on disk maps no others."""
        return self

    def part(self, begin: int, end: int) -> Series:
        """The series ``ids[begin:end]``, in memory."""
        rows = slice(int(self.starts[begin]), int(self.starts[end]))
        observed = None if self.observed is None else self.observed[rows]
        form = self.form.pick(np.arange(begin, end))
        return self.with_frame(self._rows(rows), observed=observed, form=form)

    def _rows(self, rows: slice) -> pd.DataFrame:
        return self.frame.iloc[rows].reset_index(drop=True)

    def mapped_values(self) -> int | None:
        """How many values of a panel on disk were mapped; None for values in memory."""
        return None

    def with_frame(self, frame: pd.DataFrame, **changes: Any) -> Series:
        """The same series with other rows, in memory."""
        return replace(self, frame=frame, **changes)

    def covariates(self, names: Sequence[str]) -> np.ndarray:
        """Values of covariate columns, float64, shape (rows, names)."""
        return self.frame[list(names)].to_numpy(dtype=np.float64).reshape(len(self.frame), len(names))

    def with_futr_exog(self, futr_exog: pd.DataFrame | None) -> Series:
        """The same series with other future rows."""
        return replace(self, futr_exog=futr_exog)

    def fingerprint(self) -> str:
        """Sha256 (hex) of ids, times, values, covariates, categories and which values were observed.

        Name, source and other descriptions do not count, nor do future rows, which no training sees.
        """
        header: dict[str, Any] = {"ids": self.ids, "lengths": self.lengths.tolist(), "times": str(self.times.dtype)}
        if self.past or self.future:
            header |= {"past": self.past, "future": self.future}
        if self.static:
            header |= {"static": self.static}
        codes = {name: pd.factorize(self.frame[name], sort=True) for name in self.categories}
        if codes:
            header |= {"categories": {name: list(found) for name, (_, found) in codes.items()}}
        digest = hashlib.sha256(json.dumps(header).encode())
        digest.update(np.ascontiguousarray(self.times.astype("<i8")).tobytes())
        digest.update(np.ascontiguousarray(self.values.astype("<f8")).tobytes())
        if self.numeric:
            digest.update(self.covariates(self.numeric).astype("<f8").tobytes())
        for places, _ in codes.values():
            digest.update(places.astype("<i8").tobytes())
        if self.observed is not None:
            digest.update(np.packbits(self.observed).tobytes())
        return digest.hexdigest()

    def future_times(self, index: int, steps: int) -> np.ndarray:
        """The times that follow the last one of the series ``ids[index]``.

        Args:
            index: position in ``ids``.
            steps: how many times to give, at least 1.

        Returns:
            int64 steps or datetime64[ns] times, shape (steps,). A series with a ``session`` goes on in its hours on
            the next working day; public holidays are not known and count as working days.

        Raises:
            DataError: ``steps`` is below 1.
        """
        if steps < 1:
            raise DataError(f"steps is {steps}; ask for at least 1 future time")
        times = self.times_of(index)
        if self.frequency is None:
            step = times[-1] - times[-2] if len(times) > 1 else 1
            return times[-1] + step * np.arange(1, steps + 1, dtype=np.int64)
        if self.session is None:
            return following(self.frequency, times, steps)
        return session_times(self.session, self.frequency, pd.Timestamp(times[-1]), steps).as_unit("ns").to_numpy()

    def all_future_times(self, steps: int) -> np.ndarray:
        """`future_times` of every series, shape (series, steps); series that end together share the work."""
        found: dict[Any, np.ndarray] = {}
        times, ends = [], self.times_at(self.starts[1:] - 1)
        for index in range(len(self.ids)):
            last = ends[index]
            if self.frequency is None or months_of(self.frequency) is not None:  # step or day of the series alone
                times.append(self.future_times(index, steps))
                continue
            if last not in found:
                found[last] = self.future_times(index, steps)
            times.append(found[last])
        return np.stack(times)

    @property
    def step(self) -> int | None:
        """The most common whole-number step; None for times of a calendar, or without two rows of a series."""
        if self.frequency is not None:
            return None
        steps = np.delete(np.diff(self.times), self.starts[1:-1] - 1)
        sizes, counts = np.unique(steps, return_counts=True)
        return int(sizes[np.argmax(counts)]) if sizes.size else None

    def wall_times(self, times: np.ndarray) -> np.ndarray:
        """Times of this series as they stand on the walls of the user's time zone; steps stay as they are."""
        if times.dtype.kind != "M":
            return times
        return self.form.clock.wall_times(pd.DatetimeIndex(times)).as_unit("ns").to_numpy()

    def give_back(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with ``unique_id``, ``ds`` and ``cutoff`` in the form and order of the user's table."""
        return self.form.give_back(table, self.ids)

    def describe(self) -> dict[str, Any]:
        """What a run folder should remember of the data.

        Name, size, frequency or whole-number step, seasons, unit, whether ids were named in the data, fingerprint.
        """
        return {
            "name": self.name,
            "series": len(self.ids),
            "points": self.points,
            "lengths": self.lengths.tolist(),
            "frequency": self.frequency,
            "step": self.step,
            "named": self.form.named,
            "season": list(self.season),
            "unit": self.unit,
            "fingerprint": self.fingerprint(),
        }


def _inverse(size: float) -> str:
    """A power of ten that brings a size near 1, as text: its number may be beyond float64."""
    return f"1e{-int(np.floor(np.log10(size)))}"
