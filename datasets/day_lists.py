"""Steps from one listed day to the next: the 5th and the 20th of every month, or Monday to Saturday of every week.

pandas has no alias for them, so they have one here: ``5,20/mo`` and ``Mon,Tue,Wed,Thu,Fri,Sat/w``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

_MONDAY = np.datetime64("1970-01-05")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ALIAS = re.compile(rf"(?P<days>\d\d?(,\d\d?)+)/mo|(?P<names>({'|'.join(_WEEKDAYS)})(,({'|'.join(_WEEKDAYS)}))*)/w")
_MOST_DAYS = 6  # of a month; more is a daily series with gaps
_REPEATS = 3  # any few days follow a list of themselves


@dataclass(frozen=True)
class DayList:
    """Several days of every month, or of every week.

    Args:
        unit: ``month`` or ``week``.
        days: of the month from 1, of which the last is the last day of a shorter month; or of the week, Monday is 0;
            ascending.
    """

    unit: str
    days: tuple[int, ...]

    @classmethod
    def of_alias(cls, alias: str | None) -> DayList | None:
        """The list that an alias stands for; None if it stands for none."""
        match = _ALIAS.fullmatch(alias or "")
        if match is None:
            return None
        if match["names"]:
            found = cls("week", tuple(map(_WEEKDAYS.index, match["names"].split(","))))
        else:
            found = cls("month", tuple(map(int, match["days"].split(","))))
            if found.days[0] < 1 or found.days[-1] > 31 or (len(found.days) > 1 and found.days[-2] > 27):
                return None
        return found if list(found.days) == sorted(set(found.days)) else None

    @property
    def alias(self) -> str:
        """Its name."""
        if self.unit == "week":
            return f"{','.join(_WEEKDAYS[day] for day in self.days)}/w"
        return f"{','.join(map(str, self.days))}/mo"

    @classmethod
    def guess(cls, times: np.ndarray) -> list[DayList]:
        """The lists that times of one series, datetime64[ns] ascending, may follow: those that they show three times.

        Monday to Friday have an alias of pandas.
        """
        found, dates = list[DayList](), pd.DatetimeIndex(times)
        week = np.unique(dates.day_of_week)
        if 1 < len(week) < 7 and list(week) != [0, 1, 2, 3, 4] and np.diff(times).max() <= np.timedelta64(7, "D"):
            found.append(cls("week", tuple(map(int, week))))
        last = dates.is_month_end & (dates.day < 31)
        days = sorted({*map(int, dates.day[~last])} | ({31} if last.any() else set()))
        if last.any():  # the last day listed is the highest that a month shows; a shorter month ends before it
            inner = [day for day in days if day <= 27]
            days = [*inner, max((int(day) for day in dates.day if day > 27), default=31)]
        if 1 < len(days) <= _MOST_DAYS and days[-2] <= 27:
            found.append(cls("month", tuple(days)))
        return [days for days in found if len(times) >= _REPEATS * len(days.days)]

    def numbers(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count listed days from a fixed origin, int64, and say which times are on one, bool; times datetime64."""
        dates = times.astype("datetime64[D]")
        if self.unit == "week":
            since = (dates - _MONDAY).astype(np.int64)
            unit, day = since // 7, since % 7
            place = np.searchsorted(self.days, day)
            fits = np.isin(day, self.days)
        else:
            months = times.astype("datetime64[M]")
            unit = months.astype(np.int64)
            day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
            size = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
            listed = np.minimum(np.asarray(self.days)[None, :], size[:, None])
            place = (listed < day[:, None]).sum(axis=1)
            fits = (listed == day[:, None]).any(axis=1)
        return len(self.days) * unit + place, fits

    def times(self, numbers: np.ndarray, clock: np.ndarray | np.timedelta64) -> np.ndarray:
        """The times of listed days by their numbers, datetime64[ns], at a time of day."""
        unit, place = numbers // len(self.days), numbers % len(self.days)
        days = np.asarray(self.days)[place]
        if self.unit == "week":
            dates = _MONDAY + (7 * unit + days).astype("timedelta64[D]")
        else:
            months = unit.astype("datetime64[M]")
            first = months.astype("datetime64[D]")
            size = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
            dates = first + (np.minimum(days, size) - 1).astype("timedelta64[D]")
        return (dates.astype("datetime64[ns]") + clock).astype("datetime64[ns]")
