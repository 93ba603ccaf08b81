"""Workbooks that would not fit into memory once they are tables: a few cells far apart make a large one."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.parsers import expat

from qkan.datasets.read.limits import TooLargeError, check_unpacked, largest_text

_CELL_BYTES = 64
"""Bytes of memory that a cell takes at least, whatever is in it."""
_SMALL = 1_000_000
"""Places of a table that need not be filled; a larger one has values in one place of ten at least."""
_PLACE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


def check_workbook(path: Path) -> None:
    """Refuse a workbook that unpacks to more than fits, or whose cells lie so far apart that a table of them does not.

    Raises:
        TooLargeError: it does; the message begins with "it".
        ValueError: a part of it is damaged.
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(path) as archive:
        check_unpacked(sum(part.file_size for part in archive.infolist()))
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged!r} is damaged")
        for part in archive.infolist():  # a sheet may have any name
            with archive.open(part) as stream:
                sheet = _Sheet()
                try:
                    sheet.parser.ParseFile(stream)
                except (_NoSheetError, expat.ExpatError):  # another part, a picture, or damage that its reader tells
                    continue


class _NoSheetError(Exception):
    """A part of a workbook that holds no cells."""


class _Sheet:
    """Counts the rows, columns and cells of a sheet, without keeping any of it."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.rows = self.columns = self.cells = self.column = 0
        self.known = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if not self.known:
            if tag != "worksheet":
                raise _NoSheetError
            self.known = True
        if tag == "row":
            given = attributes.get("r", "")
            self.rows, self.column = max(self.rows + 1, int(given) if given.isdecimal() else 0), 0
        elif tag == "c":
            self._add_cell(attributes.get("r", ""))

    def _add_cell(self, given: str) -> None:
        self.cells, self.column = self.cells + 1, self.column + 1
        place = _PLACE.fullmatch(given.upper())
        if place is not None:
            column = 0
            for letter in place[1]:
                column = 26 * column + ord(letter) - ord("A") + 1
            self.column, self.rows = max(self.column, column), max(self.rows, int(place[2]))
        self.columns = max(self.columns, self.column)
        table = self.rows * self.columns
        if self.cells * _CELL_BYTES > largest_text() or (table > _SMALL and self.cells < table / 10):
            raise TooLargeError(
                f"its {self.cells:,} cells or more spread over {self.rows:,} rows and {self.columns:,} columns; keep "
                "the table in the first rows and columns of its sheet, or save it as CSV"
            )
