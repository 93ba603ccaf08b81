"""Every kind of derivative that PyTorch has, through every module; and the memory layout of gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from outputs import first
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from qkan import (
    DARUAN,
    GRKAN,
    HQKAN,
    HQKANLSTM,
    QKANFWP,
    QKANGRU,
    QKANLSTM,
    QLSTM,
    GroupRational,
    QKANLayer,
    QKANLSTMCell,
)

#: Makers of modules for inputs of one size and hidden states of another.
MAKERS: dict[str, Callable[[int, int], nn.Module]] = {
    "layer": lambda i, h: QKANLayer(i, h, base_activation="silu"),
    "trained": lambda i, h: QKANLayer(i, h, preact_trainable=True),
    "per input": lambda i, h: QKANLayer(i, h, group="input", postact_weight_trainable=True),
    "bloch": lambda i, h: QKANLayer(i, h, backend="bloch", preact_trainable=True),
    "px": lambda i, h: QKANLayer(i, h, ansatz="px"),
    "daruan": lambda i, h: DARUAN(i, preact_trainable=True),
    "gr-kan": lambda i, h: GRKAN(i, h, num_groups=1),
    "rational": lambda i, h: GroupRational(i, 1, backend="torch"),
    "hqkan": lambda i, h: HQKAN(i, h, 1),
    "lstm": lambda i, h: QKANLSTM(i, h),
    "shared": lambda i, h: QKANLSTM(i, h, group=1, postact_weight_trainable=True, base_activation="silu"),
    "shared trained": lambda i, h: QKANLSTM(i, h, preact_trainable="input"),
    "lstm torch": lambda i, h: QKANLSTM(i, h, backend="torch"),
    "gru": lambda i, h: QKANGRU(i, h),
    "hqkan lstm": lambda i, h: HQKANLSTM(i, h, latent_features=1),
    "gr-kan lstm": lambda i, h: HQKANLSTM(i, h, latent="gr-kan"),
    "qlstm": lambda i, h: QLSTM(i, h, qubits=1),
    "fwp": lambda i, h: QKANFWP(i, h),
    "cell": lambda i, h: QKANLSTMCell(i, h),
}


def made(name: str, inputs: int = 2, hidden: int = 3) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module = MAKERS[name](inputs, hidden).double()
    recurrent = isinstance(module, QKANLSTM | QKANGRU | HQKANLSTM | QLSTM | QKANFWP)
    return module, torch.rand((3, 1, inputs) if recurrent else (4, inputs), dtype=torch.float64)


@pytest.mark.parametrize("name", MAKERS)
def test_derivatives_taken_forward_are_those_taken_backward(name: str) -> None:
    module, x = made(name)

    def f(x: Tensor) -> Tensor:
        return first(module(x))

    torch.testing.assert_close(jacfwd(f)(x), jacrev(f)(x), rtol=0, atol=1e-10)
    along = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    expected = (jacrev(f)(x) * along).flatten(-x.dim()).sum(-1)
    torch.testing.assert_close(jvp(f, (x,), (along,))[1], expected, rtol=0, atol=1e-10)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(f(forward_ad.make_dual(x, along))).tangent
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MAKERS)
def test_derivatives_in_parameters_taken_forward(name: str) -> None:
    module, x = made(name)
    parameters = {key: parameter.detach() for key, parameter in module.named_parameters()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return first(functional_call(module, parameters, (x,))).square().sum()

    ones = {key: torch.ones_like(value) for key, value in parameters.items()}
    backward = sum(value.sum() for value in grad(loss)(parameters).values())
    torch.testing.assert_close(jvp(loss, (parameters,), (ones,))[1], backward, rtol=1e-9, atol=1e-10)
    per_sample = vmap(grad(lambda p, x: first(functional_call(module, p, (x,))).sum()), (None, 0))
    assert all(value.shape[0] == 2 for value in per_sample(parameters, torch.stack((x, x))).values())


@pytest.mark.parametrize("name", MAKERS)
def test_second_derivatives_of_every_kind(name: str) -> None:
    module, x = made(name)

    def loss(x: Tensor) -> Tensor:
        return first(module(x)).square().sum()

    forward_over_backward = hessian(loss)(x)
    torch.testing.assert_close(jacrev(grad(loss))(x), forward_over_backward, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.autograd.functional.hessian(loss, x), forward_over_backward, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sizes", [(1, 3), (3, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_have_the_strides_of_their_parameters(name: str, sizes: tuple[int, int]) -> None:
    """DistributedDataParallel copies at every step where they differ, and warns."""
    module, x = made(name, *sizes)
    for given in (x, x[:1]):
        module.zero_grad()
        first(module(given)).sum().backward()
        for key, parameter in module.named_parameters():
            if parameter.grad is not None:
                assert parameter.grad.stride() == parameter.stride(), key
