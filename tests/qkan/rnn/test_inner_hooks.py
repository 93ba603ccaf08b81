"""Hooks, pruning and normalizations of the modules inside of a recurrence: they run, or they are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import qkan
from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM, QKANGRUCell, QKANLayer, QKANLSTMCell

#: A module and inner modules with the parameter to change.
CASES: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "hidden": (lambda: QKANLSTM(3, 4), "directions.0.gates.hidden", "theta"),
    "input": (lambda: QKANLSTM(3, 4), "directions.0.gates.input", "theta"),
    "bias": (lambda: QKANLSTM(3, 4), "directions.0.gates", "bias"),
    "projection": (lambda: QKANLSTM(3, 4, proj_size=2), "directions.0.projection", "weight"),
    "base": (lambda: QKANLSTM(3, 4, base_activation="silu"), "directions.0.gates.hidden", "base_weight"),
    "gru": (lambda: QKANGRU(3, 4), "directions.0.gates.hidden", "theta"),
    "encoder": (lambda: HQKANLSTM(3, 4), "directions.0.gates.hidden_encoder", "weight"),
    "decoder": (lambda: HQKANLSTM(3, 4), "directions.0.gates.decoder", "weight"),
    "latent": (lambda: HQKANLSTM(3, 4), "directions.0.gates.latent.layers.0", "theta"),
    "qubits": (lambda: QLSTM(3, 4, qubits=2), "directions.0.gates.hidden_encoder", "weight"),
    "cell": (lambda: QKANLSTMCell(3, 4), "cell.gates.hidden", "theta"),
}


def output(module: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 3) if isinstance(module, QKANLSTMCell | QKANGRUCell) else (5, 2, 3)
    hidden = torch.rand(2, 4, generator=generator)
    if isinstance(module, QKANLSTMCell):
        return module(torch.rand(shape, generator=generator), (hidden, hidden))[0]
    if isinstance(module, QKANGRUCell):
        return module(torch.rand(shape, generator=generator), hidden)
    return module(torch.rand(shape, generator=generator))[0]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, str]:
    torch.manual_seed(0)
    make, path, name = CASES[request.param]
    module = make()
    return module, module.get_submodule(path), name


def test_pruned_parameters_are_trained_and_loaded(case: tuple[nn.Module, nn.Module, str]) -> None:
    module, inner, name = case
    prune.l1_unstructured(inner, name, 0.5)
    original = getattr(inner, f"{name}_orig")
    mask = getattr(inner, f"{name}_mask")
    before = output(module).detach()
    (gradient,) = torch.autograd.grad(output(module).square().sum(), [original])
    assert gradient[mask.bool()].any()
    assert not gradient[~mask.bool()].any()
    with torch.no_grad():
        original += torch.rand(original.shape, generator=torch.Generator().manual_seed(2))
    after = output(module).detach()
    assert not torch.allclose(before, after, atol=1e-4)
    prune.remove(inner, name)
    torch.testing.assert_close(output(module).detach(), after, rtol=0, atol=1e-6)


def test_both_ways_to_normalize_agree(case: tuple[nn.Module, nn.Module, str]) -> None:
    """weight_norm by a hook and by a parametrization, behind a step of an optimizer."""
    module, inner, name = case
    nn.init.uniform_(getattr(inner, name))  # zeros have no norm to divide by
    other = copy.deepcopy(module)
    path = next(path for path, part in module.named_modules() if part is inner)
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(inner, name)
    parametrizations.weight_norm(other.get_submodule(path), name)
    for one in (module, other):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        output(one).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(output(module), output(other), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["forward", "pre", "backward", "backward_pre"])
def test_hooks_run(case: tuple[nn.Module, nn.Module, str], kind: str) -> None:
    module, inner, _ = case
    expected, calls = output(module).detach(), []
    register = {
        "forward": inner.register_forward_hook,
        "pre": inner.register_forward_pre_hook,
        "backward": inner.register_full_backward_hook,
        "backward_pre": inner.register_full_backward_pre_hook,
    }[kind]
    handle: Any = register(lambda *_: calls.append(1))  # type: ignore[operator]
    if type(inner).forward is nn.Module.forward:
        with pytest.raises(RuntimeError, match=r"hooks on QKANGates would never run, because nobody calls it"):
            output(module)
        return
    found = output(module)
    found.sum().backward()
    assert len(calls) >= 1
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=2e-6)
    handle.remove()
    calls.clear()
    output(module)
    assert not calls


def test_what_a_hook_returns_counts() -> None:
    torch.manual_seed(0)
    module = QKANLSTM(3, 4)
    module.directions[0].gates.hidden.register_forward_hook(lambda _m, _x, y: 0 * y)
    alone = torch.cat([module(x)[0] for x in torch.rand(5, 1, 2, 3)])
    assert alone.shape == (5, 2, 4)
    assert "step by step: its modules have to be called" in module.explain_backend(torch.rand(5, 2, 3))
    module.backend = "numba"
    with pytest.raises(ValueError, match=r"backend 'numba' cannot run this module: its modules have to be called"):
        module(torch.rand(5, 2, 3))


@pytest.mark.parametrize("freeze", [False, True])
def test_hooks_of_frozen_gates_run(freeze: bool) -> None:
    cell: Any = QKANLSTMCell(3, 4)
    cell = qkan.compile(cell) if freeze else cell
    calls: list[int] = []
    with torch.no_grad():
        cell(torch.rand(2, 3))
        cell.cell.gates.hidden.register_forward_hook(lambda *_: calls.append(1))
        cell(torch.rand(2, 3))
    assert calls == [1]


class Adapter(nn.Module):
    """A low-rank addition to a linear map, as adapters wrap them."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.shift = base, nn.Parameter(torch.ones(base.out_features))

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.shift


@pytest.mark.parametrize("path", ["projection", "gates.hidden_encoder", "gates.decoder"])
def test_linear_maps_that_somebody_wrapped_are_called(path: str) -> None:
    torch.manual_seed(0)
    module: Any = HQKANLSTM(3, 4, proj_size=2)
    expected, direction = output(module).detach(), module.directions[0]
    parent, _, name = path.rpartition(".")
    owner = direction.get_submodule(parent)
    setattr(owner, name, Adapter(getattr(owner, name)))
    found = output(module)
    found.sum().backward()
    assert not torch.allclose(found, expected, atol=1e-3)
    assert getattr(owner, name).shift.grad.abs().min() > 0


@pytest.mark.parametrize("chunk", [None, 2])
def test_checkpoints_run_hooks(chunk: int | None) -> None:
    torch.manual_seed(0)
    module, calls = QKANLSTM(3, 4, checkpoint_steps=chunk), []
    module.directions[0].gates.hidden.register_forward_hook(lambda *_: calls.append(1))
    output(module).sum().backward()
    assert len(calls) == (5 if chunk is None else 10)


class Doubled(QKANLayer):
    """A layer that is more than its parameters say."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return 2 * super().forward(x, *args, **kwargs)


class Wrapped(nn.Module):
    """A module around another, as torch.compile and adapters put there."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


def doubled_forward(layer: QKANLayer) -> None:
    """As tools do that move parameters to the device when a module is called."""
    forward = layer.forward
    layer.forward = lambda x, *args, **kwargs: 2 * forward(x, *args, **kwargs)


def doubled_class(layer: QKANLayer) -> None:
    layer.__class__ = Doubled


def doubled_hook(layer: QKANLayer) -> None:
    layer.register_forward_hook(lambda _module, _inputs, y: 2 * y)


@pytest.mark.parametrize("kind", [QKANLSTM, QKANGRU, HQKANLSTM, QKANLSTMCell, QKANGRUCell])
@pytest.mark.parametrize("double", [doubled_forward, doubled_class, doubled_hook, Wrapped])
def test_what_is_called_counts(kind: type[nn.Module], double: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    module, found, name = kind(3, 4), [], "0" if kind is HQKANLSTM else "hidden"
    for change in (doubled_hook, double):
        with torch.no_grad():
            expected = output(copy.deepcopy(module))
        changed = copy.deepcopy(module)
        owner: Any = changed.cell if hasattr(changed, "kind") else changed.directions[0]  # type: ignore[index]
        gates = owner.gates.latent.layers if kind is HQKANLSTM else owner.gates
        wrapped = change(gates._modules[name])
        if wrapped is not None:
            gates._modules[name] = wrapped
        found.append(output(changed))
        assert not torch.allclose(found[-1], expected, atol=1e-4)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", ["cell", "cell.gates.input", "cell.gates.hidden.phi"])
def test_hooks_inside_of_a_frozen_cell_run(path: str) -> None:
    cell, calls = qkan.compile(QKANLSTMCell(3, 4)), []
    with torch.no_grad():
        cell(torch.rand(2, 3))
        cell.get_submodule(path).register_forward_hook(lambda *_: calls.append(1))
        cell(torch.rand(2, 3))
    assert calls


@pytest.mark.parametrize("kind", [QKANLSTMCell, QKANGRUCell])
def test_backward_hooks_around_a_step_run(kind: type[nn.Module]) -> None:
    cell, calls = kind(3, 4), []
    cell.cell.register_full_backward_hook(lambda *_: calls.append(1))
    output(cell).sum().backward()
    assert calls == [1]


def test_hooks_on_all_modules_run() -> None:
    """Tools that count operations register them."""
    seen: list[type] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        HQKANLSTM(3, 4)(torch.rand(5, 2, 3))
    finally:
        handle.remove()
    assert seen.count(QKANLayer) == 5
