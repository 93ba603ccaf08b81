"""Files that would not fit into memory, refused before they fill it: a small one may unpack to any size."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_HEADER = 1_000_000
"""Bytes of the first line of a CSV file."""

MOST_COLUMNS = 10_000
"""Columns of a table. Each is looked at: whether it holds times, ids or numbers."""

_UNKNOWN = 8 << 30  # bytes of memory where the system does not say
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_ROWS = 1 << 16  # of a Parquet file that are unpacked at a time


class TooLargeError(ValueError):
    """A file does not fit into memory; the message begins with "it" and says what to do."""


@cache
def memory() -> int:
    """Bytes of memory that this process can have: those of the machine, or of its container."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        found = _UNKNOWN
    for name in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # it may say "max"
            found = min(found, int(Path(name).read_text()))
    return found


def largest_text() -> int:
    """Bytes of CSV that are read, unpacked: a quarter of the memory, because a table takes more than its text."""
    return memory() // 4


def largest_table() -> int:
    """Bytes of a Parquet file's table that are read: half of the memory."""
    return memory() // 2


def check_columns(count: int) -> None:
    """Refuse a table of more columns than :data:`MOST_COLUMNS`.

    Raises:
        TooLargeError: it has more.
    """
    if count > MOST_COLUMNS:
        raise TooLargeError(
            f"it has {count:,} columns, at most {MOST_COLUMNS:,} are read; keep those that are needed, and write many "
            "series below each other, with a column of their names"
        )


def check_unpacked(size: int) -> None:
    """Refuse a file that says that it unpacks to ``size`` bytes.

    Raises:
        TooLargeError: that is larger than :func:`largest_text`.
    """
    if size > largest_text():
        raise TooLargeError(f"it unpacks to {_too_much('text', largest_text())}")


class _Bounded(io.RawIOBase):
    """A stream that ends with an error after so many bytes."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self.source, self.left, self.most = source, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.source.read(len(buffer))
        self.left -= len(content)
        if self.left < 0:
            raise TooLargeError(f"it unpacks to {_too_much('text', self.most)}")
        buffer[: len(content)] = content
        return len(content)


@contextlib.contextmanager
def open_text(path: Path, *, whole: bool = True) -> Iterator[IO[bytes]]:
    """Open a CSV file, unpacked if its name ends in ``.gz``, for one reading; of any size unless it is read ``whole``.

    Raises:
        TooLargeError: its text is larger than :func:`largest_text`, also while it is read inside the block.
        ValueError: its first line is longer than :data:`LONGEST_HEADER`.
    """
    packed = path.name.lower().endswith(".gz")
    most = largest_text() if whole else sys.maxsize
    if not packed and path.stat().st_size > most:
        raise TooLargeError(f"it holds {_too_much('text', largest_text())}")
    with _opened(path, packed, most) as stream:
        if len(stream.readline(LONGEST_HEADER + 1)) > LONGEST_HEADER:
            raise ValueError(f"its first line has more than {LONGEST_HEADER:,} bytes")
    with _opened(path, packed, most) as stream:
        yield stream


@contextlib.contextmanager
def _opened(path: Path, packed: bool, most: int) -> Iterator[IO[bytes]]:
    with gzip.open(path) if packed else path.open("rb") as source:
        bounded: Any = _Bounded(cast("IO[bytes]", source), most)
        yield io.BufferedReader(bounded, 1 << 20)


def check_parquet(path: Path) -> pa.Schema:
    """Refuse a Parquet file whose metadata tells of more than fits; its schema.

    Raises:
        TooLargeError: it is larger than :func:`largest_table`.
        pyarrow.ArrowException, OSError: it is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        facts, schema, most = file.metadata, file.schema_arrow, largest_table()
    check_columns(facts.num_columns)
    unpacked = sum(facts.row_group(place).total_byte_size for place in range(facts.num_row_groups))
    if max(unpacked, 8 * facts.num_rows * facts.num_columns) > most:
        what = f"it has {facts.num_rows:,} rows of {facts.num_columns:,} columns"
        raise TooLargeError(f"{what}, {_too_much('table', most)}")
    return schema


def read_parquet(path: Path) -> pd.DataFrame:
    """The table of a Parquet file as :func:`pandas.read_parquet` reads it, if it fits.

    Raises:
        TooLargeError: by its metadata, or while it is unpacked, it is larger than :func:`largest_table`.
        pyarrow.ArrowException, OSError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, most = check_parquet(path), largest_table()
    # A text that comes often is kept once in the file: read so, its size is known before every row gets a copy.
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    total, batches = 0, []
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            total += _size(batch)
            if total > most:
                raise TooLargeError(f"it unpacks to {_too_much('table', most)}")
            batches.append(batch.cast(schema))
    return frame_of(pa.Table.from_batches(batches, schema))


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table of Arrow as pandas reads it from a Parquet file, bytes as texts.

    Raises:
        ValueError: what pandas noted there for itself is damaged.
    """
    import pyarrow as pa

    try:
        frame = table.to_pandas()
    except (AttributeError, TypeError, KeyError, IndexError, RecursionError, UnicodeDecodeError) as error:
        # What pandas noted there for itself is JSON that it trusts.
        raise ValueError(f"its notes for pandas are damaged: {error}") from error
    for field in table.schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            frame = _with_texts(frame, field.name)
    return frame


def _with_texts(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A column of bytes as texts, as other programs write them; what is no text stays what it is."""
    if list(frame.columns).count(name) != 1:
        return frame
    texts = [cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else cell for cell in frame[name]]
    return frame.assign(**{name: texts})


def _size(batch: pa.RecordBatch) -> int:
    """Bytes of some rows with every text written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).cast(pa.int64())
            size += (pc.sum(lengths.take(column.indices)).as_py() or 0) + 8 * len(column)
        else:
            size += column.nbytes
    return size


def _too_much(what: str, most: int) -> str:
    return (
        f"more {what} than the {most / 1e9:.3g} GB that this machine's memory allows; write fewer rows or columns into "
        "a file of their own"
    )
