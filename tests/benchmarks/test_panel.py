"""The benchmark of panels on disk, at a size that takes no time."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import panel
from benchmarks.harness.memory import run_measured


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


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_that_of_a_command_and_its_children() -> None:
    """A fork shares the pages of its parent, so both together have them once."""
    parent = "import os, time; own = bytearray(b'1' * 60_000_000); child = os.fork(); time.sleep(1.2); print('done')"
    printed, memory = run_measured([sys.executable, "-c", parent])
    assert printed == "done\ndone\n"
    assert 57 <= memory["pss_anon_mib"] <= 90
    assert memory["pss_mib"] >= memory["pss_anon_mib"]
