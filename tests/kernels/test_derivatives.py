"""Derivatives and transforms through every backend by name against the reference, the kernels of GPUs interpreted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qkan import QKANGRU, QKANLSTM, GroupRational, QKANLayer

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

Module = Callable[[Tensor], Tensor]
LAYERS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "trained": {"preact_trainable": True},
    "per-input": {"group": "input", "postact_weight_trainable": True},
    "sums": {"preact_trainable": "input"},
    "px": {"ansatz": "px", "preact_trainable": True},
    "amplitude": {"readout": "amplitude"},
}
X = torch.tensor([[0.3], [-0.4], [0.15]])


def parameters(module: Any) -> list[Tensor]:
    return [p for p in module.parameters() if p.requires_grad]


def second_derivative(net: Any, x: Tensor) -> list[Tensor]:
    """u_xx and its gradient in every parameter, as a physics-informed loss takes them."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    found = torch.autograd.grad(curvature.square().sum(), parameters(net), allow_unused=True, materialize_grads=True)
    return [curvature.detach(), *found]


def gradient_penalty(net: Any, x: Tensor) -> list[Tensor]:
    """Gradients of |du/dx|^2 in every parameter, with an upstream gradient that needs none itself."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    return list(torch.autograd.grad(slope.square().sum(), parameters(net), allow_unused=True, materialize_grads=True))


def batched_gradients(net: Any, x: Tensor) -> list[Tensor]:
    """Rows of a Jacobian by ``is_grads_batched``."""
    x = x.clone().requires_grad_()
    y = net(x)
    return list(torch.autograd.grad(y, x, torch.eye(y.numel()).view(-1, *y.shape), is_grads_batched=True))


def compiled(net: Any, x: Tensor) -> list[Tensor]:
    """Values and gradients of what a compiler made of it."""
    return values_and_gradients(net, x, torch.compile(net, backend="aot_eager"))


def values_and_gradients(net: Any, x: Tensor, call: Module | None = None) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = (net if call is None else call)(x)
    wanted = [x, *parameters(net)]
    return [y.detach(), *torch.autograd.grad(y.square().sum(), wanted, allow_unused=True, materialize_grads=True)]


TAKEN: dict[str, Callable[[Any, Tensor], list[Tensor]]] = {
    "create_graph": second_derivative,
    "penalty": gradient_penalty,
    "is_grads_batched": batched_gradients,
    "vmap": lambda net, x: [torch.vmap(net)(torch.stack((x, -x)))],
    "jacrev": lambda net, x: [torch.func.jacrev(net)(x)],
    "hessian": lambda net, x: [torch.func.hessian(lambda x: net(x).sum())(x)],
    "jvp": lambda net, x: list(torch.func.jvp(net, (x,), (torch.ones_like(x),))),
    "compile": compiled,
}
#: Those that every kind of layer goes through; a compiler takes seconds.
QUICK = [name for name in TAKEN if name != "compile"]


def agree(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    scale = max(1.0, *(float(truth.detach().abs().max()) for truth in expected))
    for value, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(value, truth, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("backend", "kind"), [("spectral", "fixed"), ("bloch", "trained")])
def test_a_compiled_layer_through_a_backend_by_name(backend: str, kind: str) -> None:
    torch.manual_seed(3)
    truth = QKANLayer(1, 2, 2, backend="reference", **LAYERS[kind])
    net = copy.deepcopy(truth)
    net.backend = backend
    agree(compiled(net, X), values_and_gradients(truth, X), 1e-5)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (QKANLayer(1, 2, 2, backend="triton"), "a compiler cannot trace the launch of its kernels; compile backend"),
        (
            QKANLayer(1, 2, 2, backend="spectral", preact_trainable=True),
            "the number of terms of trained pre-activations depends on their values, which cannot be read here; use",
        ),
    ],
    ids=["triton", "spectral"],
)
def test_what_cannot_be_compiled_is_refused_by_name(layer: QKANLayer, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        torch.compile(layer, backend="aot_eager")(X)


#: No layer of "px" or "amplitude" is band-limited, so the spectral backends refuse them by name.
THROUGH = [
    (backend, kind)
    for backend in ("triton", "spectral", "bloch")
    for kind in LAYERS
    if not (backend.startswith("spectral") and kind in ("px", "amplitude"))
]


@pytest.mark.parametrize("taken", QUICK)
@pytest.mark.parametrize(("backend", "kind"), THROUGH)
def test_every_derivative_of_two_layers_through_a_backend_by_name(backend: str, kind: str, taken: str) -> None:
    torch.manual_seed(3)
    truth = nn.Sequential(*(QKANLayer(*size, 2, backend="reference", **LAYERS[kind]) for size in ((1, 2), (2, 1))))
    net = copy.deepcopy(truth)
    for layer in net:
        layer.backend = backend
    # Slopes of interpolants magnify rounding by the square of their terms.
    agree(TAKEN[taken](net, X), TAKEN[taken](truth, X), 2e-4 if backend.startswith("spectral") else 1e-5)


RECURRENCES = ("create_graph", "is_grads_batched", "vmap", "jacrev", "hessian", "jvp")


@pytest.mark.parametrize(
    ("backend", "make", "taken"),
    [
        *product(("triton", "torch", "numba"), (QKANLSTM, QKANGRU), RECURRENCES),
        ("triton", QKANLSTM, "compile"),  # one operation, whatever runs it
    ],
)
def test_every_derivative_of_a_recurrence_through_a_backend_by_name(backend: str, make: Any, taken: str) -> None:
    torch.manual_seed(3)
    truth = make(1, 2, reps=1, backend="reference")
    net = copy.deepcopy(truth)
    net.backend = backend

    class Outputs(nn.Module):
        def __init__(self, cell: nn.Module) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x.unsqueeze(-1))[0].sum((-2, -1))

    x = torch.tensor([[0.3, -0.2], [0.5, 0.1]])
    expected = (values_and_gradients if taken == "compile" else TAKEN[taken])(Outputs(truth), x)
    agree(TAKEN[taken](Outputs(net), x), expected, 1e-5)


@pytest.mark.parametrize(("backend", "taken"), [*product(("triton", "torch", "numba"), QUICK), ("triton", "compile")])
def test_every_derivative_of_a_rational_activation_through_a_backend_by_name(backend: str, taken: str) -> None:
    truth = GroupRational(2, 1, backend="reference")
    net = copy.deepcopy(truth)
    net.backend = backend
    x = torch.tensor([[0.3, -0.4], [0.15, 0.8]])
    expected = (values_and_gradients if taken == "compile" else TAKEN[taken])(truth, x)
    agree(TAKEN[taken](net, x), expected, 1e-5)
