"""Tensors whose numbers do not stand at their address: kernels must not read what is there instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from outputs import first
from torch import Tensor, nn

import qkan
from qkan import DARUAN, GRKAN, HQKANLSTM, QKANFWP, QKANGRU, QKANLSTM, QLSTM, GroupRational, QKANLayer, QKANLSTMCell

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: QKANLayer(3, 4),
    "trained": lambda: QKANLayer(3, 4, preact_trainable=True),
    "px": lambda: QKANLayer(3, 4, ansatz="px"),
    "bloch": lambda: QKANLayer(3, 4, backend="bloch"),
    "input": lambda: QKANLayer(3, 4, group="input", postact_weight_trainable=True),
    "daruan": lambda: DARUAN(3),
    "gr-kan": lambda: GRKAN(3, num_groups=3),
    "rational": lambda: GroupRational(3, 3, backend="torch"),
    "lstm": lambda: QKANLSTM(3, 4),
    "lstm torch": lambda: QKANLSTM(3, 4, backend="torch"),
    "lstm numba": lambda: QKANLSTM(3, 4, backend="numba", group="input", postact_weight_trainable=True),
    "gru": lambda: QKANGRU(3, 4),
    "hqkan": lambda: HQKANLSTM(3, 4),
    "qlstm": lambda: QLSTM(3, 4, qubits=2),
    "fwp": lambda: QKANFWP(3, 4),
    "cell": lambda: QKANLSTMCell(3, 4),
    "frozen cell": lambda: qkan.compile(QKANLSTMCell(3, 4)),
}
ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "negated": lambda x: torch._neg_view(-x),
    "conjugate": lambda x: torch.complex(x, -x).conj().imag,
}


@pytest.fixture(params=MAKERS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MAKERS[request.param]()


def inputs() -> Tensor:
    return torch.rand(6, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ODD)
def test_inputs_yet_to_be_negated(module: nn.Module, kind: str) -> None:
    x = inputs()
    odd = ODD[kind](x)
    assert odd.is_neg()
    torch.testing.assert_close(first(module(odd)), first(module(x)), rtol=0, atol=2e-6)


def test_zeros_that_nobody_wrote_down(module: nn.Module) -> None:
    zeros = torch._efficientzerotensor(6, 3)
    torch.testing.assert_close(first(module(zeros)), first(module(torch.zeros(6, 3))), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ODD)
def test_parameters_yet_to_be_negated(module: nn.Module, kind: str) -> None:
    x, expected = inputs(), first(module(inputs()))
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(ODD[kind](parameter.detach().clone()))
    torch.testing.assert_close(first(module(x)), expected, rtol=0, atol=2e-6)


def test_gradients_that_are_no_plain_tensors(module: nn.Module) -> None:
    x = inputs().requires_grad_()
    y = first(module(x))
    wanted = [x, *(p for p in module.parameters() if p.requires_grad)]
    upstream = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(2))

    def gradients(grad: Tensor, **options: bool) -> list[Tensor]:
        return list(torch.autograd.grad(y, wanted, grad, retain_graph=True, materialize_grads=True, **options))

    each = [gradients(grad) for grad in upstream]
    for found, expected in zip(gradients(upstream, is_grads_batched=True), zip(*each, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=2e-5)
    for found, expected in zip(gradients(ODD["negated"](upstream[0])), each[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert not any(found.any() for found in gradients(torch._efficientzerotensor(*y.shape)))


def test_batched_gradients_of_gradients() -> None:
    torch.manual_seed(0)
    layer, x = QKANLayer(2, 1, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return layer(x).square().sum()

    slow = torch.autograd.functional.hessian(loss, x)
    fast = torch.autograd.functional.hessian(loss, x, vectorize=True)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)


def test_memory_that_was_taken_away(module: nn.Module) -> None:
    """As FSDP takes it from parameters outside of their module's forward; nothing reads address 0."""
    x = inputs()
    x.untyped_storage().resize_(0)
    with pytest.raises((ValueError, RuntimeError), match=r"resized to 0 bytes; give it memory|storage of size 0"):
        module(x)


def test_parameters_whose_memory_was_taken_away() -> None:
    for name in ("layer", "trained", "px", "bloch", "lstm", "gru", "cell"):
        module = MAKERS[name]()
        for parameter in module.parameters():
            if parameter.dim() > 3:
                parameter.untyped_storage().resize_(0)
        with pytest.raises((ValueError, RuntimeError), match=r"of shape .* has no memory|storage of size 0"):
            module(inputs())


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_parameters_whose_memory_is_taken_away_before_backward(name: str) -> None:
    """Kernels look at addresses when they read from them, not only when they are chosen."""
    module = MAKERS[name]()
    out = module(inputs())[0]
    for parameter in module.parameters():
        parameter.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match=r"of shape .* has no memory"):
        out.sum().backward()


@pytest.mark.parametrize(("kind", "name"), [(HQKANLSTM, "decoder.bias"), (QLSTM, "theta")])
def test_parameters_that_only_operations_of_pytorch_read(kind: type[nn.Module], name: str) -> None:
    module = kind(3, 4)
    module.get_parameter(f"directions.0.gates.{name}").untyped_storage().resize_(0)
    with pytest.raises(ValueError, match=r"of shape .* has no memory"):
        module(torch.randn(5, 2, 3))
    assert kind(3, 4).to("meta")(torch.empty(5, 2, 3, device="meta"))[0].shape == (5, 2, 4)  # shapes need none
