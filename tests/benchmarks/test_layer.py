"""Candidates of a layer: sizes, truth."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks import layer
from benchmarks.harness.candidates import Entry, trained
from benchmarks.harness.work import Options, state_of
from benchmarks.layer import MLP, LayerWork, Size, Truth, hidden_width
from qkan.kernels import backends

OPTIONS = Options(
    inputs="uniform",
    ansatz="pz",
    device=torch.device("cpu"),
    dtype="float32",
    threads=1,
    rounds=2,
    limit=60.0,
    backends=("spectral", "bloch", "reference"),
    seed=0,
)


SMALL = Size(9, 3, 5, 2)


def a_work(preact: str = "trained", size: Size = SMALL, **options: object) -> LayerWork:
    return LayerWork(size, replace(OPTIONS, **options), preact)


def measure(work: LayerWork) -> list[Entry]:
    return work.run(work.candidates(), work.limits())


def state(work: LayerWork) -> dict[str, Tensor]:
    return state_of(work.layer("reference"), work.options.seed)


def truth_of(work: LayerWork) -> tuple[Truth, dict[str, Tensor]]:
    size, drawn = work.size, state(work)
    x, upstream = work.columns(size.in_features, "uniform", 1), work.columns(size.out_features, "normal", 2)
    return Truth(work, drawn, x, upstream), drawn


class Off(nn.Module):
    """A right layer whose output or gradient is then made wrong."""

    def __init__(self, work: LayerWork, state: dict[str, Tensor], change) -> None:
        super().__init__()
        self.right = work.layer("bloch")
        self.right.load_state_dict(state)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x, self.right(x), self.right)


@given(st.integers(1, 10**6), st.integers(1, 300), st.integers(1, 300))
def test_mlp_has_the_nearest_number_of_parameters_that_is_not_smaller(wanted: int, inputs: int, outputs: int) -> None:
    width = hidden_width(wanted, inputs, outputs)
    sizes = [hidden * (inputs + 1) + outputs * (hidden + 1) for hidden in (width - 1, width)]
    assert sizes[1] >= wanted
    assert width == 1 or sizes[0] < wanted


def test_mlp_of_a_work_has_that_many_parameters() -> None:
    entries = {entry.name: entry for entry in measure(a_work(size=Size(4, 7, 5, 3)))}
    ours, mlp = entries["bloch"].parameters, entries[MLP].parameters
    assert ours == 7 * 5 * (4 * 2 + 3 * 2 + 1)
    assert mlp == 7 * 40 + 40 + 40 * 5 + 5
    assert entries[MLP].detail == "7-40-5"
    assert ours <= mlp < ours + 7 + 5 + 1
    assert entries["Linear"].parameters == 7 * 5 + 5


@pytest.mark.parametrize("preact", ["fixed", "trained"])
@pytest.mark.parametrize(
    ("dtype", "ansatz"), [("float32", "pz"), ("float64", "rpz"), ("bfloat16", "real"), ("float64", "px")]
)
def test_every_backend_is_right_or_refuses(preact: str, dtype: str, ansatz: str) -> None:
    for entry in measure(a_work(preact, dtype=dtype, ansatz=ansatz)):
        assert not entry.wrong
        if entry.name == "spectral" and ansatz == "px":
            assert entry.reason is not None
            assert entry.reason.startswith("backend 'spectral' cannot run this layer: ansatz 'px' encodes acos(x)")
        else:
            assert entry.reason is None
            assert entry.median is not None
            assert entry.extra_bytes


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, right: y * (1 + 1e-3),
        lambda x, y, right: torch.cat((y[:-1], y[-1:] + 1e-3)),  # the last sample only
        lambda x, y, right: torch.cat((y[:, :-1], y[:, -1:] + 1e-3), -1),  # the last output only
        lambda x, y, right: y * float("nan"),
        lambda x, y, right: y + 1e-3 * (x - x.detach()).sum(-1, keepdim=True),  # the gradient of the inputs only
        lambda x, y, right: y + 1e-3 * (right.theta - right.theta.detach()).sum(),
        lambda x, y, right: y + 1e-3 * (right.preact_weight - right.preact_weight.detach()).sum(),
        lambda x, y, right: y + 1e-3 * (right.base_weight - right.base_weight.detach()).sum(),
    ],
    ids=["scale", "sample", "output", "nan", "inputs", "theta", "weight", "base"],
)
def test_wrong_answers_are_caught(change) -> None:
    work = a_work()
    truth, drawn = truth_of(work)
    assert not truth.errors(Off(work, drawn, lambda x, y, right: y)).too_large
    assert truth.errors(Off(work, drawn, change)).too_large


def test_gradients_of_samples_and_outputs_that_are_not_compared_must_be_zero(monkeypatch) -> None:
    monkeypatch.setattr(layer, "CHECKED_ELEMENTS", 3 * 2 * 3 * 4)
    monkeypatch.setattr(layer, "_CHECKED_SAMPLES", 4)
    work = a_work()
    truth, drawn = truth_of(work)
    assert truth.rows.tolist() == [0, 3, 5, 8]
    assert truth.outputs.tolist() == [0, 2, 4]
    assert not truth.errors(Off(work, drawn, lambda x, y, right: y)).too_large
    leaks = [
        lambda x, y, right: y + 1e-2 * (x[1] - x[1].detach()).sum(),
        lambda x, y, right: y + 1e-2 * (right.theta[1] - right.theta[1].detach()).sum(),
    ]
    for leak in leaks:
        errors = truth.errors(Off(work, drawn, leak))
        assert errors.output <= errors.output_limit
        assert errors.gradient > errors.gradient_limit


def test_limits_grow_with_the_terms_that_are_summed() -> None:
    errors = [truth_of(a_work(size=Size(2, inputs, 2, reps)))[0] for inputs, reps in ((1, 1), (4, 1), (4, 9))]
    per_output, per_gradient = layer.TOLERANCES["float32"]
    assert [one.output_limit for one in errors] == pytest.approx([per_output, 2 * per_output, 6 * per_output])
    assert [one.gradient_limit for one in errors] == pytest.approx([per_gradient, per_gradient, 3 * per_gradient])


def test_pre_activations_are_off_their_initial_values() -> None:
    work = a_work()
    drawn, fresh = state(work), work.layer("reference").state_dict()
    assert torch.equal(drawn["theta"], fresh["theta"])
    assert 0 < (drawn["preact_weight"] - 1).abs().max() <= 0.1
    assert 0 < drawn["preact_bias"].abs().max() <= 0.1
    assert "preact_weight" not in state(a_work("fixed"))


def test_all_backends_hold_the_same_parameters_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = state(a_work())
    torch.manual_seed(2)
    assert all(torch.equal(first[name], tensor) for name, tensor in state(a_work()).items())


def test_backend_that_cannot_run_here_says_why(monkeypatch) -> None:
    monkeypatch.setattr(backends, "available_backends", lambda: {"bloch": None, "triton": "triton is not installed"})
    found = a_work(backends=("bloch", "triton")).candidates()
    assert [(one.name, one.reason, one.prepare is None) for one in found] == [
        ("bloch", None, False),
        ("triton", "triton is not installed", True),
        (MLP, None, False),
        ("Linear", None, False),
    ]


def test_the_stream_of_random_numbers_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    measure(a_work("fixed", Size(2, 2, 2, 1)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "inputs uniform on [-1, 1], float32, cpu, 1 thread"),
        ({"inputs": "normal", "threads": 2}, "inputs standard normal, float32, cpu, 2 threads"),
        ({"ansatz": "px"}, "ansatz px, inputs uniform on [-0.8, 0.8], float32"),
        ({"device": torch.device("cuda", 0)}, "float32, cuda:0"),
    ],
)
def test_title_says_what_was_measured(options: dict, words: str) -> None:
    title = a_work(**options).title
    assert title.startswith("9 x 3 to 5, R = 2: trained pre-activations, ansatz p")
    assert words in title
    assert trained(a_work().layer("bloch")) == 5 * 3 * (3 * 2 + 2 * 2 + 1)
