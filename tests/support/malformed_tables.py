"""Malformed contents of data files: encodings, separators, times, duplicates, gaps, types, sizes, values, columns."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
from malformed import Case, data_case, hours, lines, with_time, with_times, with_value

SOUND = lines("ds,y", *(f"{ds},{row % 5}" for row, ds in enumerate(hours(40))))
CITIES = SOUND.decode().replace("ds,y", "ds,y,Zürich").replace("\n2", ",ß\n2").strip() + ",ß\n"

ENCODINGS = {
    "utf-16 without a byte order mark": (SOUND.decode().encode("utf-16-le"), "zero bytes|UTF-8"),
    "utf-16 that ends amid a character": (SOUND.decode().encode("utf-16")[:-1], "x.csv"),
    "latin-1 with bytes of no letter": (CITIES.encode("latin-1").replace(b"2,\xdf", b"2,\x81"), "encoding"),
    "ebcdic": (SOUND.decode().encode("cp037"), "no rows|encoding"),
    "a latin-1 row far below the header": (
        lines("ds,y", *(f"{ds},{row}" for row, ds in enumerate(hours(30000)))) + b"2050-01-01,\xfc\n",
        "row 30001 .*'ü'",
    ),
    "utf-8 that ends amid a character": (SOUND + "2025-01-01,ü".encode()[:-1], "row 41 .*'Ã'"),
    "a zero byte in a value": (with_value("1\0"), "row 7"),
    "zero bytes only": (b"\0" * 500, "x.csv"),
    "a block of zero bytes where a crash lost a page": (SOUND + b"\0" * 4096, "row 41|zero bytes"),
}

SEPARATORS = {
    "colons": (SOUND.replace(b",", b" : "), "no column beside"),
    "decimal commas and points": (
        SOUND.replace(b",", b";").replace(b";1\n", b";1,5\n").replace(b";2\n", b";2.5\n"),
        "row 2 .*'1,5', not a number; .*--decimal ,",
    ),
    "tabs below semicolons": (SOUND.replace(b",", b"\t").replace(b"ds\ty", b"ds;y"), "row 1 .*missing"),
    "a quoted decimal comma": (with_value('"1,5"'), "row 7 .*'1,5'"),
    "an unquoted decimal comma": (with_value("1,5"), "Expected 2 fields in line 8"),
    "a quoted thousands separator": (with_value('"1,234.5"'), "row 7 .*'1,234.5'"),
    "a thousands space": (with_value("1 234"), "row 7 .*'1 234'"),
    "a thousands apostrophe": (with_value("1'234"), "row 7"),
    "a decimal comma with thousands points": (with_value('"1.234,5"'), "row 7 .*'1.234,5'"),
    "a currency sign": (with_value("€5"), "row 7 .*'€5'"),
    "a percent sign": (with_value("5%"), "row 7 .*'5%'"),
    "a unit": (with_value("5 kWh"), "row 7 .*'5 kWh'"),
    "a quote that never closes": (with_value('"5'), "EOF inside string"),
    "fewer names than fields": (SOUND.replace(b"ds,y", b"y"), "more fields than"),
    "more fields in every row": (SOUND.replace(b":00,", b":00,7,"), "more fields"),
    "a separator line of a spreadsheet that is wrong": (b"sep=;\n" + SOUND, "no column beside"),
    "a comment above the header": (b"# measured by me\n" + SOUND, "more fields"),
    "the header once more in the middle": (SOUND + SOUND, "row 41 .*'y'"),
    "a name that comes twice": (SOUND.replace(b"ds,y", b"y,y"), "more than one column 'y'"),
    "blank lines in the middle": (with_value("5\n"), "row 8 .*missing"),
    "json": (b'[{"ds": "2024-01-01", "y": 1},\n {"ds": "2024-01-02", "y": 2}]\n', "row 1|more fields|no numeric"),
    "a web page": (b"<!DOCTYPE html>\n<html><body>\n<h1>404 Not Found</h1>\n</body></html>\n", "no numeric column"),
    "a pickle called csv": (
        b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x02ds\x94K\x01u.\n1\n2\n3\n",
        "zero bytes",
    ),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00" + bytes(range(256)), "UTF-8|cannot be read"),
}

TIMES = {
    "30 February": "2024-02-30",
    "29 February of no leap year": "2023-02-29",
    "month 13": "2024-13-01",
    "month 0": "2024-00-10",
    "day 32": "2024-01-32",
    "hour 25": "2024-01-01 25:00:00",
    "minute 60": "2024-01-01 05:60:00",
    "day and month with slashes": "31/01/2024",
    "month and day with slashes": "01/31/2024",
    "dots": "31.01.2024",
    "two-digit year": "24-01-31",
    "month in words": "Jan 31 2024",
    "month in German": "31. Januar 2024",
    "only a clock": "07:05",
    "ISO week": "2024-W05-3x",
    "quarter": "2024Q1x",
    "an interval": "2024-01-01/2024-02-01",
    "a zone by name": "2024-01-01 00:00:00 CET",
    "a year before 1677": "1066-10-14",
    "the year 9999": "9999-12-31",
    "the year 0": "0000-01-01",
    "word now": "now",
    "word today": "today",
    "word yesterday": "yesterday",
    "spaces only": "   ",
    "trailing text": "2024-01-01 06:00:00 approx.",
    "question marks": "????-??-??",
    "unix seconds among dates": "1704067200",
    "negative year": "-2024-01-01",
    "full-width digits": "\uff12\uff10\uff12\uff14-01-01 06:00:00",
}

TIME_SETS = {
    "epoch seconds and then milliseconds": (
        with_times(
            *(str(1704067200 + 60 * n) for n in range(9)), *(str((1704067740 + 60 * n) * 1000) for n in range(9))
        ),
        "row 10",
    ),
    "epoch nanoseconds": (with_times(*(str(1704067200 * 10**9 + n) for n in range(20))), "below 2\\^53"),
    "fractions of steps": (with_times(*(str(n / 2) for n in range(20))), "row 2 .*whole steps"),
    "an infinite step": (with_times("1", "2", "3", "inf", "5"), "row 4"),
    "a spreadsheet's day numbers": (with_times(*(str(45000 + n / 24) for n in range(20))), "row 2"),
    "an empty time": (with_time(""), "row 7 .*missing"),
    "NaT": (with_time("NaT"), "row 7"),
    "one zone for some": (with_time("2024-01-01 06:00:00Z"), "mixes times with and without .*row 7"),
    "two zones whose times meet": (
        with_times(*(f"2024-01-01T{n:02}:00:00+01:00" for n in range(9)), "2024-01-01T09:00:00+02:00"),
        "row 10 .*repeats",
    ),
    "the same time twice": (with_time("2024-01-01 05:00:00"), "row 7 .*repeats"),
    "the whole file twice": (SOUND + SOUND.removeprefix(b"ds,y\n"), "row 41 .*repeats the time of row 1;"),
    "newest first, an hour missing": (with_times(*reversed(hours(9)), *hours(9, "2024-01-01T10")), "irregular: row 10"),
    "an hour missing": (with_times(*hours(9), *hours(9, "2024-01-01T10")), "row 10 .*irregular|irregular.*row 10"),
    "a time between": (with_time("2024-01-01 05:30:00"), "row 7"),
    "seconds that drift": (with_times(*(f"2024-01-01 00:{n:02}:{n * n % 60:02}" for n in range(40))), "irregular"),
    "no two steps alike": (with_times(*(str(n**3) for n in range(30))), "irregular"),
    "Rome's missing hour": (
        with_times(*hours(2, "2024-03-31"), *hours(9, "2024-03-31T03")),
        "row 3 .*2024-03-31 03:00",
    ),
    "Rome's repeated hour": (
        with_times(*hours(3, "2024-10-27"), *hours(9, "2024-10-27T02")),
        "row 4 .*02:00:00 and repeats",
    ),
    "months and then days": (
        with_times(*(f"2024-{n:02}-01" for n in range(1, 13)), "2024-12-02", "2024-12-03"),
        "row 13",
    ),
}

VALUES = {
    **{
        text: f"row 7 .*{text}"
        for text in ("five", "yes", "1e", "--5", "1/2", "1_000", "#DIV/0!", "1.2.3", "∞", "1e5e5")
    },
    **dict.fromkeys(("inf", "-inf", "Infinity", "1e400"), "row 7 .*finite"),
    **dict.fromkeys(("", "NaN", "NA", "null", "None"), "row 7 .*missing"),
    "1e101": "row 7 .*1e\\+101",
    "9" * 400: "row 7",
    "-": "row 7 .*'-'",
    "0x1F": "row 7 .*'0x1F'",
    "=A1+1": "row 7 .*'=A1\\+1'",
    "12:30": "row 7 .*'12:30'",
    "2024-01-01": "row 7",
    "True": "row 7 .*'True'",
    "'5'": "row 7",
    "x" * 100_000: "row 7 .*'xxx",
}

COLUMN_OPTIONS = {
    "--time-col when": "no time column 'when'",
    "--target-col calls": "no target column 'calls'",
    "--id-col square": "no id column 'square'",
    "--time-col Y": "no time column 'Y'",
    "--target-col ds": "target column 'ds'|'ds'",
    "--target-col name": "'a'",
    "--time-col name": "row 1 .*'a'",
    "--id-col ds": "time and the id",
    "--time-col y --target-col y": "'y'",
    "--id-col y --target-col y": "'y'",
    "--time-col ds --id-col ds": "'ds'",
    "--series nobody": "no series 'nobody'",
    "--past-cols weather": "no past column 'weather'",
    "--future-cols weather": "no future column 'weather'",
    "--past-cols y": "covariate 'y'",
    "--past-cols ds": "covariate 'ds'",
    "--past-cols name": "row 1 .*'a'",
    "--past-cols x,x": "each of them once",
    "--past-cols x --future-cols x": "'x' is named twice",
    "--past-cols x,,x": "past_cols|past-cols",
    "--future-cols x": "row 7 .*'x'|'x'",
    "--calendar century": "century",
    "--calendar hour,hour": "each of them once",
    "--missing guess": "guess",
}
TABLE = lines("ds,y,name,x", *(f"{ds},{row % 5},a,{'' if row == 7 else row}" for row, ds in enumerate(hours(40), 1)))


def frames() -> dict[str, tuple[pd.DataFrame, str]]:
    """Parquet tables of unusable types."""
    ds = pd.date_range("2024-01-01", periods=30, freq="h")

    def of(y: object, **more: object) -> pd.DataFrame:
        return pd.DataFrame({"ds": ds, "y": y, **more})

    return {
        "lists": (of([[n, n + 1] for n in range(30)]), "row 1 .*\\[0, 1\\]|row 1 .*\\[0 1\\]|'y'"),
        "records": (of([{"a": n} for n in range(30)]), "row 1|'y'"),
        "true and false": (of([n % 2 == 0 for n in range(30)]), "holds bool"),
        "dates as values": (of(ds), "holds datetime64"),
        "durations": (of(pd.to_timedelta(range(30), unit="h")), "'y'"),
        "bytes": (of([b"\xff5"] * 30), "'y'"),
        "clock times": (of([dt.time(n % 24) for n in range(30)]), "'y'"),
        "categories of words": (of(pd.Categorical(["low", "high"] * 15)), "row 1 .*'low'"),
        "no value at all": (of([None] * 30), "missing"),
        "a null": (of(pd.array([1, 2, None] * 10, dtype="Int64")), "row 3 .*missing"),
        "an infinite value": (of([float("inf")] * 30), "row 1 .*inf"),
        "ids that are lists": (of([1.0] * 30, unique_id=[["a"]] * 30), "unique_id|row 31"),
        "a null id": (of([1.0] * 30, unique_id=[None] * 30), "row 1 of id column"),
        "no columns": (pd.DataFrame(index=range(30)), "no numeric|no column|no rows"),
        "no rows": (of([1.0] * 30).iloc[:0], "no rows"),
        "true and false as times": (pd.DataFrame({"ds": [True, False] * 9, "y": [1.0] * 18}), "true and false"),
        "dates beyond the years": (
            pd.DataFrame({"ds": np.array(["0800-01-01", "0801-01-01", "0802-01-01"], "M8[s]"), "y": 1.0}),
            "1678 to 2261",
        ),
        "local days with one missing": (
            pd.DataFrame(
                {"ds": pd.date_range("2024-03-25", periods=9, freq="D", tz="Europe/Rome").delete(5), "y": 1.0}
            ),
            "row 6 .* is 2024-03-31 00:00:00\\+01:00 after",
        ),
        "lists as times": (pd.DataFrame({"ds": [[1]] * 9, "y": 1.0}), "row 1"),
    }


def sizes() -> dict[str, tuple[bytes, str]]:
    """Files of unusable sizes."""
    many = 10_000
    wide = lines(",".join(f"c{n}" for n in range(many)), *(",".join("1" * many) for _ in range(5)))
    return {
        "an empty file": (b"", "is empty"),
        "one line end": (b"\n", "x.csv"),
        "a header only": (b"ds,y\n", "no rows"),
        "a header and blank lines": (b"ds,y\n\n\n\n", "no rows"),
        "one row": (with_times("2024-01-01"), "1 point"),
        "two rows": (with_times("2024-01-01", "2024-01-02"), "2 points"),
        "a column without a name or header": (b"1\n2\n3\n4\n", "first line"),
        "10,000 columns": (wide, "several numeric columns"),
        "a name of a million characters": (b"ds," + b"y" * 1_000_000 + b",b\n1,2,3\n2,3,4\n3,4,5\n", "first line"),
        "a line of five million characters": (with_value("z" * 5_000_000), "row 7"),
        "a line of five million commas": (b"ds,y\n1,2\n" + b"," * 5_000_000 + b"\n", "fields"),
        "many series of one point": (
            lines("unique_id,ds,y", *(f"s{n},{n},1" for n in range(500))),
            "series 's0' has 1 point",
        ),
        "a file as if of no numbers": (lines("a,b", *["x,y"] * 9), "no numeric column"),
    }


def table_cases() -> list[Case]:
    """Data files that can be opened but not used."""
    texts: list[tuple[str, bytes, str, str]] = [
        *((name, *found, "") for group in (ENCODINGS, SEPARATORS) for name, found in group.items()),
        *((f"time: {name}", with_time(text), "row 7|mixes|leaves the years 1678", "") for name, text in TIMES.items()),
        *((f"times: {name}", *found, "") for name, found in TIME_SETS.items()),
        *((f"value {text[:20]!r}", with_value(text), says, "") for text, says in VALUES.items()),
        *((name, *found, "") for name, found in sizes().items()),
        *((f"columns: {options}", TABLE, says, options) for options, says in COLUMN_OPTIONS.items()),
        ("times off every step, to be filled", with_time("2024-01-01 05:30:01"), "row 7|missing", "--missing mask"),
        ("a gap of centuries", with_times("1700-01-01 00:00:00", *hours(9)), "292 years", "--missing mask"),
        ("a gap of a century", with_times("1900-01-01 00:00:00", *hours(9)), "missing between", "--missing mask"),
        (
            "all values missing",
            lines("ds,y", *(f"{ds},NA" for ds in hours(9))),
            "no observed|0 points|missing",
            "--missing mask",
        ),
        ("too short for a window", with_times(*hours(6)), "too short|window", "--calendar hour --window 12"),
    ]
    cases = [
        data_case(place, name, "x.csv", _writer(content), says, options)
        for place, (name, content, says, options) in enumerate(texts)
    ]
    tables = [
        data_case(place, f"parquet with {name}", "x.parquet", frame.to_parquet, says)
        for place, (name, (frame, says)) in enumerate(frames().items())
    ]
    return cases + tables


def _writer(content: bytes):
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
