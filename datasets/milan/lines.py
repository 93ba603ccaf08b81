"""Lines of a daily Milan file: eight tab-separated fields, read fast by blocks and explained one by one.

A block is parsed and checked as a whole. Only if something in it is wrong are its lines looked at singly, to say which
line it is and how many there are.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from qkan.datasets.errors import DataError
from qkan.datasets.milan.grid import SIGNALS, SQUARES, STEP_MS, day_bounds, local_day

BLOCK = 16_000_000
"""Bytes of text that are parsed at a time."""

LONGEST_LINE = 10_000
LARGEST_ACTIVITY = 1e12
LARGEST_CODE = 999_999
MOST_EXPLAINED = 1_000
"""So many malformed lines are counted; then reading stops."""

_FIELDS = ("square_id", "time_ms", "country_code", *SIGNALS)
_TYPES = dict(zip(_FIELDS, [pa.int64()] * 3 + [pa.float64()] * 5, strict=True))
# What the parser of Arrow takes for a number, spaces around it aside.
_WHOLE = re.compile(r"(?P<decimal>-?\d{1,18})|0[xX](?P<hex>[0-9a-fA-F]{1,15})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Block:
    """Checked rows of a file, in its order; every array has the shape (rows,).

    Args:
        squares: int64, 1 to 10,000.
        intervals: int64, number of the interval since the day's first in Milan.
        codes: int64, country codes.
        activity: float64, the chosen signal; 0 where the field is empty.
    """

    squares: np.ndarray
    intervals: np.ndarray
    codes: np.ndarray
    activity: np.ndarray


def read_blocks(file: IO[bytes], day: dt.date, signal: str, shown: str) -> Iterator[Block]:
    """The rows of a daily file, block by block: memory does not grow with the file.

    Args:
        file: the text, decompressed.
        day: the day in Milan that all times must lie in.
        signal: the activity column to keep; the others are checked as well.
        shown: the file's name for messages.

    Raises:
        DataError: lines are malformed. The message explains the first, counted from 1, and says how many there are.
    """
    bounds = day_bounds(day)
    first_wrong, wrong, lines = "", 0, 0
    for text in _whole_lines(file):
        block = None if wrong > MOST_EXPLAINED else _parse(text, bounds, signal)
        if block is not None:
            if not wrong:
                yield block
        else:
            for number, line in enumerate(text.split(b"\n"), lines + 1):
                reason = check_line(line, day)
                if reason is not None:
                    wrong += 1
                    first_wrong = first_wrong or f"line {number} of {shown} {reason}"
            if not wrong:
                raise DataError(f"{shown} cannot be parsed after line {lines}; is it damaged or of another format?")
            if wrong > MOST_EXPLAINED:
                break
        lines += text.count(b"\n")
    if wrong:
        count = f"more than {MOST_EXPLAINED:,}" if wrong > MOST_EXPLAINED else f"{wrong:,}"
        noun = "line" if wrong == 1 else "lines"
        raise DataError(
            f"{first_wrong} ({count} malformed {noun} in this file); get the file again or correct it, nothing of it "
            "was taken"
        )


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Pieces of about BLOCK bytes that end with a line; a line without end comes as one malformed piece."""
    rest = b""
    while piece := file.read(BLOCK):
        cut = piece.rfind(b"\n") + 1
        if cut == 0 and len(rest) + len(piece) > BLOCK + LONGEST_LINE:
            yield rest + piece[:LONGEST_LINE]
            return
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
    if rest.strip():
        yield rest


def _parse(text: bytes, bounds: tuple[int, int], signal: str) -> Block | None:
    """The rows of a piece of text, or None if any of them is malformed."""
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=_FIELDS, block_size=1 << 20),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=_TYPES, null_values=[""]),
        )
    except pa.ArrowInvalid:
        return None
    if any(table.column(name).null_count for name in _FIELDS[:3]):
        return None
    squares, times, codes = (table.column(name).to_numpy() for name in _FIELDS[:3])
    since = times - bounds[0]
    sound = (
        _within(squares, 1, SQUARES)
        and _within(times, bounds[0], bounds[1] - 1)
        and _within(codes, 0, LARGEST_CODE)
        and not (since % STEP_MS).any()
    )
    if not sound:
        return None
    for name in SIGNALS:
        numbers = pc.fill_null(table.column(name), 0.0).to_numpy()
        if not _within(numbers, 0.0, LARGEST_ACTIVITY):  # which no NaN is
            return None
        if name == signal:
            activity = numbers
    return Block(squares, since // STEP_MS, codes, activity)


def _within(numbers: np.ndarray, low: float, high: float) -> bool:
    return len(numbers) == 0 or bool(numbers.min() >= low and numbers.max() <= high)


def check_line(line: bytes, day: dt.date | None) -> str | None:
    """What is wrong with a line, as the rest of a sentence, or None; blank lines are right.

    Args:
        line: without its end.
        day: the day in Milan that its time must lie in; None for any.
    """
    line = line.removesuffix(b"\r")
    if not line:
        return None
    if len(line) > LONGEST_LINE:
        return f"has more than {LONGEST_LINE:,} characters, where about 100 are usual"
    fields = line.decode(errors="replace").split("\t")
    if len(fields) != len(_FIELDS):
        return f"has {len(fields)} tab-separated fields instead of {len(_FIELDS)} ({', '.join(_FIELDS)})"
    numbers = []
    for name, text in zip(_FIELDS[:3], fields, strict=False):
        match = _WHOLE.fullmatch(text.strip(" "))
        if match is None:
            return f"has {name} {text[:40]!r}, which is no whole number"
        numbers.append(int(match["decimal"]) if match["hex"] is None else int(match["hex"], 16))
    square, time_ms, code = numbers
    if not 1 <= square <= SQUARES:
        return f"has square_id {square}, outside 1 to {SQUARES}"
    if not 0 <= code <= LARGEST_CODE:
        return f"has country_code {code}, outside 0 to {LARGEST_CODE}"
    return _check_time(time_ms, day) or _check_activities(fields[3:])


def _check_time(time_ms: int, day: dt.date | None) -> str | None:
    if time_ms % STEP_MS:
        return f"has time_ms {time_ms}, which is no start of a 10-minute interval (a multiple of {STEP_MS})"
    try:
        its_day = local_day(time_ms)
    except DataError:
        return f"has time_ms {time_ms}, outside the years 1970 to 2261 in milliseconds"
    if day is not None and its_day != day:
        first, last = day_bounds(day)
        return f"has time_ms {time_ms}, on {its_day} in Milan, but the file is of {day} ({first} to {last - STEP_MS})"
    return None


def _check_activities(fields: list[str]) -> str | None:
    for name, text in zip(SIGNALS, fields, strict=True):
        if not text:
            continue
        if _NUMBER.fullmatch(text.strip(" ")) is None:
            return f"has {name} {text[:40]!r}, which is no number (empty means none)"
        number = float(text)
        if not math.isfinite(number) or not 0 <= number <= LARGEST_ACTIVITY:
            return f"has {name} {text[:40]}, outside 0 to {LARGEST_ACTIVITY:g}"
    return None
