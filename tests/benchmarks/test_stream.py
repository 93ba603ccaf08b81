"""Single steps of a cell."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.harness import stream
from benchmarks.harness.stream import FROZEN, NN_CELL, StreamSize, StreamWork, Walk
from benchmarks.harness.work import Options

OPTIONS = Options("uniform", "pz", torch.device("cpu"), "float32", 1, 2, 60.0, (), 0)
WORK = StreamWork(StreamSize(2, 3, 2), OPTIONS)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STEPS", 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_are_right_and_timed_by_the_step(dtype: str) -> None:
    work = replace(WORK, options=replace(OPTIONS, dtype=dtype))
    entries = {entry.name: entry for entry in work.run(work.candidates(), work.limits())}
    assert list(entries) == ["QKANLSTMCell", FROZEN, NN_CELL]
    for entry in entries.values():
        assert (entry.reason, entry.wrong, entry.inference) == (None, False, [])
        assert entry.median > 0
    assert entries["QKANLSTMCell"].parameters == entries[FROZEN].parameters == 4 * 3 * (2 + 3) * 6 + 4 * 3
    assert entries[NN_CELL].parameters == 4 * 3 * (2 + 3 + 2)
    assert entries[NN_CELL].errors is None
    assert entries[FROZEN].errors.gradient is None


def test_a_walk_is_what_an_lstm_does() -> None:
    torch.manual_seed(0)
    lstm, cell = nn.LSTM(2, 3), nn.LSTMCell(2, 3)
    cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in lstm.state_dict().items()})
    x = torch.rand(6, 1, 2)
    walk = Walk(cell, x)
    output, (_, c) = lstm(x)
    torch.testing.assert_close(walk.forward(), output[-1])
    torch.testing.assert_close(list(walk.states())[-1][1], c[0])
    assert not walk.forward().requires_grad
    assert walk() == ()


class Off(nn.Module):
    def __init__(self, right: nn.Module, change: Callable) -> None:
        super().__init__()
        self.right, self.change = right, change

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self.change(hx, *self.right(x, hx))


@pytest.mark.parametrize(
    "change",
    [
        lambda hx, h, c: (h + 1e-3, c),
        lambda hx, h, c: (h, c * (1 + 1e-3)),
        lambda hx, h, c: (h, c if hx is None else c + 1e-3),
        lambda hx, h, c: (h * float("nan"), c),
    ],
    ids=["h", "c", "behind the first step", "nan"],
)
def test_wrong_states_are_caught(change: Callable) -> None:
    x = torch.rand(4, 1, 2)
    cell = WORK.cell("auto")
    assert not WORK._errors(Off(cell, lambda hx, h, c: (h, c)), x).too_large
    assert WORK._errors(Off(cell, change), x).too_large


def test_times_are_of_one_step() -> None:
    (one, *_) = WORK.candidates()
    prepared = one.prepare()
    assert prepared.repeats == 4
    assert len(prepared.step_of(1).wanted[0]) == 4


def test_facts_and_words() -> None:
    assert WORK.title == ("input size 2, H = 3, R = 2: ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread")
    assert (WORK.label, WORK.rows, WORK.facts) == ("H = 3, R = 2", 1, {"size": {"inputs": 2, "hidden": 3, "reps": 2}})
