"""Where in its seasons a time step lies: angles that follow from the time alone, so they are known in advance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from qkan.datasets.series import DataError, Series, Session

_MONDAY = np.datetime64("1970-01-05")
_CALENDAR_ORIGIN = pd.Timestamp("1800-01-01")  # calendar steps are counted from here, whatever the data begin with


def season_phases(series: Series, times: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """Phase angles of some times in seasons of so many steps.

    The angle counts from a fixed origin and not from the first row, so other data of the same kind, and the steps to
    forecast, continue it. Steps are those of the clock on the wall, of the calendar or, with daily sessions, of trading: night and
    weekend take no steps, and a season of whole working days begins at an opening.

    Args:
        series: What the times belong to: its frequency and session say what a step is.
        times: datetime64[ns] or int64, shape (N,).
        seasons: Lengths in steps, each above 1.

    Returns:
        float32 in [0, 2 pi), shape (N, seasons).
    """
    number = step_numbers(series.wall_times(times), series.frequency, series.session, _whole_step(series))
    turns = [number % season / season for season in seasons]
    return (2 * np.pi * np.stack(turns, axis=1)).astype(np.float32) if turns else np.zeros((len(times), 0), np.float32)


def step_numbers(
    times: np.ndarray, frequency: str | None, session: Session | None = None, whole_step: int = 1
) -> np.ndarray:
    """Number the times by steps from a fixed origin, a Monday at midnight for steps of the clock; float64, shape (N,).

    Args:
        times: datetime64[ns] or int64, shape (N,).
        frequency: pandas alias of the step; None for int64 times.
        session: Daily hours, if only these and only working days have steps.
        whole_step: Step of int64 times.

    Raises:
        DataError: a time lies before 1800 and its steps are those of a calendar.
    """
    if frequency is None:
        return times.astype(np.float64) / whole_step
    offset = to_offset(frequency)
    ticks = pd.Timedelta(days=offset.n) if isinstance(offset, pd.offsets.Day) else None
    if ticks is None and isinstance(offset, pd.tseries.offsets.Tick):
        ticks = pd.Timedelta(offset)
    if session is not None:
        return _session_numbers(times, session, ticks)
    if ticks is not None:
        return (times - _MONDAY.astype(times.dtype)).astype(np.int64) / ticks.value
    return _calendar_numbers(times, offset)


def _session_numbers(times: np.ndarray, session: Session, step: pd.Timedelta | None) -> np.ndarray:
    """Working days since a Monday, times the steps of a day, plus the steps since the day's opening."""
    if step is None:
        raise DataError("a series with daily hours needs a step of the clock, such as '5min'")
    days = times.astype("datetime64[D]")
    a_day = (session.closing - session.opening) // step + 1
    within = (times - days.astype(times.dtype)).astype(np.int64) - session.opening.value
    return np.busday_count(_MONDAY, days) * a_day + within / step.value


def _calendar_numbers(times: np.ndarray, offset: pd.tseries.offsets.BaseOffset) -> np.ndarray:
    """Steps of the calendar (months, quarters, working days) since 1800; a step of several counts as one."""
    index = pd.DatetimeIndex(times)
    if index.min() < _CALENDAR_ORIGIN:
        raise DataError(
            f"the time {index.min()} lies before {_CALENDAR_ORIGIN.date()}, where steps of the calendar are counted "
            "from; use whole-number steps, or season none"
        )
    dates = pd.date_range(_CALENDAR_ORIGIN, index.max(), freq=offset.base)
    return dates.searchsorted(index.normalize(), side="right").astype(np.float64) / offset.n


def _whole_step(series: Series) -> int:
    """The step of int64 times: that between the first two of a series which has two."""
    if series.frequency is not None:
        return 1
    longer = np.flatnonzero(series.lengths > 1)
    if not longer.size:
        return 1
    first = int(series.starts[longer[0]])
    return int(series.times[first + 1] - series.times[first])
