"""Whole layers and recurrences as devices without kernels of their own run them, against those on CPU kernels."""

from __future__ import annotations

import pytest
import torch
from engines import only_engine
from torch import Tensor

from qkan import QKANGRU, QKANLSTM, QKANLayer
from qkan.kernels.common.tensors import PIECE_ELEMENTS
from qkan.kernels.spectral import matmul


def value_and_gradients(module: torch.nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Outputs and the gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view_as(y)
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(y, (x, *parameters), upstream)
    return dict(zip(("outputs", "x", *names), (y, *found), strict=True))


@pytest.mark.parametrize("elements", [2**20, 2**13, 2**9])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("backend", "kind"), [("bloch", "circuits"), ("spectral", "sums")])
def test_layers(backend: str, kind: str, trained: bool, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = QKANLayer(3, 4, reps=2, preact_trainable=trained, base_activation="silu", backend=backend).double()
    x = 2 * torch.rand(300, 3, dtype=torch.float64) - 1
    layer.backend = "reference"
    expected = value_and_gradients(layer, x)
    layer.backend = backend
    monkeypatch.setitem(PIECE_ELEMENTS, "cpu", elements)
    monkeypatch.setattr(matmul, "SMALL_ELEMENTS", -1)
    with only_engine(kind, "torch"):
        got = value_and_gradients(layer, x)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("make", [QKANLSTM, QKANGRU])
@pytest.mark.parametrize("trained", [False, True])
def test_recurrences(make: type, trained: bool) -> None:
    torch.manual_seed(0)
    model = make(2, 3, num_layers=2, bidirectional=True, preact_trainable=trained).double()
    x = torch.randn(7, 5, 2, dtype=torch.float64)
    expected = value_and_gradients(model, x)
    with only_engine("recurrences", "torch"):
        got = value_and_gradients(model, x)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
