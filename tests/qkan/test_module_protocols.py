"""Every module behaves as torch modules do: copies, dtypes, functional calls, autocast, compilation, saving."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qkan import DARUAN, HQKAN, HQKANLSTM, QKAN, QKANLSTM, QLSTM, JHCGNet, QKANLayer, QKANLSTMCell

MODULES: dict[str, Callable[[], nn.Module]] = {
    "DARUAN": lambda: DARUAN(3, preact_trainable=True),
    "QKANLayer": lambda: QKANLayer(3, 4),
    "QKANLayer-grouped": lambda: QKANLayer(3, 4, group=2, postact_weight_trainable=True, preact_trainable=True),
    "QKAN": lambda: QKAN([3, 4, 2]),
    "JHCGNet": lambda: JHCGNet(3, 4, latent="tanh"),
    "JHCGNet-gr-kan": lambda: JHCGNet(3, 4, latent_features=4, latent="gr-kan"),
    "HQKAN": lambda: HQKAN(3, 2, 4, reps=2),
    "QKANLSTM": lambda: QKANLSTM(3, 4, 2, bidirectional=True),
    "HQKANLSTM": lambda: HQKANLSTM(3, 4, proj_size=2),
    "QKANLSTM-preact": lambda: QKANLSTM(3, 4, preact_trainable=True),
    "HQKANLSTM-preact": lambda: HQKANLSTM(3, 4, preact_trainable=True),
    "HQKANLSTM-gr-kan": lambda: HQKANLSTM(3, 4, latent="gr-kan"),
    "QLSTM": lambda: QLSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "QLSTM-layers": lambda: QLSTM(3, 4, qubits=3, circuit_layers=2),
    "QLSTM-state": lambda: QLSTM(3, 4, qubits=3, circuit_layers=2, backend="state"),
    "QKANLSTMCell": lambda: QKANLSTMCell(3, 4),
}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[request.param]()


def example(module: nn.Module) -> Tensor:
    return torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))[
        0 if isinstance(module, QKANLSTMCell) else ...
    ]


def first(module: nn.Module, x: Tensor) -> Tensor:
    y = module(x)
    return y if isinstance(y, Tensor) else y[0]


def test_functional_call_uses_the_tensors_it_is_given(module: nn.Module) -> None:
    x = example(module)
    other = {name: value + 0.1 for name, value in module.named_parameters()}
    got = torch.func.functional_call(module, other, (x,))
    module.load_state_dict(other)
    torch.testing.assert_close(got if isinstance(got, Tensor) else got[0], first(module, x), rtol=0, atol=0)


def test_functional_gradients(module: nn.Module) -> None:
    x = example(module)
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        y = torch.func.functional_call(module, values, (x,))
        return (y if isinstance(y, Tensor) else y[0]).square().sum()

    got = torch.func.grad(loss)(parameters)
    first(module, x).square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=2e-6, atol=5e-6)


def test_deepcopy_is_independent(module: nn.Module) -> None:
    x = example(module)
    before = first(module, x).detach().clone()
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.5)
    assert torch.equal(first(module, x), before)
    assert not torch.equal(first(twin, x), before)


@pytest.mark.parametrize("assign", [False, True])
def test_load_state_dict(module: nn.Module, assign: bool) -> None:
    x = example(module)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    module.load_state_dict(other.state_dict(), assign=assign)
    assert torch.equal(first(module, x), first(other, x))


def test_double_and_back(module: nn.Module) -> None:
    x = example(module)
    single = first(module, x)
    module.eval().double()
    double = first(module, x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)
    assert first(module.to(torch.float32), x).dtype == torch.float32


def test_to_bfloat16(module: nn.Module) -> None:
    x = example(module)
    single = first(module, x)
    half = first(module.to(torch.bfloat16), x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), single, rtol=0, atol=5e-2)


def test_to_meta_device_and_dtype_at_construction() -> None:
    for make in (QKANLayer, QKANLSTM, HQKANLSTM, QLSTM, HQKAN, QKANLSTMCell, JHCGNet):
        built = make(3, 4, device="meta", dtype=torch.float64)
        for parameter in built.parameters():
            assert parameter.device.type == "meta"
            assert parameter.dtype == torch.float64
    assert DARUAN(3, device="meta").theta.device.type == "meta"


def test_autocast(module: nn.Module) -> None:
    x = example(module)
    single = first(module, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = first(module, x)
    mixed.float().sum().backward()
    torch.testing.assert_close(mixed.float(), single, rtol=0, atol=3e-2)
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("backend", ["spectral", "bloch"])
def test_autocast_narrows_the_matrix_product_and_nothing_else(backend: str) -> None:
    make = torch.Generator().manual_seed(0)
    layer = QKANLayer(8, 4, base_activation=None, backend=backend, generator=make)
    x = 1e3 * torch.randn(64, 8, generator=make)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == torch.float32
    # An angle rounded to bfloat16 would be off by whole turns; rounded features are off by 2^-9 each.
    torch.testing.assert_close(mixed, layer(x), rtol=0, atol=2e-2 if backend == "spectral" else 0)


@pytest.mark.parametrize(
    "name",
    ["DARUAN", "QKANLayer", "QKANLayer-grouped", "HQKAN", "QLSTM", "QLSTM-layers"],  # recurrent ones: rnn/test_backends
)
def test_compiles_without_graph_breaks(name: str) -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    # A compiler takes seconds to see a direction.
    module = QLSTM(3, 4, proj_size=2) if name == "QLSTM" else MODULES[name]()
    x = example(module).requires_grad_()
    eager = first(module, x)
    expected = torch.autograd.grad(eager.square().sum(), (x, *module.parameters()))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    output = first(compiled, x)
    torch.testing.assert_close(output, eager, rtol=0, atol=4e-6)
    for got, want in zip(torch.autograd.grad(output.square().sum(), (x, *module.parameters())), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_saves_and_loads_without_pickle(module: nn.Module, tmp_path: Path) -> None:
    x = example(module)
    path = tmp_path / "weights.safetensors"
    save_file(module.state_dict(), path)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(load_file(path))
    assert torch.equal(first(other, x), first(module, x))


def test_parameters_are_what_the_state_dict_holds(module: nn.Module) -> None:
    assert set(module.state_dict()) == {name for name, _ in module.named_parameters()}
