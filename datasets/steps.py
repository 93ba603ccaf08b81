"""Steps between the times of a series: what a user may write for one, its one name, and the times that follow.

A step has the alias of pandas (``5min``, ``h``, ``B``, ``MS``), or that of polars for months that keep their day:
``1mo`` is monthly on the 15th, or whatever day a series has, ``12mo`` yearly. A day that a month lacks is its last one.
Steps between listed days, ``5,20/mo`` and ``Mon,Thu/w``, have the aliases of `qkan.datasets.day_lists`.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from qkan.datasets.day_lists import DayList

_MONTHS = {"mo": 1, "q": 3, "y": 12}  # polars' names; a step keeps the day of the month
_MONTHLY = re.compile(r"(?P<count>[1-9]\d*)mo")
_RENAMED = {"M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "SM": "SME", "BM": "BME", "H": "h", "T": "min", "S": "s"}
_MONTHS_OF_CODE = {"M": 1, "BM": 1, "WOM": 1, "LWOM": 1, "Q": 3, "BQ": 3, "Y": 12, "BY": 12}


def step_alias(step: Any) -> str:
    """The one name of a step.

    Args:
        step: an alias of pandas or polars, or an offset, Timedelta or timedelta.

    Raises:
        ValueError: it is no step of one size.
    """
    if isinstance(step, str):
        return _alias_of_text(step.strip())
    if isinstance(step, dt.timedelta | np.timedelta64):
        return fixed_alias(pd.Timedelta(step))
    if type(step) is pd.DateOffset:
        return _alias_of_offset(step)
    if isinstance(step, pd.tseries.offsets.BaseOffset) and step.n > 0:
        return str(step.freqstr)
    raise ValueError(f"{step!r} is no step")


def asked_step(step: Any) -> Any:
    """A step as it was asked for; a whole number where it is written as text, as on a command line."""
    return int(step) if isinstance(step, str) and step.strip().isdecimal() else step


def _alias_of_text(text: str) -> str:
    listed = DayList.of_alias(text)
    if listed is not None:
        return listed.alias
    match = re.fullmatch(r"(\d*)(mo|q|y|w|d)", text)
    if match:
        count = int(match[1] or 1)
        return f"{count * _MONTHS[match[2]]}mo" if match[2] in _MONTHS else fixed_alias(count * _DAYS[match[2]])
    match = re.fullmatch(r"(\d*)([A-Z]+)((?:-[A-Z]+)?)", text)
    if match and match[2] in _RENAMED:
        text = f"{match[1]}{_RENAMED[match[2]]}{match[3]}"
    offset = to_offset(text)
    if offset is None or offset.n <= 0:
        raise ValueError(f"{text!r} is no step forward")
    return str(offset.freqstr)


_DAYS = {"w": pd.Timedelta(days=7), "d": pd.Timedelta(days=1)}


def _alias_of_offset(step: pd.DateOffset) -> str:
    """The alias of ``pd.DateOffset(months=1)`` and the like."""
    sizes = {name: size * step.n for name, size in step.kwds.items()}
    months = sizes.pop("years", 0) * 12 + sizes.pop("months", 0)
    rest = pd.Timedelta(**sizes) if sizes else pd.Timedelta(0)  # a TypeError names what is no size, such as weekday
    if (months > 0) == (rest > pd.Timedelta(0)):
        raise ValueError(f"{step!r} mixes months with days, or goes nowhere")
    return f"{months}mo" if months else fixed_alias(rest)


def fixed_alias(step: pd.Timedelta) -> str:
    """The alias of a step of one length."""
    if step <= pd.Timedelta(0):
        raise ValueError(f"{step} is no step forward")
    if step % pd.Timedelta(days=1) == pd.Timedelta(0):
        return "D" if step.days == 1 else f"{step.days}D"
    return str(to_offset(step).freqstr)


def fixed_step(alias: str) -> int | None:
    """Nanoseconds of a step of one length; None for a step of the calendar."""
    if months_of(alias) is not None or DayList.of_alias(alias) is not None:
        return None
    offset = _offset(alias)
    if isinstance(offset, pd.tseries.offsets.Day):
        return pd.Timedelta(days=offset.n).value
    return pd.Timedelta(offset).value if isinstance(offset, pd.tseries.offsets.Tick) else None


def months_of(alias: str) -> int | None:
    """Months of a step that keeps the day of the month, ``1mo`` and the like; None for another."""
    match = _MONTHLY.fullmatch(alias)
    return None if match is None else int(match["count"])


def step_size(alias: str | None) -> tuple[str, int] | None:
    """What two steps must share to be of one size: kind and count; weeks are seven days, quarters three months.

    Examples:
        >>> from qkan.datasets import step_size
        >>> step_size("W") == step_size("7D"), step_size("h") == step_size("60min")
        (True, True)
    """
    if alias is None:
        return None
    listed = DayList.of_alias(alias)
    if listed is not None:
        kind = "half months" if listed.unit == "month" and len(listed.days) == 2 else f"days of the {listed.unit}"
        return kind, 1 if kind == "half months" else len(listed.days)
    fixed = fixed_step(alias)
    if fixed is not None:
        return "nanoseconds", fixed
    months = months_of(alias)
    if months is not None:
        return "months", months
    offset = _offset(alias)
    code = offset.rule_code.split("-")[0]
    if code == "W":
        return "nanoseconds", offset.n * pd.Timedelta(days=7).value
    if code in ("SME", "SMS"):
        return "half months", offset.n
    months = _MONTHS_OF_CODE.get(code if code in _MONTHS_OF_CODE else code.removesuffix("S").removesuffix("E"))
    return (code, offset.n) if months is None else ("months", months * offset.n)


def has_clock(alias: str | None) -> bool:
    """Whether a step is one of hours or less, so that times are nothing without their time of day.

    Examples:
        >>> from qkan.datasets import has_clock
        >>> has_clock("h"), has_clock("D")
        (True, False)
    """
    kind, size = step_size(alias) or ("", 0)
    return kind == "nanoseconds" and size % pd.Timedelta(days=1).value != 0


def natural_season(alias: str | None, points: int) -> tuple[int, ...]:
    """Usual seasonal periods of a step, in steps: day and week, working week, year.

    Args:
        alias: of the step, or None for whole-number steps, which have no natural season.
        points: length of a typical series; a season of which it does not hold two periods is left out.
    """
    kind, size = step_size(alias) or ("", 0)
    periods: list[int] = []
    if kind == "nanoseconds":
        step = pd.Timedelta(size, unit="ns")
        spans = [pd.Timedelta(days=days) for days in (1, 7)]
        weeks = {7: 52, 14: 26, 28: 13}.get(step.days) if step == pd.Timedelta(days=step.days) else None
        periods = [weeks] if weeks else [int(span // step) for span in spans if span % step == pd.Timedelta(0)]
    elif kind.startswith("days of the "):
        periods = [size if kind.endswith("week") else 12 * size]
    else:
        of_a_kind = {"months": 12, "half months": 24, "B": 5, "C": 5}
        if kind in of_a_kind and of_a_kind[kind] % size == 0:
            periods = [of_a_kind[kind] // size]
    return tuple(period for period in periods if period > 1 and 2 * period <= points)


def following(alias: str, times: np.ndarray, steps: int) -> np.ndarray:
    """The times after the last of one series.

    Args:
        alias: of the step.
        times: of the series, datetime64[ns], ascending.
        steps: how many.
    """
    months, listed = months_of(alias), DayList.of_alias(alias)
    last = times[-1:]
    if listed is not None:
        number, _ = listed.numbers(last)
        return listed.times(number + np.arange(1, steps + 1), last[0] - last[0].astype("datetime64[D]"))
    if months is None:
        return pd.date_range(last[0], periods=steps + 1, freq=alias)[1:].as_unit("ns").to_numpy()
    ahead = np.arange(1, steps + 1) * months
    return on_day(month_of(last) + ahead, kept_day(times)[0], last[0] - last[0].astype("datetime64[D]"))


def month_of(times: np.ndarray) -> np.ndarray:
    """Months since January 1970, int64, of times datetime64."""
    return times.astype("datetime64[M]").astype(np.int64)


def day_of(times: np.ndarray) -> np.ndarray:
    """Days of the month from 1, int64, of times datetime64."""
    return (times.astype("datetime64[D]") - times.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1


def days_in(months: np.ndarray) -> np.ndarray:
    """How many days months since January 1970 have, int64."""
    first = months.astype("datetime64[M]")
    return ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)


def on_day(months: np.ndarray, day: np.ndarray | int, clock: np.ndarray | np.timedelta64) -> np.ndarray:
    """Times datetime64[ns] on a day of the month, at the latest its last one, at a time of day."""
    days = np.minimum(day, days_in(months)) - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]") + days.astype("timedelta64[D]")
    return (dates.astype("datetime64[ns]") + clock).astype("datetime64[ns]")


def kept_day(times: np.ndarray) -> tuple[int, int]:
    """The day of the month that the times of one series keep, and the position of the first that does not, or -1.

    Months that lack the day have their last one. From the 31st, the day may stay at the 28th after a February too,
    as it does where each time was computed from the one before.
    """
    days, sizes = day_of(times), days_in(month_of(times))
    day = int(days.max())
    wrong = np.flatnonzero(days != np.minimum(day, sizes))
    if not wrong.size:
        return day, -1
    if (days[1:] == np.minimum(days[:-1], sizes[1:])).all():
        return int(days[-1]), -1
    usual = int(np.bincount(days).argmax())
    return day, int(np.flatnonzero(days != np.minimum(usual, sizes))[0])


def _offset(alias: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an alias that a later pandas will rename
        return to_offset(alias)


def step_frame(values: np.ndarray, unique_id: str) -> pd.DataFrame:
    """A frame of one series whose time is the row order: 0, 1, 2 and so on.

    Args:
        values: shape (points,), converted to float64.
        unique_id: the one value of column ``unique_id``.
    """
    steps = np.arange(len(values), dtype=np.int64)
    return pd.DataFrame({"unique_id": unique_id, "ds": steps, "y": np.asarray(values, dtype=np.float64)})
