"""``python -m benchmarks.c_export``."""

import pytest
from c_programs import c_compiler
from click.testing import CliRunner

from benchmarks import c_export


def test_a_cell_has_a_row_with_its_bytes_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    c_compiler()
    monkeypatch.setattr(c_export, "CELLS", {"lstm": c_export.CELLS["lstm"]})
    done = CliRunner().invoke(
        c_export.main, ["--parameters", "40", "--window", "4", "--rounds", "1"], catch_exceptions=False
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    ((cell, _, circuits, size, difference, bound, nanoseconds, _),) = rows
    assert (cell, circuits, bound) == ("lstm", "-", "-")
    assert 500 < int(size.replace(",", "")) < 8192
    assert float(difference) < 1e-5
    assert float(nanoseconds.replace(",", "")) > 0
