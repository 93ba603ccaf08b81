"""Candidates of rational activations: the formula in two forms, the truth, the error of a running sum."""

import pytest
import torch
from torch import nn

from benchmarks import rational
from benchmarks.harness.candidates import CLASSICAL, OURS, Entry
from benchmarks.harness.work import Options, TokenSize
from benchmarks.rational import COPY, EAGER, GELU, STACKED, CoefficientErrors, Formula, RationalWork, Truth
from qkan.kernels.rational.types import Spec

SMALL = TokenSize(3, 5, 12)
OPTIONS = Options("normal", "", torch.device("cpu"), "float32", 1, 2, 60.0, ("auto", "torch"), 0)


def a_work(form: str = "abs_terms", order: tuple[int, int] = (5, 4), size: TokenSize = SMALL) -> RationalWork:
    return RationalWork(size, OPTIONS, Spec(3, order, form))


def truth_of(work: RationalWork) -> Truth:
    return Truth(work, work.options.numbers(work.size, "normal", 1), work.options.numbers(work.size, "normal", 2))


@pytest.mark.parametrize("form", ["abs_terms", "abs_sum"])
def test_everything_is_measured_and_right(form: str) -> None:
    work = a_work(form, (3, 2))
    entries = {entry.name: entry for entry in work.run(work.candidates(), work.limits())}
    assert list(entries) == ["GroupRational", "GroupRational, torch", GELU, EAGER, STACKED, COPY]
    assert [entry.family for entry in entries.values()] == [OURS, OURS] + [CLASSICAL] * 4
    for name, entry in entries.items():
        assert entry.reason is None
        assert not entry.wrong
        assert len(entry.seconds) == len(entry.inference) == 2
        assert (entry.errors is None) == (name in (GELU, COPY))
        assert entry.parameters == (0 if entry.errors is None else 3 * (4 + 2))
    notes = work.notes(list(entries.values()))
    assert len(notes) == 10
    assert "GB/s" in notes[0]
    assert "times the time of nn.GELU (at most 2.2 is the aim" in notes[2]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("form", ["abs_terms", "abs_sum"])
def test_the_formula_is_that_of_the_module(form: str, stacked: bool) -> None:
    module = a_work(form, (8, 3)).module().double()
    x = torch.randn(4, 12, dtype=torch.float64)
    assert torch.allclose(Formula(module, stacked)(x), module(x), rtol=1e-12)


def test_wrong_results_are_found() -> None:
    work = a_work()
    truth, right = truth_of(work), work.module()
    assert not truth.errors(right).too_large
    for name in ("numerator", "denominator"):
        wrong = work.module()
        with torch.no_grad():
            getattr(wrong, name)[1, 2] += 0.01
        assert truth.errors(wrong).too_large

    class Off(nn.Module):
        """Right, but for the gradient of one coefficient."""

        def __init__(self) -> None:
            super().__init__()
            self.numerator, self.denominator, self.right = right.numerator, right.denominator, [right]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            leak = 1e-2 * self.denominator[2, 3]
            return self.right[0](x) + (leak - leak.detach())

    errors = truth.errors(Off())
    assert errors.too_large
    assert errors.output < 1e-5
    assert errors.coefficients == errors.gradient


def test_a_running_sum_loses_digits() -> None:
    work = RationalWork(TokenSize(40, 50, 96), OPTIONS, Spec(3))
    truth = truth_of(work)
    ours = truth.errors(work.module())
    assert 0 < ours.coefficients < 0.3 * truth.naive
    assert 1e-7 < truth.naive < 1e-3
    assert ours.naive == truth.naive


def test_missed_aims_are_named() -> None:
    entries = [
        Entry("GroupRational", OURS, seconds=[3.0], inference=[1.0], extra_bytes=130, parameters=10),
        Entry(GELU, CLASSICAL, seconds=[1.0], extra_bytes=100),
        Entry(EAGER, CLASSICAL, seconds=[21.0]),
        Entry(COPY, CLASSICAL, seconds=[0.6], inference=[0.5]),
    ]
    entries[0].errors = CoefficientErrors(0.0, 0.0, 1.0, 1.0, 1e-8, 1e-6)
    notes = a_work().notes(entries)
    assert notes == [
        "GroupRational: 1.2e-06 GB/s, 50% of the bandwidth of a copy (forward alone 50%)",
        "GroupRational: 7 times as fast as autograd of the formula (at least 6 is the aim)",
        "GroupRational: 3 times the time of nn.GELU (at most 2.2 is the aim: MISSED)",
        "GroupRational: 1.3 times the extra memory of nn.GELU (at most 1.2 is the aim: MISSED)",
        "GroupRational: 0.01 times the error of a running sum in the coefficients' gradients (1.0e-08 against 1.0e-06) "
        "(at most 0.1 is the aim)",
    ]


def test_facts_for_the_figures() -> None:
    work = a_work("abs_sum", (8, 8))
    assert work.title == (
        "3 x 5 x 12: order (8, 8) over abs_sum, 3 groups, inputs standard normal, float32, cpu, 1 thread"
    )
    assert work.facts == {
        "size": {"batch": 3, "tokens": 5, "channels": 12},
        "groups": 3,
        "order": (8, 8),
        "denominator": "abs_sum",
    }
    assert set(work.tolerances.values()) == set(rational.TOLERANCES["float32"])
