"""Which rows of a table belong to which part of a panel, found in one reading of its ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, notice, shortened
from qkan.datasets.panel.stream import TableStream, distinct
from qkan.datasets.read.cells import ids_of, numbered_as
from qkan.datasets.read.columns import Columns
from qkan.datasets.read.file import no_rows
from qkan.datasets.read.select import left_out
from qkan.datasets.read.table import MIN_POINTS

PART_ROWS = 1_000_000
"""Rows of a part, at most, unless a single series has more."""


class Plan(NamedTuple):
    """How a table is cut into parts of whole series.

    Attributes:
        part_of: number of the part of every id as text; -1 for a series that is left out.
        rows: rows of every part in the table, int64, shape (parts,).
        order: positions in the sorted ids in the order in which the table has them.
        groups: parts that every group of rows of the table belongs to.
    """

    part_of: dict[str, int]
    rows: np.ndarray
    order: np.ndarray
    groups: dict[int, set[int]]


def make_plan(stream: TableStream, columns: Columns, name: str, part_rows: int) -> Plan:
    """Read the ids of a table and cut it.

    Args:
        stream: the table.
        columns: those that it has.
        name: of the only series, if no column tells several apart.
        part_rows: rows of a part, about.

    Raises:
        DataError: an id is missing, or every series is too short.
    """
    counts: dict[str, int] = {}
    first: dict[str, int] = {}
    places: dict[int, set[str]] = {}
    wanted = [columns.id if columns.id is not None else columns.target]
    for block in stream.blocks([str(own) for own in wanted]):
        if columns.id is None:
            own, numbers = np.array([name], dtype=object), np.zeros(len(block.table), dtype=np.int64)
        else:
            cells, numbers = distinct(block.table.column(0))
            own = _texts(cells, numbers, columns.id, block.first)
        sizes = np.bincount(numbers, minlength=len(own))
        begins = np.full(len(own), len(numbers))
        np.minimum.at(begins, numbers, np.arange(len(numbers)))
        for place in np.flatnonzero(sizes).tolist():
            text = own[place]
            counts[text] = counts.get(text, 0) + int(sizes[place])
            first.setdefault(text, block.first + int(begins[place]))
            places.setdefault(block.group, set()).add(text)
    if not counts:
        raise no_rows(stream.path)
    return _cut(counts, first, places, part_rows)


def _texts(cells: pd.Series, numbers: np.ndarray, id_col: str, begin: int) -> np.ndarray:
    """The different ids of a block as texts; the first row without one is named."""
    empty = np.append((cells.isna() | (cells.astype(object) == "")).to_numpy(dtype=bool), True)  # -1 stands for no id
    bad = empty[numbers]
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        with numbered_as(np.array([begin + row])):
            ids_of(pd.DataFrame({id_col: [None]}), id_col, "")
    return ids_of(cells.to_frame(id_col), id_col, "") if len(cells) else np.zeros(0, dtype=object)


def _cut(counts: dict[str, int], first: dict[str, int], places: dict[int, set[str]], part_rows: int) -> Plan:
    short = [own for own in sorted(counts) if counts[own] < MIN_POINTS]
    if len(short) == len(counts):
        raise DataError(
            f"series {shortened(short[0])} has {counts[short[0]]} points; every series needs at least {MIN_POINTS}, so "
            "drop it or check the id column"
        )
    if short:
        notice(left_out(short, len(counts), f"of fewer than {MIN_POINTS} values"))
    part_of, rows = dict.fromkeys(short, -1), [0]
    kept = [own for own in sorted(counts) if counts[own] >= MIN_POINTS]
    for own in kept:
        if rows[-1] and rows[-1] + counts[own] > part_rows:
            rows.append(0)
        part_of[own] = len(rows) - 1
        rows[-1] += counts[own]
    order = np.argsort([first[own] for own in kept])
    groups = {group: {part_of[own] for own in texts} for group, texts in places.items()}
    return Plan(part_of, np.array(rows, dtype=np.int64), order, groups)
