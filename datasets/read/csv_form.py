"""How a text file writes a table: what stands between columns, the decimal mark, the encoding."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from qkan.datasets.errors import DataError, notice
from qkan.datasets.read.limits import open_text

_SEPARATORS = (",", ";", "\t", "|")  # the first of those that make most columns of the first line
_BOMS = {  # UTF-32 first, whose mark begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FALLBACK = "cp1252"  # of Windows in western Europe and America
_SAMPLE = 1 << 20  # bytes
_SEP_LINE = re.compile(r"sep=(.)\s*")  # which spreadsheets understand
_COMMA = re.compile(r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+\s*")
_POINT = re.compile(r"\s*[+-]?\d*\.\d+\s*")
_GROUPED = r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?\s*"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class CsvForm:
    """How a text file writes a table; None is to be found in it.

    Args:
        sep: one character between columns; ``"\\\\t"`` is a tab.
        decimal: ``"."`` or ``","``.
        encoding: name of the encoding.
        skipped: lines above the one that names the columns.

    Raises:
        DataError: one of them cannot be.
    """

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    skipped: int = 0

    def __post_init__(self) -> None:
        if self.sep is not None:
            object.__setattr__(self, "sep", {"\\t": "\t", "tab": "\t"}.get(self.sep, self.sep))
            if len(str(self.sep)) != 1 or str(self.sep).isalnum() or self.sep in '"\r\n.':
                raise DataError(
                    f"sep={self.sep!r} cannot stand between columns; choose one character such as ';' or 'tab'"
                )
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal={self.decimal!r} is no decimal mark; choose '.' or ','")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise DataError(
                    f"encoding={self.encoding!r} is unknown; choose one of Python's, such as utf-8, cp1252 or shift_jis"
                ) from None

    def options(self) -> dict[str, Any]:
        """What `pandas.read_csv` is to be told."""
        return {"sep": self.sep, "decimal": self.decimal, "encoding": self.encoding, "skiprows": self.skipped}


def find_form(path: Path, given: CsvForm) -> CsvForm:
    """The form of a file, what was not given found in its first megabyte, and said if it is not the plain one.

    Raises:
        UnicodeDecodeError: the encoding is none of UTF-8, UTF-16, UTF-32 and cp1252, or not the given one.
    """
    with open_text(path, whole=False) as file:
        content = file.read(_SAMPLE)
    encoding = given.encoding or next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8-sig")
    if given.encoding is None and encoding == "utf-8-sig" and not _is_utf8(path):
        encoding = _FALLBACK
    text = content.decode(encoding, errors="ignore" if encoding != _FALLBACK else "strict")
    lines = text.splitlines()[: -1 if len(content) == _SAMPLE else None]
    skipped, sep = 0, given.sep
    if lines and (match := _SEP_LINE.fullmatch(lines[0])):
        skipped, sep = 1, sep or match[1]
    rows = lines[skipped:]
    sep = sep or _separator(rows)
    decimal = given.decimal or _decimal(rows, sep)
    form = CsvForm(sep, decimal, encoding, skipped)
    _say(path.name, given, form)
    return form


def without_groups(column: pd.Series) -> pd.Series:
    """A column of text as numbers, if all of it is written like ``1.234,5``; otherwise itself."""
    if pd.api.types.is_numeric_dtype(column) or column.dtype.kind in "mM":
        return column
    texts = column.dropna().astype(str)
    if not len(texts) or not texts.str.fullmatch(_GROUPED).all() or not texts.str.contains(",").any():
        return column
    plain = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pd.to_numeric(plain).reindex(column.index)


def _is_utf8(path: Path) -> bool:
    """Whether a whole file is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_text(path, whole=False) as file:
        try:
            while content := file.read(_SAMPLE):
                decoder.decode(content)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _separator(rows: list[str]) -> str:
    if not rows or len(rows[0]) > csv.field_size_limit():  # which no field in it can then be longer than
        return ","
    counts = [len(next(csv.reader([rows[0]], delimiter=sep), [])) for sep in _SEPARATORS]
    if max(counts) == 1 and len(rows) > 1 and all(_COMMA.fullmatch(row) for row in rows[1:] if row.strip()):
        return ";"  # one column of numbers with decimal commas
    return _SEPARATORS[counts.index(max(counts))]


def _decimal(rows: list[str], sep: str) -> str:
    """A comma if numbers have one, and none a point instead."""
    if sep == ",":
        return "."
    commas = False
    for row in csv.reader(rows[1:], delimiter=sep):
        for cell in row:
            if _POINT.fullmatch(cell):
                return "."
            commas = commas or _COMMA.fullmatch(cell) is not None
    return "," if commas else "."


def _say(name: str, given: CsvForm, form: CsvForm) -> None:
    parts = []
    if given.sep is None and form.sep != ",":
        parts.append(f"with {_NAMES.get(str(form.sep), repr(form.sep))} between the columns")
    if given.decimal is None and form.decimal == ",":
        parts.append("with decimal commas")
    if given.encoding is None and form.encoding != "utf-8-sig":
        parts.append(f"as {form.encoding} text")
    if parts:
        notice(f"{name!r} is read {' and '.join(parts)}; say otherwise with sep=..., decimal=... or encoding=...")
