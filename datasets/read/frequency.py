"""Finding the regular step of a set of timelines, or the first place that breaks it; and the times without gaps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from qkan.datasets.series import DataError, shown

_MOST_MISSING = 10  # times as many rows as a file has may be missing from it; more is a mistake in the times
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


@dataclass(frozen=True, eq=False)
class Grid:
    """The regular times that a timeline lies on.

    Args:
        number: place of every row among the regular times, int64, shape (rows,); -1 for a time that is none of them.
            Counted from the first row of the series for a fixed step, from the first time of all for a calendar.
        step: ticks between two times, or None for a calendar.
        dates: the times of the calendar, or None for a fixed step.
    """

    number: np.ndarray
    step: int | None
    dates: np.ndarray | None

    def times(self, first: np.ndarray, number: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """The times ``offset`` steps after those that are ``first`` and have the place ``number``; all shape (N,)."""
        if self.dates is not None:
            return self.dates[number + offset]
        return (first.astype("int64") + (self.step or 0) * offset).astype(first.dtype)


def grid_of(timeline: Timeline, alias: str | None) -> Grid:
    """The regular times of frequency ``alias``; None stands for whole-number steps of the most common size."""
    ticks = timeline.times.astype("int64")
    step = _most_common(timeline.steps(ticks)[0]) if alias is None else _fixed_step(alias)
    if step is not None:
        lengths = np.diff(np.append(timeline.starts, len(ticks)))
        since = ticks - np.repeat(ticks[timeline.starts], lengths)
        return Grid(np.where(since % step == 0, since // step, -1), step, None)
    dates = pd.date_range(timeline.times.min(), timeline.times.max(), freq=alias).as_unit("ns")
    return Grid(dates.get_indexer(pd.DatetimeIndex(timeline.times)).astype(np.int64), None, dates.to_numpy())


def find_frequency(timeline: Timeline, *, gaps: bool = False, frequency: str | int | None = None) -> str | None:
    """The pandas alias of the step that all series share; None for whole-number steps.

    A fixed step (5 minutes, 7 days) or a calendar one (working days, month ends, quarters: whatever `pandas.infer_freq`
    knows) is regular.

    Args:
        timeline: the times.
        gaps: whether times may be missing in between. Of the steps that would do, the one that misses fewest is taken.
        frequency: the step that it must be, as a pandas alias or a whole number; None finds it.

    Raises:
        DataError: a time equals the one before it, lies before it, or breaks the regular step.
    """
    steps, later = timeline.steps(timeline.times.astype("int64"))
    _check_order(timeline, steps, later)
    usual = _most_common(steps)
    dated = timeline.times.dtype.kind == "M"
    if frequency is not None:
        return _check_given(timeline, frequency, gaps, usual if not dated else None)
    breaks = later[steps != usual]
    fixed = _fixed_alias(pd.Timedelta(usual, unit="ns")) if dated else None
    if breaks.size == 0:
        return fixed
    step = str(pd.Timedelta(usual, unit="ns")) if dated else str(usual)
    guesses = _calendar_guesses(timeline) if dated else []
    for alias in guesses:
        others = _breaks(timeline, alias)
        if others.size == 0:
            return alias
        if others.size < breaks.size:
            breaks, step = others, f"one of frequency {alias!r}"
    fitting = [alias for alias in (fixed, *guesses) if _breaks(timeline, alias, gaps=True).size == 0] if gaps else []
    if fitting:
        return _fewest_missing(timeline, fitting)
    raise _irregular(timeline, int(breaks[0]), f"while the usual step is {step}", gaps)


def _check_given(timeline: Timeline, frequency: str | int, gaps: bool, usual: int | None) -> str | None:
    if isinstance(frequency, int) or usual is not None:
        if frequency != usual:
            kind = "dates" if usual is None else f"whole-number steps of {usual}"
            raise DataError(f"freq={frequency!r} was given, but time column {timeline.column!r} holds {kind}")
        alias = None
    else:
        try:
            alias = to_offset(frequency).freqstr
        except ValueError as error:
            raise DataError(f"freq={frequency!r} is no frequency that pandas knows, such as 'h' or '5min'") from error
    breaks = _breaks(timeline, alias, gaps=gaps)
    if breaks.size:
        raise _irregular(timeline, int(breaks[0]), f"which is no step of freq={frequency!r}", gaps)
    return _fewest_missing(timeline, [alias])


def _fewest_missing(timeline: Timeline, aliases: list[str | None]) -> str | None:
    """Of frequencies on which all times lie, the one with the fewest missing times."""

    def missing(alias: str | None) -> int:
        steps, _ = timeline.steps(grid_of(timeline, alias).number)
        return int((steps - 1).sum())

    best = min(aliases, key=missing)
    if missing(best) > _MOST_MISSING * len(timeline.times):
        raise DataError(
            f"time column {timeline.column!r} has {len(timeline.times):,} times and {missing(best):,} are missing "
            "between them; correct the times, or resample the data to a longer step"
        )
    return best


def _irregular(timeline: Timeline, first: int, reason: str, gaps: bool) -> DataError:
    fill = "" if gaps else ", or say how to fill gaps with --missing (mask, interpolate or zero)"
    return DataError(
        f"the times are irregular: {timeline.place(first)} is {shown(timeline.times[first])} after "
        f"{shown(timeline.times[first - 1])}, {reason}; resample the data{fill}, or leave out --time-col "
        "(or drop the column) to use the row order as time"
    )


def _check_order(timeline: Timeline, steps: np.ndarray, later: np.ndarray) -> None:
    wrong = np.flatnonzero(steps <= 0)
    if wrong.size == 0:
        return
    position = int(later[wrong[0]])
    if timeline.times[position] > timeline.times[position - 1]:  # the difference overflowed
        raise DataError(
            f"{timeline.place(position)} is {shown(timeline.times[position])}, more than 292 years after "
            f"{shown(timeline.times[position - 1])}; correct the times, or use whole-number steps"
        )
    if steps[wrong[0]] == 0:
        what, fix = (
            "repeats the time before it",
            "drop duplicates, or name the column that tells series apart with --id-col",
        )
    else:
        what, fix = f"comes after {shown(timeline.times[position - 1])}", "sort the rows by time"
    raise DataError(f"{timeline.place(position)} is {shown(timeline.times[position])} and {what}; {fix}")


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


def _breaks(timeline: Timeline, alias: str | None, *, gaps: bool = False) -> np.ndarray:
    """Positions of the points that are not the next one of the frequency (or a later one) after their predecessor."""
    number = grid_of(timeline, alias).number
    steps, later = timeline.steps(number)
    return later[((steps < 1) if gaps else (steps != 1)) | (number[later] < 0) | (number[later - 1] < 0)]


def _fixed_step(alias: str) -> int | None:
    """Nanoseconds of a fixed step; None for a step of the calendar."""
    offset = to_offset(alias)
    if isinstance(offset, pd.tseries.offsets.Day):
        return pd.Timedelta(days=offset.n).value
    return pd.Timedelta(offset).value if isinstance(offset, pd.tseries.offsets.Tick) else None


def natural_season(frequency: str | None, points: int) -> tuple[int, ...]:
    """Usual seasonal periods of a frequency, in steps: day and week, working week, year.

    Args:
        frequency: pandas alias, or None for steps, which have no natural season.
        points: length of the shortest series; a season of which it does not hold two periods is left out.
    """
    if frequency is None:
        return ()
    offset, fixed = to_offset(frequency), _fixed_step(frequency)
    if fixed is not None:
        step = pd.Timedelta(fixed, unit="ns")
        weekly = step == pd.Timedelta(days=7)
        spans = [pd.Timedelta(days=days) for days in (1, 7)]
        periods = [52] if weekly else [int(span // step) for span in spans if span % step == pd.Timedelta(0)]
    else:
        calendar = {"B": 5, "W": 52, "M": 12, "BM": 12, "Q": 4, "BQ": 4}
        head = offset.rule_code.split("-")[0].removesuffix("S").removesuffix("E")
        periods = [calendar[head] // offset.n] if head in calendar and calendar[head] % offset.n == 0 else []
    return tuple(period for period in periods if period > 1 and 2 * period <= points)
