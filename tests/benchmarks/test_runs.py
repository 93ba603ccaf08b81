"""Whole benchmarks: what is on disk."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.harness import growth
from benchmarks.harness.candidates import Candidate, Errors
from benchmarks.harness.runs import compare, grow
from benchmarks.harness.stream import StreamSize, StreamWork
from benchmarks.harness.work import Options
from benchmarks.layer import LayerWork, Size, Truth
from benchmarks.lstm import LSTMWork
from benchmarks.lstm import Size as LSTMSize

OPTIONS = Options("uniform", "pz", torch.device("cpu"), "float32", 1, 2, 60.0, ("bloch",), 0)
WORK = LayerWork(Size(3, 2, 4, 1), OPTIONS, "fixed")


def test_everything_measured_so_far_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second_fails(self: LayerWork) -> list[Candidate]:
        if self.preact == "trained":
            raise KeyboardInterrupt
        return right(self)

    right = LayerWork.candidates
    monkeypatch.setattr(LayerWork, "candidates", second_fails)
    with pytest.raises(KeyboardInterrupt):
        compare([WORK, replace(WORK, preact="trained")], tmp_path, lambda *shown: None)
    works = json.loads((tmp_path / "layer.json").read_text())["works"]
    assert [(work["preact"], work["size"]) for work in works] == [
        ("fixed", {"batch": 3, "in_features": 2, "out_features": 4, "reps": 1})
    ]


def test_wrong_candidates_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Truth, "errors", lambda self, module: Errors(1.0, 0.0, 1e-6, 1e-6))
    shown = []
    written = compare([WORK], tmp_path, lambda work, entries, ratios: shown.append(work.title))
    assert written.wrong == ["bloch (3 x 2 to 4, R = 1, fixed)"]
    assert shown == [
        "3 x 2 to 4, R = 1: fixed pre-activations, ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread"
    ]
    rows = json.loads(written.files["figures"].read_text())["works"][0]["rows"]
    assert [row["wrong"] for row in rows] == [True, False, False]
    assert written.files["picture"].exists()
    assert re.search(r"^\| bloch +\| ", written.files["tables"].read_text(), re.MULTILINE)


def test_sweeps_are_written_point_by_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, work, room: None if max(work.size) < 5 else "enough")
    said: list[str] = []
    written = grow([replace(WORK, size=Size(4, 3, 3, 2))], tmp_path, lambda *shown: None, said.append)
    figures = json.loads(written.files["figures"].read_text())
    assert [(point["axis"], point["size"]["reps"]) for point in figures["points"]] == [
        ("B", 2),
        ("I", 2),
        ("O", 2),
        ("R", 2),
        ("R", 4),
    ]
    assert figures["base"] == {"batch": 4, "in_features": 3, "out_features": 3, "reps": 2}
    assert said == [f"{axis} ends before {value}: enough" for axis, value in (("B", 8), ("I", 6), ("O", 6), ("R", 8))]
    assert {what: path.name for what, path in written.files.items()} == {
        "figures": "growth.json",
        "tables": "growth.md",
        "picture": "growth.png",
    }
    assert written.wrong == []


def test_a_base_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, work, room: "too large")
    with pytest.raises(
        ValueError, match=r"^nothing can be measured from 4 x 3 to 3, R = 2 on; start from a smaller size$"
    ):
        grow([replace(WORK, size=Size(4, 3, 3, 2))], tmp_path, lambda *shown: None, [].append)


def test_other_peoples_modules_take_part(tmp_path: Path) -> None:
    answer = {"seconds": [1.0], "extra_bytes": 5, "parameters": 6}
    peer = Candidate("theirs", "peer splines", ask=lambda: answer)
    shown = []
    compare([WORK], tmp_path, lambda work, entries, ratios: shown.extend(entries), lambda work: [peer])
    assert [entry.name for entry in shown] == ["bloch", "MLP", "Linear", "theirs"]


def test_works_of_two_kinds_share_their_files(tmp_path: Path) -> None:
    options = replace(OPTIONS, backends=("auto",))
    works = [LSTMWork(LSTMSize(3, 2, 2, 1), options, 2, ("edge",)), StreamWork(StreamSize(2, 3, 1), options)]
    written = compare(works, tmp_path, lambda *shown: None)
    assert written.wrong == []
    assert {path.name for path in written.files.values()} == {"lstm.json", "lstm.md", "lstm.png"}
    figures = json.loads(written.files["figures"].read_text())
    assert figures["command"] == "python -m benchmarks.lstm"
    assert [list(work["size"].values()) for work in figures["works"]] == [[3, 2, 2, 1], [2, 3, 1]]
    tables = written.files["tables"].read_text().split("\n\n")
    assert [[cell.strip() for cell in table.splitlines()[0].strip("|").split("|")] for table in tables] == [
        [what, work]
        for work, heads in (
            ("B = 3, T = 2, H = 2, R = 1", ("forward + backward, milliseconds", "inference, milliseconds")),
            ("H = 3, R = 1", ("one step of one sample, milliseconds",)),
        )
        for what in (*heads, "extra memory, MiB", "parameters")
    ]


def test_a_recurrence_grows_in_batch_time_and_hidden_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, work, room: None if sum(work.size) < 10 else "enough")
    base = LSTMWork(LSTMSize(2, 2, 2, 1), replace(OPTIONS, backends=("auto",)), 1, ("input",))
    figures = json.loads(grow([base], tmp_path, lambda *shown: None, [].append).files["figures"].read_text())
    assert [(point["axis"], *point["size"].values()) for point in figures["points"]] == [
        ("B", 2, 2, 2, 1),
        ("B", 4, 2, 2, 1),
        ("T", 2, 2, 2, 1),
        ("T", 2, 4, 2, 1),
        ("H", 2, 2, 2, 1),
        ("H", 2, 2, 4, 1),
    ]
