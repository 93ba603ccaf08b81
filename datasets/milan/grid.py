"""The Milan grid of the Telecom Italia Big Data Challenge: what its files hold, its clock, its place on disk.

62 daily files from 2013-11-01 to 2014-01-01, 10,000 squares, 10-minute intervals (doi 10.7910/DVN/EGZHFV, Barlacchi et
al. 2015, Scientific Data 2:150055). `importer` turns them into one Parquet file, `fetch` downloads them. See
docs/guides/milan.md.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from qkan.datasets.errors import DataError
from qkan.datasets.read import TooLargeError, check_names, check_parquet, series_from_frame
from qkan.datasets.series import Series
from qkan.datasets.steps import natural_season

SIGNALS = ("sms_in", "sms_out", "call_in", "call_out", "internet")
"""The activity columns of a daily file, in their order after square, time and country code."""

FREQS = {"10min": 1, "1h": 6}
"""Steps that can be written, with the number of 10-minute intervals that each sums."""

FILLS = ("zero", "missing")
SQUARES = 10_000
STEP_MS = 600_000
FIRST_DAY, LAST_DAY = dt.date(2013, 11, 1), dt.date(2014, 1, 1)
DOI = "10.7910/DVN/EGZHFV"
SOURCE = f"Telecom Italia, Open Big Data Challenge 2013, Milan grid, doi {DOI}"
LICENCE = "Open Database License (ODbL) 1.0"
ZONE = ZoneInfo("Europe/Rome")
UTC_OFFSET = dt.timedelta(hours=1)
"""What `ds` adds to UTC: Italian standard time all the year round, so that every step lasts 10 minutes or 1 hour."""

METADATA_KEY = b"qkan.milan"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_NAME = re.compile(r"milan(?:-(?P<signal>[a-z_]+)-(?P<freq>10min|1h))?")


@dataclass(frozen=True, kw_only=True)
class MilanOptions:
    """What an import writes.

    Args:
        signal: one of :data:`SIGNALS`.
        freq: ``"10min"``, or ``"1h"`` for sums of six intervals.
        fill: what an interval becomes for which the files have no row of the square: ``"zero"`` or ``"missing"``
            (null). An hour is absent if all its six intervals are.
        squares: numbers of the squares to keep, ascending, 1 to 10,000; None keeps all.

    Raises:
        DataError: an option is none of these.

    Examples:
        >>> from qkan.datasets.milan import MilanOptions
        >>> MilanOptions(signal="internet", freq="1h").fill
        'zero'
    """

    signal: str = "sms_in"
    freq: str = "10min"
    fill: str = "zero"
    squares: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("signal", SIGNALS), ("freq", tuple(FREQS)), ("fill", FILLS)):
            if getattr(self, name) not in allowed:
                raise DataError(f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        if self.squares is not None:
            if not self.squares:
                raise DataError(f"squares is empty; name at least one of 1 to {SQUARES}, or leave it out for all")
            for square in self.squares:
                _check_square(square, repr(square))
            if list(self.squares) != sorted(set(self.squares)):
                raise DataError(f"squares {self.squares[:5]} must ascend without repeats; sort them")

    @property
    def kept(self) -> tuple[int, ...]:
        """The numbers of the squares to keep, ascending."""
        return tuple(range(1, SQUARES + 1)) if self.squares is None else self.squares


def parse_squares(text: str) -> tuple[int, ...]:
    """The squares that ``"1,2,5000-5060"`` names, ascending.

    Raises:
        DataError: a part is no number or range of 1 to 10,000, a range runs backwards, or a square is named twice.

    Examples:
        >>> from qkan.datasets.milan import parse_squares
        >>> parse_squares("5161,5159-5160")
        (5159, 5160, 5161)
    """

    def ends(part: str) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,9})\s*(?:-\s*(\d{1,9}))?", part, re.ASCII)
        if match is None:
            raise DataError(
                f"squares {text!r} has the part {part!r}, which is neither a number nor a range; write numbers and "
                f"ranges of 1 to {SQUARES} separated by commas, such as 1,2,5000-5060"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        _check_square(first, repr(text))
        _check_square(last, repr(text))
        return first, last

    return tuple(_numbers(text, "square", ends, str))


def _check_square(square: int, shown: str) -> None:
    if isinstance(square, bool) or not isinstance(square, int) or not 1 <= square <= SQUARES:
        raise DataError(f"squares {shown} has {square!r}, outside 1 to {SQUARES}; name squares of the Milan grid")


def parse_days(text: str) -> tuple[dt.date, ...]:
    """The days that ``"2013-11-01..2013-11-03,2013-12-24"`` names, ascending; both ends of a range count.

    Raises:
        DataError: a part is no day or range, lies outside the data set, runs backwards, or names a day twice.

    Examples:
        >>> from qkan.datasets.milan import parse_days
        >>> len(parse_days("2013-11-01..2013-11-07"))
        7
    """

    def ends(part: str) -> tuple[int, int]:
        days = [_day(end.strip(), text).toordinal() for end in part.split("..")]
        if len(days) > 2:
            raise DataError(f"days {text!r} has the part {part!r} with more than two ends; write FIRST..LAST")
        return days[0], days[-1]

    def shown(number: int) -> str:
        return str(dt.date.fromordinal(number))

    return tuple(map(dt.date.fromordinal, _numbers(text, "day", ends, shown)))


def _day(text: str, whole: str) -> dt.date:
    try:
        day = dt.date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        day = None
    if day is None or not FIRST_DAY <= day <= LAST_DAY:
        raise DataError(
            f"days {whole!r} has {text!r}, which is no day of {FIRST_DAY} to {LAST_DAY}; write days and ranges "
            f"separated by commas, such as {FIRST_DAY}..2013-11-03"
        )
    return day


def _numbers(text: str, what: str, ends: Callable[[str], tuple[int, int]], shown: Callable[[int], str]) -> list[int]:
    """The numbers, ascending, of comma-separated parts, whose first and last ones ``ends`` gives."""
    numbers: list[int] = []
    for part in map(str.strip, text.split(",")):
        first, last = ends(part)
        if last < first:
            raise DataError(f"{what}s {text!r} has the range {part}, which runs backwards; swap its ends")
        numbers.extend(range(first, last + 1))
    number, count = Counter(numbers).most_common(1)[0]
    if count > 1:
        raise DataError(f"{what}s {text!r} names {shown(number)} twice; name every {what} once")
    return sorted(numbers)


def local_day(time_ms: int) -> dt.date:
    """The day in Milan of a moment, given as milliseconds since 1970 in UTC.

    Raises:
        DataError: the moment lies outside the years 1970 to 2261.
    """
    if not 0 <= time_ms < 9_200_000_000_000:
        raise DataError(f"time {time_ms} is outside the years 1970 to 2261; times are milliseconds since 1970 in UTC")
    return (_EPOCH + dt.timedelta(milliseconds=time_ms)).astimezone(ZONE).date()


def day_bounds(day: dt.date) -> tuple[int, int]:
    """First moment of a day in Milan and of the next, in UTC milliseconds: 23 or 25 hours apart at a clock change."""
    ends = (dt.datetime.combine(d, dt.time(), ZONE) for d in (day, day + dt.timedelta(days=1)))
    first, last = (round((end - _EPOCH) / dt.timedelta(milliseconds=1)) for end in ends)
    return first, last


def wall_clock(ds: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """What the clocks in Milan showed at the times of an imported file.

    ``ds`` is Italian standard time (UTC+1) throughout. From the last Sunday of March to that of October clocks are an
    hour ahead of it: at the spring change the wall clock skips 02:00 to 03:00, at the autumn change it shows 02:00 to
    03:00 twice, told apart by their offset from UTC. All of the official period is standard time.

    Args:
        ds: naive times, shape (n,).

    Returns:
        the same moments in zone Europe/Rome, shape (n,).

    Raises:
        DataError: ``ds`` has a zone already.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets.milan import wall_clock
        >>> wall_clock(pd.DatetimeIndex(["2013-11-04 00:00"]))[0]
        Timestamp('2013-11-04 00:00:00+0100', tz='Europe/Rome')
    """
    if ds.tz is not None:
        raise DataError(f"ds has the zone {ds.tz}; give the naive times of an imported file")
    return (ds - UTC_OFFSET).tz_localize("UTC").tz_convert(str(ZONE))


def data_folder() -> Path:
    """Where imports go by default: the folder in QKAN_DATA, or else the user's cache folder of this package."""
    import pooch

    return Path(os.environ.get("QKAN_DATA") or pooch.os_cache("qkan"))


def default_path(signal: str, freq: str) -> Path:
    """The file in which `--data milan` looks for a signal at a step."""
    return data_folder() / f"milan-{signal}-{freq}.parquet"


def names_milan(name: str | Path) -> bool:
    """Whether ``name`` means an import in the default place: ``milan``, or ``milan-SIGNAL-FREQ``.

    Examples:
        >>> from qkan.datasets.milan import names_milan
        >>> names_milan("milan"), names_milan("milan-24")
        (True, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def find_milan(name: str) -> Path:
    """The imported file that ``milan`` or ``milan-SIGNAL-FREQ`` means; plain ``milan`` is the only one there is.

    Raises:
        DataError: there is none, or ``milan`` could mean several.

    Examples:
        >>> from qkan.datasets.milan import find_milan
        >>> try:
        ...     find_milan("milan")
        ... except ValueError as error:
        ...     print(type(error).__name__)
        DataError
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{name!r} is no Milan import; write milan, or milan-SIGNAL-FREQ such as milan-internet-1h")
    signals: tuple[str, ...] = SIGNALS
    freqs, options = tuple(FREQS), ""
    if match["signal"] is not None:
        chosen = MilanOptions(signal=match["signal"], freq=match["freq"])
        signals, freqs, options = (chosen.signal,), (chosen.freq,), f" --signal {chosen.signal} --freq {chosen.freq}"
    found = [path for signal in signals for freq in freqs if (path := default_path(signal, freq)).exists()]
    if not found:
        raise DataError(
            f"there is no {name!r} in {str(data_folder())!r} yet; download the daily files with `qkan data fetch milan "
            f"--out milan`, then run `qkan data import milan milan{options}` (QKAN_DATA names another folder)"
        )
    if len(found) > 1:
        names = ", ".join(path.stem for path in found)
        raise DataError(f"'milan' could mean {len(found)} imports in {str(data_folder())!r}; name one of {names}")
    return found[0]


def is_import(path: str | Path) -> bool:
    """Whether a file is a Parquet file that an import wrote.

    Examples:
        >>> from qkan.datasets.milan import is_import
        >>> is_import("traffic.csv")
        False
    """
    path = Path(path)
    try:
        return path.suffix.lower() == ".parquet" and path.is_file() and bool(read_facts(path))
    except DataError:
        return False


def read_import(path: Path, squares: Sequence[str] = (), *, missing: str = "refuse") -> Series:
    """The series of a file that an import wrote; of a file with many squares only those asked for are read.

    Args:
        path: the Parquet file.
        squares: names of the squares to keep; all if empty.
        missing: what to do about missing values, see `qkan.datasets.read.missing`.

    Raises:
        DataError: the file cannot be read, lacks a square, or has missing values that are refused.

    Examples:
        >>> import datetime as dt
        >>> from pathlib import Path
        >>> from qkan.datasets.milan import import_milan, read_import, write_sample
        >>> files = write_sample(Path("grid"), [dt.date(2013, 11, 4)], squares=[5160, 5161])
        >>> path = import_milan(files, "milan-import.parquet", overwrite=True).path
        >>> read_import(path, ["5161"]).lengths
        array([144])
    """
    import pyarrow as pa

    facts = read_facts(path)
    try:
        if not squares:
            check_parquet(path)
        frame = pd.read_parquet(path, filters=[("unique_id", "in", list(squares))] if squares else None)
        ids = sorted(set(frame["unique_id"]))
        if len(ids) < len(set(squares)):
            every = pd.read_parquet(path, columns=["unique_id"])["unique_id"].unique()
            check_names(squares, sorted(map(str, every)), path.stem)
        frame = frame.astype({"ds": "datetime64[ns]", "y": "float64"})
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        fix = "or choose some of its squares" if isinstance(error, TooLargeError) else "import it again"
        raise DataError(f"{str(path)!r} cannot be read ({error}); {fix}") from error
    if not len(frame):
        raise DataError(f"{str(path)!r} has no rows; import it again")
    absent = int(frame["y"].isna().sum())
    if absent and missing == "refuse":
        raise DataError(
            f"{str(path)!r} has {absent:,} missing values among those asked for; import it with --fill zero, choose "
            "squares without any, or say how to treat missing values with missing='mask', 'interpolate' or 'zero'"
        )
    frequency, step = {"10min": ("10min", "10 minutes"), "1h": ("h", "hour")}[facts["freq"]]
    count = f"{len(ids):,} {'square' if len(ids) == 1 else 'squares'}"
    series = (
        series_from_frame(frame, name=path.stem, missing=missing, frequency=frequency)
        if absent
        else Series(path.stem, frame, frequency, natural_season(frequency, len(frame) // len(ids)), missing=missing)
    )
    return replace(
        series,
        unit=f"{facts['signal']} activity per {step}",
        source=facts["source"],
        licence=facts["licence"],
        summary=f"{facts['signal']} of {count} of the Milan grid, {facts['days']}",
    )


def read_facts(path: Path) -> dict:
    """What an import recorded in the metadata of its Parquet file: source, licence, signal, freq, fill, zone, days ...

    Raises:
        DataError: the file is no Parquet file, or none that an import wrote.

    Examples:
        >>> import datetime as dt
        >>> from pathlib import Path
        >>> from qkan.datasets.milan import import_milan, read_facts, write_sample
        >>> files = write_sample(Path("grid"), [dt.date(2013, 11, 4)], squares=[5160])
        >>> path = import_milan(files, "milan-import.parquet", overwrite=True).path
        >>> read_facts(path)["signal"]
        'sms_in'
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        raw = (pq.read_schema(path).metadata or {}).get(METADATA_KEY)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{str(path)!r} cannot be read as Parquet ({error}); import it again") from error
    if raw is None:
        raise DataError(f"{str(path)!r} was not written by `qkan data import milan`; import it again")
    try:
        facts = json.loads(raw)
    except (ValueError, RecursionError):
        facts = None
    texts = ("signal", "source", "licence", "days")
    if (
        not isinstance(facts, dict)
        or facts.get("freq") not in FREQS
        or not all(isinstance(facts.get(name), str) for name in texts)
    ):
        raise DataError(f"what {str(path)!r} records of its import was changed; import it again")
    return facts
