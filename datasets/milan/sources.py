"""Finding the daily Milan files among paths, folders and archives, and opening them whatever compresses them."""

from __future__ import annotations

import bz2
import contextlib
import datetime as dt
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from qkan.datasets.errors import DataError
from qkan.datasets.milan.grid import local_day
from qkan.datasets.milan.lines import LONGEST_LINE, check_line

PLAIN = (".txt", ".tsv", ".csv")
PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DATED = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)(?!\d)")


@dataclass(frozen=True)
class Source:
    """One daily file.

    Args:
        path: the file, or the archive that holds it.
        member: name inside the archive, or None.
        day: its day in Milan.
    """

    path: Path
    member: str | None
    day: dt.date

    @property
    def shown(self) -> str:
        """How messages call it."""
        return _shown(self.path, self.member)

    def identity(self) -> str:
        """What tells this file from a changed one without reading it: whole path, size and time of change."""
        facts = self.path.stat()
        return f"{self.path.resolve()}|{self.member}|{facts.st_size}|{facts.st_mtime_ns}"

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open the file for reading its text, decompressed on the way.

        Raises:
            DataError: it cannot be opened, or turns out damaged while it is read inside the block.
        """
        return _open(self.path, self.member)


def find_sources(paths: list[Path]) -> list[Source]:
    """The daily files that paths name, in the order of their days.

    Args:
        paths: files (.txt, .tsv, .csv, also with .gz, .bz2 or .xz; .zip archives of them), or folders: of these the
            files and archives with a date such as 2013-11-01 in their name count. The same path twice counts once.

    Raises:
        DataError: a path is missing, unreadable, of another type, empty, damaged or unsafe; its first line is
            malformed; its day is not that of its name; or two files hold the same day.
    """
    if not paths:
        raise DataError("no file was named; give daily files of the Milan grid, or a folder of them")
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _files_of(path):
            files.setdefault(file.resolve(), file)
    by_day: dict[dt.date, Source] = {}
    for path in files.values():
        for member in _members(path):
            source = Source(path, member, _day_of(path, member))
            other = by_day.setdefault(source.day, source)
            if other is not source:
                raise DataError(
                    f"{other.shown} and {source.shown} both hold {source.day}; name one of them, or the sums would "
                    "count that day twice"
                )
    return [by_day[day] for day in sorted(by_day)]


def _files_of(path: Path) -> list[Path]:
    try:
        if not path.exists():
            raise DataError(f"there is no file or folder {str(path)!r}; check the path")
        if not path.is_dir():
            if not _is_daily(path.name):
                raise DataError(
                    f"{str(path)!r} is of no type that can be read: {', '.join(PLAIN)}, these with "
                    f"{', '.join(PACKED)}, and .zip; give the daily files"
                )
            if not path.is_file():  # a device may be endless, and a pipe may never begin
                raise DataError(
                    f"{str(path)!r} is no regular file, but a pipe or a device; write its lines to a file first"
                )
            return [path]
        entries = sorted(path.iterdir())
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}; allow reading it") from error
    kept = [
        e for e in entries if not e.name.startswith(".") and _DATED.search(e.name) and _is_daily(e.name) and e.is_file()
    ]
    if not kept:
        raise DataError(
            f"the folder {str(path)!r} has no daily file; their names have a date and one of the endings "
            f"{', '.join(PLAIN)}, such as sms-call-internet-mi-2013-11-01.txt, maybe with {', '.join(PACKED)}, or .zip"
        )
    return kept


def _is_daily(name: str) -> bool:
    """Whether a name is that of a text file, packed or not, or of an archive."""
    name = name.lower()
    packed = next((packing for packing in PACKED if name.endswith(packing)), "")
    return name.endswith(".zip") or name.removesuffix(packed).endswith(PLAIN)


def _members(path: Path) -> list[str | None]:
    """Names of the files in an archive; [None] for a file that is none. Nothing is ever extracted to disk."""
    if not path.name.lower().endswith(".zip"):
        return [None]
    with _explained(_shown(path, None)), zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    for info in infos:
        # orig_filename is the name as stored; filename is already made harmless for this system.
        name = info.orig_filename.replace("\\", "/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
            raise DataError(
                f"the archive {str(path)!r} has the unsafe name {info.orig_filename!r} (absolute, or leading out of "
                "its folder); do not use it, get the archive from the official repository"
            )
        if info.flag_bits & 1:
            raise DataError(f"{_shown(path, info.filename)} is encrypted; unpack it first")
        if not info.filename.lower().endswith(PLAIN):
            raise DataError(
                f"{_shown(path, info.filename)} is of no type that can be read: {', '.join(PLAIN)}; give the daily "
                "files"
            )
    if not infos:
        raise DataError(f"the archive {str(path)!r} holds no file; it needs daily files")
    return [*sorted(info.filename for info in infos)]


def _day_of(path: Path, member: str | None) -> dt.date:
    """The day of the first line, which the name must agree with if it has a date."""
    shown = _shown(path, member)
    with _open(path, member) as file:
        some = (file.readline(LONGEST_LINE + 2) for _ in range(1000))
        line = next((bare for raw in some if (bare := raw.strip(b"\r\n"))), None)
    if line is None:
        raise DataError(f"{shown} is empty; get it again")
    reason = check_line(line, None)
    if reason is not None:
        raise DataError(
            f"line 1 of {shown} {reason}; give a daily file of the Milan grid (tab-separated, without a header)"
        )
    day = local_day(int(line.split(b"\t")[1]))
    dated = _DATED.search((member or path.name).rpartition("/")[2])
    if dated is not None and dated[1] != day.isoformat():
        raise DataError(f"{shown} is named after {dated[1]}, but its first line is of {day} in Milan; rename it")
    return day


@contextlib.contextmanager
def _open(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    with _explained(_shown(path, member)), contextlib.ExitStack() as stack:
        if member is None:
            unpack = PACKED.get(path.suffix.lower())
            yield stack.enter_context(path.open("rb") if unpack is None else unpack(path))
        else:
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(member))


@contextlib.contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{shown} is truncated or damaged ({error}); get it again") from error
    except OSError as error:
        reason = error.strerror or f"{error}, so it is damaged or of another type"
        raise DataError(f"cannot read {shown}: {reason}; allow reading it or get it again") from error


def _shown(path: Path, member: str | None) -> str:
    return repr(str(path)) if member is None else f"{member!r} in {str(path)!r}"
