"""The files of a panel: many series on disk, whose values are read by memory map where they are looked at.

A folder holds ``manifest.json``, ``series.parquet`` (one row a series: name, first time, length, statistics) and a
column a file: ``values.npy``, ``times.npy`` where times follow no step of one length, and ``observed.npy`` where values
were filled. Rows are those of one series after the other. A part is a range of rows of whole series with a sha256 in
the manifest; whoever reads some series maps the range of their rows and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, shortened

FORMAT, VERSION = "qkan panel", 1
MANIFEST, SERIES = "manifest.json", "series.parquet"
DTYPES = {"values": "<f8", "times": "<i8", "observed": "|b1"}
"""Types of the columns; the file of one bears its name."""

PREPARE = "prepare it again with `qkan data prepare`"
_BLOCK = 1 << 24  # bytes that are summed at a time


class Part(NamedTuple):
    """Neighbouring series and their rows.

    Attributes:
        series: first series and the one after the last.
        rows: likewise.
        sha256: of every column, by its name.
    """

    series: tuple[int, int]
    rows: tuple[int, int]
    sha256: Mapping[str, str]


def lock_of(path: Path) -> Path:
    """The lock of who prepares a panel."""
    return path.with_name(f".{path.name}.lock")


def work_of(path: Path) -> Path:
    """Where the finished parts of a panel that is being prepared are kept."""
    return path.with_name(f".{path.name}.prepare")


def column_file(name: str) -> str:
    """The file of a column."""
    return f"{name}.npy"


def digest_of(facts: Mapping[str, Any]) -> str:
    """The sha256 of a manifest without its own."""
    own = {name: value for name, value in facts.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


class Store:
    """An opened panel; nothing is mapped yet.

    Args:
        path: the folder.

    Attributes:
        facts: what the manifest says.
        mapped: begin and end of the rows of every map that was made, by column.

    Raises:
        DataError: the folder is no panel, half prepared, damaged, edited or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, shortened(path)
        self.facts = _manifest(path)
        self.mapped: list[tuple[str, int, int]] = []
        self.columns = tuple(name for name in DTYPES if column_file(name) in self.facts["files"])
        for name, wanted in self.facts["files"].items():
            found = self._stat(name)
            if found.st_size != wanted["bytes"]:
                raise DataError(
                    f"{name} of the panel {self.shown} has {found.st_size:,} bytes, but {wanted['bytes']:,} were "
                    f"written: it was cut or changed; {PREPARE}"
                )
        self.parts = [Part(tuple(one["series"]), tuple(one["rows"]), one["sha256"]) for one in self.facts["parts"]]
        self._checked: set[tuple[str, int]] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Where the files are: another process reads them there."""
        return {**vars(self), "path": self.path.absolute(), "mapped": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Find the files again.

        Raises:
            DataError: they are no longer those that were opened.
            OSError: this machine does not have them.
        """
        vars(self).update(state)
        os.stat(self.path / MANIFEST)
        if _manifest(self.path) != self.facts:
            raise self._edited(MANIFEST)

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(self.path / name)
        except OSError as error:
            raise DataError(f"cannot read {name} of the panel {self.shown}: {error.strerror}; {PREPARE}") from error

    def _touched(self, name: str) -> bool:
        """Whether a file may have changed: a copy has another time, so then the sums are compared."""
        return self._stat(name).st_mtime_ns != self.facts["files"][name]["modified"]

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row a series, sorted by ``unique_id``: ``first`` (ticks), ``length``, statistics, and how the user's
        table has it (``id``, ``order``)."""
        path = self.path / SERIES
        try:
            if self._touched(SERIES) and _sum(path, 0, path.stat().st_size) != self.facts["files"][SERIES]["sha256"]:
                raise self._edited(SERIES)
            return pd.read_parquet(path)
        except OSError as error:
            raise DataError(f"cannot read {SERIES} of the panel {self.shown}: {error}; {PREPARE}") from error

    def _edited(self, what: str) -> DataError:
        return DataError(
            f"{what} of the panel {self.shown} is not what was written (its sha256 differs): it is damaged or was "
            f"edited; {PREPARE}"
        )

    def _offset(self, name: str) -> int:
        rows = int(self.facts["points"])
        return int(self.facts["files"][column_file(name)]["bytes"]) - rows * np.dtype(DTYPES[name]).itemsize

    def _check(self, name: str, begin: int, end: int) -> None:
        """Compare the sums of the parts that hold some rows, once, if the file was touched since it was written."""
        if not self._touched(column_file(name)):
            return
        size = np.dtype(DTYPES[name]).itemsize
        for place, part in enumerate(self.parts):
            if part.rows[0] < end and part.rows[1] > begin and (name, place) not in self._checked:
                edges = (self._offset(name) + size * row for row in part.rows)
                if _sum(self.path / column_file(name), *edges) != part.sha256[name]:
                    raise self._edited(f"part {place} of {column_file(name)} (rows {begin:,} to {end:,})")
                self._checked.add((name, place))

    def map(self, name: str, begin: int, end: int) -> np.ndarray:
        """The rows from ``begin`` to ``end`` of a column by memory map.

        Raises:
            DataError: the file cannot be read, or a part of it was edited.
        """
        path, dtype = self.path / column_file(name), np.dtype(DTYPES[name])
        try:
            self._check(name, begin, end)
            offset = self._offset(name) + dtype.itemsize * begin
            found = np.memmap(path, dtype, "r", offset, (end - begin,)) if end > begin else np.zeros(0, dtype)
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"cannot read {path.name} of the panel {self.shown}: {error}; {PREPARE}") from error
        self.mapped.append((name, begin, end))
        return np.asarray(found)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Some rows of a column, of the shape of ``rows``, without a map: for a few of many.

        Raises:
            DataError: the file cannot be read.
        """
        dtype, offset = np.dtype(DTYPES[name]), self._offset(name)
        different, places = np.unique(rows, return_inverse=True)
        found = np.empty(len(different), dtype)
        ends = np.append(np.flatnonzero(np.diff(different) > 1) + 1, len(different)) if len(different) else ()
        begin = 0
        try:
            with (self.path / column_file(name)).open("rb", buffering=0) as file:
                for end in ends:
                    file.seek(offset + dtype.itemsize * int(different[begin]))
                    file.readinto(found[begin:end].view(np.uint8).data)
                    begin = end
        except OSError as error:
            raise DataError(
                f"cannot read {column_file(name)} of the panel {self.shown}: {error.strerror}; {PREPARE}"
            ) from error
        return found[places].reshape(rows.shape)


def is_panel(path: Path) -> bool:
    """Whether a path names a panel, or what an interrupted preparation left of one."""
    return (path.is_dir() and ((path / MANIFEST).exists() or _is_work(path))) or (
        not path.exists() and bool(path.name) and work_of(path).is_dir()
    )


def _is_work(path: Path) -> bool:
    return (path / "plan.json").exists()


def _manifest(path: Path) -> dict[str, Any]:
    shown = shortened(path)
    if not path.exists() or _is_work(path):
        raise DataError(
            f"the panel {shown} is half prepared: `qkan data prepare` was stopped, or still runs; give the same "
            "command again, which goes on with the parts that are there"
        )
    try:
        facts = json.loads((path / MANIFEST).read_bytes())
        if not isinstance(facts, dict):
            raise ValueError("it holds no JSON object")
    except OSError as error:
        raise DataError(f"cannot read {MANIFEST} of the panel {shown}: {error.strerror}; {PREPARE}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{MANIFEST} of the panel {shown} is damaged ({error}); {PREPARE}") from error
    if facts.get("format") != FORMAT:
        raise DataError(f"{shown} is no panel: its {MANIFEST} says no format {FORMAT!r}; {PREPARE}")
    if facts.get("version") != VERSION:
        raise DataError(
            f"the panel {shown} has version {shortened(facts.get('version'))} of the format, this version of qkan "
            f"reads {VERSION}; {PREPARE}, or use the version of qkan that wrote it"
        )
    if facts.get("sha256") != digest_of(facts):
        raise DataError(
            f"{MANIFEST} of the panel {shown} is not what was written (its sha256 differs): it is damaged or was "
            f"edited; {PREPARE}"
        )
    return facts


def _sum(path: Path, begin: int, end: int) -> str:
    """The sha256 of some bytes of a file."""
    digest, left = hashlib.sha256(), end - begin
    with path.open("rb") as file:
        file.seek(begin)
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
