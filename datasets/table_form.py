"""How a user's table writes ids and times, so that forecasts come back in the same form.

Inside, an id is text and a time has no zone: it is that of a clock, UTC or the wall clock of a place.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

UNIX = {"unix s": "s", "unix ms": "ms", "unix us": "us"}
"""Formats of whole numbers that count from 1970 in UTC, and NumPy's names of their units."""


@dataclass(frozen=True)
class Clock:
    """Which clock the times of a series, which have no zone, were read from.

    Args:
        zone: zone of the user's times; None if they have none.
        wall: whether the times are those on the walls there, rather than UTC: regular for days and months across a
            clock change, where UTC is regular for hours.
    """

    zone: Any = None
    wall: bool = False

    def read(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The times of this clock at moments, times with a zone."""
        return times.tz_convert(self.zone if self.wall else "UTC").tz_localize(None)

    def moments(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The moments, in the user's zone, at times of this clock; a time that the clock skips is the next there is."""
        if self.zone is None:
            return times
        if not self.wall:
            return times.tz_localize("UTC").tz_convert(self.zone)
        first = np.ones(len(times), dtype=bool)  # of two moments of one time
        return times.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")

    def wall_times(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The times on the walls of the zone at times of this clock."""
        return times if self.wall or self.zone is None else self.moments(times).tz_localize(None)

    @classmethod
    def of(cls, times: pd.DatetimeIndex) -> Clock:
        """The clock on which moments are regular: see `wall_is_regular`."""
        wall = cls(times.tz, True).with_skipped(times)
        return cls(times.tz, cls.wall_is_regular(wall, times.tz_convert("UTC").tz_localize(None)))

    @staticmethod
    def wall_is_regular(wall: pd.DatetimeIndex, utc: pd.DatetimeIndex) -> bool:
        """Whether moments are more regular on the wall than in UTC.

        A wall that shows one time for two moments is no clock for them. They are on the one that shows fewer steps of
        another size than the usual one; if both show as many, on the one that shows fewer times of day; else on the
        wall for steps of days, in UTC for shorter ones.
        """
        if wall.nunique() < utc.nunique():
            return False
        facts = []
        for times in (wall, utc):
            steps = np.diff(np.unique(times.to_numpy()))
            sizes, counts = np.unique(steps, return_counts=True)
            odd = len(steps) - int(counts.max()) if sizes.size else 0
            facts.append((odd, (times - times.normalize()).nunique()))
        long = sizes.size > 0 and sizes[np.argmax(counts)] >= np.timedelta64(22, "h")
        return facts[0] < facts[1] or (facts[0] == facts[1] and bool(long))

    def with_skipped(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """`read`, and where a clock change skipped a usual time of day, that time instead of the next there was.

        So days begin at midnight where clocks skip it once a year.
        """
        read = self.read(times)
        if not self.wall or not len(read):
            return read
        before = times - pd.Timedelta(hours=3)  # longer than any clock is put forward
        meant = read - ((read - self.read(before)) - pd.Timedelta(hours=3))
        counts = (read - read.normalize()).value_counts()
        of_read, of_meant = (counts.reindex(one - one.normalize(), fill_value=0).to_numpy() for one in (read, meant))
        skipped = (meant < read) & (of_meant > of_read)
        skipped &= np.asarray(Clock(self.zone, True).moments(meant) == times)
        return read.where(~skipped, meant)


@dataclass(frozen=True, eq=False)
class TableForm:
    """The form of ids and times in a user's table.

    Args:
        ids: the id of every series as the table has it, in the order of `Series.ids`; None for text.
        order: positions in `Series.ids` in the order in which the table has them; None for sorted.
        named: whether the table says which series its rows belong to, rather than its name.
        times: dtype of the time column, ``datetime.date`` for one of dates; None for what it is inside.
        format: of the whole numbers that are dates in the time column; None for other times.
        read_as: the format that the user gave for times; None if none.
        clock: which clock the times were read from.
        assumed_zone: zone that the user says times are in, which they do not name.
        id_col, time_col, target_col: names of the columns.
    """

    ids: pd.Series | None = None
    order: np.ndarray | None = None
    named: bool = True
    times: Any = None
    format: str | None = None
    read_as: str | None = None
    clock: Clock = field(default_factory=Clock)
    assumed_zone: str | None = None
    id_col: str = "unique_id"
    time_col: str = "ds"
    target_col: str = "y"

    def give_back(self, table: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
        """A table with columns ``unique_id``, ``ds`` and ``cutoff``, as far as it has them, in the user's form.

        Args:
            table: ids and times as inside; the rows of a series keep their order.
            ids: those of the series.
        """
        table = table.copy()
        place = pd.Series(np.arange(len(ids)), index=list(ids))
        at = place[table["unique_id"]].to_numpy()
        if self.ids is not None:
            table["unique_id"] = self.ids.iloc[at].set_axis(table.index)
        for name in ("ds", "cutoff"):
            if name in table:
                table[name] = self._times(table[name])
        if self.order is not None:
            rank = np.empty(len(ids), dtype=np.int64)
            rank[self.order] = np.arange(len(ids))
            table = table.iloc[np.argsort(rank[at], kind="stable")].reset_index(drop=True)
        return table

    def in_own_words(self, table: pd.DataFrame) -> pd.DataFrame:
        """The same table, its columns called as in the user's."""
        return table.rename(columns={"unique_id": self.id_col, "ds": self.time_col, "y": self.target_col})

    def _times(self, times: pd.Series) -> pd.Series:
        if times.dtype.kind != "M":
            return times if self.times is None else times.astype(self.times)
        given = pd.Series(self.clock.moments(pd.DatetimeIndex(times)), index=times.index, name=times.name)
        if self.assumed_zone is not None:
            given = given.dt.tz_localize(None)
        if isinstance(self.times, pd.PeriodDtype):
            return given.dt.to_period(self.times.freq)
        if self.times is dt.date:
            return given.dt.date
        if self.format in UNIX:
            return given.astype(f"datetime64[{UNIX[self.format]}]").astype("int64").astype(self.times)
        if self.format is not None:
            return given.dt.strftime(self.format).astype(self.times)
        return given if self.times in (None, np.dtype(object)) else given.astype(self.times)

    def pick(self, kept: np.ndarray) -> TableForm:
        """The form of some of the series, whose positions ascend."""
        ids = None if self.ids is None else self.ids.iloc[kept]
        if self.order is None:
            return replace(self, ids=ids)
        place = np.full(len(self.order), -1)
        place[kept] = np.arange(len(kept))
        order = place[self.order]
        return replace(self, ids=ids, order=order[order >= 0])
