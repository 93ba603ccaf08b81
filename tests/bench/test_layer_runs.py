"""Whole benchmarks: what is on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qkan.bench import growth, layer, layer_runs
from qkan.bench.contest import Errors
from qkan.bench.layer import Options, Size, Truth
from qkan.bench.layer_runs import compare, grow

OPTIONS = Options(("fixed",), "uniform", "pz", torch.device("cpu"), "float32", 1, 2, 60.0, ("bloch",), 0)


def test_everything_measured_so_far_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second_fails(work: layer.Work, others: object) -> list:
        if work.preact == "trained":
            raise KeyboardInterrupt
        return layer.measure(work)

    monkeypatch.setattr(layer_runs, "measure", second_fails)
    both = replace(OPTIONS, preacts=("fixed", "trained"))
    with pytest.raises(KeyboardInterrupt):
        compare([Size(3, 2, 4, 1)], both, tmp_path, lambda *shown: None)
    works = json.loads((tmp_path / "layer.json").read_text())["works"]
    assert [(work["preact"], work["size"]) for work in works] == [
        ("fixed", {"batch": 3, "in_features": 2, "out_features": 4, "reps": 1})
    ]


def test_wrong_contestants_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Truth, "errors", lambda self, module: Errors(1.0, 0.0, 1e-6, 1e-6))
    shown = []
    written = compare([Size(3, 2, 4, 1)], OPTIONS, tmp_path, lambda title, entries, ratios: shown.append(title))
    assert written.wrong == ["bloch (3 x 2 to 4, R = 1, fixed)"]
    assert shown == [
        "3 x 2 to 4, R = 1: fixed pre-activations, ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread"
    ]
    rows = json.loads(written.figures.read_text())["works"][0]["rows"]
    assert [row["wrong"] for row in rows] == [True, False, False]
    assert written.picture.exists()


def test_sweeps_are_written_point_by_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, size, preact, room: None if max(size) < 5 else "enough")
    said: list[str] = []
    written = grow(Size(4, 3, 3, 2), OPTIONS, tmp_path, lambda *shown: None, said.append)
    figures = json.loads(written.figures.read_text())
    assert [(point["axis"], point["size"]["reps"]) for point in figures["points"]] == [
        ("B", 2),
        ("I", 2),
        ("O", 2),
        ("R", 2),
        ("R", 4),
    ]
    assert figures["base"] == {"batch": 4, "in_features": 3, "out_features": 3, "reps": 2}
    assert said == [f"{axis} ends before {value}: enough" for axis, value in (("B", 8), ("I", 6), ("O", 6), ("R", 8))]
    assert (written.picture.name, written.wrong) == ("growth.png", [])


def test_a_base_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, size, preact, room: "too large")
    with pytest.raises(
        ValueError, match=r"^nothing can be measured from 4 x 3 to 3, R = 2 on; start from a smaller size$"
    ):
        grow(Size(4, 3, 3, 2), OPTIONS, tmp_path, lambda *shown: None, [].append)
