"""Malformed daily files of the Milan grid, archives of them, and options of the import."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from malformed import Arguments, Case

from qkan.datasets.milan.grid import METADATA_KEY, STEP_MS, day_bounds

DAY = dt.date(2013, 11, 1)
FIRST = day_bounds(DAY)[0]
NAME = f"sms-call-internet-mi-{DAY}.txt"


def row(square: object = 1, step: int = 0, time: object = None, code: object = 39, rest: str = "1\t1\t1\t1\t1") -> str:
    """A line of a daily file."""
    return f"{square}\t{FIRST + STEP_MS * step if time is None else time}\t{code}\t{rest}"


def day_with(line: str, at: int = 4) -> bytes:
    """A day's file whose fourth line is another."""
    return ("\n".join(line if place == at else row(step=place) for place in range(1, 9)) + "\n").encode()


LINES = {
    "a header": ("square_id\ttime_ms\tcountry_code\tsms_in\tsms_out\tcall_in\tcall_out\tinternet", "line 4"),
    "seven fields": (row(rest="1\t1\t1\t1"), "line 4 .* 7 tab"),
    "nine fields": (row(rest="1\t1\t1\t1\t1\t1"), "line 4 .* 9 tab"),
    "commas": (row().replace("\t", ","), "line 4 .* 1 tab"),
    "words": (row(square="north"), "line 4 .*'north'"),
    "square 0": (row(square=0), "line 4 .*square_id 0"),
    "square 10001": (row(square=10001), "line 4 .*square_id 10001"),
    "half a square": (row(square=1.5), "line 4 .*'1.5'"),
    "a square of thirty digits": (row(square="9" * 30), "line 4 .*square_id"),
    "seconds": (row(time=FIRST // 1000), "line 4 .*time_ms"),
    "a time between intervals": (row(time=FIRST + 1), "line 4 .*10-minute"),
    "the next day": (row(step=144), "line 4 .*2013-11-02"),
    "a negative time": (row(time=-STEP_MS), "line 4 .*time_ms"),
    "a date": (row(time="2013-11-01 00:00"), "line 4 .*'2013-11-01 00:00'"),
    "no time": (row(time=""), "line 4 .*time_ms ''"),
    "a negative country": (row(code=-1), "line 4 .*country_code -1"),
    "a country of eight digits": (row(code=12345678), "line 4 .*country_code 12345678"),
    "negative activity": (row(rest="-1\t1\t1\t1\t1"), "line 4 .*sms_in -1"),
    "infinite activity": (row(rest="inf\t1\t1\t1\t1"), "line 4 .*sms_in inf"),
    "activity that is no number": (row(rest="nan\t1\t1\t1\t1"), "line 4 .*sms_in nan"),
    "a decimal comma": (row(rest="1,5\t1\t1\t1\t1"), "line 4 .*'1,5'"),
    "activity in words": (row(rest="1\t1\t1\t1\tmuch"), "line 4 .*internet 'much'"),
    "a line of 20,000 characters": (row(rest="1\t1\t1\t1\t" + "1" * 20_000), "line 4 .*10,000 characters"),
    "a zero byte": (row(square="1\0"), "line 4"),
    "the same row twice": (row(step=3), "more than once"),
}


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _archive(member: str, content: bytes = day_with(row(step=4)), name: str = "days.zip") -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(zipfile.ZipInfo(member), content)

    return build


def _encrypted(folder: Path) -> None:
    _archive(NAME)(folder)
    content = bytearray((folder / "days.zip").read_bytes())
    content[6] |= 1  # the flag in the header of the file ...
    content[content.rfind(b"PK\1\2") + 8] |= 1  # ... and in the directory
    (folder / "days.zip").write_bytes(content)


def _damaged_archive(folder: Path) -> None:
    _archive(NAME)(folder)
    content = (folder / "days.zip").read_bytes()
    (folder / "days.zip").write_bytes(content[:60] + b"\xff" * 20 + content[80:])


def _two_days(folder: Path, *days: int) -> None:
    for day in days:
        first = day_bounds(dt.date(2013, 11, day))[0]
        (folder / f"day-2013-11-{day:02}.txt").write_text(row(time=first) + "\n")


FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "an empty file": (_write(NAME, b""), NAME, "is empty"),
    "blank lines only": (_write(NAME, b"\n\n\n"), NAME, "is empty"),
    "binary junk": (_write(NAME, bytes(range(256)) * 20), NAME, "line 1"),
    "a pipe": (lambda folder: os.mkfifo(folder / NAME), NAME, "no regular file"),
    "an endless device": (lambda folder: (folder / NAME).symlink_to("/dev/zero"), NAME, "no regular file"),
    "one endless line": (_write(NAME, b"1" * 40_000_000), NAME, "line 1"),
    "gzip cut in the middle": (_write(f"{NAME}.gz", gzip.compress(day_with(row()) * 99)[:60]), f"{NAME}.gz", "damaged"),
    "gzip that is plain": (_write(f"{NAME}.gz", day_with(row(step=4))), f"{NAME}.gz", "damaged or of another type"),
    "bzip2 that is plain": (_write(f"{NAME}.bz2", day_with(row(step=4))), f"{NAME}.bz2", "damaged or of another type"),
    "xz that is plain": (_write(f"{NAME}.xz", day_with(row(step=4))), f"{NAME}.xz", "damaged"),
    "a name of another day": (
        _write("2013-11-02.txt", day_with(row(step=4))),
        "2013-11-02.txt",
        "named after 2013-11-02",
    ),
    "another ending": (_write("2013-11-01.parquet", b"PAR1"), "2013-11-01.parquet", "no type"),
    "a folder without daily files": (_write("notes.txt", b"hello"), ".", "no daily file"),
    "no such file": (_write("notes.txt", b"hello"), "nowhere.txt", "nowhere.txt"),
    "an archive that climbs out": (_archive(f"../{NAME}"), "days.zip", "unsafe name '../"),
    "an archive that climbs out in the middle": (_archive(f"a/../../{NAME}"), "days.zip", "unsafe name 'a/../../"),
    "an archive with an absolute name": (_archive(f"/etc/{NAME}"), "days.zip", "unsafe name '/etc/"),
    "an archive with a drive": (_archive(f"C:/{NAME}"), "days.zip", "unsafe name 'C:/"),
    "an archive that climbs out backwards": (_archive(f"..\\{NAME}"), "days.zip", "unsafe name"),
    "an archive of a program": (_archive("2013-11-01.py"), "days.zip", "2013-11-01.py"),
    "an archive of nothing": (_write("days.zip", b"PK\5\6" + b"\0" * 18), "days.zip", "holds no file"),
    "an archive that is none": (_write("days.zip", b"PK\3\4" + b"junk" * 20), "days.zip", "damaged"),
    "an encrypted archive": (_encrypted, "days.zip", "encrypted"),
    "a damaged archive": (_damaged_archive, "days.zip", "days.zip"),
    "an archive of an archive": (_archive("days-2013-11-01.zip"), "days.zip", "days-2013-11-01.zip"),
    "a day missing between others": (lambda folder: _two_days(folder, 1, 3), ".", "no file holds 2013-11-02"),
    "a day twice": (
        lambda folder: (_two_days(folder, 1), (folder / "again-2013-11-01.txt").write_text(row() + "\n")),
        ".",
        "both hold 2013-11-01",
    ),
}

OPTIONS = {
    "--squares 0": "0",
    "--squares 10001": "10001",
    "--squares 5-1": "5-1",
    "--squares one": "one",
    "--squares 1,,2": "1,,2",
    "--squares 1-": "1-",
    "--squares 2": "no row is of the squares",
    "--signal phone": "phone",
    "--freq 1min": "1min",
    "--fill nearest": "nearest",
    "--out x.csv": "x.csv.*parquet",
    "--out nowhere/x.parquet": "nowhere",
    "--out there.parquet": "exists already",
    "--out folder.parquet": "is a folder",
    "--out sound.txt/x.parquet": "sound.txt",
    "--nonsense": "No such option",
}


def _forged(facts: bytes, rows: int = 9) -> Callable[[Path], None]:
    """A Parquet file that claims to be an import."""

    def build(folder: Path) -> None:
        ds = pa.array(np.datetime64("2013-11-01", "ns") + np.arange(rows) * np.timedelta64(1, "h"))
        table = pa.table({"unique_id": ["1"] * rows, "ds": ds, "y": [1.0] * rows})
        (folder / "cache").mkdir()
        pq.write_table(
            table.replace_schema_metadata({METADATA_KEY: facts}), folder / "cache" / "milan-internet-1h.parquet"
        )

    return build


FACTS = b'{"freq": "1h", "signal": "internet", "source": "x", "licence": "x", "days": "x"}'
FORGED = {
    "facts that are no JSON": (_forged(b"{"), "was changed"),
    "facts that are a list": (_forged(b"[1]"), "was changed"),
    "facts without a step": (_forged(b'{"signal": "internet"}'), "was changed"),
    "facts of no kind of step": (_forged(FACTS.replace(b"1h", b"2h")), "was changed"),
    "facts that are a number": (_forged(FACTS.replace(b'"internet"', b"5")), "was changed"),
    "no rows": (_forged(FACTS, rows=0), "no rows|no values"),
}


def _data(write: Callable[[Path], object]) -> Callable[[Path], Arguments]:
    def build(folder: Path) -> Arguments:
        write(folder)
        return ["train", "lstm", "--data", "milan-internet-1h"]

    return build


def milan_cases() -> list[Case]:
    """What `qkan data import milan` and `qkan data fetch milan` refuse."""
    command = ("data", "import", "milan")

    def build(write: Callable[[Path], object], *words: str) -> Callable[[Path], Arguments]:
        def built(folder: Path) -> Arguments:
            write(folder)
            return [*command, *words]

        return built

    def sound(folder: Path) -> None:
        _write("sound.txt", day_with(row(step=4)))(folder)
        _write("there.parquet", b"mine")(folder)
        (folder / "folder.parquet").mkdir()

    out = ("--out", "x.parquet")
    malformed = [
        Case(f"milan: {name}", build(_write(NAME, day_with(line)), NAME, *out), says)
        for name, (line, says) in LINES.items()
    ]
    files = [Case(f"milan: {name}", build(write, path, *out), says) for name, (write, path, says) in FILES.items()]
    options = [
        Case(
            f"milan: {options}", build(sound, "sound.txt", *(() if "--out" in options else out), *options.split()), says
        )
        for options, says in OPTIONS.items()
    ]
    fetch = {"--days 2013-13-01": "2013-13-01", "--days 2012-01-01": "2012-01-01", "--base-url ftp://x": "ftp://x"}
    fetched = [
        Case(f"fetch: {words}", lambda folder, words=words: ["data", "fetch", "milan", *words.split()], says)
        for words, says in fetch.items()
    ]
    forged = [Case(f"import with {name}", _data(write), says) for name, (write, says) in FORGED.items()]
    return [
        *forged,
        *malformed,
        *files,
        *options,
        Case("milan: no file", lambda folder: [*command], "Missing argument 'PATH"),
        *fetched,
    ]
