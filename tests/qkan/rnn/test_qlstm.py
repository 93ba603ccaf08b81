"""QLSTM: the numbers step by step, PennyLane, options. Its call contract: test_lstm_contract.py."""

import math
import pickle
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import qubit_circuits
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from qkan import QLSTM
from qkan.kernels.multiqubit.circuit import Engine
from qkan.rnn import qlstm

F64 = torch.float64


def run(module: QLSTM, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """Output, states and the gradients of inputs and parameters."""
    x = x.clone().requires_grad_()
    output, (h, c) = module(x)
    loss = (output * upstream).sum() + h.square().sum() + c.sin().sum()
    return [output, h, c, *torch.autograd.grad(loss, (x, *module.parameters()))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("qubits", "layers", "hidden"), [(1, 1, 3), (3, 1, 2), (2, 2, 5)])
def test_it_is_an_lstm_over_circuits(qubits: int, layers: int, hidden: int, bias: bool) -> None:
    module = QLSTM(2, hidden, bias=bias, qubits=qubits, circuit_layers=layers, dtype=F64)
    gates = module.directions[0].gates
    x = torch.randn(3, 2, 2, dtype=F64)
    h = c = torch.zeros(2, hidden, dtype=F64)
    for step in x:
        z = step @ gates.input_encoder.weight.t() + h @ gates.hidden_encoder.weight.t()
        z = z + gates.input_encoder.bias if bias else z
        parts = []
        for gate in range(4):
            values = torch.stack([qubit_circuits.values(sample, gates.theta[gate]) for sample in z])
            rows = slice(gate * hidden, (gate + 1) * hidden)
            parts.append(values @ gates.decoder[rows].t() + (gates.bias[rows] if bias else 0))
        i, f, g, o = parts
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    _, (h_n, c_n) = module(x)
    torch.testing.assert_close(h_n[0], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(c_n[0], c, rtol=0, atol=1e-13)


def test_one_step_by_hand() -> None:
    module = QLSTM(1, 1, qubits=1, bias=False, dtype=F64)
    gates = module.directions[0].gates
    with torch.no_grad():
        gates.input_encoder.weight.fill_(0.5)
        gates.theta.copy_(torch.tensor([[[0.2, 1.0]], [[0.0, 0.0]], [[-1.0, 2.0]], [[3.0, 0.5]]], dtype=F64))
        gates.decoder.fill_(2.0)
    t, p = math.atan(0.7), math.atan(0.49)  # z = 0.5 * 1.4

    def value(a: float, b: float) -> float:
        return -math.cos(b) * math.sin(t) - math.sin(b) * math.cos(t) * math.cos(p + a)

    def sigmoid(v: float) -> float:
        return 1 / (1 + math.exp(-v))

    c = sigmoid(2 * value(0.2, 1.0)) * math.tanh(2 * value(-1.0, 2.0))
    h = sigmoid(2 * value(3.0, 0.5)) * math.tanh(c)
    output, (_, c_n) = module(torch.tensor([[[1.4]]], dtype=F64))
    assert output.item() == pytest.approx(h, abs=1e-14)
    assert c_n.item() == pytest.approx(c, abs=1e-14)


@pytest.mark.parametrize(("qubits", "layers"), [(1, 1), (2, 2), (3, 1), (4, 1), (4, 3), (5, 2)])
def test_pennylane_agrees_in_outputs_states_and_every_gradient(qubits: int, layers: int) -> None:
    options = {"qubits": qubits, "circuit_layers": layers, "dtype": F64, "num_layers": 2, "bidirectional": True}
    backends = {backend: QLSTM(3, 2, **options, backend=backend) for backend in ("pauli", "state", "pennylane")}
    for module in backends.values():
        module.load_state_dict(backends["pennylane"].state_dict())
    x, upstream = torch.randn(3, 2, 3, dtype=F64), torch.randn(3, 2, 4, dtype=F64)
    found = {name: run(module, x, upstream) for name, module in backends.items()}
    for name in ("pauli", "state"):
        for got, want in zip(found[name], found["pennylane"], strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


def test_pennylane_in_single_precision_packed_and_with_nothing() -> None:
    ours, pennylane = (QLSTM(3, 2, qubits=2, backend=backend) for backend in ("auto", "pennylane"))
    pennylane.load_state_dict(ours.state_dict())
    packed = pack_sequence([torch.randn(n, 3) for n in (1, 3, 2)], enforce_sorted=False)
    got, (h, _) = pennylane(packed)
    want, (expected_h, _) = ours(packed)
    assert got.data.dtype == torch.float32
    torch.testing.assert_close(got.data, want.data, rtol=0, atol=2e-6)
    torch.testing.assert_close(h, expected_h, rtol=0, atol=2e-6)
    assert pennylane(torch.randn(2, 0, 3))[0].shape == (2, 0, 2)


def test_wide_cells_read_the_circuits_before_the_decoders() -> None:
    # 4^qubits strings to 4 hidden gates: one product where that is less work, else two.
    small, wide = (
        QLSTM(1, 2, qubits=3, circuit_layers=2, dtype=F64),
        QLSTM(1, 40, qubits=3, circuit_layers=2, dtype=F64),
    )
    for module in (small, wide):
        state = QLSTM(1, module.hidden_size, qubits=3, circuit_layers=2, dtype=F64, backend="state")
        state.load_state_dict(module.state_dict())
        x, upstream = torch.randn(4, 2, 1, dtype=F64), torch.randn(4, 2, module.hidden_size, dtype=F64)
        for got, want in zip(run(module, x, upstream), run(state, x, upstream), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_parameters_by_hand() -> None:
    module = QLSTM(3, 5, qubits=2, circuit_layers=2)
    shapes = {name.removeprefix("directions.0.gates."): tuple(p.shape) for name, p in module.named_parameters()}
    assert shapes == {
        "theta": (4, 2, 5),
        "decoder": (20, 2),
        "bias": (20,),
        "input_encoder.weight": (2, 3),
        "input_encoder.bias": (2,),
        "hidden_encoder.weight": (2, 5),
    }


def test_initial_values() -> None:
    module = QLSTM(3, 4, qubits=5, generator=torch.Generator().manual_seed(0))
    again = QLSTM(3, 4, qubits=5, generator=torch.Generator().manual_seed(0))
    for a, b in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    gates = module.directions[0].gates
    assert gates.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    for tensor, bound in (
        (gates.theta, math.pi),
        (gates.decoder, 1 / math.sqrt(5)),
        (gates.input_encoder.weight, 0.5),
        (gates.hidden_encoder.weight, 0.5),
    ):
        assert 0.7 * bound < tensor.abs().max() <= bound
    before = gates.theta.detach().clone()
    module.reset_parameters(torch.Generator().manual_seed(1))
    assert not torch.equal(before, gates.theta)


def test_state_dict_fits_every_backend() -> None:
    pauli = QLSTM(2, 3, 2, qubits=3)
    other = QLSTM(2, 3, 2, qubits=3, backend="state")
    assert not torch.equal(pauli(torch.ones(2, 1, 2))[0], other(torch.ones(2, 1, 2))[0])
    other.load_state_dict(pauli.state_dict())
    torch.testing.assert_close(other(torch.ones(2, 1, 2))[0], pauli(torch.ones(2, 1, 2))[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"qubits": 0}, ValueError, r"qubits 0 is outside \[1, 12\]"),
        ({"qubits": 40}, ValueError, r"qubits 40 is outside \[1, 12\]: each qubit doubles"),
        ({"qubits": 2.0}, TypeError, "qubits must be an int, got float"),
        ({"circuit_layers": 0}, ValueError, r"circuit_layers 0 is outside \[1, 64\]"),
        (
            {"backend": "qiskit"},
            ValueError,
            "unknown backend 'qiskit'; use one of auto, pauli, state, pennylane",
        ),
        (
            {"qubits": 7, "circuit_layers": 2, "backend": "pauli"},
            ValueError,
            "backend 'pauli' cannot run circuits of this size: it takes at most 6 qubits .* got qubits=7",
        ),
        ({"dtype": torch.int64}, TypeError, "dtype must be a real floating-point type"),
        ({"dtype": torch.complex64}, TypeError, "dtype must be a real floating-point type"),
        ({"reps": 2}, TypeError, "reps"),
    ],
    ids=str,
)
def test_wrong_options(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QLSTM(1, 2, **options)


def test_options_are_keywords_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        QLSTM(1, 2, 1, True, False, 0.0, False, 0, 4)  # type: ignore[misc]


def test_without_pennylane_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan._util.optional.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"PennyLane is not installed, .*pip install 'qkan-seq\[pennylane\]'"):
        QLSTM(1, 2, backend="pennylane")
    assert QLSTM(1, 2)(torch.ones(1, 1, 1))[0].shape == (1, 1, 2)


@pytest.mark.parametrize(("qubits", "layers", "strings"), [(4, 1, True), (12, 1, True), (6, 3, True), (7, 2, False)])
def test_auto_takes_the_faster_way(qubits: int, layers: int, strings: bool) -> None:
    gates = QLSTM(1, 2, qubits=qubits, circuit_layers=layers).directions[0].gates
    assert gates.backend == ("pauli" if strings else "state")


def test_a_backend_set_later_is_checked_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    watched = [each._replace(prepare=partial(_watched, ran, each)) for each in qlstm.BACKENDS.engines]
    monkeypatch.setattr(qlstm, "BACKENDS", replace(qlstm.BACKENDS, engines=tuple(watched)))
    module, x = QLSTM(2, 3, qubits=2), torch.rand(3, 2, 2)
    with pytest.raises(ValueError, match="unknown backend 'stat'; use one of auto, pauli, state, pennylane"):
        module.backend = "stat"
    module(x)
    module.backend = "state"
    pickle.loads(pickle.dumps(module))(x)
    assert ran == ["pauli", "state"]
    assert module.explain_backend(x) == "layer 0: step by step: backend 'state' was asked for by name"


def _watched(ran: list[str], engine: Engine, *arguments: Any) -> Any:
    ran.append(engine.name)
    return engine.prepare(*arguments)


def test_states_beyond_the_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    module = QLSTM(1, 2, qubits=7, circuit_layers=2)
    x = torch.randn(3, 5, 1)
    # 15 rows, 4 circuits, 128 amplitudes of 8 bytes, in 2 layers behind CNOTs and behind 2 products each
    needed = 15 * 4 * 128 * 8 * 2 * 3
    monkeypatch.setattr("qkan.rnn.qlstm.memory", lambda device: needed - 1)
    with pytest.raises(
        ValueError, match=r"15 rows .* 7 qubits and 2 layers needs 0.0 GiB .* use checkpoint_steps, or fewer qubits"
    ):
        module(x)
    with torch.no_grad():
        assert module(x)[0].shape == (3, 5, 2)
    chunked = QLSTM(1, 2, qubits=7, circuit_layers=2, checkpoint_steps=2)  # two steps are 10 rows
    assert chunked(x)[0].shape == (3, 5, 2)
    monkeypatch.setattr("qkan.rnn.qlstm.memory", lambda device: needed)
    assert module(x)[0].shape == (3, 5, 2)


@pytest.mark.parametrize("backend", ["pauli", "state", "pennylane"])
def test_checkpoints_over_time_change_nothing(backend: str) -> None:
    options = {"qubits": 2, "circuit_layers": 2, "bidirectional": True, "dtype": F64, "backend": backend}
    module, chunked = QLSTM(1, 3, **options), QLSTM(1, 3, **options, checkpoint_steps=2)
    chunked.load_state_dict(module.state_dict())
    x, upstream = torch.randn(5, 2, 1, dtype=F64), torch.randn(5, 2, 6, dtype=F64)
    for got, want in zip(run(chunked, x, upstream), run(module, x, upstream), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_it_learns() -> None:
    torch.manual_seed(0)
    module, head = QLSTM(1, 3, qubits=2), nn.Linear(3, 1)
    x = torch.sin(torch.arange(60) * 0.4).unfold(0, 9, 1).t().unsqueeze(-1)
    inputs, targets = x[:8], x[8]
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=3e-2)
    losses = []
    for _ in range(60):
        loss = (head(module(inputs)[0][-1]) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 50


def test_what_print_shows() -> None:
    assert repr(QLSTM(1, 2, 3, qubits=5)).startswith("QLSTM(\n  1, 2, num_layers=3, qubits=5, circuit_layers=1")
