from pathlib import Path

import pytest

from qkan.datasets import SPECS

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "data.md"


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_series_is_documented_with_its_size_seasons_and_unit(spec):
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{spec.name}` |")]
    assert len(rows) == 1
    _, _, points, seasons, unit, definition, _ = rows[0].split("|")
    assert points.strip() == f"{spec.points:,}"
    assert [int(word) for word in seasons.replace(",", " ").split() if word.isdigit()] == list(spec.season)
    assert unit.strip() == spec.unit
    assert len(definition) > 20
