"""The times of a table: which column holds them, and what they are on a clock without a zone."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, notice, shortened
from qkan.datasets.read.cells import refuse_cell, row_number
from qkan.datasets.read.frequency import ROW_ORDER
from qkan.datasets.read.zones import AssumedZone, check_no_zone_given
from qkan.datasets.table_form import UNIX, Clock

THE_INDEX = "the index"
"""What a column is called that was an index of times without a name."""
STEPS = "steps"
"""The format of times that are whole numbers of steps, whatever dates they look like."""
_YEARS = "1678 to 2261"  # of datetime64[ns]
_NAMES = {
    *("ds", "date", "dates", "datetime", "date_time", "time", "times", "timestamp", "timestamps", "period", "year"),
    *("yearmonth", "year_month", "t", "step", "time_idx", "time_index"),
}
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_LOOKS_DATED = re.compile(
    r"\s*((\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))(\D.*)?"
    rf"|(\d{{1,2}}[-/. ]+)?{_MONTH}[-/., ]+(\d{{1,2}},? +)?\d{{2,4}}(\D.*)?|\d{{4}}[-/ ]?{_MONTH}"
    r"|\d{4}[- ]?[qw]\d{1,2}|[qw]\d{1,2}[- /]?\d{4})",
    re.IGNORECASE,
)
_QUARTER = re.compile(r"(?P<year>\d{4})[- ]?[qQ](?P<quarter>[1-4])$|[qQ](?P<first>[1-4])[- /]?(?P<later>\d{4})$")
_WEEK = re.compile(r"\d{4}-?[wW]\d\d")
_ZONE = r"\s*(Z|[+-]\d\d:?\d\d)$"
_DISGUISES = {"%Y%m%d": (19000101, 22001231), "%Y%m": (190001, 220012)}
_SAMPLE = 50  # cells of a column that are looked at to see whether it holds times


class Times(NamedTuple):
    """The times of a column.

    Attributes:
        values: datetime64[ns] or int64 steps, shape (rows,).
        clock: that the values were read from.
        dtype: of the user's column; None for text.
        format: of whole numbers that were read as dates; None for other times.
    """

    values: np.ndarray
    clock: Clock
    dtype: Any
    format: str | None = None


def find_time_column(frame: pd.DataFrame, label: str, taken: tuple[Any, ...]) -> Any:
    """The column that holds the times where the user named none and none is called ``ds``; None for the row order.

    Args:
        frame: the table.
        label: what messages call it.
        taken: columns that hold something else.

    Raises:
        DataError: several columns could.
    """
    others = [name for name in frame.columns if name not in taken]
    dated = [name for name in others if holds_dates(frame[name])]
    found = dated or [name for name in others if str(name).strip().casefold() in _NAMES]
    if len(found) > 1:
        names = ", ".join(shortened(name) for name in found)
        raise DataError(
            f"{label!r} has several columns that may hold the times, {names}; choose one with time_col={found[0]!r}, "
            f"or the order of the rows with time_col={ROW_ORDER!r}"
        )
    if not found:
        return None
    what = found[0] if found[0] == THE_INDEX else f"column {found[0]!r}"
    notice(
        f"{what} of {label!r} is taken for the times; name another one, or take the order of the rows with "
        f"time_col={ROW_ORDER!r}"
    )
    return found[0]


def holds_dates(column: pd.Series) -> bool:
    """Whether a column holds timestamps, or text or whole numbers that look like dates."""
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype | pd.DatetimeTZDtype):
        return True
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    cells = column.dropna().iloc[:_SAMPLE]
    if pd.api.types.is_bool_dtype(column) or not len(cells):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return pd.api.types.is_integer_dtype(column) and _disguise(cells.to_numpy(dtype=np.int64)) is not None
    return bool(cells.astype(str).str.fullmatch(_LOOKS_DATED).all())


def times_of(
    column: pd.Series,
    name: str,
    *,
    format: str | None = None,
    clock: Clock | None = None,
    zone: AssumedZone | None = None,
) -> Times:
    """The times of a column.

    Args:
        column: timestamps, periods, dates, text or whole numbers.
        name: of the column.
        format: of text or whole numbers, as of ``strptime``, or `STEPS`; None takes ISO 8601 and sees which whole
            numbers are dates.
        clock: to read moments by; None chooses the one on which they are regular.
        zone: of times that name none.

    Raises:
        DataError: a time is missing or cannot be read, or times have a zone where those of ``clock`` have none.
    """
    refuse_cell(column.isna(), f"time column {name!r}", None, f"; {_fix()}")
    first = column.iloc[0]
    if isinstance(first, list | dict | np.ndarray):
        raise DataError(f"row 1 of time column {name!r} is {shortened(first)}, not a time; {_fix()}")
    dtype = None if pd.api.types.is_string_dtype(column) else column.dtype
    if isinstance(column.dtype, pd.PeriodDtype):
        check_no_zone_given(zone, name, "periods")
        return Times(_in_range(pd.DatetimeIndex(column.dt.start_time), name), Clock(), dtype)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _of_moments(pd.DatetimeIndex(column), name, dtype, clock, zone)
    if column.dtype.kind == "m":
        raise DataError(
            f"time column {name!r} holds durations, not times; add them to a first time, such as "
            f"pd.Timestamp('2024-01-01'), or {_fix()}"
        )
    if pd.api.types.is_bool_dtype(column):
        raise DataError(f"time column {name!r} holds true and false, not times; {_fix()}")
    if pd.api.types.is_numeric_dtype(column):
        check_no_zone_given(zone, name, "whole numbers")
        return _of_numbers(column, name, format)
    if isinstance(first, dt.date) and not isinstance(first, dt.datetime):
        dtype = dt.date
    return _of_texts(column.astype(str), name, dtype, format, (clock, zone))


def _of_numbers(column: pd.Series, name: str, format: str | None) -> Times:
    numbers = column.to_numpy(dtype="float64")
    with np.errstate(invalid="ignore"):
        broken = (numbers != np.round(numbers)) | (np.abs(numbers) >= 2.0**53)
    reason = f"; numeric times must be whole steps below 2^53, so write them so, or {_fix()}"
    refuse_cell(broken, f"time column {name!r}", numbers, reason)
    steps = numbers.astype(np.int64)
    dtype = column.dtype if pd.api.types.is_integer_dtype(column) else None
    disguise = _disguise(steps) or _unix_unit(steps) if format is None else format
    if disguise in (None, STEPS):
        return Times(steps, Clock(), dtype)
    if format is None:
        notice(
            f"the whole numbers of time column {name!r}, such as {steps[0]}, are read as dates of the format "
            f"{disguise}; keep them as numbers with time_format={STEPS!r}"
        )
    if disguise in UNIX:
        moments = pd.DatetimeIndex(steps.astype(f"datetime64[{UNIX[disguise]}]"))
        return Times(_in_range(moments, name), Clock(), dtype or np.dtype("int64"), disguise)
    found = _of_texts(pd.Series(steps.astype(str)), name, dtype or np.dtype("int64"), disguise, (None, None))
    return found._replace(format=disguise)


def _disguise(steps: np.ndarray) -> str | None:
    """The format of dates that whole numbers look like, all of them."""
    different = np.unique(steps)
    for format, (low, high) in _DISGUISES.items():
        if different.size > 1 and different[0] >= low and different[-1] <= high:
            dates = pd.to_datetime(pd.Series(different.astype(str)), format=format, errors="coerce")
            return format if dates.notna().all() else None
    return None


def _unix_unit(steps: np.ndarray) -> str | None:
    """The format of moments since 1970 in UTC that whole numbers are, if all are whole minutes of 1990 to 2100."""
    low, high = int(steps.min()), int(steps.max())
    for place, format in enumerate(UNIX):
        unit = 1000**place
        years, minute = (631_152_000 * unit, 4_102_444_800 * unit), 60 * unit
        if years[0] <= low < high < years[1] and not (steps % minute).any():
            return format
    return None


def _of_texts(
    texts: pd.Series, name: str, dtype: Any, format: str | None, read_by: tuple[Clock | None, AssumedZone | None]
) -> Times:
    clock, zone = read_by
    codes, kinds = pd.factorize(texts)  # series share their times, so there are often few different ones
    different = pd.Series(kinds, dtype=object).str.strip()
    if format not in (None, STEPS):
        moments = _parsed(different, codes, texts, name, format)
        return _of_moments(pd.DatetimeIndex(moments)[codes], name, dtype, clock, zone)
    zones = different.str.extract(_ZONE, expand=False).fillna("")
    zones = zones.where(different.str.contains(":"), "")  # the end of 2024-01-31 is no zone
    odd = np.flatnonzero(((zones == "") != (zones.iloc[0] == "")).to_numpy()[codes])
    if odd.size:
        raise DataError(
            f"time column {name!r} mixes times with and without a time zone: row {row_number(0)} is "
            f"{shortened(texts.iloc[0])}, but "
            f"row {row_number(int(odd[0]))} is {shortened(texts.iloc[odd[0]])}; write all times in UTC"
        )
    moments = pd.DatetimeIndex(_parsed(different, codes, texts, name, "ISO8601"))
    if zones.iloc[0] == "":
        return _of_moments(moments.tz_localize(None)[codes], name, dtype, clock, zone)
    check_no_zone_given(zone, name, "times with a zone")
    if zones.nunique() == 1:
        own = pd.Timestamp(different.iloc[0]).tz
        return _of_moments(moments.tz_convert(own)[codes], name, dtype, clock, None)
    walls = different.str.replace(_ZONE, "", regex=True)
    wall = pd.DatetimeIndex(pd.to_datetime(walls, format="ISO8601"))
    return _of_offsets(moments[codes], wall[codes], name, clock)


def _of_offsets(moments: pd.DatetimeIndex, wall: pd.DatetimeIndex, name: str, clock: Clock | None) -> Times:
    """Times whose offsets from UTC change, as they do over a clock change."""
    if clock is None:
        clock = Clock(None, True) if Clock.wall_is_regular(wall, moments.tz_localize(None)) else Clock(dt.timezone.utc)
        kept = "the times on the walls, without a zone" if clock.wall else "UTC"
        notice(f"time column {name!r} has more than one offset from UTC; its times are kept, and come back, as {kept}")
    if clock.zone is None:
        return Times(_in_range(wall, name), clock, None)
    return Times(_in_range(clock.read(moments), name), clock, None)


def _parsed(different: pd.Series, codes: np.ndarray, texts: pd.Series, name: str, format: str | None) -> pd.Series:
    """Different texts as times; of ISO 8601 as moments in UTC."""
    if format == "ISO8601":
        written = _first_days(different)
        written = written.where(written.str.match(r"[+-]?\d"))  # "now" and "today" are no times of the data
        times = pd.to_datetime(written, format=format, errors="coerce", utc=True)
        example = "an ISO 8601 time such as 2024-01-31 or 2024-01-31 07:05"
        hint = "say how it is written with time_format='%d/%m/%Y' or the like"
    else:
        try:
            times = pd.to_datetime(different, format=format, errors="coerce")
        except ValueError as error:
            raise DataError(
                f"time_format={format!r} cannot be used ({error}); write it like '%d/%m/%Y %H:%M'"
            ) from error
        example, hint = f"a time of the format {format!r}", "correct time_format"
    reason = f", not {example} in the years {_YEARS}; rewrite it, {hint}, or {_fix()}"
    refuse_cell(times.isna().to_numpy()[codes], f"time column {name!r}", texts, reason)
    return times


def _first_days(texts: pd.Series) -> pd.Series:
    """Texts with the first day in the place of a quarter (2024Q1, 2024-Q1, Q1 2024) or of an ISO week (2024-W05)."""
    quarter = texts.str.extract(_QUARTER)
    found = quarter["year"].notna() | quarter["first"].notna()
    if found.any():
        years = quarter["year"].fillna(quarter["later"])[found]
        months = 3 * quarter["quarter"].fillna(quarter["first"])[found].astype(int) - 2
        texts = texts.where(~found, (years + "-" + months.map("{:02d}-01".format)).reindex(texts.index))
    weeks = texts.str.fullmatch(_WEEK)
    return texts.where(~weeks, texts[weeks].map(_monday).reindex(texts.index)) if weeks.any() else texts


def _monday(week: str) -> str:
    year, number = re.split(r"-?[wW]", week)
    try:
        return dt.date.fromisocalendar(int(year), int(number), 1).isoformat()
    except ValueError:
        return week  # no such week, which is said of any text that is no time


def _of_moments(times: pd.DatetimeIndex, name: str, dtype: Any, clock: Clock | None, zone: AssumedZone | None) -> Times:
    if times.tz is not None:
        check_no_zone_given(zone, name, "times with a zone")
    elif zone is not None:
        times = zone.moments(times, name)
    if clock is not None and (times.tz is None) != (clock.zone is None):
        has, lacks = ("no zone", "have one") if times.tz is None else ("a zone", "have none")
        if clock.zone is not None or not clock.wall:
            raise DataError(
                f"the times of column {name!r} have {has}, but those of the series {lacks}; write both in one way"
            )
        return Times(_in_range(times.tz_localize(None), name), clock, dtype)
    if times.tz is None:
        return Times(_in_range(times, name), Clock(), dtype)
    chosen = Clock.of(times) if clock is None else clock
    return Times(_in_range(chosen.with_skipped(times), name), chosen, dtype)


def _in_range(times: pd.DatetimeIndex, name: str) -> np.ndarray:
    try:
        return times.as_unit("ns").to_numpy()
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(f"time column {name!r} leaves the years {_YEARS} ({error}); use whole-number steps") from error


def _fix() -> str:
    return f"choose the order of the rows as the time with time_col={ROW_ORDER!r}"
