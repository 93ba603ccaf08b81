"""The benchmark of panels on disk, at a size that takes no time."""

import json
from pathlib import Path

import pytest

from benchmarks import panel


def test_every_stage_of_one_process_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = {"cell": "lstm", "hidden_size": 2, "window": 4, "horizon": 1, "season": "none", "level": "none"}
    for name in ("make", "prepare", "train", "predict"):
        panel.stage(name, tmp_path, 3, 60, 0.0, shape)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["stage"] for row in rows] == ["make", "prepare", "train", "predict"]
    assert rows[0]["values"] == 180
    assert rows[2]["windows"] == 3 * (42 - 4)
    assert rows[2]["mapped_values"] == [180]
    assert rows[3]["forecasts"] == 3
