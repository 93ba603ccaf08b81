"""KANLayer: its formula, every gradient, what it starts as and what it refuses; cells that have one as their latent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from qkan import HQKANLSTM, BasisFunctions, JHCGNet, KANLayer
from qkan.kan.jhcg import BASES

F64 = torch.float64
#: Bases by name, with one of each way to make functions.
EDGE_FUNCTIONS = ("fourier", "rff", "chebyshev", "bspline", "rbf", "relu", "silu-quad1", "tanh-cubic1", "rational")


def terms_of(basis: str, terms: int) -> int | None:
    """What a layer of a basis takes as ``terms``."""
    return None if basis == "rational" else terms


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("basis", EDGE_FUNCTIONS)
@pytest.mark.parametrize("base", [None, "silu"])
@pytest.mark.parametrize(("inputs", "outputs", "samples"), [(3, 2, 5), (1, 1, 1), (7, 5, 300), (100, 3, 200)])
def test_layer_is_its_formula(basis: str, base: str | None, inputs: int, outputs: int, samples: int) -> None:
    base = None if basis == "rational" else base
    layer = KANLayer(
        inputs, outputs, basis, terms=terms_of(basis, 6), base_activation=base, generator=seeded(), dtype=F64
    )
    x = torch.randn(samples, inputs, dtype=F64, generator=seeded(1)).requires_grad_()
    y, naive = layer(x), layer.edge_outputs(x).sum(-1) + layer.bias
    torch.testing.assert_close(y, naive, rtol=0, atol=1e-11)
    tensors = (x, *layer.parameters())
    found, truth = (torch.autograd.grad(out.square().sum(), tensors) for out in (y, naive))
    for own, other in zip(found, truth, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("basis", EDGE_FUNCTIONS)
def test_first_and_second_derivatives(basis: str) -> None:
    layer = KANLayer(2, 2, basis, terms=terms_of(basis, 4), generator=seeded(), dtype=F64)
    x = torch.randn(3, 2, dtype=F64, generator=seeded(1)).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_functions_are_those_of_the_field() -> None:
    x = torch.linspace(-0.99, 0.99, 21, dtype=F64).unsqueeze(1)

    def function(basis: str, terms: int, place: int, radius: float = 1.0) -> torch.Tensor:
        layer = KANLayer(1, 1, basis, terms=terms, radius=radius, dtype=F64)
        with torch.no_grad():
            layer.coefficients.zero_()
            layer.coefficients[place] = 1.0
        return layer(x).squeeze(1).detach()

    torch.testing.assert_close(function("fourier", 6, 4), torch.sin(2 * x[:, 0]), rtol=0, atol=1e-14)
    polynomial = torch.cos(3 * torch.acos(torch.tanh(x[:, 0] / 2)))
    torch.testing.assert_close(function("chebyshev", 4, 2, 2.0), polynomial, rtol=0, atol=1e-14)
    knots = torch.linspace(-1 - 3 * 0.5, 1 + 3 * 0.5, 11).numpy()  # four intervals and three to either side
    for place in range(7):
        spline = torch.from_numpy(BSpline(knots, [float(k == place) for k in range(7)], 3)(x[:, 0].numpy()))
        torch.testing.assert_close(function("bspline", 7, place), spline, rtol=0, atol=1e-14)
    random = function("rff", 8, 0) ** 2 + function("rff", 8, 4) ** 2
    torch.testing.assert_close(random, torch.ones_like(random), rtol=0, atol=1e-14)


@pytest.mark.parametrize("basis", [*EDGE_FUNCTIONS[:-1], "silu-sum_prod"])
def test_it_starts_near_a_line_of_a_linear_layers_slopes(basis: str) -> None:
    layer = KANLayer(9, 50, basis, generator=seeded(), dtype=F64)
    line = torch.linspace(-0.8, 0.8, 33, dtype=F64)
    edges = layer.edge_outputs(line.unsqueeze(1).expand(-1, 9))
    slopes = (edges * line[:, None, None]).sum(0) / line.square().sum()
    assert slopes.abs().max() < 1.5 / 3
    assert float(slopes.detach().std()) == pytest.approx(1 / 3 / math.sqrt(3), rel=0.25)


def test_any_leading_dimensions_dtypes_and_autocast() -> None:
    layer = KANLayer(3, 2, "bspline", generator=seeded())
    x = torch.randn(2, 4, 3)
    assert layer(x).shape == (2, 4, 2)
    assert layer(x[:0]).shape == (0, 4, 2)
    torch.testing.assert_close(layer.double()(x), layer.float()(x), check_dtype=False, rtol=0, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x), layer.double()(x).float(), rtol=0, atol=2e-2)


@pytest.mark.parametrize("latent", [*BASES, "mlp"])
def test_cells_with_such_a_latent_agree_with_the_reference(latent: str) -> None:
    def run(backend: str) -> list[torch.Tensor]:
        cell = HQKANLSTM(2, 3, latent=latent, backend=backend, generator=seeded(), dtype=F64)
        x = torch.randn(4, 5, 2, dtype=F64, generator=seeded(1)).requires_grad_()
        y, _ = cell(x)
        y.square().sum().backward()
        return [y.detach(), x.grad, *(p.grad for p in cell.parameters())]  # type: ignore[list-item]

    truth = run("reference")
    for backend in ("auto",) if latent == "mlp" else ("auto", "torch"):
        torch.testing.assert_close(run(backend), truth, rtol=0, atol=1e-13)


def bumps(x: Tensor, size: int, radius: float) -> Tensor:
    places = torch.linspace(-radius, radius, size, dtype=x.dtype).view(-1, *[1] * x.dim())
    return torch.exp(-((x - places) ** 2))


def slopes_of_bumps(x: Tensor, size: int, radius: float) -> Tensor:
    places = torch.linspace(-radius, radius, size, dtype=x.dtype).view(-1, *[1] * x.dim())
    return -2 * (x - places) * bumps(x, size, radius)


@pytest.mark.parametrize("slopes", [None, slopes_of_bumps], ids=["differentiated", "given"])
def test_functions_of_a_user(slopes: Callable[..., Tensor] | None) -> None:
    basis = BasisFunctions(bumps, slopes)
    layer = KANLayer(3, 2, basis, terms=5, base_activation="silu", dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    values = torch.einsum("tbi,tio->bo", bumps(x, 5, 1.0), layer.coefficients) + layer.bias
    values = values + torch.nn.functional.silu(x) @ layer.base_weight.mT
    torch.testing.assert_close(layer(x), values, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))
    assert "basis='bumps'" in repr(layer)

    def gradients(backend: str) -> list[Tensor]:
        torch.manual_seed(0)
        lstm = HQKANLSTM(
            2, 3, latent_features=3, latent=lambda width: KANLayer(width, width, basis), backend=backend, bias=True
        ).double()
        output, _ = lstm(torch.linspace(-1, 1, 24, dtype=torch.float64).view(4, 3, 2))
        return [output, *torch.autograd.grad(output.square().sum(), list(lstm.parameters()))]

    for got, wanted in zip(gradients("torch"), gradients("reference"), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def test_latents_have_as_many_parameters_as_they_say() -> None:
    def numbers(latent: str) -> int:
        return sum(p.numel() for p in JHCGNet(4, 4, latent_features=2, latent=latent).latent.parameters())

    assert {latent: numbers(latent) for latent in BASES} == dict.fromkeys(BASES, 8 * 4 + 2)
    assert numbers("mlp") == 2 * 8 + 8 + 8 * 2 + 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"basis": 3}, TypeError, "basis must be a name or BasisFunctions, got int; wrap functions in it"),
        (
            {"basis": BasisFunctions(lambda x, size, radius: x), "terms": 4},
            ValueError,
            r"the values of this basis are \(2, 3\) for an input of shape \(2, 3\) and terms=4; they must be a "
            r"tensor of shape \(4, 2, 3\)",
        ),
        (
            {"basis": BasisFunctions(bumps, bumps), "terms": 4},
            ValueError,
            "the slopes of this basis differ from the derivatives of its values by up to .*; correct them, or",
        ),
        (
            {"basis": BasisFunctions(lambda x, size, radius: torch.stack([x.log()] * size)), "terms": 4},
            ValueError,
            r"the values of this basis are not finite everywhere in \[-1, 1\], where inputs are expected",
        ),
        (
            {"basis": "wavelet"},
            ValueError,
            "unknown basis 'wavelet'; use one of fourier, rff, chebyshev, bspline, rbf, relu, rational, an activation "
            "and a combination such as silu-quad1, or BasisFunctions",
        ),
        (
            {"basis": "fourier", "terms": 5},
            ValueError,
            "'fourier' needs an even number of terms, got terms=5; use terms=6",
        ),
        (
            {"basis": "bspline", "terms": 3},
            ValueError,
            "'bspline' of order 3 needs terms of at least 4, got terms=3; use terms=4, or order=2",
        ),
        (
            {"basis": "relu", "terms": 1, "order": 1},
            ValueError,
            "order 1 needs terms of at least 2, got terms=1; use terms=2",
        ),
        ({"basis": "bspline", "order": 6}, ValueError, r"order 6 is outside \[1, 5\]"),
        ({"basis": "bspline", "order": True}, TypeError, "order must be an int, got bool"),
        ({"basis": "rbf", "order": 3}, ValueError, "basis 'rbf' has no order; leave it out"),
        ({"basis": BasisFunctions(bumps), "order": 3}, ValueError, "basis 'of your own' has no order; leave it out"),
        ({"basis": "rbf", "terms": 1}, ValueError, "'rbf' needs terms of at least 2, got terms=1; use terms=2"),
        (
            {"basis": "rational", "terms": 4},
            ValueError,
            "'rational' has one function an input, got terms=4; leave it out",
        ),
        (
            {"basis": "rational", "base_activation": "silu"},
            ValueError,
            "'rational' has no base branch: its functions start as SiLU; leave base_activation out",
        ),
        ({"terms": 513}, ValueError, r"terms 513 is outside \[1, 512\]"),
        ({"radius": math.nan}, ValueError, "radius nan must be a finite number above 0"),
        ({"terms": 0}, ValueError, r"terms 0 is outside \[1, 512\]"),
        ({"terms": 1.5}, TypeError, "terms must be an int, got float"),
        ({"radius": 0.0}, ValueError, "radius 0.0 must be a finite number above 0"),
        ({"base_activation": "sine"}, ValueError, "unknown base_activation 'sine'; use one of silu"),
        ({"in_features": 0}, ValueError, "in_features 0"),
        ({"dtype": torch.int64}, TypeError, "dtype must be a real floating-point type"),
    ],
)
def test_what_it_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KANLayer(**{"in_features": 2, "out_features": 2, **options})


def values(layer: KANLayer, bound: float) -> torch.Tensor:
    return layer(torch.linspace(-bound, bound, 97, dtype=F64).unsqueeze(1).expand(-1, layer.in_features)).detach()


@pytest.mark.parametrize(
    ("basis", "order", "terms", "finer", "atol"),
    [("bspline", k, 4 + k, 4 * m + k, 1e-14) for k in (1, 2, 3, 4, 5) for m in (2, 3)]
    + [("fourier", None, 4, 10, 0.0), ("chebyshev", None, 4, 9, 0.0), ("rff", None, 4, 40, 1e-6)]
    + [("rbf", None, 4, 40, 0.02), ("relu", 2, 6, 60, 5e-3), ("silu-sum", 3, 6, 30, 1e-3)],
)  # fmt: skip
def test_more_terms_keep_the_function(basis: str, order: int | None, terms: int, finer: int, atol: float) -> None:
    layer = KANLayer(3, 2, basis, terms=terms, order=order, radius=1.5, base_activation="silu", dtype=F64)
    layer.coefficients.requires_grad_(False)
    before = values(layer, 1.5)
    assert layer.refine(finer) is layer
    torch.testing.assert_close(values(layer, 1.5), before, rtol=0, atol=max(atol, 1e-14))
    assert (layer.terms, layer.coefficients.shape, layer.coefficients.requires_grad) == (finer, (finer, 3, 2), False)
    assert KANLayer(**layer.config).coefficients.shape == (finer, 3, 2)


@pytest.mark.parametrize(
    ("basis", "order"), [("rbf", None), *((basis, order) for basis in ("bspline", "relu") for order in (1, 2, 3, 5))]
)
def test_a_wider_domain_keeps_the_function_everywhere(basis: str, order: int | None) -> None:
    terms = 6 if order is None else 5 + order  # five intervals
    layer = KANLayer(3, 2, basis, terms=terms, order=order, radius=1.5, dtype=F64)
    before = values(layer, 5.0)
    assert layer.extend(2.0) is layer
    assert (layer.terms, layer.radius) == (terms + 2, pytest.approx(1.5 + 0.6))
    torch.testing.assert_close(values(layer, 5.0), before, rtol=0, atol=1e-14)
    assert (layer.coefficients[[0, -1]] == 0).all()


@pytest.mark.parametrize(("basis", "terms", "atol"), [("chebyshev", 30, 0.01), ("rff", 60, 1e-4)])
def test_a_wider_domain_of_smooth_functions_is_near(basis: str, terms: int, atol: float) -> None:
    layer = KANLayer(3, 2, basis, terms=terms, dtype=F64)
    before = values(layer, 1.2)
    layer.extend(1.2)
    assert (layer.terms, layer.radius) == (terms, 1.2)
    torch.testing.assert_close(values(layer, 1.2), before, rtol=0, atol=atol)


def test_functions_of_a_user_grow_to_the_nearest() -> None:
    layer = KANLayer(3, 2, BasisFunctions(bumps), terms=6, dtype=F64)
    before = values(layer, 1.0)
    torch.testing.assert_close(values(layer.refine(12), 1.0), before, rtol=0, atol=1e-3)
    torch.testing.assert_close(values(layer.extend(1.1), 1.0), before, rtol=0, atol=1e-3)
    assert (layer.terms, layer.radius) == (12, 1.1)


@pytest.mark.parametrize(
    ("options", "change", "error", "message"),
    [
        ({}, ("refine", 8), ValueError, "terms 8 must be more than 8, what the layer has: a grid only grows"),
        ({}, ("refine", 6), ValueError, "terms 6 must be more than 8"),
        ({}, ("refine", 9.0), TypeError, "terms must be an int, got float"),
        ({}, ("refine", 600), ValueError, r"terms 600 is outside \[1, 512\]"),
        (
            {},
            ("refine", 11),
            ValueError,
            "terms 11 cut the grid into 8 intervals, which do not nest in the 5 that there are; use terms=13",
        ),
        ({"basis": "fourier"}, ("refine", 9), ValueError, "needs an even number of terms, got terms=9; use terms=10"),
        ({"basis": "rational"}, ("refine", 9), ValueError, "rational functions have no terms to refine; use bspline"),
        ({}, ("extend", 1.0), ValueError, "radius 1 must be more than 1, what the layer has: a domain only grows"),
        ({}, ("extend", math.nan), ValueError, "radius nan must be a finite number above 0"),
        ({}, ("extend", "2"), TypeError, "radius must be a number, got str"),
        ({"basis": "fourier"}, ("extend", 2.0), ValueError, "basis 'fourier' has no domain: its functions hold for"),
        ({}, ("extend", 1000.0), ValueError, "radius 1000 takes 5004 terms, of which there can be 512; use 101.8"),
    ],
)  # fmt: skip
def test_changes_that_it_refuses(
    options: dict[str, Any], change: tuple[str, Any], error: type[Exception], message: str
) -> None:
    layer = KANLayer(2, 2, **options)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(error, match=message):
        getattr(layer, change[0])(change[1])
    assert (layer.terms, layer.radius) == (1 if layer.basis == "rational" else 8, 1.0)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_functions_may_have_a_pole() -> None:
    poles = BasisFunctions(lambda x, size, radius: torch.stack([x.abs().log() / k for k in range(1, size + 1)]))
    layer = KANLayer(2, 2, poles, terms=3)
    assert layer.coefficients.isfinite().all()
    assert layer(torch.tensor([[0.5, -0.5]])).isfinite().all()


def test_inputs_that_it_refuses() -> None:
    layer = KANLayer(3, 2)
    with pytest.raises(ValueError, match=r"KANLayer needs an input of shape \(..., 3\), got \(2, 4\)"):
        layer(torch.randn(2, 4))
    with pytest.raises(TypeError, match="floating-point input"):
        layer(torch.ones(2, 3, dtype=torch.int64))
