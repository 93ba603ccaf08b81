"""``python -m benchmarks.gpu`` on a machine without a GPU: what is written, and that nothing stops it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from benchmarks.gpu import compare, main, prices, speed, suite, timing, tree
from benchmarks.gpu.record import Record, run_cases
from qkan import QKANLayer

CPU = torch.device("cpu")


def fail() -> dict[str, Any]:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")


def test_a_dry_run_builds_kernels_and_counts_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    out = tmp_path / "gpu.json"
    assert main.main(["--dry", "--small", "--out", str(out)]) == 0
    phases = json.loads(out.read_text())["phases"]
    assert phases["launches"]["cases"]["layer 64, 8, 20, 3 fixed"]["launches"] == 4
    built = phases["builds"]["cases"]["sm_90 expansions"]["kernels"]
    assert [kernel["kernel"] for kernel in built] == [
        "coefficients_kernel", "features_kernel", "input_gradient_kernel", "coefficients_gradient_kernel",
    ]  # fmt: skip


def test_cases_go_on_behind_failures_and_stop_with_their_time(tmp_path: Path) -> None:
    record = Record(tmp_path / "r.json")
    cases = [("wrong", lambda: {}["key"]), ("right", lambda: {"number": 3})]
    run_cases(record, "phase", cases, time.time() + 60)
    found = json.loads(record.path.read_text())["phases"]["phase"]["cases"]
    assert found["wrong"]["outcome"] == "failed"
    assert found["wrong"]["error"] == "KeyError: 'key'"
    assert found["right"]["outcome"] == "done"
    assert found["right"]["number"] == 3
    run_cases(record, "phase", [("late", dict)], time.time() - 1)
    assert record.phase("phase")["cases"]["late"]["outcome"] == "not run: the phase had no time left"


def test_a_case_that_breaks_the_device_ends_the_process_and_the_next_goes_on_behind_it(tmp_path: Path) -> None:
    cases = [("lost", fail), ("behind", dict)]
    with pytest.raises(SystemExit, match="illegal memory access"):
        run_cases(Record(tmp_path / "r.json"), "phase", cases, time.time() + 60)
    run_cases(Record(tmp_path / "r.json"), "phase", cases, time.time() + 60)
    found = Record(tmp_path / "r.json").phase("phase")["cases"]
    assert {name: case["outcome"] for name, case in found.items()} == {"lost": "failed", "behind": "done"}


def test_the_budgets_of_all_phases_fit_into_eight_minutes() -> None:
    assert main.BUDGET == 480
    assert sum(seconds for _, seconds in main.PHASES.values()) + 8 * len(main.PHASES) <= main.BUDGET
    with pytest.raises(SystemExit):
        main.main(["--budget", "0"])


def test_agreement_is_judged_against_double_precision() -> None:
    x = torch.rand(7, 3)
    right = compare.agreement(lambda: QKANLayer(3, 2, 1), x, CPU)
    assert right["outcome"] == "done"
    assert right["relative_error"] < 1e-5
    assert compare.agreement(lambda: QKANLayer(3, 2, 1), x, CPU, 1e-12)["outcome"] == "failed"
    assert compare.judged(float("nan"), 1.0)["outcome"] == "failed"


def test_steps_are_timed_with_and_without_gradients() -> None:
    layer, x = torch.nn.Linear(3, 2), torch.rand(5, 3)
    assert timing.measured(timing.training(layer, x), CPU)["ms"] > 0
    assert [part.shape for part in timing.training(layer, x)()] == [(5, 3), (2, 3), (2,)]


def test_peers_have_as_many_parameters() -> None:
    assert speed.parameters_of(speed.mlp(8, 20, 1440)) == pytest.approx(1440, rel=0.03)
    width = speed.lstm_width(64, 100_000)
    assert speed.parameters_of(torch.nn.LSTM(64, width)) == pytest.approx(100_000, rel=0.03)
    assert speed.PlainFormula(3, 4, 2)(torch.rand(5, 3)).shape == (5, 4)


def test_prices_are_least_squares_without_negative_ones() -> None:
    matrix = torch.tensor([[1.0, 2.0, 1.0], [2.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 1.0, 1.0]], dtype=torch.float64)
    truth = torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(prices.not_negative(matrix, matrix @ truth), truth)
    assert float(prices.not_negative(matrix, matrix @ torch.tensor([1.0, -1.0, 1.0]).double()).min()) == 0


def test_outcomes_of_tests_are_read_from_their_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/><testcase classname="a" name="c"><failure '
        'message="1 != 2"/></testcase><testcase classname="a" name="d"><skipped/></testcase></testsuite></testsuites>'
    )
    assert suite.outcomes(report) == {"outcome": "failed", "passed": 1, "skipped": 1, "failed": {"a::c": "1 != 2"}}


def test_files_that_are_run_on_a_card_exist() -> None:
    assert all((tree.ROOT / file).exists() for file in suite.FILES)
