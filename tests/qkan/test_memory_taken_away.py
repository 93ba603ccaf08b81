"""Storages cut between forward and backward: an error or the right gradient, never a crash or memory of others."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from outputs import first
from torch import Tensor, nn

from qkan import (
    DARUAN,
    GRKAN,
    HQKAN,
    HQKANLSTM,
    QKAN,
    QKANFWP,
    QKANGRU,
    QKANLSTM,
    QLSTM,
    GroupRational,
    QKANGRUCell,
    QKANLayer,
    QKANLSTMCell,
)

TRAINED = {"postact_weight_trainable": True, "postact_bias_trainable": True}
MAKERS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: QKANLayer(3, 4),
    "trained": lambda: QKANLayer(3, 4, preact_trainable=True),
    "trained input": lambda: QKANLayer(3, 4, preact_trainable="input", postact_bias_trainable=True),
    "all": lambda: QKANLayer(3, 4, preact_trainable="input", **TRAINED),
    "shared": lambda: QKANLayer(3, 4, group=2, postact_weight_trainable=True),
    "px": lambda: QKANLayer(3, 4, ansatz="px"),
    "bloch": lambda: QKANLayer(3, 4, backend="bloch"),
    "spectral": lambda: QKANLayer(3, 4, backend="spectral"),
    "reference": lambda: QKANLayer(3, 4, backend="reference"),
    "daruan": lambda: DARUAN(3),
    "qkan": lambda: QKAN([3, 4, 2]),
    "hqkan": lambda: HQKAN(3, 4, 2),
    "rational": lambda: GroupRational(3, 3),
    "rational torch": lambda: GroupRational(3, 3, backend="torch"),
    "gr-kan": lambda: GRKAN(3, num_groups=3),
    "lstm": lambda: QKANLSTM(3, 4),
    "lstm torch": lambda: QKANLSTM(3, 4, backend="torch"),
    "lstm bloch": lambda: QKANLSTM(3, 4, backend="bloch"),
    "lstm in chunks": lambda: QKANLSTM(3, 4, checkpoint_steps=2),
    "projected": lambda: QKANLSTM(3, 4, proj_size=2),
    "hybrid lstm": lambda: HQKANLSTM(3, 4),
    "gru": lambda: QKANGRU(3, 4),
    "qlstm": lambda: QLSTM(3, 4, qubits=2),
    "fwp": lambda: QKANFWP(3, 4),
    "fwp torch": lambda: QKANFWP(3, 4, backend="torch"),
    "lstm cell": lambda: QKANLSTMCell(3, 4),
    "gru cell": lambda: QKANGRUCell(3, 4),
}
#: What becomes of a storage: all of it goes, or all but the first number.
SIZES = (0, 4)
#: Of this package, of PyTorch's views, and of its products.
REFUSED = r"of shape .* has no memory|out of bounds for storage|its data is not allocated yet"


@pytest.fixture(params=MAKERS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MAKERS[request.param]()


def inputs() -> Tensor:
    return torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()


def gradients(module: nn.Module, cut: Callable[[Tensor], Tensor | None], size: int) -> list[Tensor | None]:
    """Gradients of x and of all parameters, with the storage of what ``cut`` chooses cut before the backward pass."""
    module.zero_grad()
    x = inputs()
    y = first(module(x))
    victim = cut(x)
    whole = None if victim is None else victim.detach().clone()
    if victim is not None:
        victim.untyped_storage().resize_(size)
    try:
        y.sum().backward()
    finally:
        if victim is not None and whole is not None:
            victim.untyped_storage().resize_(whole.nbytes)
            victim.data.copy_(whole)
    return [x.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("size", SIZES)
def test_before_the_backward_pass(module: nn.Module, size: int) -> None:
    if size and any(isinstance(part, nn.Linear) for part in module.modules()):
        pytest.skip("PyTorch's own linear maps read what is left of a storage that is smaller than their tensor")
    expected = gradients(module, lambda x: None, size)
    victims: list[Callable[[Tensor], Tensor]] = [lambda x: x, *(lambda x, p=p: p for p in module.parameters())]
    for victim in victims:
        try:
            found = gradients(module, victim, size)
        except (ValueError, RuntimeError) as error:
            if re.search(REFUSED, str(error)) is None:
                raise
            continue
        for grad, right in zip(found, expected, strict=True):
            torch.testing.assert_close(grad, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "name", ["trained input", "all", "shared", "reference", "rational", "lstm bloch", "gru", "lstm"]
)
def test_before_the_forward_pass(name: str, size: int) -> None:
    for parameter, _ in MAKERS[name]().named_parameters():
        module = MAKERS[name]()
        module.get_parameter(parameter).untyped_storage().resize_(size)
        with pytest.raises((ValueError, RuntimeError), match=REFUSED):
            module(inputs())


@pytest.mark.parametrize("name", ["layer", "rational", "lstm", "gru"])
def test_parameters_that_are_parts_of_one_storage(name: str) -> None:
    """As of FSDP with flat parameters: their address is that of a distance to nothing, and not zero."""
    module = MAKERS[name]()
    parameters = dict(module.named_parameters())
    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    place = 0
    for parameter in parameters.values():
        parameter.data = flat[place : place + parameter.numel()].view(parameter.shape)
        place += parameter.numel()
    y = first(module(inputs()))
    flat.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="has no memory: its storage has been resized to 0 bytes"):
        y.sum().backward()
    with pytest.raises(ValueError, match="has no memory: its storage has been resized to 0 bytes"):
        module(inputs())
