"""Features that follow from the time alone, and are therefore known for every future step.

A periodic feature is the pair (sin, cos) of its angle. A single angle would jump from pi to -pi at midnight, which a
linear map of the inputs (an LSTM, the encoder of an HQKAN) cannot undo; the pair is smooth, lies in [-1, 1] like the
scaled values, and any phase is a weighted sum of its two channels, so that gates which share one circuit per input
can still turn at different hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError

_DAY = 24 * 3600


def _seconds(times: pd.DatetimeIndex) -> np.ndarray:
    return (times.hour * 3600 + times.minute * 60 + times.second).to_numpy(dtype=np.float64)


_TURNS: dict[str, Callable[[pd.DatetimeIndex], np.ndarray]] = {
    "minute": lambda times: _seconds(times) % 3600 / 3600,
    "hour": lambda times: _seconds(times) / _DAY,
    "weekday": lambda times: times.day_of_week.to_numpy(dtype=np.float64) / 7,
    "monthday": lambda times: (times.day.to_numpy(dtype=np.float64) - 1) / times.days_in_month.to_numpy(),
    "month": lambda times: (times.month.to_numpy(dtype=np.float64) - 1) / 12,
    "yearday": lambda times: (times.day_of_year.to_numpy(dtype=np.float64) - 1) / (365 + times.is_leap_year),
}
"""The part of a full turn that has passed, in [0, 1): of the hour, the day, the week, the month, the year."""

CALENDAR: dict[str, int] = {**dict.fromkeys(_TURNS, 2), "weekend": 1}
"""Channels of every calendar feature by name. ``weekend`` is 1 on Saturday and Sunday, else -1.

Examples:
    >>> from qkan.datasets import CALENDAR
    >>> sorted(CALENDAR)[:3]
    ['hour', 'minute', 'month']
"""


def check_calendar(names: Sequence[str]) -> None:
    """Refuse unknown and repeated names.

    Raises:
        DataError: a name is not a key of :data:`CALENDAR`, or comes twice.
    """
    for name in names:
        if name not in CALENDAR:
            raise DataError(f"unknown calendar feature {name!r}; choose from {', '.join(CALENDAR)}")
    if len(set(names)) != len(names):
        raise DataError(f"the calendar features {', '.join(names)} repeat one; name each once")


def calendar_features(times: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Calendar features of some times.

    Args:
        times: datetime64[ns], shape (N,).
        names: keys of :data:`CALENDAR`; ``hour`` counts minutes and seconds, ``weekday`` whole days from Monday,
            ``yearday`` whole days, ``month`` whole months.

    Returns:
        float32, shape (N, channels): for every periodic name sin and cos of 2 pi times the part of its period that
        has passed, for ``weekend`` one channel; in the order of ``names``.

    Raises:
        DataError: an unknown name, or times that are whole-number steps and have no calendar.
    """
    check_calendar(names)
    if not names:
        return np.zeros((len(times), 0), dtype=np.float32)
    if times.dtype.kind != "M":
        raise DataError(
            f"calendar={','.join(names)!r} needs dates, but the times of the data are whole-number steps; "
            "name the column of dates (time_col=...) or leave the calendar out"
        )
    index = pd.DatetimeIndex(times)
    channels: list[np.ndarray] = []
    for name in names:
        if name == "weekend":
            channels.append(np.where(index.day_of_week.to_numpy() >= 5, 1.0, -1.0))
        else:
            angle = 2 * np.pi * _TURNS[name](index)
            channels += [np.sin(angle), np.cos(angle)]
    return np.stack(channels, axis=1).astype(np.float32)
