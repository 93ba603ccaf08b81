"""The Triton kernels of group-rational activations against the formula in float64: values and every gradient.

Without a GPU the kernels are interpreted (tests/conftest.py), with one the same tests run on it.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan.kernels.common import triton_device
from qkan.kernels.rational import api as rational
from qkan.kernels.rational import pytorch as rational_torch
from qkan.kernels.rational import triton_gpu as rational_triton
from qkan.kernels.rational.types import DENOMINATORS, LIMIT, Gradients, Spec

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
#: Elements of a tile of the backward pass on warps of 32 lanes where runs are aligned, else it is half of that; one of
#: the forward pass has four times as many.
TILE = rational_triton.tile(32, 16, backward=True)[0]
#: (rows, groups, run): one element; runs that take many turns in a tile, of a power of two and not; a run of just a
#: tile, less and more, so that tiles end in, at and behind the ends of runs; a run of several tiles.
SHAPES = (
    (1, 1, 1),
    (9, 5, 1),
    (30, 3, 96),
    (91, 2, 13),
    (3, 2, TILE // 2 - 1),
    (3, 2, TILE // 2 + 1),
    (3, 2, TILE),
    (3, 3, TILE + 7),
    (2, 2, 2500),
)


@pytest.fixture(autouse=True)
def _nan_where_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *a, **k: real(*a, **k).fill_(math.nan)

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, filled(getattr(torch, name)))


def make(spec: Spec, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> Iterator[Tensor]:
    """x, numerator, denominator and an upstream gradient; x also has a zero, where absolute values have their kink.

    Sums of the denominator stay away from their zeros elsewhere: rounding would choose the sign of the slope there.
    """
    generator = torch.Generator().manual_seed(sum(shape) + sum(spec.order))
    m, n = spec.order
    x, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    a = torch.randn((spec.groups, m + 1), generator=generator, dtype=torch.float64)
    b = torch.randn((spec.groups, n), generator=generator, dtype=torch.float64)
    x[0, 0, 0] = 0.0
    if spec.denominator == "abs_sum":
        # Zeros are at 0 alone: x (c + x^2 (c' + ...)) with coefficients of one sign, some of either.
        b = b.abs() * torch.tensor([1.0, 1e-3]).repeat(4)[:n] * (1 - 2 * (torch.arange(spec.groups) % 2)).unsqueeze(1)
    for tensor, kind in ((x, dtype), (a, torch.float32), (b, torch.float32), (grad, dtype)):
        yield tensor.to(DEVICE, kind)


def expected(spec: Spec, x: Tensor, a: Tensor, b: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """By autograd of the plain formula in float64."""
    leaves = [tensor.cpu().double().requires_grad_() for tensor in (x, a, b)]
    y = rational_torch.value(spec, *leaves)
    found = torch.autograd.grad(y, leaves, grad.cpu().double())
    return dict(zip(("y", "x", "numerator", "denominator"), (y.detach(), *found), strict=True))


def results(spec: Spec, x: Tensor, a: Tensor, b: Tensor, grad: Tensor) -> dict[str, Tensor]:
    y = rational_triton.ENGINE.forward(spec, x, a, b)
    return {"y": y, **rational_triton.ENGINE.backward(spec, x, a, b, grad, True)._asdict()}


def errors(got: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, float]:
    """Largest errors over the largest entries."""
    return {
        name: float((got[name].cpu().double() - tensor).abs().max() / tensor.abs().max().clamp_min(1e-30))
        for name, tensor in right.items()
    }


def assert_close(spec: Spec, shape: tuple[int, int, int]) -> None:
    given = tuple(make(spec, shape))
    found = errors(results(spec, *given), expected(spec, *given))
    assert max(found.values()) < 2e-6, (shape, found)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_gradient_on_odd_shapes(shape: tuple[int, int, int], denominator: str) -> None:
    assert_close(Spec(shape[1], (5, 4), denominator), shape)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("order", [(8, 8), (3, 2), (0, 1), (1, 8), (8, 1), (0, 8), (6, 7)], ids=str)
def test_every_gradient_of_other_orders(order: tuple[int, int], denominator: str) -> None:
    assert_close(Spec(3, order, denominator), (7, 3, 101))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_short_dtypes_are_rounded_once(denominator: str, dtype: torch.dtype) -> None:
    spec = Spec(3, (5, 4), denominator)
    given = tuple(make(spec, (9, 3, 97), dtype))
    got, right = results(spec, *given), expected(spec, *given)
    assert [got[name].dtype for name in right] == [dtype, dtype, torch.float32, torch.float32]
    for name in ("y", "x"):
        # Devices round to nearest, the interpreter cuts bfloat16 off. Below 1e-3 float16 has fewer digits.
        apart = (got[name].cpu().double() - right[name]).abs() / right[name].abs().clamp_min(1e-3)
        cut = DEVICE == "cpu" and dtype == torch.bfloat16
        assert float(apart.max()) < (1.01 if cut else 0.51) * torch.finfo(dtype).eps, name
    found = errors(got, right)
    assert max(found["numerator"], found["denominator"]) < 2e-6


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("shape", [(30, 3, 96), (3, 3, TILE + 7)], ids=str)
def test_offsets_of_64_bits(shape: tuple[int, int, int], wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rational_triton, "MAX_NARROW", 0 if wide else 2**31)
    launched = rational_triton._launch(Spec(3), torch.zeros(shape), backward=True)
    assert launched[1]["WIDE"] == wide
    assert_close(Spec(3), shape)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("shape", [(5, 2, 50), (1, 2, 2 * TILE + 31)], ids=str)
def test_large_inputs_do_not_overflow(shape: tuple[int, int, int], denominator: str) -> None:
    """In tiles with and without them; x^8 of most is beyond float32."""
    spec = Spec(2, (8, 8), denominator)
    x, a, b, grad = make(spec, shape)
    x[:, :, 5:40] *= torch.logspace(0, 30, 35, device=DEVICE)
    grad = grad.sign()
    got, right = results(spec, x, a, b, grad), expected(spec, x, a, b, grad)
    for name in ("y", "x"):
        # Entry by entry: the large ones have small gradients, of differences that float32 could not resolve.
        apart = (got[name].cpu().double() - right[name]).abs() / right[name].abs().clamp_min(1e-3)
        assert float(apart[x.cpu().abs() > LIMIT].max()) < 1e-6, name
    assert max(errors(got, right).values()) < 2e-6


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with NumPy
def test_numbers_that_are_none_stay_where_they_are() -> None:
    spec = Spec(2, (2, 1))
    x, a, b, grad = make(spec, (3, 2, 7))
    right = results(spec, x, a, b, grad)
    x[0, 0, 3], x[1, 0, 2], x[2, 0, 4] = math.nan, math.inf, -math.inf
    got, bad = results(spec, x, a, b, grad), ~x.isfinite()
    for name in ("y", "x"):
        assert got[name][bad].isnan().all()
        assert torch.allclose(got[name][~bad], right[name][~bad], rtol=1e-5)
    for name in ("numerator", "denominator"):
        assert torch.equal(got[name][1], right[name][1])
        assert got[name][0].isnan().any()


def test_zero_coefficients_have_a_slope() -> None:
    x, grad = torch.tensor([0.5, 2.0], device=DEVICE).view(2, 1, 1), torch.ones(2, 1, 1, device=DEVICE)
    a, b = torch.tensor([[0.0, 1.0]], device=DEVICE), torch.zeros(1, 2, device=DEVICE)
    for denominator in DENOMINATORS:
        found = rational_triton.backward(Spec(1, (1, 2), denominator), x, a, b, grad, True)
        assert torch.allclose(found.denominator.cpu(), torch.tensor([[-4.25, -8.125]])), denominator


def test_equal_calls_give_equal_bits_and_frozen_coefficients_none() -> None:
    spec = Spec(3)
    given = tuple(make(spec, (30, 3, 96)))
    first, second = results(spec, *given), results(spec, *given)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["numerator"].is_contiguous()
    frozen = rational_triton.backward(spec, *given, False)
    assert isinstance(frozen, Gradients)
    assert frozen[1:] == (None, None)
    assert torch.equal(frozen.x, first["x"])


def test_gradients_of_many_elements_keep_their_digits() -> None:
    """Sums of positive terms, where a running sum in float32 loses two digits."""
    spec, shape = Spec(1, (1, 2)), (100, 1, 1000)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    a, b = torch.tensor([[0.7, 0.9]], device=DEVICE), torch.tensor([[0.3, 0.6]], device=DEVICE)
    found = rational_triton.backward(spec, x, a, b, torch.ones_like(x), True)
    terms = 1 / (1 + b[0, 0].cpu().double() * x.cpu().double() + b[0, 1].cpu().double() * x.cpu().double() ** 2)
    exact = float(terms.sum())
    running = float(terms.float().numpy().ravel().cumsum()[-1])
    ours = abs(float(found.numerator[0, 0]) - exact) / exact
    assert ours < 6e-8
    assert abs(running - exact) / exact > 20 * 6e-8


def test_through_the_activation_with_channels_in_the_middle() -> None:
    """Images channels first, channels last and strided, a shared numerator, and the same gradients as elsewhere."""
    spec, generator = Spec(3), torch.Generator().manual_seed(3)
    image = torch.randn((2, 6, 3, 5), generator=generator).to(DEVICE)
    a, b = torch.randn((1, 6), generator=generator).to(DEVICE), torch.randn((3, 4), generator=generator).to(DEVICE)
    turned = image.contiguous(memory_format=torch.channels_last)
    for x in (image, turned, torch.stack((image, image), -1)[..., 0]):
        found: list[list[Tensor]] = []
        for engine in ("triton", "reference"):
            leaves = [tensor.detach().requires_grad_() for tensor in (x, a, b)]
            y = rational.group_rational(*leaves, spec, dim=1, backend=engine)
            found.append([y, *torch.autograd.grad(y, leaves, image)])
        for got, right in zip(*found, strict=True):
            assert got.shape == right.shape
            assert torch.allclose(got, right, rtol=1e-5, atol=1e-5)


def reason(**change: Any) -> str | None:
    return rational_triton.unsupported_reason(Spec(2), (change.get("x", torch.zeros(1, 2, 3)),))


def test_unsupported_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert reason() is None
    long = "its kernels take float32, bfloat16, float16, not torch.float64; convert x"
    assert reason(x=torch.zeros(1, 2, 3).double()) == long
    assert "not on 'meta'; move the tensors there" in str(reason(x=torch.zeros(1, 2, 3, device="meta")))
    monkeypatch.setattr(triton_device, "triton_installed", lambda: False)
    assert reason() == "Triton is not installed; install it (pip install triton)"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "not on 'cpu'; move the tensors there, or set TRITON_INTERPRET=1" in str(reason())


def test_auto_does_not_interpret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for dtype in rational_triton.DTYPES:
        x = torch.zeros((1, 2, 3), dtype=dtype)
        assert rational.BACKENDS.choose("auto", Spec(2), (x,)).name != "triton"
        assert rational.BACKENDS.choose("triton", Spec(2), (x,)).name == "triton"
    with pytest.raises(ValueError, match="backend 'triton' cannot run this activation: its kernels take float32"):
        rational.BACKENDS.choose("triton", Spec(2), (torch.zeros(1, 2, 3).double(),))


def test_importing_does_not_import_triton() -> None:
    code = "import sys, qkan.kernels.rational.api; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
