"""What switches of PyTorch, autocast and tensor cores may round, and what they may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from engines import without_numba
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qkan import QKANLSTM, QKANLayer
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.spectral import coefficients, matmul, triton_gpu

pytest.importorskip("triton", reason="Triton has no wheels for this platform")


class Products(TorchDispatchMode):
    """Counts matrix products by dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm):
            self.found[args[-1].dtype] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def high() -> Iterator[None]:
    """What Lightning tells every owner of an A100 to say."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("high")
@pytest.mark.parametrize("kind", ["fourier", "chebyshev"])
def test_coefficients_are_never_multiplied_in_tf32(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_numba(monkeypatch)
    theta, weight = torch.randn(3, 4, 3, 2, requires_grad=True), torch.rand(3, 4, 2)
    circuit: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 2}
    with Products() as products:
        if kind == "fourier":
            expansion = coefficients.fourier(theta, None, None, **circuit)
        else:
            expansion = coefficients.chebyshev(theta, weight, None, None, radius=1.0, terms=16, **circuit)
        expansion.matrix.sum().backward()
    assert products.found[torch.float64] >= 2
    assert products.found[torch.float32] == 0


def gradients(module: torch.nn.Module, x: Tensor, autocast: bool) -> list[Tensor]:
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return list(torch.autograd.grad(y.square().sum(), [x, *module.parameters()]))


@pytest.mark.usefixtures("high")  # the transform to coefficients is multiplied as on CUDA
@pytest.mark.parametrize("backend", ["triton", "spectral", "bloch"])
def test_a_backward_pass_inside_autocast_is_that_outside(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_numba(monkeypatch)
    monkeypatch.setattr(matmul, "SMALL_ELEMENTS", 0)
    # The product of a base branch beside circuits is PyTorch's own, backward too.
    base = "silu" if backend.startswith("spectral") else None
    layer = QKANLayer(3, 2, 2, backend=backend, base_activation=base)
    x = torch.linspace(-1, 1, 12).view(4, 3).requires_grad_()
    for inside, outside in zip(gradients(layer, x, True), gradients(layer, x, False), strict=True):
        assert torch.equal(inside, outside)


@pytest.mark.parametrize("backend", ["triton", "torch"])
def test_a_backward_pass_of_a_recurrence_inside_autocast_is_that_outside(backend: str) -> None:
    cell, x = QKANLSTM(3, 2, reps=1, backend=backend), torch.linspace(-1, 1, 24).view(4, 2, 3).requires_grad_()
    for inside, outside in zip(gradients(cell, x, True), gradients(cell, x, False), strict=True):
        torch.testing.assert_close(inside, outside, rtol=0, atol=1e-6)


@pytest.mark.parametrize("trained", [False, True])
def test_features_of_kernels_are_made_in_float32_under_autocast(trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large inputs, rounded to bfloat16 themselves, would be other inputs, and trained ones outside the domain."""
    torch.manual_seed(0)
    without_numba(monkeypatch)
    layer = QKANLayer(4, 3, 2, preact_trainable=trained, backend="spectral")
    x = (3.0 if trained else 30.0) * (2 * torch.rand(40, 4) - 1)
    exact, errors = layer(x), []
    for interpreted in (True, False):
        monkeypatch.setattr(triton_gpu, "INTERPRETED", interpreted)
        with torch.autocast("cpu", torch.bfloat16):
            errors.append(float((layer(x) - exact).detach().square().mean().sqrt()))
    assert 0 < errors[0] <= 1.5 * errors[1]
