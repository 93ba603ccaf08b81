"""``python -m benchmarks.c_export``."""

import pytest
from c_programs import c_compiler
from click.testing import CliRunner

from benchmarks import c_export


def test_every_way_of_writing_circuits_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    c_compiler()
    monkeypatch.setattr(c_export, "CELLS", {name: c_export.CELLS[name] for name in ("lstm", "hqkan")})
    done = CliRunner().invoke(
        c_export.main, ["--parameters", "40", "--window", "4", "--rounds", "1"], catch_exceptions=False
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [(row[0], row[2]) for row in rows] == [
        ("lstm", "-"), ("hqkan", "exact"), ("hqkan", "cubic"), ("hqkan", "int8"),
    ]  # fmt: skip
    assert all(500 < int(row[3].replace(",", "")) < 8192 for row in rows)
    assert all(float(row[6].replace(",", "")) > 0 for row in rows)
