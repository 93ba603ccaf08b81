"""Finding the regular step of a set of timelines, or the first place that breaks it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from qkan.datasets.series import DataError

_PROBE = 12  # points at an end of a series from which a calendar frequency is guessed when the whole is irregular


@dataclass(frozen=True, eq=False)
class Timeline:
    """Times of several series, one series after the other, each in the order of its rows in the file.

    Args:
        times: datetime64[ns] or int64, shape (rows,).
        starts: first position of every series in ``times``.
        rows: row of the file, from 0, for every position.
        column: name of the time column.
        names: names of the series for messages; empty if there is only one.
    """

    times: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    column: str
    names: tuple[str, ...]

    def steps(self, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Differences of ``ticks`` within the series, and the position of the later point of each."""
        inside = np.ones(len(ticks), dtype=bool)
        inside[self.starts] = False
        later = np.flatnonzero(inside)
        return ticks[later] - ticks[later - 1], later

    def place(self, position: int) -> str:
        """Where in the file a position is, for a message."""
        text = f"row {self.rows[position] + 1} of time column {self.column!r}"
        if not self.names:
            return text
        return f"{text} (series {self.names[np.searchsorted(self.starts, position, side='right') - 1]!r})"


def find_frequency(timeline: Timeline) -> str | None:
    """The pandas alias of the step that all series share; None for whole-number steps.

    A fixed step (5 minutes, 7 days) or a calendar one (working days, month ends, quarters: whatever `pandas.infer_freq`
    knows) is regular.

    Raises:
        DataError: a time equals the one before it, lies before it, or breaks the regular step.
    """
    ticks = timeline.times.astype("int64")
    steps, later = timeline.steps(ticks)
    _check_order(timeline, steps, later)
    usual = _most_common(steps)
    breaks = later[steps != usual]
    dated = timeline.times.dtype.kind == "M"
    if breaks.size == 0:
        return _fixed_alias(pd.Timedelta(usual, unit="ns")) if dated else None
    step = str(pd.Timedelta(usual, unit="ns")) if dated else str(usual)
    for alias in _calendar_guesses(timeline) if dated else ():
        others = _calendar_breaks(timeline, alias)
        if others.size == 0:
            return alias
        if others.size < breaks.size:
            breaks, step = others, f"one of frequency {alias!r}"
    first = int(breaks[0])
    raise DataError(
        f"the times are irregular: {timeline.place(first)} is {_shown(timeline, first)} after "
        f"{_shown(timeline, first - 1)}, while the usual step is {step}; resample the data, or leave out --time-col "
        "(or drop the column) to use the row order as time"
    )


def _check_order(timeline: Timeline, steps: np.ndarray, later: np.ndarray) -> None:
    wrong = np.flatnonzero(steps <= 0)
    if wrong.size == 0:
        return
    position = int(later[wrong[0]])
    if steps[wrong[0]] == 0:
        what, fix = (
            "repeats the time before it",
            "drop duplicates, or name the column that tells series apart with --id-col",
        )
    else:
        what, fix = f"comes after {_shown(timeline, position - 1)}", "sort the rows by time"
    raise DataError(f"{timeline.place(position)} is {_shown(timeline, position)} and {what}; {fix}")


def _shown(timeline: Timeline, position: int) -> str:
    value = timeline.times[position]
    return str(pd.Timestamp(value)) if timeline.times.dtype.kind == "M" else str(value)


def _most_common(steps: np.ndarray) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _calendar_guesses(timeline: Timeline) -> list[str]:
    """Calendar frequencies of the longest series, of its first points and of its last, best guess first."""
    ends = np.append(timeline.starts[1:], len(timeline.times))
    longest = int(np.argmax(ends - timeline.starts))
    times = pd.DatetimeIndex(timeline.times[timeline.starts[longest] : ends[longest]])
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # some versions of pandas announce an offset instead of a str
        guesses = [pd.infer_freq(part) for part in (times, times[:_PROBE], times[-_PROBE:])]
    return list(dict.fromkeys(to_offset(guess).freqstr for guess in guesses if guess is not None))


def _fixed_alias(step: pd.Timedelta) -> str:
    whole_days = step % pd.Timedelta(days=1) == pd.Timedelta(0)
    if whole_days:
        return "D" if step.days == 1 else f"{step.days}D"
    return to_offset(step).freqstr


def _calendar_breaks(timeline: Timeline, alias: str) -> np.ndarray:
    """Positions of the points that are not the next one of the calendar after their predecessor."""
    first, last = timeline.times.min(), timeline.times.max()
    calendar = pd.date_range(first, last, freq=alias)
    number = calendar.as_unit("ns").get_indexer(pd.DatetimeIndex(timeline.times))
    steps, later = timeline.steps(number)
    return later[(steps != 1) | (number[later] < 0) | (number[later - 1] < 0)]


def natural_season(frequency: str | None, points: int) -> tuple[int, ...]:
    """Usual seasonal periods of a frequency, in steps: day and week, working week, year.

    Args:
        frequency: pandas alias, or None for steps, which have no natural season.
        points: length of the shortest series; a season of which it does not hold two periods is left out.
    """
    if frequency is None:
        return ()
    offset = to_offset(frequency)
    if isinstance(offset, pd.tseries.offsets.Tick | pd.tseries.offsets.Day):
        step = pd.Timedelta(days=offset.n) if isinstance(offset, pd.tseries.offsets.Day) else pd.Timedelta(offset)
        weekly = step == pd.Timedelta(days=7)
        spans = [pd.Timedelta(days=days) for days in (1, 7)]
        periods = [52] if weekly else [int(span // step) for span in spans if span % step == pd.Timedelta(0)]
    else:
        calendar = {"B": 5, "W": 52, "M": 12, "BM": 12, "Q": 4, "BQ": 4}
        head = offset.rule_code.split("-")[0].removesuffix("S").removesuffix("E")
        periods = [calendar[head] // offset.n] if head in calendar and calendar[head] % offset.n == 0 else []
    return tuple(period for period in periods if period > 1 and 2 * period <= points)
