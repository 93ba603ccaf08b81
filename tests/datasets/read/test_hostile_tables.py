"""Tables that are small as files and large, slow or broken as tables: one sentence, before they fill the memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qkan.datasets import DataError, read_series

pytest.importorskip("openpyxl")

TABLE = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=40, freq="h"), "y": np.arange(40) + 0.5})
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(path: Path, more: str, before: str = "") -> Path:
    """A workbook whose first sheet has some XML behind its rows."""
    TABLE.to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    parts["xl/worksheets/sheet1.xml"] = before.encode() + sheet.replace("</sheetData>", f"{more}</sheetData>").encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def cell(place: str) -> str:
    return f'<row r="{place.lstrip("ABCDEFGXYZ")}"><c r="{place}"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("more", "size"),
    [
        (cell("XFD1048576"), "1,048,576 rows and 16,384 columns"),
        (cell("C1000000"), "1,000,000 rows and 3 columns"),
        ('<row r="99999999999"><c><v>1</v></c></row>', "99,999,999,999 rows and 2 columns"),
        ("".join(cell(f"XFD{row}") for row in range(50, 200)), "62 rows and 16,384 columns"),
    ],
)
def test_cells_far_apart_are_no_table(more: str, size: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"cells or more spread over {size}; keep the table in the first rows"):
        read_series(workbook(tmp_path / "far.xlsx", more))


def test_a_workbook_as_it_should_be_is_read(tmp_path: Path) -> None:
    assert len(read_series(workbook(tmp_path / "sound.xlsx", "<row/><row/>")).frame) == 40


@pytest.mark.parametrize(
    "notes",
    [b"[]", b"1", b'"x"', b'{"index_columns": 1}', b'{"index_columns": [], "columns": [1], "column_indexes": []}',
     b'{"index_columns": [], "columns": [], "column_indexes": [1]}', b"[" * 100_000, b"", b"\xff"],
)  # fmt: skip
def test_damaged_notes_for_pandas(notes: bytes, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(TABLE)
    pq.write_table(table.replace_schema_metadata({b"pandas": notes}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet' cannot be read as .parquet \(.*\); check whether it is damaged"):
        read_series(tmp_path / "a.parquet")


def test_texts_that_are_bytes_are_texts(tmp_path: Path) -> None:
    """As several programs write them; what is no text is refused where it is used."""
    ids = pa.array([b"caf\xc3\xa9"] * 40)
    pq.write_table(pa.table({"unique_id": ids, "ds": TABLE.ds, "y": TABLE.y}), tmp_path / "ids.parquet")
    assert read_series(tmp_path / "ids.parquet").ids == ("café",)
    pq.write_table(pa.table({"ds": TABLE.ds, "y": pa.array([b"\xff"] * 40)}), tmp_path / "y.parquet")
    with pytest.raises(DataError, match=r"row 1 of column 'y' is '\\\\xff', not a number"):
        read_series(tmp_path / "y.parquet")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_more_columns_than_are_looked_at(ending: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(np.ones((4, 10_001)), columns=[f"c{k}" for k in range(10_001)])
    path = tmp_path / f"wide{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    with pytest.raises(DataError, match="it has 10,001 columns, at most 10,000 are read; keep those that are needed"):
        read_series(path)


def test_a_first_line_longer_than_fields_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ds," + "y" * 200_000 + "\n" + "\n".join(f"{k},{k}" for k in range(9)))
    assert len(read_series(tmp_path / "a.csv").frame) == 9
    (tmp_path / "b.csv").write_text('ds,y\n1,"' + "9" * 200_000 + '"\n')
    with pytest.raises(
        DataError, match=r"row 1 of column 'y' is '9{40}\.\.\.9{40}', not a number|every value must be finite"
    ):
        read_series(tmp_path / "b.csv")
