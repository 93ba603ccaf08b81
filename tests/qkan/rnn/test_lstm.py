"""QKAN-LSTM and HQKAN-LSTM: the numbers, step by step."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qkan import HQKANLSTM, QKANLSTM, QKANLSTMCell


def lstm_step(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@pytest.mark.parametrize("options", [{}, {"reps": 2, "preact_trainable": True, "base_activation": "silu"}], ids=str)
def test_qkan_lstm_is_an_lstm_over_one_layer_of_inputs_and_state(options: dict) -> None:
    module = QKANLSTM(2, 3, dtype=torch.float64, **options)
    gates = module.directions[0].gates
    x = torch.randn(6, 4, 2, dtype=torch.float64)
    h = c = torch.zeros(4, 3, dtype=torch.float64)
    outputs = []
    for step in x:
        h, c = lstm_step(gates.input(step) + gates.hidden(h) + gates.bias, c)
        outputs.append(h)
    got, (h_n, c_n) = module(x)
    torch.testing.assert_close(got, torch.stack(outputs), rtol=0, atol=1e-13)
    torch.testing.assert_close(h_n[0], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(c_n[0], c, rtol=0, atol=1e-13)


@pytest.mark.parametrize("latent", ["qkan", "linear", "tanh"])
def test_hqkan_lstm_is_an_lstm_over_a_jhcg_net(latent: str) -> None:
    module = HQKANLSTM(2, 3, latent_features=2, latent=latent, dtype=torch.float64)
    gates = module.directions[0].gates
    weight = torch.cat((gates.input_encoder.weight, gates.hidden_encoder.weight), 1)
    x = torch.randn(6, 4, 2, dtype=torch.float64)
    h = c = torch.zeros(4, 3, dtype=torch.float64)
    for step in x:
        code = torch.cat((step, h), 1) @ weight.t() + gates.input_encoder.bias
        h, c = lstm_step(gates.latent(code) @ gates.decoder.weight.t() + gates.decoder.bias, c)
    _, (h_n, c_n) = module(x)
    torch.testing.assert_close(h_n[0], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(c_n[0], c, rtol=0, atol=1e-13)


def test_cell_steps_as_the_module_does() -> None:
    module, cell = QKANLSTM(2, 3, reps=2), QKANLSTMCell(2, 3, reps=2)
    names = {f"cell.{name.removeprefix('directions.0.')}": value for name, value in module.state_dict().items()}
    cell.load_state_dict(names)
    x = torch.randn(5, 4, 2)
    state = None
    for step in x:
        state = cell(step, state)
    _, (h_n, c_n) = module(x)
    torch.testing.assert_close(state[0], h_n[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(state[1], c_n[0], rtol=0, atol=1e-6)


def test_identity_edges_reproduce_nn_lstm() -> None:
    """With an identity base branch and silent circuits (slope angle 0) a QKAN-LSTM is exactly nn.LSTM."""
    ours = QKANLSTM(3, 4, 2, bidirectional=True, proj_size=2, base_activation="identity", dtype=torch.float64)
    theirs = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2, dtype=torch.float64)
    with torch.no_grad():
        for index, direction in enumerate(ours.directions):
            name = f"l{index // 2}" + ("_reverse" if index % 2 else "")
            for layer, source in ((direction.gates.input, "weight_ih_"), (direction.gates.hidden, "weight_hh_")):
                layer.theta.zero_()
                layer.base_weight.copy_(getattr(theirs, source + name))
            direction.gates.bias.copy_(getattr(theirs, "bias_ih_" + name) + getattr(theirs, "bias_hh_" + name))
            direction.projection.weight.copy_(getattr(theirs, "weight_hr_" + name))
    x = torch.randn(7, 5, 3, dtype=torch.float64)
    expected, (h_expected, c_expected) = theirs(x)
    got, (h_n, c_n) = ours(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(h_n, h_expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(c_n, c_expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "options", [{"reps": 2, "preact_trainable": True}, {"group": "input", "postact_weight_trainable": True}]
)
def test_gradients_match_the_reference_backend(options: dict) -> None:
    fast, slow = (
        QKANLSTM(2, 3, bidirectional=True, backend=backend, dtype=torch.float64, **options)
        for backend in ("bloch", "reference")
    )
    slow.load_state_dict(fast.state_dict())
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    gradients = []
    for module in (fast, slow):
        leaf = x.clone().requires_grad_()
        output, (h_n, c_n) = module(leaf)
        (output.sin().sum() + h_n.cos().sum() + c_n.square().sum()).backward()
        gradients.append([leaf.grad, *(p.grad for p in module.parameters())])
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_gradcheck() -> None:
    module = HQKANLSTM(2, 2, reps=2, preact_trainable=True, dtype=torch.float64)
    names = list(dict(module.named_parameters()))
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(leaf: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (leaf,))[0]

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


def test_published_parameter_counts() -> None:
    """With a linear head: 166 for an LSTM of hidden size 5 and 34 for the QKAN-LSTM that stands against it."""

    def count(module: nn.Module, hidden: int) -> int:
        return sum(p.numel() for p in module.parameters()) + hidden + 1

    assert count(nn.LSTM(1, 5), 5) == 166
    assert count(QKANLSTM(1, 1, bias=False), 1) == 34
    assert count(HQKANLSTM(1, 2, reps=2, latent_features=2), 2) == 59
    assert count(HQKANLSTM(1, 4, latent="linear", latent_features=2), 4) == 65


def test_initial_values() -> None:
    module = QKANLSTM(3, 9, generator=torch.Generator().manual_seed(0))
    gates = module.directions[0].gates
    assert gates.bias.tolist() == [0.0] * 9 + [1.0] * 9 + [0.0] * 18
    for layer in (gates.input, gates.hidden):  # one repetition: near-linear edges
        assert layer.theta[..., -1, 1].abs().max() <= 1 / 3
        assert layer.base_weight is None
    hybrid = HQKANLSTM(3, 9)
    assert hybrid.directions[0].gates.hidden_encoder.weight.abs().max() <= 1 / math.sqrt(9)


@pytest.mark.parametrize("scale", [0.1, 3.0])
@pytest.mark.parametrize("options", [{}, {"proj_size": 2}], ids=str)
@pytest.mark.parametrize("make", [QKANLSTM, HQKANLSTM])
def test_trained_pre_activations_hold_for_any_given_state(make: type[nn.Module], options: dict, scale: float) -> None:
    """A large h_0, inputs or projection widens the domain of the expansion instead of leaving it."""
    fast, slow = (
        make(2, 3, reps=2, preact_trainable=True, backend=backend, dtype=torch.float64, **options)
        for backend in ("auto", "reference")
    )
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.mul_(1.7)
    slow.load_state_dict(fast.state_dict())
    x = scale * torch.randn(5, 4, 2, dtype=torch.float64)
    hx = tuple(scale * torch.randn(1, 4, n, dtype=torch.float64) for n in (fast.output_size, 3))
    for state in (None, hx):
        torch.testing.assert_close(fast(x, state)[0], slow(x, state)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("make", [QKANLSTM, HQKANLSTM])
def test_the_spectral_backend_by_name_with_trained_pre_activations(make: type[nn.Module]) -> None:
    fast, slow = (
        make(2, 3, reps=2, preact_trainable=True, backend=backend, dtype=torch.float64)
        for backend in ("spectral", "reference")
    )
    slow.load_state_dict(fast.state_dict())
    x = 2 * torch.randn(5, 4, 2, dtype=torch.float64)
    torch.testing.assert_close(fast(x)[0], slow(x)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("make", [QKANLSTM, HQKANLSTM])
def test_silent_weights_and_inputs_give_finite_states(make: type[nn.Module]) -> None:
    """No hidden state can be reached, so the domain of the expansion is a point."""
    module = make(2, 3, proj_size=2, bias=False, preact_trainable=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    output, (_, c_n) = module(torch.zeros(5, 4, 2))
    assert torch.equal(output, torch.zeros(5, 4, 2))
    assert torch.isfinite(c_n).all()


def test_seeding_by_generator() -> None:
    before = torch.get_rng_state()
    first, second = (QKANLSTM(2, 3, 2, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    layers = [direction.gates.hidden.theta for direction in first.directions]
    assert not torch.equal(layers[0], layers[1])


def test_what_print_shows() -> None:
    shown = repr(QKANLSTM(2, 3, 2, batch_first=True, dropout=0.5))
    assert shown.startswith("QKANLSTM(\n  2, 3, num_layers=2, batch_first=True, dropout=0.5\n")
    assert repr(QKANLSTMCell(2, 3, bias=False)).startswith("QKANLSTMCell(\n  2, 3, bias=False\n")


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: QKANLSTM(2, 4, 2, proj_size=3, **kw),
        lambda **kw: QKANLSTM(2, 4, bias=False, group="input", postact_weight_trainable=True, **kw),
        lambda **kw: HQKANLSTM(2, 4, reps=2, **kw),
        lambda **kw: HQKANLSTM(2, 4, latent=lambda n: nn.Sequential(nn.Linear(n, n), nn.Tanh()), **kw),
        lambda **kw: QKANLSTMCell(2, 4, **kw),
    ],
)
def test_reset_parameters_materialises_a_meta_module(make: Callable[..., nn.Module]) -> None:
    module = make(device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(float("nan"))
    module.reset_parameters(torch.Generator().manual_seed(3))
    fresh = make()
    for (name, got), like in zip(module.named_parameters(), fresh.parameters(), strict=True):
        assert torch.isfinite(got).all(), name
        assert got.shape == like.shape
        if name.endswith("bias") and got.shape == (16,):
            assert torch.equal(got, like)
