"""Candidates of a recurrence: variants, nn.LSTM of equal size, truth."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.harness import lstm_truth
from benchmarks.harness.candidates import CLASSICAL, OURS, Entry, trained
from benchmarks.harness.lstm_truth import Truth
from benchmarks.harness.work import Options, state_of
from benchmarks.lstm import EQUAL_HIDDEN, EQUAL_PARAMETERS, VARIANTS, LSTMWork, Size, Variant, equal_hidden
from qkan import QKANLSTM

OPTIONS = Options("uniform", "pz", torch.device("cpu"), "float32", 1, 2, 60.0, ("auto",), 0)
SMALL = Size(5, 4, 3, 2)
CELLS = tuple(VARIANTS)


def a_work(size: Size = SMALL, cells: tuple[str, ...] = CELLS, **options: object) -> LSTMWork:
    return LSTMWork(size, replace(OPTIONS, **options), 2, cells)


def measure(work: LSTMWork) -> list[Entry]:
    return work.run(work.candidates(), work.limits())


def truth_of(work: LSTMWork, cell: str = "trained") -> tuple[Truth, nn.Module]:
    """Return the truth, and a module with the same parameters."""
    x = work.options.numbers((work.size.steps, work.size.batch, work.input_size), "uniform", 1)
    upstream = work.options.numbers((work.size.steps, work.size.batch, work.size.hidden), "normal", 2)
    right = work.module(VARIANTS[cell], "auto")
    right.load_state_dict(work.state(VARIANTS[cell]))
    return work.truth(VARIANTS[cell], x, upstream), right


class Off(nn.Module):
    """A right recurrence whose results or gradients are then made wrong."""

    def __init__(self, right: nn.Module, change: Callable) -> None:
        super().__init__()
        self.right, self.change = right, change

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, states = self.right(x, hx)
        return self.change(x, hx, output, states, self.right)


def leak(of: Tensor) -> Tensor:
    """Zero, with a gradient."""
    return 1e-2 * (of - of.detach()).sum()


@given(st.integers(1, 10**6), st.integers(1, 50))
def test_nn_lstm_has_the_nearest_number_of_parameters_that_is_not_smaller(wanted: int, inputs: int) -> None:
    hidden = equal_hidden(wanted, inputs)
    sizes = [4 * size * (inputs + size + 2) for size in (hidden - 1, hidden)]
    assert sizes[1] >= wanted
    assert hidden == 1 or sizes[0] < wanted


def test_every_variant_and_both_lstms_take_part() -> None:
    entries = {entry.name: entry for entry in measure(a_work())}
    assert list(entries) == [*(VARIANTS[cell].name for cell in CELLS), EQUAL_HIDDEN, EQUAL_PARAMETERS]
    for entry in entries.values():
        assert (entry.reason, entry.wrong) == (None, False)
        assert (entry.errors is None) == (entry.family == CLASSICAL)
        assert entry.median > 0
        assert entry.inference_median > 0
        assert entry.extra_bytes > 0
    edges = 4 * 3 * (2 + 3)
    assert entries["QKANLSTM"].parameters == edges * 2 * 3 + 4 * 3
    assert entries["QKANLSTM, trained preact"].parameters == edges * (2 * 3 + 2 * 2) + 4 * 3
    assert entries["QKANLSTM, per input"].parameters == (2 + 3) * 2 * 3 + edges + 4 * 3
    assert entries[EQUAL_HIDDEN].parameters == 4 * 3 * (2 + 3 + 2)
    assert (entries[EQUAL_PARAMETERS].parameters, entries[EQUAL_PARAMETERS].detail) == (4 * 8 * 12, "(H = 8)")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_every_variant_is_right_in_every_dtype(dtype: str) -> None:
    for entry in measure(a_work(dtype=dtype, backends=("auto", "torch", "spectral"), inputs="normal")):
        assert (entry.reason, entry.wrong) == (None, False)


def test_backends_asked_for_are_candidates_of_their_own() -> None:
    found = a_work(cells=("edge", "input"), backends=("auto", "torch", "spectral")).candidates()
    names = [one.name for one in found if one.family == OURS]
    assert names == [
        name + more for name in ("QKANLSTM", "QKANLSTM, per input") for more in ("", ", torch", ", spectral")
    ]


class OneState(nn.Module):
    """Has the call contract of nn.GRU; ``wrong`` is added to the final state."""

    wrong = 0.0

    def __init__(self, *sizes: int, **options: object) -> None:
        super().__init__()
        self.lstm = QKANLSTM(*sizes, **options)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, (h, _) = self.lstm(x, None if hx is None else (hx, torch.zeros_like(hx)))
        return output, h + self.wrong * (x.dtype == torch.float32)


@pytest.mark.parametrize("wrong", [0.0, 1e-3])
def test_modules_with_one_state_are_compared_alike(monkeypatch, wrong: float) -> None:
    monkeypatch.setitem(VARIANTS, "gru", Variant("QKANGRU", OneState))
    monkeypatch.setattr(OneState, "wrong", wrong)
    entry, *_ = measure(a_work(cells=("gru",)))
    assert (entry.name, entry.reason, entry.wrong) == ("QKANGRU", None, wrong > 0)
    assert entry.errors.output == pytest.approx(wrong, abs=1e-6)


def test_what_refuses_the_work_is_a_row_with_a_reason() -> None:
    refused, *_ = measure(a_work(cells=("edge",), backends=("torch",), ansatz="px"))
    assert refused.reason is not None
    assert refused.reason.startswith("backend 'torch' cannot run this module: ")
    assert not refused.wrong


CHANGES = {
    "output": lambda x, hx, y, states, right: (y * (1 + 1e-3), states),
    "last row": lambda x, hx, y, states, right: (torch.cat((y[:, :-1], y[:, -1:] + 1e-3), 1), states),
    "last step": lambda x, hx, y, states, right: (torch.cat((y[:-1], y[-1:] + 1e-3)), states),
    "h_n": lambda x, hx, y, states, right: (y, (states[0] + 1e-3, states[1])),
    "c_n": lambda x, hx, y, states, right: (y, (states[0], states[1] + 1e-3)),
    "nan": lambda x, hx, y, states, right: (y * float("nan"), states),
    "gradient of x": lambda x, hx, y, states, right: (y + leak(x), states),
    "gradient of h_0": lambda x, hx, y, states, right: (y if hx is None else y + leak(hx[0]), states),
    "gradient of c_0": lambda x, hx, y, states, right: (y if hx is None else y + leak(hx[1]), states),
    "without given states": lambda x, hx, y, states, right: (y + 1e-3 if hx is None else y, states),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_wrong_results_are_caught(change: Callable) -> None:
    truth, right = truth_of(a_work())
    assert truth.steps == SMALL.steps
    assert not truth.errors(Off(right, lambda x, hx, y, states, right: (y, states))).too_large
    assert truth.errors(Off(right, change)).too_large


@pytest.mark.parametrize("cell", ["trained", "hqkan"])
def test_wrong_gradients_of_every_parameter_are_caught(cell: str) -> None:
    truth, right = truth_of(a_work(), cell)
    for name, _ in right.named_parameters():
        off = Off(right, lambda x, hx, y, states, right, name=name: (y + leak(right.get_parameter(name)), states))
        assert truth.errors(off).too_large, name


def test_only_some_rows_and_steps_of_a_large_work_are_compared(monkeypatch) -> None:
    angles = 4 * 3 * (2 + 3) * 3 * 2
    monkeypatch.setattr(lstm_truth, "CHECKED_ANGLES", 7 * angles)
    monkeypatch.setattr(lstm_truth, "_CHECKED_ROWS", 2)
    truth, right = truth_of(a_work(Size(5, 6, 3, 2)))
    assert (truth.steps, truth.rows.tolist()) == (3, [0, 4])
    assert [case.x.shape[0] for case in truth.cases] == [6, 3]
    assert not truth.errors(right).too_large
    leaks = (
        lambda x, hx, y, states, right: (y + leak(x[:, 1]), states),  # a row that is not compared
        lambda x, hx, y, states, right: (y + leak(x[4:]), states),  # steps that are not compared
    )
    for change in leaks:
        errors = truth.errors(Off(right, change))
        assert errors.output <= errors.output_limit
        assert errors.gradient > errors.gradient_limit
    late = truth.errors(Off(right, lambda x, hx, y, states, right: (torch.cat((y[:3], y[3:] + 1)), states)))
    assert not late.too_large  # nothing is known of these


def test_a_chaotic_recurrence_is_compared_before_it_magnifies_rounding(monkeypatch) -> None:
    wild = Variant("QKANLSTM, trained preact", QKANLSTM, {"preact_trainable": True, "init": "normal"})
    monkeypatch.setitem(VARIANTS, "trained", wild)  # near-linear circuits, the default, magnify nothing
    work = a_work(Size(2, 30, 8, 8))
    truth, right = truth_of(work)
    assert 2 <= truth.steps < 20
    assert not truth.errors(right).too_large
    assert truth_of(work, "hqkan")[0].steps == 30
    monkeypatch.setattr(lstm_truth, "_GROWTH", float("inf"))
    truth, right = truth_of(work)
    assert truth.steps == 30
    assert truth.errors(right).too_large


def test_gradients_that_are_exactly_zero_are_no_errors() -> None:
    # In one step from zero states the weights of the hidden state's circuits have no effect.
    truth, right = truth_of(a_work(Size(2, 1, 2, 1)))
    assert any(bool((gradient == 0).all()) for gradient in truth.cases[0].gradients)
    assert not truth.errors(right).too_large


def test_limits_grow_with_the_terms_that_are_summed() -> None:
    truth, _ = truth_of(a_work(Size(2, 2, 7, 4), ("edge",)), "edge")
    per_output, per_gradient = lstm_truth.TOLERANCES["float32"]
    assert (truth.output_limit, truth.gradient_limit) == pytest.approx((6 * per_output, 2 * per_gradient))


def test_all_candidates_hold_the_same_parameters_whatever_was_drawn_before() -> None:
    work = a_work()
    torch.manual_seed(1)
    first = work.state(VARIANTS["trained"])
    torch.manual_seed(2)
    assert all(torch.equal(first[name], tensor) for name, tensor in work.state(VARIANTS["trained"]).items())
    fresh = work.module(VARIANTS["trained"], "auto").state_dict()
    moved = {name.rpartition(".")[2] for name, tensor in first.items() if not torch.equal(tensor, fresh[name])}
    assert moved == {"preact_weight", "preact_bias"}
    assert state_of(work.module(VARIANTS["edge"], "auto"), 0).keys() == {
        name for name, _ in work.module(VARIANTS["edge"], "auto").named_parameters()
    }


def test_estimate_of_numbers_is_that_of_the_largest_variant() -> None:
    work = a_work()
    assert work.numbers == trained(work.module(VARIANTS["trained"], "auto")) + 5 * 4 * (2 + 3)


def test_title_says_what_was_measured() -> None:
    assert a_work().title == (
        "B = 5, T = 4, H = 3, R = 2: input size 2, ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread"
    )
