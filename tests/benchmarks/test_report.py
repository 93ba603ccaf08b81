"""Figures and pictures of a benchmark."""

import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks.harness import report
from benchmarks.harness.candidates import CIRCUITS, CLASSICAL, OURS, Entry, Errors

ENTRIES = [
    Entry("bloch", OURS, "", 10, [0.002, 0.001, 0.003], [0.002], [0.0006], 2**20, Errors(1e-6, 1e-5, 1e-4, 1e-3)),
    Entry("spectral", OURS, "", 10, [0.5], [0.5], [], 2**21, Errors(float("nan"), 1e-5, 1e-4, 1e-3), wrong=True),
    Entry("MLP", CLASSICAL, "3-4-5", 12, [0.001], [0.001], [0.0002, 0.0004], 2**19),
    Entry("flash", CIRCUITS, reason="ImportError: no triton"),
]


def test_rows_hold_everything_that_was_measured() -> None:
    rows = {row["name"]: row for row in report.as_json(ENTRIES, ["MLP"])}
    assert rows["bloch"]["median_ms"] == pytest.approx(2)
    assert rows["bloch"]["quartiles_ms"] == pytest.approx([1.5, 2.5])
    assert rows["bloch"]["milliseconds"] == pytest.approx([2, 1, 3])
    assert rows["bloch"]["ratios"] == {"MLP": pytest.approx(2)}
    assert rows["bloch"]["inference_ratios"] == {"MLP": pytest.approx(2)}
    assert rows["bloch"]["memory_ratios"] == {"MLP": 2}
    assert rows["bloch"]["inference_median_ms"] == pytest.approx(0.6)
    assert rows["MLP"]["inference_milliseconds"] == pytest.approx([0.2, 0.4])
    assert (rows["spectral"]["inference_median_ms"], rows["spectral"]["inference_ratios"]) == (None, {})
    assert (rows["bloch"]["output_error"], rows["bloch"]["gradient_limit"]) == (1e-6, 1e-3)
    assert (rows["spectral"]["output_error"], rows["spectral"]["wrong"]) == ("nan", True)
    assert (rows["flash"]["reason"], rows["flash"]["median_ms"]) == ("ImportError: no triton", None)
    assert len({frozenset(row) for row in rows.values()}) == 1


def test_environment_names_machine_and_versions() -> None:
    found = report.environment(torch.device("cpu"), 3)
    assert (found["torch"], found["device"], found["threads"]) == (torch.__version__, "cpu", 3)
    assert found["device_name"] == found["cpu"] != ""


def test_environment_does_not_need_every_package(monkeypatch) -> None:
    def none(package: str) -> str:
        raise report.PackageNotFoundError(package)

    monkeypatch.setattr(report, "version", none)
    assert report.environment(torch.device("cpu"), 1)["triton"] is None


def test_processor_is_named_by_the_system(tmp_path: Path, monkeypatch) -> None:
    table = tmp_path / "cpuinfo"
    table.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: other\n")
    assert report.cpu_model(table) == "Some CPU @ 3 GHz"
    monkeypatch.setattr(report.platform, "processor", lambda: "")
    monkeypatch.setattr(report.platform, "machine", lambda: "arm64")
    assert report.cpu_model(tmp_path / "none") == "arm64"


def test_dots_show_times_and_memory_of_all_that_ran() -> None:
    figure = report.dots([("first", "forward + backward", ENTRIES), ("second", "one step", ENTRIES[1:2])])
    times, memory = figure.axes[:2]
    assert times.get_xlabel() == "forward + backward, milliseconds (median, quartiles; hollow: inference)"
    assert times.get_ylabel() == "candidate"
    assert memory.get_xlabel() == "memory beyond parameters, inputs and gradients, MiB"
    assert [label.get_text() for label in times.get_yticklabels()] == ["bloch", "spectral (WRONG)", "MLP 3-4-5"]
    medians = [container.lines[0].get_xdata()[0] for container in times.containers]
    assert medians == pytest.approx([2, 500, 1])
    hollow = [line for line in times.get_lines() if line.get_fillstyle() == "none"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [
        (pytest.approx(0.6), "bloch"),
        (pytest.approx(0.3), "MLP 3-4-5"),
    ]
    assert figure.axes[2].get_xlabel() == "one step, milliseconds (median, quartiles)"
    assert [line.get_xdata()[0] for line in memory.get_lines()] == pytest.approx([1, 2, 0.5])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["first", "", "second", ""]


def test_curves_have_a_line_for_each_candidate_that_ran() -> None:
    sweeps = {
        "fixed": {"B": [(4, ENTRIES), (8, ENTRIES[:1])], "R": [(1, ENTRIES[2:])]},
        "trained": {"B": [(4, ENTRIES)]},
    }
    figure = report.curves("from here", sweeps, {"B": "batch", "R": "reps"})
    drawn = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert drawn == {"bloch": [4, 8], "spectral": [4], "MLP": [4]}
    assert [axes.get_xlabel() for axes in figure.axes] == 2 * ["", "", "B, batch", "R, reps"]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == [
        f"{kind}: {what}"
        for kind in ("fixed", "trained")
        for what in ("forward + backward, milliseconds", "extra memory, MiB")
    ]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"bloch", "spectral", "MLP"}


def test_tables_have_a_row_for_each_that_ran() -> None:
    works = [("first", "a step", ENTRIES), ("other", "a walk", ENTRIES[3:]), ("second", "a step", ENTRIES[:1])]
    without_padding = re.sub(" {2,}", " ", re.sub(":?-{3,}:?", " --- ", report.markdown(works)))
    assert (
        without_padding
        == """\
| a step, milliseconds | first | second |
| --- | --- | --- |
| bloch | 2 | 2 |
| spectral | 500 | - |
| MLP | 1 | - |

| inference, milliseconds | first | second |
| --- | --- | --- |
| bloch | 0.6 | 0.6 |
| MLP | 0.3 | - |

| extra memory, MiB | first | second |
| --- | --- | --- |
| bloch | 1 | 1 |
| spectral | 2 | - |
| MLP | 0.5 | - |

| parameters | first | second |
| --- | --- | --- |
| bloch | 10 | 10 |
| spectral | 10 | - |
| MLP | 12 | - |
"""
    )


def test_figures_tables_and_picture_are_written(tmp_path: Path) -> None:
    picture = report.dots([("one", "a step", ENTRIES)])
    paths = report.save(tmp_path / "deep" / "er", "layer", {"works": []}, "| ü |\n", picture)
    assert json.loads(paths["figures"].read_text()) == {"schema": report.SCHEMA, "works": []}
    assert paths["tables"].read_text(encoding="utf-8") == "| ü |\n"
    assert paths["picture"].read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == {"layer.json", "layer.md", "layer.png"}
