"""Series that are observed in daily hours of working days only."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from qkan.datasets.errors import DataError


@dataclass(frozen=True)
class Session:
    """Daily hours of a series that is observed on working days (Monday to Friday) only.

    Args:
        first: time of the first observation of a day, ``"HH:MM"``.
        last: time of the last observation of a day, ``"HH:MM"``, not before ``first``.

    Raises:
        DataError: a time is malformed, or the day ends before it starts.

    Examples:
        >>> from qkan.datasets import Session
        >>> Session("08:00", "16:30").closing
        Timedelta('0 days 16:30:00')
    """

    first: str
    last: str

    def __post_init__(self) -> None:
        if self.opening > self.closing:
            raise DataError(f"session ends at {self.last!r} before it starts at {self.first!r}; swap first and last")

    @property
    def opening(self) -> pd.Timedelta:
        """Time of day of the first observation."""
        return _time_of_day(self.first)

    @property
    def closing(self) -> pd.Timedelta:
        """Time of day of the last observation."""
        return _time_of_day(self.last)


def _time_of_day(text: str) -> pd.Timedelta:
    try:
        moment = pd.to_datetime(text, format="%H:%M")
    except ValueError:
        raise DataError(f"time of day {text!r} is not between '00:00' and '23:59'; write it as 'HH:MM'") from None
    return moment - moment.normalize()


def session_times(session: Session, frequency: str, last: pd.Timestamp, steps: int) -> pd.DatetimeIndex:
    """The times of a series with daily hours that follow the last one."""
    hours = pd.timedelta_range(session.opening, session.closing, freq=frequency)
    days = pd.bdate_range(last.normalize(), periods=steps // len(hours) + 2)
    times = pd.DatetimeIndex((days.to_numpy()[:, None] + hours.to_numpy()[None, :]).ravel())
    return times[times > last][:steps]
