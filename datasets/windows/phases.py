"""Where in its seasons a time step lies: angles that follow from the time alone, so they are known in advance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qkan.datasets.day_lists import DayList
from qkan.datasets.errors import DataError
from qkan.datasets.series import Series, Session
from qkan.datasets.steps import day_of, month_of, step_size

_MONDAY = np.datetime64("1970-01-05")
_ORIGIN = pd.Timestamp("1800-01-01")  # steps of other calendars are counted from here, whatever the data begin with


def season_phases(series: Series, times: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """Phase angles of some times in seasons of so many steps.

    The angle counts from a fixed origin and not from the first row, so other data of the same kind, and the steps to
    forecast, continue it. Steps are those of the clock on the wall, of the calendar or, with daily sessions, of
    trading: night and weekend take no steps, and a season of whole working days begins at an opening.

    Args:
        series: What the times belong to: its frequency, time zone and session say what a step is.
        times: datetime64[ns] or int64, shape (N,).
        seasons: Lengths in steps, each above 1.

    Returns:
        float32 in [0, 2 pi), shape (N, seasons).

    Raises:
        DataError: as :func:`step_numbers`.
    """
    if not seasons:
        return np.zeros((len(times), 0), dtype=np.float32)
    number = step_numbers(series.wall_times(times), series.frequency, series.session, series.step or 1)
    return np.stack([phases_of_steps(number, season) for season in seasons], axis=1)


def phases_of_steps(number: np.ndarray, season: int) -> np.ndarray:
    """Phase angles of steps in a season of so many.

    Args:
        number: As of :func:`step_numbers`, any shape.
        season: Its length.

    Returns:
        float32 in [0, 2 pi), same shape.
    """
    turns = number % season / season
    return np.minimum(2 * np.pi * turns, np.nextafter(np.float32(2 * np.pi), np.float32(0))).astype(np.float32)


def season_waves(phases: np.ndarray, seasons: Sequence[int], most: int) -> np.ndarray:
    """Sines and cosines of the harmonics of every season that differ on its steps.

    Args:
        phases: Angles, as of :func:`season_phases`, (N, seasons).
        seasons: Their lengths in steps.
        most: Harmonics of one season, at most.

    Returns:
        float64, shape (N, waves): of every harmonic its sine and its cosine.
    """
    waves = [
        wave(turn * phases[:, place].astype(np.float64))
        for place, season in enumerate(seasons)
        for turn in range(1, max(1, min(most, (season - 1) // 2)) + 1)
        for wave in (np.sin, np.cos)
    ]
    return np.column_stack(waves) if waves else np.zeros((len(phases), 0))


def step_numbers(
    times: np.ndarray, frequency: str | None, session: Session | None = None, whole_step: int = 1
) -> np.ndarray:
    """Number the times by whole steps from a fixed origin, for the clock a Monday at midnight; int64, shape (N,).

    Times between two steps, such as every hour at half past, have the number of the step before, all of them alike.

    Args:
        times: datetime64[ns] or int64, shape (N,).
        frequency: Alias of the step; None for int64 times.
        session: Daily hours, if only these and only working days have steps.
        whole_step: Step of int64 times.

    Raises:
        DataError: steps of a rare calendar before 1800.
    """
    kind, size = step_size(frequency) or ("whole numbers", whole_step)
    if kind == "whole numbers":
        return times // size
    if kind == "months":
        return month_of(times) // size
    listed = DayList.of_alias(frequency)
    if listed is not None:
        return listed.numbers(times)[0]
    if kind == "half months":
        second = 15 if "SMS" in str(frequency) else 16  # the 1st and the 15th, or the 15th and the last
        return (2 * month_of(times) + (day_of(times) >= second)) // size
    days = times.astype("datetime64[D]")
    since_midnight = (times - days.astype(times.dtype)).astype(np.int64)
    if session is not None and kind == "nanoseconds":
        a_day = (session.closing - session.opening).value // size + 1
        return np.busday_count(_MONDAY, days) * a_day + (since_midnight - session.opening.value) // size
    if kind == "nanoseconds":
        return ((days - _MONDAY).astype(np.int64) * _DAY + since_midnight) // size
    if kind == "B":
        return np.busday_count(_MONDAY, days) // size
    return _calendar_numbers(times, str(frequency), size)


_DAY = pd.Timedelta(days=1).value


def _calendar_numbers(times: np.ndarray, alias: str, size: int) -> np.ndarray:
    """Steps of any calendar that pandas knows since 1800; a step of several counts as one."""
    index = pd.DatetimeIndex(times)
    if index.min() < _ORIGIN:
        raise DataError(
            f"the time {index.min()} lies before {_ORIGIN.date()}, where steps of {alias!r} are counted from; "
            "use whole-number steps, or season none"
        )
    dates = pd.date_range(_ORIGIN, index.max(), freq=pd.tseries.frequencies.to_offset(alias).base)
    return dates.searchsorted(index, side="right") // size
