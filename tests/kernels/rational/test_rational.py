"""Group-rational activations: every engine against the formula, every gradient, odd shapes, awkward input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from qkan.kernels.rational import api as rational
from qkan.kernels.rational import numba_cpu as rational_numba
from qkan.kernels.rational import pytorch as rational_torch
from qkan.kernels.rational.api import group_rational
from qkan.kernels.rational.types import LIMIT, Spec

#: An order is a number of coefficients: more of them in P than in Q, as many, the most and the fewest.
ORDERS = ((5, 4), (8, 8), (1, 1))
FORMS = ("abs_terms", "abs_sum")
#: (rows, groups, run): one element, runs that are gathered, vectors with a rest, several pieces, several shards.
SHAPES = ((1, 1, 1), (301, 3, 1), (7, 2, 13), (5, 3, 97), (2, 2, 2500), (700, 4, 33))
ENGINES = {"numba": rational_numba.ENGINE, "torch": rational_torch.ENGINE}


def made(shape, order, dtype=torch.float64, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    (_, groups, _), (m, n) = shape, order
    sizes = (shape, (groups, m + 1), (groups, n), shape)
    x, a, b, grad = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return (scale * x).to(dtype), a.to(dtype), b.to(dtype), grad.to(dtype)


def truth(spec, x, a, b, grad):
    """F and all gradients in float64, by NumPy, term by term."""
    x, a, b, grad = (tensor.double().numpy() for tensor in (x, a, b, grad))
    (m, n), terms = spec.order, spec.denominator == "abs_terms"
    a, b = a[None, :, None, :], b[None, :, None, :]
    up, down = np.arange(m + 1), np.arange(1, n + 1)
    z = x[..., None]
    powers, u = z**up, np.abs(z) if terms else z
    inner = np.sum((np.abs(b) if terms else b) * u**down, -1)
    q, p = 1 + np.abs(inner), np.sum(a * powers, -1)
    f = p / q
    of_p = np.sum(a[..., 1:] * up[1:] * z ** up[:-1], -1)
    of_q = np.sum((np.abs(b) if terms else b) * down * u ** (down - 1), -1)
    of_q = of_q * np.where(x < 0, -1, 1) if terms else of_q * np.where(inner < 0, -1, 1)
    dx = grad * (of_p - f * of_q) / q
    da = np.sum(grad[..., None] * powers / q[..., None], (0, 2))
    towards = np.where(b < 0, -1, 1) if terms else np.where(inner < 0, -1, 1)[..., None]
    db = np.sum(-(grad * f / q)[..., None] * towards * u**down, (0, 2))
    return tuple(torch.from_numpy(np.ascontiguousarray(result)) for result in (f, dx, da, db))


def away_from_kinks(spec, x, b):
    """x with zeros where the sum in Q is so small that rounding decides its sign."""
    if spec.denominator == "abs_terms":
        return x
    powers = x.double()[..., None] ** torch.arange(1, spec.order[1] + 1)
    terms = powers * b.double()[None, :, None, :]
    return torch.where(terms.sum(-1).abs() < 1e-5 * terms.abs().sum(-1), 0, x)


def error(found, expected):
    """The largest error over the largest entry, or over 1 if that is smaller."""
    return float((found.double() - expected).abs().max() / expected.abs().max().clamp_min(1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_with_the_terms_written_out(engine, order, form):
    for shape in SHAPES:
        for dtype, limit in ((torch.float64, 1e-13), (torch.float32, 2e-5)):
            spec, (x, a, b, grad) = Spec(shape[1], order, form), made(shape, order, dtype)
            x = away_from_kinks(spec, x, b)
            expected = truth(spec, x, a, b, grad)
            y = ENGINES[engine].forward(spec, x, a, b)
            found = (y, *ENGINES[engine].backward(spec, x, a, b, grad, True))
            assert all(tensor.dtype == dtype for tensor in found)
            errors = [error(*pair) for pair in zip(found, expected, strict=True)]
            assert max(errors) < limit, (shape, dtype, errors)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", ENGINES)
def test_short_dtypes_are_rounded_once(engine, form, dtype):
    spec, (x, a, b, grad) = Spec(3, (5, 4), form), made((1500, 3, 97), (5, 4), dtype)
    a, b = a.float(), b.float()
    x = away_from_kinks(spec, x, b)
    expected = truth(spec, x, a, b, grad)
    found = (
        ENGINES[engine].forward(spec, x, a, b),
        *ENGINES[engine].backward(spec, x, a, b, grad, True),
    )
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32, torch.float32]
    for got, right in zip(found[:2], expected[:2], strict=True):
        # Half a unit in the last place, and what float32 loses where terms cancel.
        assert bool(((got.double() - right).abs() < torch.finfo(dtype).eps / 2 * right.abs() + 5e-6).all())
    assert max(error(*pair) for pair in zip(found[2:], expected[2:], strict=True)) < 1e-6


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", ENGINES)
def test_large_inputs_do_not_overflow(engine, form):
    spec, (x, a, b, grad) = Spec(2, (8, 8), form), made((3, 2, 50), (8, 8), torch.float32)
    x = x * torch.logspace(0, 30, x.numel()).view_as(x)
    expected = truth(spec, x, a, b, grad)
    y = ENGINES[engine].forward(spec, x, a, b)
    found = ENGINES[engine].backward(spec, x, a, b, grad, True)
    assert bool(torch.isfinite(y).all())
    assert float(((y.double() - expected[0]) / expected[0].abs().clamp_min(1)).abs().max()) < 3e-6
    assert max(error(*pair) for pair in zip(found, expected[1:], strict=True)) < 3e-6


@pytest.mark.parametrize("engine", ["numba", "torch", "reference"])
def test_numbers_that_are_none_behave_as_the_formula(engine):
    spec = Spec(1, (2, 1))
    a, b = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[1.0]])
    x = torch.tensor([0.5, math.nan, 1.0, math.inf, -math.inf, 2.0])
    y = group_rational(x.unsqueeze(-1), a, b, spec, backend=engine).squeeze(-1)
    assert y.isnan().tolist() == [False, True, False, True, True, False]
    right = (1 + 2 * x + x * x / 2) / (1 + x.abs())
    assert torch.allclose(y[[0, 2, 5]], right[[0, 2, 5]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 6, 4), (400, 4, 100)])
@pytest.mark.parametrize("form", FORMS)
def test_sums_are_the_same_to_the_bit_whatever_the_threads(shape, form):
    spec, (x, a, b, grad) = Spec(shape[1], (5, 4), form), made(shape, (5, 4), torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            found.append(rational_numba.ENGINE.backward(spec, x, a, b, grad, True))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_gradients_of_many_elements_keep_their_digits():
    """The sums of positive terms, where a running sum in float32 loses three digits."""
    spec, (x, a, b, _) = Spec(1, (5, 4)), made((2000, 1, 500), (5, 4), torch.float32)
    expected = truth(spec, x, a, b, torch.ones_like(x))
    found = rational_numba.ENGINE.backward(spec, x, a, b, torch.ones_like(x), True)
    running = np.add.accumulate((1 / (1 + sum(b[0, j].abs() * x.abs() ** (j + 1) for j in range(4)))).numpy().ravel())
    naive = abs(float(running[-1]) - float(expected[2][0, 0])) / float(expected[2][0, 0])
    ours = abs(float(found.numerator[0, 0]) - float(expected[2][0, 0])) / float(expected[2][0, 0])
    assert ours < 1e-7
    assert naive > 10 * ours
    assert naive > 1e-6


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_first_and_second_derivatives(order, form):
    m, n = order
    x, a, b, _ = made((2, 3, 2), order)
    x, a, b = x.requires_grad_(), a[:1].clone().requires_grad_(), b.requires_grad_()
    spec = Spec(3, order, form)

    def f(x, a, b):
        return group_rational(x, a, b, spec, dim=1)

    assert torch.autograd.gradcheck(f, (x, a, b))
    assert torch.autograd.gradgradcheck(f, (x, a, b))
    assert a.shape == (1, m + 1)
    assert b.shape == (3, n)


def test_transforms_of_torch_func():
    spec, (x, a, b, _) = Spec(3, (3, 2)), made((4, 3, 2), (3, 2))
    f = torch.vmap(lambda x, a: group_rational(x, a, b, spec, dim=0), (0, None))
    whole = group_rational(x, a, b, spec, dim=1)
    assert torch.allclose(f(x, a), whole, rtol=1e-14)
    per_sample = torch.vmap(torch.func.grad(lambda a, x: group_rational(x, a, b, spec, dim=0).sum()), (None, 0))(a, x)
    one = a.clone().requires_grad_()
    group_rational(x, one, b, spec, dim=1).sum().backward()
    assert torch.allclose(per_sample.sum(0), one.grad, rtol=1e-12)


def test_zero_coefficients_have_a_slope():
    """|b| has slope 1 at zero, so that a denominator that starts at one can move."""
    for form in FORMS:
        for engine in ("numba", "torch", "reference"):
            x = torch.tensor([[0.5], [2.0]])
            a, b = torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2, requires_grad=True)
            group_rational(x, a, b, Spec(1, (1, 2), form), backend=engine).sum().backward()
            assert torch.allclose(b.grad, torch.tensor([[-4.25, -8.125]])), (form, engine)


def _grid(shape, dtype=torch.float32):
    return torch.linspace(-2, 2, math.prod(shape), dtype=dtype).view(shape)


def test_every_layout_gives_the_same_numbers_without_copies():
    spec, (_, a, b, _) = Spec(3, (5, 4)), made((1, 3, 1), (5, 4), torch.float32)
    image = _grid((2, 6, 5, 7))
    right = group_rational(image.permute(0, 2, 3, 1).contiguous(), a, b, spec).permute(0, 3, 1, 2)
    layouts = {
        "contiguous": image,
        "channels_last": image.contiguous(memory_format=torch.channels_last),
        "transposed": image.transpose(2, 3).contiguous().transpose(2, 3),
        "strided": torch.stack((image, image), -1)[..., 0],
        "expanded": image[:1].expand(2, -1, -1, -1),
    }
    for name, x in layouts.items():
        expected = right[:1].expand_as(right) if name == "expanded" else right
        x = x.detach().requires_grad_()
        y = group_rational(x, a, b, spec, dim=1)
        assert torch.allclose(y, expected, rtol=1e-6), name
        if name in ("contiguous", "channels_last", "transposed"):
            assert y.stride() == x.stride(), name
        y.backward(torch.ones_like(y))
        assert x.grad.shape == x.shape


def test_no_elements_give_none_and_zero_gradients():
    for shape in ((0, 6), (2, 0, 6)):
        x = torch.zeros(shape, requires_grad=True)
        a, b = torch.ones(1, 6, requires_grad=True), torch.ones(3, 4, requires_grad=True)
        y = group_rational(x, a, b, Spec(3))
        assert y.shape == x.shape
        y.sum().backward()
        assert x.grad.shape == x.shape
        assert not a.grad.any()
        assert not b.grad.any()


def test_mixed_dtypes_keep_the_dtype_of_x():
    _, a, b, _ = made((1, 2, 1), (5, 4), torch.float32)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        for of_coefficients in (torch.bfloat16, torch.float32, torch.float64):
            x = _grid((3, 4), dtype).requires_grad_()
            a_, b_ = (c.detach().to(of_coefficients).requires_grad_() for c in (a, b))
            y = group_rational(x, a_, b_, Spec(2))
            y.sum().backward()
            assert (y.dtype, x.grad.dtype, a_.grad.dtype) == (dtype, dtype, of_coefficients)
            exact = group_rational(x.detach().double(), a_.double(), b_.double(), Spec(2))
            eps = max(torch.finfo(dtype).eps, 2e-7 if dtype != torch.float64 else 0)
            assert float((y - exact).detach().abs().max()) < 4 * eps * float(exact.detach().abs().max())


def test_a_compiler_meets_one_operation_and_gives_the_same_bits():
    spec, (x, a, b, grad) = Spec(3, (5, 4)), made((5, 3, 7), (5, 4), torch.float32)
    tensors = [tensor.requires_grad_() for tensor in (x, a, b)]

    def f(x, a, b):
        return group_rational(x, a, b, spec, dim=1).mul(2)

    eager = torch.autograd.grad(f(*tensors), tensors, grad)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    y = compiled(*tensors)
    assert torch.equal(y, f(*tensors))
    assert all(torch.equal(one, two) for one, two in zip(torch.autograd.grad(y, tensors, grad), eager, strict=True))


def test_a_compiler_takes_symbolic_shapes_in_any_memory_format():
    spec, (_, a, b, _) = Spec(3, (5, 4)), made((1, 3, 1), (5, 4), torch.float32)

    def f(x):
        return group_rational(x, a, b, spec, dim=1)

    compiled = torch.compile(f, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (2, 3, 5):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x = _grid((batch, 6, 4, batch + 1)).contiguous(memory_format=memory_format).requires_grad_()
            y = compiled(x)
            assert torch.equal(y, f(x))
            assert y.stride() == x.stride()
            (grad,), (right,) = torch.autograd.grad(y.sum(), x), torch.autograd.grad(f(x).sum(), x)
            assert torch.equal(grad, right)


def test_the_operation_passes_the_checks_of_pytorch():
    tensors = (tensor.requires_grad_() for tensor in made((3, 2, 4), (5, 4), torch.float32)[:3])
    found = torch.library.opcheck(torch.ops.qkan.rational.default, (2, [5, 4], "abs_terms", "numba", *tensors))
    assert set(found.values()) == {"SUCCESS"}


def test_frozen_coefficients_get_no_gradients():
    x, a, b, grad = made((4, 2, 3), (5, 4), torch.float32)
    y = group_rational(x.requires_grad_(), a, b, Spec(2), dim=1)
    y.backward(grad)
    expected = truth(Spec(2), x.detach(), a, b, grad)
    assert error(x.grad, expected[1]) < 3e-6
    assert a.grad is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 0}, "groups 0 must be at least 1"),
        ({"groups": 8, "order": (9, 4)}, r"order \(9, 4\) is outside m in \[0, 8\], n in \[1, 8\]"),
        ({"groups": 8, "order": (5, 0)}, r"order \(5, 0\) is outside"),
        ({"groups": 8, "denominator": "plain"}, "unknown denominator 'plain'; use one of abs_terms, abs_sum"),
    ],
)
def test_a_spec_refuses_values_outside_its_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spec(**arguments)


@pytest.mark.parametrize("arguments", [{"groups": 2.0}, {"groups": True}, {"groups": 2, "order": 5}])
def test_a_spec_refuses_other_types(arguments):
    with pytest.raises(TypeError, match="must be"):
        Spec(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(2, 7)}, "7 channels do not divide into 2 groups"),
        ({"numerator": torch.zeros(2, 5)}, r"numerator of shape \(2, 5\) does not fit 2 groups and order \(5, 4\)"),
        ({"denominator": torch.zeros(3, 4)}, r"it must be \(2, 4\) or \(1, 4\)"),
        ({"dim": 2}, "dim 2 is outside the 2 dimensions"),
        ({"backend": "cuda"}, "unknown backend 'cuda'; use one of auto, numba"),
        ({"denominator": torch.zeros(2, 4, device="meta")}, "denominator is on meta, but x is on cpu"),
    ],
)
def test_calls_that_do_not_fit_are_refused(changes, message):
    call = {"x": torch.zeros(2, 6), "numerator": torch.zeros(1, 6), "denominator": torch.zeros(2, 4), "spec": Spec(2)}
    with pytest.raises(ValueError, match=message):
        group_rational(**(call | changes))


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x has dtype torch\.int64"):
        group_rational(torch.zeros(2, 6, dtype=torch.int64), torch.zeros(1, 6), torch.zeros(2, 4), Spec(2))


def test_a_backend_that_cannot_run_says_why():
    meta = torch.empty(2, 2, 3, device="meta")
    with pytest.raises(ValueError, match="backend 'numba' cannot run this activation: its kernels run on CPUs"):
        rational.BACKENDS.choose("numba", Spec(2), (meta,))
    assert rational.BACKENDS.choose("auto", Spec(2), (torch.empty(2, 2, 3),)).name == "numba"
    assert LIMIT**8 < 1e30


@pytest.mark.parametrize(
    ("backend", "ran"),
    [("auto", {"numba"}), ("numba", {"numba"}), ("torch", {"torch"}), ("reference", set())],
)
def test_the_backend_asked_for_runs_forward_and_backward(backend, ran, monkeypatch):
    calls = []

    def recording(engine):
        def forward(*arguments):
            calls.append((engine.name, "forward"))
            return engine.forward(*arguments)

        def backward(*arguments):
            calls.append((engine.name, "backward"))
            return engine.backward(*arguments)

        return engine._replace(forward=forward, backward=backward)

    watched = replace(rational.BACKENDS, engines=tuple(map(recording, rational.BACKENDS.engines)))
    monkeypatch.setattr(rational, "BACKENDS", watched)
    x, a, b, _ = made((3, 2, 4), (5, 4), torch.float32)
    group_rational(x.requires_grad_(), a.requires_grad_(), b, Spec(2), dim=1, backend=backend).sum().backward()
    assert sorted(calls) == sorted((name, way) for name in ran for way in ("forward", "backward"))
