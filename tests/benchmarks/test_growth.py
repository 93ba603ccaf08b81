"""Sweeps over one size."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness import candidates, growth, work
from benchmarks.harness.candidates import CLASSICAL, OURS, Entry
from benchmarks.harness.growth import sweep
from benchmarks.harness.work import Options
from benchmarks.layer import LayerWork, Size

OPTIONS = Options("uniform", "pz", torch.device("cpu"), "float32", 1, 2, 70.0, ("bloch",), 0)
BASE = LayerWork(Size(4, 3, 2, 1), OPTIONS, "fixed")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, str | None]]]:
    """Pretend to measure: bloch takes 1 s and 100 MiB a sample, MLP a hundredth; room for 10 GiB. Return what ran."""
    ran: list[tuple[int, dict[str, str | None]]] = []

    def run(candidates, rows, device, limits, *, infer) -> list[Entry]:
        ran.append((rows, {one.name: one.reason for one in candidates}))
        entries = []
        for one in candidates:
            scale = rows if one.name == "bloch" else rows / 100
            entry = Entry(one.name, one.family, reason=one.reason)
            if one.reason is None:
                entry.seconds, entry.extra_bytes = [0.1 * scale], int(scale * 100 * 2**20)
            entries.append(entry)
        return entries

    monkeypatch.setattr(candidates, "run", run)
    monkeypatch.setattr(work, "free_bytes", lambda device: 10 * 2**30)
    return ran


def test_batch_doubles_until_the_next_step_would_be_too_large(measured) -> None:
    said: list[str] = []
    points = list(sweep("B", BASE, said.append))
    assert [point.value for point in points] == [4, 8, 16, 32, 64]
    assert [point.work.size[1:] for point in points] == [(3, 2, 1)] * 5
    assert said == ["bloch ends at B = 64: the next step would need about 13.8 GiB"]


def test_slow_candidates_leave_and_the_sweep_ends_with_the_last_backend(measured, monkeypatch) -> None:
    monkeypatch.setattr(work, "free_bytes", lambda device: 2**50)
    said: list[str] = []
    points = list(sweep("B", BASE, said.append))
    assert points[-1].value == 64  # 6.4 s a step; the limit of 70 s leaves 10 s for one
    assert said == ["bloch ends at B = 64: the next step would take about 14.1 s"]


def test_one_that_left_stays_in_the_table_with_its_reason(measured, monkeypatch) -> None:
    both = replace(BASE, options=replace(OPTIONS, backends=("bloch", "spectral")))
    points = list(sweep("B", both, [].append))
    assert points[-1].value > 64
    reasons = dict(measured)
    assert reasons[64]["bloch"] is None
    assert reasons[128]["bloch"] == "the next step would need about 13.8 GiB"
    assert reasons[128]["spectral"] is None


def test_repetitions_end_where_circuits_do(measured) -> None:
    said: list[str] = []
    points = list(sweep("R", replace(BASE, size=BASE.size._replace(reps=300)), said.append))
    assert [point.value for point in points] == [300, 600]
    assert said == ["R ends before 1,200: a circuit has at most 1024 repetitions"]


def test_data_that_would_not_fit_is_not_made(measured, monkeypatch) -> None:
    monkeypatch.setattr(work, "free_bytes", lambda device: 10 * 2**20)
    said: list[str] = []
    points = list(sweep("I", LayerWork(Size(1, 1000, 20, 1), OPTIONS, "trained"), said.append))
    assert [point.value for point in points] == [1000]
    assert said == ["bloch ends at I = 1,000: the next step would need about 0.2 GiB"]
    assert list(sweep("I", LayerWork(Size(1, 10_000, 20, 1), OPTIONS, "trained"), said.append)) == []
    assert said[1:] == ["I ends before 10,000: parameters and inputs alone would take about 0.1 GiB of 0.0 GiB"]


def test_a_real_sweep_measures_every_point(monkeypatch) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, work, room: "enough" if work.size.reps > 2 else None)
    points = list(sweep("R", replace(BASE, preact="trained"), lambda text: None))
    assert [point.work.size.reps for point in points] == [1, 2]
    for point in points:
        assert {entry.name: entry.family for entry in point.entries} == {
            "bloch": OURS,
            "MLP": CLASSICAL,
            "Linear": CLASSICAL,
        }
        assert all(entry.median and entry.extra_bytes and not entry.wrong for entry in point.entries)
