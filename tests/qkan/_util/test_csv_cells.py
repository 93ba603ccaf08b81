"""Texts in CSV files are no formulas for a spreadsheet, and come back as they were."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan._util.csv_cells import csv_text, guarded, read_exact, unguarded

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+2",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\r=1",
    "-",
    "+39 333",
    "-1e",
    "'=1",
    "''@x",
]
PLAIN = ["a", "", "7", "-7", "+39333", "-1.5e-3", "'a", "a=b", "x-y", " =1", "milan"]


def test_formulas_become_text_and_nothing_else_changes() -> None:
    assert [guarded(text) for text in FORMULAS] == [f"'{text}" for text in FORMULAS]
    assert [guarded(text) for text in PLAIN] == PLAIN
    assert list(unguarded(pd.Series([guarded(text) for text in FORMULAS + PLAIN]))) == FORMULAS + PLAIN


@given(st.text("='+-@\t\r7ae. "))
def test_every_text_comes_back(text: str) -> None:
    assert next(iter(unguarded(pd.Series([guarded(text), None], dtype=object)))) == text


@pytest.mark.parametrize("dtype", [object, "string", "category", None])
def test_only_texts_of_a_table_are_guarded(dtype) -> None:
    frame = pd.DataFrame(
        {
            "unique_id": pd.Series(["=a", "b", None], dtype=dtype),
            "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]),
            "y": [-1.5, np.nan, 2e300],
            "n": [-3, 0, 3],
            "-x": ["-5", "+y", True],
        }
    )
    before = frame.copy()
    assert csv_text(frame) == (
        "unique_id,ds,y,n,'-x\n'=a,2024-01-01,-1.5,-3,-5\nb,2024-01-02,,0,'+y\n,2024-01-03,2e+300,3,True\n"
    )
    pd.testing.assert_frame_equal(frame, before)
    plain = frame[["ds", "y", "n"]]
    assert csv_text(plain) == plain.to_csv(index=False)


def test_missing_texts_stay_missing() -> None:
    frame = pd.read_csv(io.StringIO("unique_id\n''=a\n\n"), dtype=str, skip_blank_lines=False)
    assert unguarded(frame["unique_id"]).tolist()[0] == "'=a"
    assert unguarded(frame["unique_id"]).isna().tolist() == [False, True]
    assert unguarded(frame["unique_id"][1:]).isna().all()


def test_numbers_come_back_to_their_last_bit(tmp_path: Path) -> None:
    table = pd.DataFrame({"loss": np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-250, 250)})
    (tmp_path / "runs.csv").write_text(csv_text(table))
    assert (read_exact(tmp_path / "runs.csv")["loss"].to_numpy() == table["loss"].to_numpy()).all()
