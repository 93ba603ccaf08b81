"""Every backend against PennyLane, and PennyLane's devices and ways to gradients against the reference."""

import copy
import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qkan import DARUAN, QKAN, QKANLSTM, Ansatz, PennyLane, QKANLayer
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.quantum import execution
from qkan.validation.layers import Case, compare, distance, random_layer, results, runnable_backends

#: Interpreted Triton kernels take seconds a case; tests/kernels compares them with the reference.
BACKENDS = [name for name in runnable_backends() if "triton" not in name]
MINE = Ansatz("mine", ("rx", "z", "ry"), "ry", ("y", "rz", "x", "rx"), initial=(0.48, -0.6, 0.64))


@st.composite
def ansatze(draw: st.DrawFn) -> Ansatz:
    """Circuits that nobody has written down: any gates, any initial state."""
    gates = st.sampled_from(("rx", "ry", "rz", "x", "y", "z"))
    block = (*draw(st.lists(gates, max_size=3)), draw(st.sampled_from(("rx", "ry", "rz"))))
    final = draw(st.sampled_from(((), ("x",), block[::-1])))
    polar, azimuth = (draw(st.floats(0, math.pi)) for _ in range(2))
    initial = (math.sin(polar) * math.cos(azimuth), math.sin(polar) * math.sin(azimuth), math.cos(polar))
    encoding = draw(st.sampled_from(("rx", "ry", "rz")))
    return Ansatz("random", block, encoding, final, initial, draw(st.sampled_from(("identity", "identity", "acos"))))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    inputs, outputs = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return Case(
        draw(st.sampled_from(tuple(ANSATZE)) | ansatze()),
        draw(st.integers(1, 4)),
        inputs,
        outputs,
        preact=draw(st.sampled_from((False, True, "input"))),
        group=draw(st.none() | st.integers(1, inputs) | st.just("input")),
        samples=draw(st.integers(1, 5)),
        dtype=draw(st.sampled_from((torch.float64, torch.float32))),
        per_sample=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=cases(), seed=st.integers(0, 2**31))
def test_every_backend_agrees_with_pennylane_on_random_layers(case: Case, seed: int) -> None:
    differences = compare(case, BACKENDS, PennyLane(), seed)
    assert {difference.backend for difference in differences} >= {"auto", "bloch", "reference"}
    assert [difference for difference in differences if not difference.passed] == []


WAYS = [
    {"diff_method": "backprop"},
    {"diff_method": "adjoint"},
    {"diff_method": "parameter-shift"},
    {"device": "lightning.qubit", "diff_method": "adjoint"},
    {"device": "lightning.qubit", "diff_method": "parameter-shift"},
    {"device": "default.mixed", "diff_method": "backprop"},
    {"device": "default.mixed", "diff_method": "parameter-shift"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ",".join(way.values()))
@pytest.mark.parametrize("ansatz", ["pz", "px", MINE], ids=["pz", "px", "mine"])
def test_devices_and_ways_to_gradients_agree_with_the_reference(way: dict[str, str], ansatz: str | Ansatz) -> None:
    for case in (
        Case(ansatz, 2, 3, 2, preact=True),
        Case(ansatz, 1, 2, 3, preact="input", group=2),
        Case(ansatz, 2, 2, 1, per_sample=True),
    ):
        layer, x, theta = random_layer(case, 3)
        expected = results(layer, "reference", x, theta)
        found = results(layer, PennyLane(**way), x, theta)
        assert found.keys() == expected.keys()
        assert {name: value for name, value in expected.items() if distance(found[name], value) > 1e-12} == {}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ",".join(way.values()))
def test_pieces_make_no_difference(way: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, theta = random_layer(Case("mix", 2, 3, 2, preact=True, samples=3), 0)
    whole = results(layer, PennyLane(**way), x, theta)
    monkeypatch.setattr(execution, "PIECE_CIRCUITS", 7)  # of 18
    pieces = results(layer, PennyLane(**way), x, theta)
    assert all(distance(pieces[name], value) < 1e-14 for name, value in whole.items())


def test_one_call_is_one_broadcast_execution() -> None:
    import pennylane as qml

    layer, x, _ = random_layer(Case("pz", 2, 5, 3, samples=4), 0)
    settings = PennyLane()
    layer.backend = settings
    with qml.Tracker(settings.open_device()) as tracker:
        layer(x.requires_grad_()).sum().backward()
    assert tracker.totals["simulations"] == 1


@pytest.mark.parametrize("diff_method", ["backprop", "parameter-shift"])
def test_second_derivatives(diff_method: str) -> None:
    layer = QKANLayer(2, 1, 1, init="normal", backend=PennyLane(diff_method=diff_method), dtype=torch.float64)
    x = torch.rand(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_adjoint_refuses_second_derivatives() -> None:
    layer = QKANLayer(1, 1, 1, backend=PennyLane(diff_method="adjoint"))
    x = torch.rand(3, 1, requires_grad=True)
    with pytest.raises(RuntimeError, match="'adjoint' gives first derivatives only; use 'parameter-shift'"):
        torch.autograd.grad(layer(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("way", WAYS[1:4], ids=lambda way: ",".join(way.values()))
def test_no_samples_at_all(way: dict[str, str]) -> None:
    layer = QKANLayer(3, 2, 1, backend=PennyLane(**way))
    y = layer(torch.zeros(0, 3))
    y.sum().backward()
    assert y.shape == (0, 2)
    assert torch.equal(layer.theta.grad, torch.zeros_like(layer.theta))


def test_modules_take_the_backend() -> None:
    x = torch.rand(3, 4, 2)
    for make in (
        lambda backend: QKAN([2, 3, 1], backend=backend),
        lambda backend: DARUAN(2, 2, backend=backend),
        lambda backend: QKANLSTM(2, 3, backend=backend),
    ):
        torch.manual_seed(0)
        ours = make("bloch")
        theirs = make("pennylane")
        theirs.load_state_dict(ours.state_dict())
        pair = [module(x) for module in (ours, theirs)]
        y, expected = (out[0] if isinstance(out, tuple) else out for out in pair)
        assert torch.allclose(y, expected, rtol=0, atol=1e-6)
        assert not torch.equal(y, torch.zeros_like(y))


def test_edges_and_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    layer, x, _ = random_layer(Case("pz", 2, 3, 2, preact=True), 1)
    layer.backend = "bloch"
    expected = layer.edge_outputs(x)
    layer.backend = "pennylane"
    assert torch.allclose(layer.edge_outputs(x), expected, rtol=0, atol=1e-14)
    assert layer.explain_backend(x).backend == "pennylane (default.qubit, backprop)"
    assert capsys.readouterr().out == "pennylane (default.qubit, backprop): asked for by name\n"
    assert "backend='pennylane'" in repr(layer)


def test_copies_keep_the_settings() -> None:
    layer = QKANLayer(2, 2, 1, backend=PennyLane(shots=10, seed=3, noise="readout=0.5"))
    layer(torch.rand(1, 2))  # opens the device
    twin = copy.deepcopy(layer)
    assert twin.backend == layer.backend
    assert twin.backend._devices == {}


def test_shots_err_as_statistics_predict_on_every_device() -> None:
    for shots, device in product((50, 200), ("default.qubit", "lightning.qubit", "default.mixed")):
        layer, x, _ = random_layer(Case("pz", 2, 4, 3, samples=5), 1)
        phi = {"ansatz": layer.ansatz, "reps": 2}
        with torch.no_grad():
            exact = PennyLane().phi(x.unsqueeze(-2), *layer.circuit_parameters(), **phi)
            measured = PennyLane(device=device, shots=shots, seed=1)
            found = measured.phi(x.unsqueeze(-2), *layer.circuit_parameters(), **phi)
        # Every estimate is a mean of +-1: a whole number of ones.
        ones = (found + 1) / 2 * shots
        assert torch.allclose(ones, ones.round(), rtol=0, atol=1e-9)
        error = float((found - exact).square().mean().sqrt())
        predicted = math.sqrt(float((1 - exact.square()).mean()) / shots)
        assert 0.7 * predicted < error < 1.3 * predicted


def test_a_seed_repeats_measurements_and_calls_differ() -> None:
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
    layer = QKANLayer(3, 2, 1, base_activation=None, dtype=torch.float64)

    def twice() -> tuple[torch.Tensor, torch.Tensor]:
        layer.backend = PennyLane(shots=100, seed=5)
        return layer(x), layer(x)

    (first, second), (again, _) = twice(), twice()
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_gradients_from_shots_are_right_on_average() -> None:
    layer, x, _ = random_layer(Case("pz", 1, 2, 1, samples=3), 2)
    expected = results(layer, "reference", x, None)["d theta"]
    found = results(layer, PennyLane(shots=20_000, seed=1), x, None)["d theta"]
    assert 0 < float((found - expected).abs().max()) < 0.03
