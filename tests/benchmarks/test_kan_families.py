"""``python -m benchmarks.kan_families``: networks of about one size, and a table of all of them."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import kan_families


def test_networks_are_of_about_one_size() -> None:
    sizes = [sum(p.numel() for p in kan_families.network(f, 1.0, 0).parameters()) for f in kan_families.FAMILIES]
    assert max(sizes) <= 1.25 * min(sizes)


@pytest.mark.parametrize("function", kan_families.FUNCTIONS)
def test_targets_have_unit_variance(function: str) -> None:
    x, y = kan_families.data(function, 5, 20_000)
    assert x.abs().max() <= 1
    torch.testing.assert_close(torch.stack((y.mean(), y.std())), torch.tensor([0.0, 1.0]), rtol=0, atol=0.03)


def test_a_row_for_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kan_families, "STEPS", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    words = ["--seeds", "2", "--function", "product: x y", "--out", str(tmp_path / "all.json")]
    done = CliRunner().invoke(kan_families.main, words, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads((tmp_path / "all.json").read_text())
    assert [row["family"] for row in found] == list(kan_families.FAMILIES)
    assert all(len(row["errors"]) == 2 for row in found)
    assert done.output.count("product: x y") == len(found)
