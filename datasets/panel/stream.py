"""Tables of any size, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qkan.datasets.read.csv_form import CsvForm
from qkan.datasets.read.file import check_file, csv_blocks, read_table, readable
from qkan.datasets.read.limits import check_columns

ROWS = 1 << 18
"""Rows of a block, at most."""


class Block(NamedTuple):
    """Some rows of a table, one after the other.

    Attributes:
        table: the rows.
        first: number of the first of them, from 0.
        group: of rows that can be skipped together, from 0.
    """

    table: pa.Table
    first: int
    group: int


class TableStream:
    """The table in a file, which need not fit into memory; it may be read several times.

    Args:
        path: as of `qkan.datasets.read.file.read_series`; a workbook is read as a whole.
        id_col: the column that tells series apart, there or not.
        form: how a CSV file writes its table.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path, id_col: str | None, form: CsvForm) -> None:
        self.path, self.id_col, self.form = path, id_col, form
        self.suffix = check_file(path)
        if self.suffix == ".parquet":
            with readable(path), pq.ParquetFile(path) as file:
                check_columns(file.metadata.num_columns)

    def blocks(self, columns: Sequence[str] | None = None, skip: Collection[int] = ()) -> Iterator[Block]:
        """All rows, in order.

        Args:
            columns: those that are needed; None reads all.
            skip: groups that nobody wants.

        Raises:
            DataError: the file is damaged.
        """
        with readable(self.path):
            if self.suffix == ".parquet":
                yield from self._parquet(columns, skip)
                return
            if self.suffix == ".xlsx":
                frames = iter([read_table(self.path, self.id_col, self.form)])
            else:
                frames = csv_blocks(self.path, self.id_col, self.form, ROWS)
            first = 0
            for group, frame in enumerate(frames):
                own = frame if columns is None else frame[list(columns)]
                yield Block(pa.Table.from_pandas(own, preserve_index=False), first, group)
                first += len(frame)

    def _parquet(self, columns: Sequence[str] | None, skip: Collection[int]) -> Iterator[Block]:
        schema = pq.read_schema(self.path)
        # A text that comes often is kept once in the file, and in a block.
        texts = [own.name for own in schema if pa.types.is_string(own.type) or pa.types.is_large_string(own.type)]
        first = 0
        with pq.ParquetFile(self.path, read_dictionary=texts) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if group not in skip:
                    at = first
                    for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns):
                        yield Block(pa.Table.from_batches([batch]), at, group)
                        at += batch.num_rows
                first += rows


def plain(table: pa.Table) -> pa.Table:
    """A table with every text written out."""
    types = [own.type.value_type if pa.types.is_dictionary(own.type) else own.type for own in table.schema]
    fields = [own.with_type(kind) for own, kind in zip(table.schema, types, strict=True)]
    return table.cast(pa.schema(fields, table.schema.metadata))


def distinct(column: pa.ChunkedArray) -> tuple[pd.Series, np.ndarray]:
    """The different cells of a column and, of every row, which of them it has: int64, shape (rows,), -1 for none."""
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], column.type)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return encoded.dictionary.to_pandas(), places
