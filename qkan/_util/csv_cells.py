"""Texts in CSV files that a spreadsheet would take for formulas, and back.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` is computed when the file is opened in a spreadsheet, and may send
what is in the sheet elsewhere. An apostrophe in front makes it text. Numbers stay as they are, in texts as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: An apostrophe in front of such a text is doubled, so that every text comes back.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = r"^'('*[=+\-@\t\r\n])"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(text: str) -> str:
    """A text as a cell of a CSV file: with an apostrophe in front if it would be a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(texts: pd.Series) -> pd.Series:
    """The texts of a column that :func:`guarded` wrote; missing ones stay missing."""
    if texts.isna().all():  # no texts for pandas
        return texts
    return texts.str.replace(_GUARDED, r"\1", regex=True)


def csv_text(frame: pd.DataFrame, *, with_clock: bool = False) -> str:
    """A table as CSV without its index, its texts and the names of its columns guarded.

    Args:
        frame: the table.
        with_clock: whether timestamps are written with their time of day where all of them are at midnight too.
    """
    from pandas.api.types import is_numeric_dtype

    safe = frame.rename(columns=lambda name: guarded(str(name)))
    for place in range(len(frame.columns)):
        cells = frame.iloc[:, place]
        if with_clock and cells.dtype.kind == "M":
            safe.isetitem(place, cells.map(str))  # str of a timestamp has its time
        if not is_numeric_dtype(cells.dtype) and cells.dtype.kind not in "mM":
            found = {cell: guarded(cell) for cell in cells.unique() if isinstance(cell, str)}
            if any(cell != text for cell, text in found.items()):
                safe.isetitem(place, [found.get(cell, cell) if isinstance(cell, str) else cell for cell in cells])
    return safe.to_csv(index=False)


def read_exact(path: Path, **options: Any) -> pd.DataFrame:
    """The table in a CSV file, with the numbers that were written to their last bit.

    Args:
        path: the file.
        **options: of `pandas.read_csv`.
    """
    import pandas as pd

    # Up to pandas 2 another precision is the default; in 3.1 that became the only one, and the argument deprecated.
    major = int(pd.__version__.partition(".")[0])
    return pd.read_csv(path, **options, **({"float_precision": "round_trip"} if major < 3 else {}))
