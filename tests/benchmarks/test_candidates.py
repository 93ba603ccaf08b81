"""Contests: who runs, who refuses, whose times count."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.harness import candidates
from benchmarks.harness.candidates import (
    CIRCUITS,
    CLASSICAL,
    OURS,
    SPLINES,
    Candidate,
    Entry,
    Errors,
    Prepared,
    ratios,
    run,
)
from benchmarks.harness.measure import Limits, Step

CPU = torch.device("cpu")
LIMITS = Limits(3, 60, 2**40)
GOOD, BAD = Errors(1e-7, 1e-6, 1e-5, 1e-4), Errors(1e-7, 1e-3, 1e-5, 1e-4)


def linear(name: str = "linear", errors: Errors | None = None, log: list[str] | None = None) -> Candidate:
    module = nn.Linear(3, 2)

    def step_of(rows: int) -> Step:
        if log is not None:
            log.append(name)
        return Step(module, torch.rand(rows, 3, requires_grad=True), torch.rand(rows, 2))

    return Candidate(name, OURS, lambda: Prepared(8, step_of, None if errors is None else lambda: errors, "3-2"))


def failing(error: Exception) -> Candidate:
    def prepare() -> Prepared:
        raise error

    return Candidate("failing", OURS, prepare)


def test_entry_holds_what_was_measured() -> None:
    (entry,) = run([linear(errors=GOOD)], 4, CPU, LIMITS)
    assert (entry.name, entry.family, entry.parameters, entry.detail) == ("linear", OURS, 8, "3-2")
    assert (entry.errors, entry.wrong, entry.reason) == (GOOD, False, None)
    assert entry.extra_bytes == 4 * 2 * 4
    assert len(entry.seconds) == 3
    assert entry.medians == [entry.median]
    assert entry.inference == []


def test_inference_is_timed_after_all_training_steps() -> None:
    seen: list[tuple[bool, bool]] = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    module = Watched(3, 2)

    def step_of(rows: int) -> Step:
        return Step(module, torch.rand(rows, 3, requires_grad=True), torch.rand(rows, 2))

    one, other = run([Candidate("watched", OURS, lambda: Prepared(8, step_of)), linear()], 4, CPU, LIMITS, infer=True)
    assert len(one.inference) == len(other.inference) == 3
    assert 0 < one.inference_median != one.median
    first = seen.index((False, False))
    assert set(seen[:first]) == {(True, True)}
    assert set(seen[first:]) == {(False, False)}


def test_times_of_repeated_work_are_those_of_one(monkeypatch) -> None:
    monkeypatch.setattr(candidates, "time_in_turns", lambda steps, device, limits: {name: [6.0, 9.0] for name in steps})
    prepared = linear().prepare
    assert prepared is not None
    (entry,) = run([Candidate("thrice", OURS, lambda: replace(prepared(), repeats=3))], 4, CPU, LIMITS)
    assert entry.seconds == [2.0, 3.0]


def test_too_large_errors_are_marked_and_still_timed() -> None:
    (entry,) = run([linear(errors=BAD)], 4, CPU, LIMITS)
    assert entry.wrong
    assert entry.median is not None


@pytest.mark.parametrize(
    ("errors", "too_large"),
    [
        (GOOD, False),
        (BAD, True),
        (Errors(1e-4, 0, 1e-5, 1), True),
        (Errors(math.nan, 0, 1, 1), True),
        (Errors(0, math.nan, 1, 1), True),
        (Errors(1e-5, 1e-4, 1e-5, 1e-4), False),
        (Errors(1e-5, None, 1e-5, None), False),
        (Errors(1e-4, None, 1e-5, None), True),
    ],
)
def test_errors_beyond_their_limits(errors: Errors, too_large: bool) -> None:
    assert errors.too_large is too_large


@pytest.mark.parametrize(
    ("error", "reason", "wrong"),
    [
        (ValueError("backend 'x' cannot run this layer"), "backend 'x' cannot run this layer", False),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ", True),
        (MemoryError(), "not enough memory", False),
    ],
)
def test_one_that_cannot_run_does_not_stop_the_others(error: Exception, reason: str, wrong: bool) -> None:
    first, second = run([failing(error), linear()], 4, CPU, LIMITS)
    assert (first.reason, first.wrong, first.median) == (reason, wrong, None)
    assert second.median is not None


def test_refusal_while_it_runs_is_a_refusal() -> None:
    class Refusing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no bound on the inputs is known")

    def step_of(rows: int) -> Step:
        return Step(Refusing(), torch.rand(rows, 3, requires_grad=True), torch.rand(rows, 3))

    (entry,) = run([Candidate("refusing", OURS, lambda: Prepared(0, step_of))], 4, CPU, LIMITS)
    assert (entry.reason, entry.wrong) == ("no bound on the inputs is known", False)


def test_peers_run_before_and_after_and_the_better_time_counts() -> None:
    log: list[str] = []
    answers = iter([([3.0, 5.0, 4.0], [0.5, 0.7]), ([2.0, 1.0, 3.0], [0.8])])

    def ask() -> dict[str, object]:
        log.append("peer")
        seconds, inference = next(answers)
        return {"seconds": seconds, "inference": inference, "extra_bytes": 7, "parameters": 9}

    peer, _ = run([Candidate("peer", CIRCUITS, ask=ask), linear(log=log)], 1, CPU, LIMITS)
    assert log == ["peer", "linear", "linear", "peer"]
    assert (peer.median, peer.seconds, peer.medians) == (2.0, [2.0, 1.0, 3.0], [4.0, 2.0])
    assert (peer.extra_bytes, peer.parameters, peer.inference) == (7, 9, [0.5, 0.7])


def test_peer_that_cannot_run_is_asked_once() -> None:
    asked = []

    def ask() -> dict[str, object]:
        asked.append(1)
        return {"reason": "ImportError: no triton"}

    (peer,) = run([Candidate("peer", CIRCUITS, ask=ask)], 4, CPU, LIMITS)
    assert (peer.reason, len(asked)) == ("ImportError: no triton", 1)


def test_peer_that_fails_the_second_time_keeps_its_first_times() -> None:
    answers = iter([{"seconds": [1.0], "extra_bytes": 7, "parameters": 9}, {"reason": "too slow"}])
    (peer,) = run([Candidate("peer", CIRCUITS, ask=lambda: next(answers))], 4, CPU, LIMITS)
    assert (peer.reason, peer.median) == (None, 1.0)


def test_reason_given_beforehand_is_kept() -> None:
    (entry,) = run([Candidate("triton", OURS, reason="triton is not installed")], 4, CPU, LIMITS)
    assert entry.reason == "triton is not installed"


def test_median_and_quartiles() -> None:
    entry = Entry("a", OURS, seconds=[5.0, 1.0, 2.0, 4.0, 3.0])
    assert (entry.median, entry.quartiles) == (3.0, (2.0, 4.0))
    assert Entry("a", OURS, seconds=[2.0]).quartiles == (2.0, 2.0)
    assert (Entry("a", OURS).median, Entry("a", OURS).quartiles) == (None, None)


def test_ratios_to_the_baseline_and_to_the_best_peers() -> None:
    entries = [
        Entry("ours", OURS, seconds=[2.0]),
        Entry("MLP", CLASSICAL, seconds=[1.0]),
        Entry("exact", CIRCUITS, seconds=[100.0]),
        Entry("tn", CIRCUITS, seconds=[50.0]),
        Entry("spline", SPLINES, seconds=[8.0]),
        Entry("flash", CIRCUITS, reason="no triton"),
    ]
    found = ratios(entries, ["MLP"])
    assert found["ours"] == {"MLP": 2.0, "best circuit peer": 0.04, "best spline peer": 0.25, "best peer": 0.25}
    assert "flash" not in found
    assert ratios(entries, ["MLP", "spline"])["ours"]["spline"] == 0.25
    assert ratios(entries[:2], ["MLP"])["ours"] == {"MLP": 2.0}
    assert set(candidates.ratios(entries[:1], ["MLP"])["ours"]) == set()
    entries[0].extra_bytes, entries[1].extra_bytes = 6, 4
    assert ratios(entries[:3], ["MLP"], lambda entry: entry.extra_bytes) == {"ours": {"MLP": 1.5}, "MLP": {"MLP": 1}}
