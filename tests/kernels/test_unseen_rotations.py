"""Rotations that <Z> cannot see: the gradients of their parameters are zeros, not what memory held before."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from qkan import QKANLSTM, Ansatz, QKANLayer
from qkan.validation.layers import runnable_backends

#: The last encoding is about z, in front of a measurement of Z: its weight and phase change nothing.
UNSEEN = Ansatz("unseen", ("rx",), "rz", initial=(0.0, 0.0, 1.0), trains_preact_bias=True)
#: Here the angle of the last gate as well.
UNSEEN_ANGLE = Ansatz("unseen angle", ("rx",), "rz", ("rz",), initial=(0.6, 0.0, 0.8), trains_preact_bias=True)
BACKENDS = [name for name in runnable_backends() if "triton" not in name]

Make = Callable[[Ansatz, torch.dtype, str], tuple[nn.Module, tuple[torch.Tensor, ...]]]


def layer(ansatz: Ansatz, dtype: torch.dtype, backend: str, **more: Any) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    made = QKANLayer(3, 2, 3, ansatz=ansatz, preact_trainable=True, dtype=dtype, backend=backend, **more)
    return made, (torch.randn(4, 3, dtype=dtype),)


def grouped(ansatz: Ansatz, dtype: torch.dtype, backend: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return layer(ansatz, dtype, backend, group=1)


def recurrence(ansatz: Ansatz, dtype: torch.dtype, backend: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    made = QKANLSTM(2, 3, reps=3, ansatz=ansatz, preact_trainable=True, dtype=dtype, backend=backend)
    return made, (torch.randn(5, 4, 2, dtype=dtype),)


def gradients(module: nn.Module, given: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    module.zero_grad()
    out = module(*given)
    out = out[0] if isinstance(out, tuple) else out
    (out * torch.cos(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)).sum().backward()
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ansatz", [UNSEEN, UNSEEN_ANGLE], ids=lambda ansatz: ansatz.name)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [layer, grouped, recurrence])
def test_what_no_output_shows_has_a_gradient_of_zero(
    make: Make, backend: str, ansatz: Ansatz, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, given = make(ansatz, torch.float64, "reference")
    expected = gradients(exact, given)
    module, _ = make(ansatz, dtype, backend)
    module.load_state_dict(exact.state_dict())
    empty_like = torch.empty_like
    # New memory holds anything; here it holds no numbers.
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: empty_like(*a, **k).fill_(float("nan")))
    found = gradients(module, tuple(own.to(dtype) for own in given))
    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    for name, truth in expected.items():
        torch.testing.assert_close(
            found[name].double(), truth, **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
        if name.endswith(("preact_weight", "preact_bias")):
            assert truth[..., -1].abs().max() < 1e-15
            assert found[name][..., -1].abs().max() < tolerance["atol"]
