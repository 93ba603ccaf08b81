"""Finding the regular step of a set of timelines, or the first place that breaks it; and the times without gaps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from qkan.datasets.day_lists import DayList
from qkan.datasets.errors import DataError, shown
from qkan.datasets.read.cells import row_number
from qkan.datasets.read.zones import HINT, may_be_clock_change
from qkan.datasets.steps import (
    asked_step,
    day_of,
    days_in,
    fixed_alias,
    fixed_step,
    kept_day,
    month_of,
    months_of,
    on_day,
    step_alias,
    step_size,
)
from qkan.datasets.table_form import Clock

_MOST_MISSING = 10  # times as many rows as a file has may be missing from it; more is a mistake in the times
ROW_ORDER = "rows"
"""What the time column is called where the order of the rows is the time."""
_SHORTEST_MONTH = pd.Timedelta(days=28).value
_PROBE = 12  # points at an end of a series from which a calendar frequency is guessed when the whole is irregular


@dataclass(frozen=True, eq=False)
class Timeline:
    """Times of several series, one series after the other, each in the order of time.

    Args:
        times: datetime64[ns] or int64, shape (rows,).
        starts: first position of every series in ``times``.
        rows: row of the file, from 0, for every position.
        column: name of the time column.
        names: names of the series for messages; empty if there is only one.
        clock: that the times were read from.
    """

    times: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    column: str
    names: tuple[str, ...]
    clock: Clock = field(default_factory=Clock)

    @property
    def ends(self) -> np.ndarray:
        """Position after the last of every series."""
        return np.append(self.starts[1:], len(self.times))

    def steps(self, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Differences of ``ticks`` within the series, and the position of the later point of each."""
        inside = np.ones(len(ticks), dtype=bool)
        inside[self.starts] = False
        later = np.flatnonzero(inside)
        return ticks[later] - ticks[later - 1], later

    def shown(self, position: int) -> str:
        """A time for a message, as the user wrote it."""
        time = self.times[position]
        return shown(time) if time.dtype.kind != "M" else str(self.clock.moments(pd.DatetimeIndex([time]))[0])

    def place(self, position: int) -> str:
        """Where in the file a position is, for a message."""
        text = f"row {row_number(int(self.rows[position]))} of time column {self.column!r}"
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
        months: months between two times that keep the day of the month, or None.
        days: that day for every series.
        listed: the listed days that times go through, or None.
    """

    number: np.ndarray
    step: int | None
    dates: np.ndarray | None
    months: int | None = None
    days: np.ndarray | None = None
    listed: DayList | None = None

    def times(self, first: np.ndarray, number: np.ndarray, offset: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """The times ``offset`` steps after others; all shape (N,).

        Args:
            first: the others.
            number: their places.
            offset: how many steps after them.
            owner: index of their series.
        """
        if self.dates is not None:
            return self.dates[number + offset]
        clock = first - first.astype("datetime64[D]") if first.dtype.kind == "M" else np.timedelta64(0, "ns")
        if self.listed is not None:
            return self.listed.times(self.listed.numbers(first)[0] + offset, clock)
        if self.months is not None and self.days is not None:
            return on_day(month_of(first) + self.months * offset, self.days[owner], clock)
        return (first.astype("int64") + (self.step or 0) * offset).astype(first.dtype)


def grid_of(timeline: Timeline, alias: str | None) -> Grid:
    """The regular times of frequency ``alias``; None stands for whole-number steps of the most common size."""
    ticks = timeline.times.astype("int64")
    lengths = timeline.ends - timeline.starts
    months = None if alias is None else months_of(alias)
    if months is not None:
        return _monthly_grid(timeline, months, lengths)
    listed = DayList.of_alias(alias)
    if listed is not None:
        return _listed_grid(timeline, listed, lengths)
    step = _most_common(timeline.steps(ticks)[0]) if alias is None else fixed_step(alias)
    if step is not None:
        since = ticks - np.repeat(ticks[timeline.starts], lengths)
        return Grid(np.where(since % step == 0, since // step, -1), step, None)
    dates = pd.date_range(timeline.times.min(), timeline.times.max(), freq=alias).as_unit("ns")
    return Grid(dates.get_indexer(pd.DatetimeIndex(timeline.times)).astype(np.int64), None, dates.to_numpy())


def _monthly_grid(timeline: Timeline, months: int, lengths: np.ndarray) -> Grid:
    """A time every so many months, on the day of the month and at the time of day that each series keeps."""
    since = month_of(timeline.times) - np.repeat(month_of(timeline.times[timeline.starts]), lengths)
    clock = timeline.times - timeline.times.astype("datetime64[D]")
    fits = (since % months == 0) & (clock == np.repeat(clock[timeline.starts], lengths))
    days = np.empty(len(timeline.starts), dtype=np.int64)
    for index, (begin, end) in enumerate(zip(timeline.starts, timeline.ends, strict=True)):
        days[index], wrong = kept_day(timeline.times[begin:end])
        if wrong >= 0:
            fits[begin + wrong] = False
    return Grid(np.where(fits, since // months, -1), None, None, months, days)


def _listed_grid(timeline: Timeline, listed: DayList, lengths: np.ndarray) -> Grid:
    """A time for every listed day, at the time of day that each series keeps."""
    number, fits = listed.numbers(timeline.times)
    clock = timeline.times - timeline.times.astype("datetime64[D]")
    fits &= clock == np.repeat(clock[timeline.starts], lengths)
    since = number - np.repeat(number[timeline.starts], lengths)
    return Grid(np.where(fits, since, -1), None, None, listed=listed)


def find_frequency(
    timeline: Timeline,
    *,
    gaps: bool = False,
    frequency: Any = None,
    expected: str | None = None,
    usual: int | None = None,
) -> str | None:
    """The alias of the step that all series share; None for whole-number steps.

    A fixed step (5 minutes, 7 days) or one of a calendar is regular: working days, month ends, quarters and what else
    `pandas.infer_freq` knows, twice a month, and every so many months on the day that each series keeps.

    Args:
        timeline: the times.
        gaps: whether times may be missing in between. Of the steps that would do, the one that misses fewest is taken.
        frequency: the step that it must be, as `qkan.datasets.steps.step_alias` takes it or a whole number; None finds
            it.
        expected: the alias to take if the times fit it, as a few of them may fit several.
        usual: ticks of the usual step; None takes the most common one of these times.

    Raises:
        DataError: a time equals the one before it or breaks the regular step.
    """
    steps, later = timeline.steps(timeline.times.astype("int64"))
    _check_order(timeline, steps, later)
    usual = _most_common(steps) if usual is None else usual
    dated = timeline.times.dtype.kind == "M"
    if frequency is not None:
        return _check_given(timeline, frequency, gaps, usual if not dated else None)
    if dated and expected is not None and _breaks(timeline, expected, gaps=gaps).size == 0:
        return _fewest_missing(timeline, [expected])
    breaks = later[steps != usual]
    fixed = fixed_alias(pd.Timedelta(usual, unit="ns")) if dated else None
    may_be_months = dated and usual >= _SHORTEST_MONTH  # three months may have as many days
    if breaks.size == 0 and not may_be_months:
        return fixed
    step = str(pd.Timedelta(usual, unit="ns")) if dated else str(usual)
    guesses = _calendar_guesses(timeline) if dated else []
    if breaks.size == 0:
        calendar = [alias for alias in guesses if (step_size(alias) or ("",))[0] == "months"]
        monthly = [alias for alias in calendar if _breaks(timeline, alias).size == 0]
        return monthly[0] if monthly else fixed
    for alias in guesses:
        others = _breaks(timeline, alias)
        if others.size == 0:
            return alias
        if others.size < breaks.size:
            breaks, step = others, f"one of frequency {alias!r}"
    fitting = [alias for alias in (fixed, *guesses) if _breaks(timeline, alias, gaps=True).size == 0] if gaps else []
    if fitting:
        return _fewest_missing(timeline, fitting)
    raise _irregular(timeline, int(breaks[0]), f"while the usual step is {step}", not gaps and _has_gaps(timeline))


def _check_given(timeline: Timeline, frequency: Any, gaps: bool, usual: int | None) -> str | None:
    frequency = asked_step(frequency)
    number = isinstance(frequency, int | np.integer) and not isinstance(frequency, np.timedelta64)
    if number or usual is not None:
        if not number or frequency != usual:
            kind = "dates" if usual is None else f"whole-number steps of {usual}"
            raise DataError(
                f"freq={frequency!r} was given, but time column {timeline.column!r} holds {kind}; leave it out to have "
                "the step found"
            )
        alias = None
    else:
        try:
            alias = step_alias(frequency)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"freq={frequency!r} is no frequency that pandas knows, such as 'h', '5min' or '1mo'; leave it out to "
                "have the step found"
            ) from error
    breaks = _breaks(timeline, alias, gaps=gaps)
    if breaks.size:
        may_fill = not gaps and _has_gaps(timeline, frequency)
        reason = f"which is no step of freq={frequency!r}{_other(timeline)}"
        raise _irregular(timeline, int(breaks[0]), reason, may_fill)
    return _fewest_missing(timeline, [alias])


def _other(timeline: Timeline) -> str:
    """The step that regular times have, for a message about another one."""
    try:
        return f" (their step is {find_frequency(timeline)!r})"
    except DataError:
        return ""


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


def _has_gaps(timeline: Timeline, frequency: Any = None) -> bool:
    """Whether times are regular once gaps are filled."""
    try:
        find_frequency(timeline, gaps=True, frequency=frequency)
    except DataError:
        return False
    return True


def _irregular(timeline: Timeline, first: int, reason: str, may_fill: bool) -> DataError:
    fill = ", or say how to fill gaps with missing='mask', 'interpolate' or 'zero'" if may_fill else ""
    before = max(first - 1, 0)
    clocks = _of_clocks(timeline, first, timeline.steps(timeline.times.astype("int64"))[0])
    return DataError(
        f"the times are irregular: {timeline.place(first)} is {timeline.shown(first)} after "
        f"{timeline.shown(before)}, {reason}; resample the data{fill}, or choose the order of the rows as the time "
        f"with time_col={ROW_ORDER!r}{clocks}"
    )


def _check_order(timeline: Timeline, steps: np.ndarray, later: np.ndarray) -> None:
    wrong = np.flatnonzero(steps <= 0)
    if wrong.size == 0:
        return
    position = int(later[wrong[0]])
    if steps[wrong[0]] < 0:  # the difference overflowed, as the times are sorted
        raise DataError(
            f"{timeline.place(position)} is {timeline.shown(position)}, more than 292 years after "
            f"{timeline.shown(position - 1)}; correct the times, or use whole-number steps"
        )
    raise DataError(
        f"{timeline.place(position)} is {timeline.shown(position)} and repeats the time of row "
        f"{timeline.rows[position - 1] + 1}; drop duplicates, or name the column that tells series apart with id_col"
        f"{_of_clocks(timeline, position, steps)}"
    )


def _of_clocks(timeline: Timeline, position: int, steps: np.ndarray) -> str:
    """What to do where a position may be a change of clocks, for the end of a sentence; steps in nanoseconds."""
    forward = steps[steps > 0]
    if timeline.times.dtype.kind != "M" or timeline.clock.zone is not None or not forward.size:
        return ""
    return (
        f"; if clocks change there, {HINT}"
        if may_be_clock_change(timeline.times[position], _most_common(forward))
        else ""
    )


def _most_common(steps: np.ndarray) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _calendar_guesses(timeline: Timeline) -> list[str]:
    """Calendar frequencies of the longest series, of its first points and of its last, best guess first."""
    longest = int(np.argmax(timeline.ends - timeline.starts))
    own = timeline.times[timeline.starts[longest] : timeline.ends[longest]]
    times = pd.DatetimeIndex(own)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # some versions of pandas announce an offset instead of a str
        guesses = [pd.infer_freq(part) for part in (times, times[:_PROBE], times[-_PROBE:])]
    found = [to_offset(guess).freqstr for guess in guesses if guess is not None]
    listed = [days.alias for days in DayList.guess(own)]
    listed += ["B"] * bool((times.day_of_week < 5).all())
    return list(dict.fromkeys([*found, *_twice_a_month(own), *_every_few_months(own), *_last_weekday(own), *listed]))


def _twice_a_month(times: np.ndarray) -> list[str]:
    """Frequencies of two days a month, one of which is the first or the last."""
    days = day_of(times)
    last = days == days_in(month_of(times))
    inner = np.unique(days[(days > 1) & ~last])
    if inner.size != 1 or inner[0] > 27 or (np.unique(month_of(times), return_counts=True)[1] > 2).any():
        return []
    return [f"SMS-{inner[0]}"] if (days == 1).any() else [f"SME-{inner[0]}"] if last.any() else []


def _last_weekday(times: np.ndarray) -> list[str]:
    """The frequency of the last Friday, or another day of the week, of every month."""
    dates = pd.DatetimeIndex(times)
    if dates.day_of_week.nunique() != 1 or not (day_of(times) > days_in(month_of(times)) - 7).all():
        return []
    return [f"LWOM-{dates[0].day_name()[:3].upper()}"]


def _every_few_months(times: np.ndarray) -> list[str]:
    """The frequency of a day in every month, or in every so many."""
    apart, days = np.diff(month_of(times)), day_of(times)
    if not apart.size or apart.min() <= 0:
        return []
    months = _most_common(apart)
    if (days == 1).all() or (days == days_in(month_of(times))).all():
        return [to_offset(f"{months}{'MS' if (days == 1).all() else 'ME'}").freqstr, f"{months}mo"]
    return [f"{months}mo"]


def _breaks(timeline: Timeline, alias: str | None, *, gaps: bool = False) -> np.ndarray:
    """Positions of the points that are not the next one of the frequency (or a later one) after their predecessor."""
    number = grid_of(timeline, alias).number
    steps, later = timeline.steps(number)
    return later[((steps < 1) if gaps else (steps != 1)) | (number[later] < 0) | (number[later - 1] < 0)]
