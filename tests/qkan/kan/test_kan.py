"""KAN: the toolbox on networks of KANLayers of every basis, of SplineLayers, and of both kinds together."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor

from qkan import KAN, QKAN, BasisFunctions, KANLayer, QKANLayer, SplineLayer
from qkan.kernels.edges.families import FAMILIES
from qkan.layers.kan_layer import EDGE_FUNCTIONS

F64 = torch.float64
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"basis": name, "terms": 6} for name in ("fourier", "rff", "chebyshev", "bspline", "rbf", "relu")},
    "AF-KAN": {"basis": "silu-quad1", "order": 2},
    "rational": {"basis": "rational"},
    "bias of pruning": {"basis": "chebyshev", "terms": 6, "bias": False, "base_activation": None},
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(count: int = 60, inputs: int = 3) -> Tensor:
    return 2.4 * torch.rand(count, inputs, generator=seeded(), dtype=F64) - 1.2


def of_splines(*width: int) -> KAN:
    """A network with other knots for every input."""
    layers = []
    for place, (inputs, outputs) in enumerate(pairwise(width)):
        source = seeded(place)
        knots = torch.rand(inputs, 10, generator=source, dtype=F64).cumsum(1) * 0.8 - 2
        layers.append(SplineLayer(inputs, outputs, 5, order=2, knots=knots, generator=source, dtype=F64))
    return KAN.from_layers(layers)


def mixed() -> KAN:
    return KAN.from_layers([KANLayer(3, 3, generator=seeded(), dtype=F64), QKANLayer(3, 2, reps=2, dtype=F64)])


def network(name: str) -> KAN:
    if name == "splines":
        return of_splines(3, 3, 2)
    return mixed() if name == "mixed" else KAN([3, 3, 2], generator=seeded(), dtype=F64, **OPTIONS[name])


def formula_error(model: KAN, x: Tensor, out: Tensor) -> float:
    layers, found = model.to_sympy(nested=False), x
    for layer, names in zip(layers, ("x1 x2 x3", "h1_1 h1_2 h1_3"), strict=False):
        symbols = sympy.symbols(names)[: found.shape[1]]
        values = sympy.lambdify(symbols, [definition for _, definition in layer])(*found.T.numpy())
        found = torch.stack([torch.as_tensor(value, dtype=F64).expand(len(x)) for value in values], 1)
    return float((found - out).abs().max())


@pytest.mark.parametrize("name", [*OPTIONS, "splines", "mixed"])
def test_fit_prune_save_read_and_compact(name: str, tmp_path: Path) -> None:
    x = samples()
    y = torch.cat([torch.sin(3 * x[:, :1]), x[:, 1:2] ** 2], 1)
    model = network(name)
    start = float((model(x).detach() - y).square().mean())
    assert model.fit(x, y, steps=(5, 5), l1=1e-3).best_loss < start
    removed = model.prune_edges([(0, 0, 2), (0, 1, 2), (0, 2, 2), (1, 0, 1), (1, 1, 1)], x)
    assert removed.nodes == ((1, 1),)
    assert removed.inputs == (2,)
    with_gaps = x.clone()
    with_gaps[:, 2] = torch.nan
    out = model(x).detach()
    assert torch.equal(model(with_gaps), out)  # an input without edges is not read

    model.save(tmp_path / "model.safetensors")
    again = KAN.load(tmp_path / "model.safetensors")
    assert torch.equal(again(x), out)
    assert again.config == model.config
    small = again.compact()
    assert small.width == [3, 2, 2]
    torch.testing.assert_close(small(x).detach(), out, rtol=0, atol=1e-13)
    assert formula_error(small, x, out) < 1e-12
    curves = {line.get_gid() for line in small.plot(x).axes[0].lines}
    assert "edge 0 0 0" in curves
    assert "edge 0 0 2" not in curves
    assert small.restore() == 2  # nodes that went are gone; the third input's edges to the two that stayed come back


@pytest.mark.parametrize("name", [*OPTIONS, "splines"])
def test_a_pruned_network_is_the_naive_sum_of_its_kept_edges_with_all_gradients(name: str) -> None:
    layer, x = network(name).layers[0], samples(30).requires_grad_()
    layer.prune([(0, 1), (2, 0)])
    assert layer(x).shape == (30, 3)
    features = layer.features(x)
    mask = torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=F64)
    naive = torch.einsum("tsi,tio,oi->so", features, layer.coefficients, mask)
    if layer.base_weight is not None:
        naive = naive + torch.nn.functional.silu(x) @ (mask * layer.base_weight).mT
    if layer.bias is not None:
        naive = naive + layer.bias
    tensors = (x, *layer.parameters())
    torch.testing.assert_close(layer(x), naive, rtol=0, atol=1e-13)
    found, truth = (torch.autograd.grad(y.square().sum(), tensors) for y in (layer(x), naive))
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)
    coefficients = found[1]
    assert (coefficients[:, 1, 0] == 0).all()
    assert (coefficients[:, 0, 2] == 0).all()


@pytest.mark.parametrize("name", ["bspline", "splines"])
def test_outputs_keep_the_means_of_pruned_edges(name: str) -> None:
    model, x = network(name), samples()
    before = model(x).detach()
    lost = model.layers[1].edge_outputs(model.layers[0](x))[:, 0, 1].detach()
    model.prune_edges([(1, 0, 1)], x)
    wanted = before[:, 0] - lost + lost.mean()
    torch.testing.assert_close(model(x)[:, 0].detach(), wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(model(x)[:, 1].detach(), before[:, 1], rtol=0, atol=1e-13)


def test_scores_see_biases_of_hidden_layers() -> None:
    """The second layer is fed with what the first one gives, its bias included, not with sums of edges alone."""
    model, x = KAN([2, 2, 1], generator=seeded(), dtype=F64), samples(50, 2)
    with torch.no_grad():
        model.layers[0].bias += torch.tensor([0.7, -0.5], dtype=F64)
    edges = model.layers[1].edge_outputs(model.layers[0](x))
    wanted = edges.std(0, correction=0) / edges.sum(-1).std(0, correction=0).unsqueeze(-1)
    torch.testing.assert_close(model.attribute(x).edges[1], wanted.detach(), rtol=1e-12, atol=0)
    first = model.layers[0].edge_outputs(x)
    held = model.layers[0](x) - (first - first.mean(0))[..., 0]
    wanted_rise = (model.layers[1](held) - model(x)).square().mean().detach()
    found = model.feature_importance(x, method="knockout")[0]
    torch.testing.assert_close(found, wanted_rise, rtol=1e-10, atol=0)


def test_a_known_function_is_read_off() -> None:
    """A Fourier network of one layer that is fitted to 2 sin(2 x1) + cos(x2) + 1 is that formula."""
    x = samples(200, 2)
    y = 2 * torch.sin(2 * x[:, :1]) + torch.cos(x[:, 1:]) + 1
    model = KAN([2, 1], "fourier", terms=4, base_activation=None, generator=seeded(), dtype=F64)
    model.fit(x, y, optimizer="lbfgs", steps=60, entropy=0.0)
    found = model.to_sympy(tolerance=1e-4, digits=4)[0]
    x1, x2 = sympy.symbols("x1 x2")
    assert sympy.simplify(found - (2 * sympy.sin(2 * x1) + sympy.cos(x2) + 1)) == 0


def test_splines_are_snapped_with_the_bias_of_the_layer() -> None:
    x = samples(200, 2) / 1.2
    y = 3 * x[:, :1] + x[:, 1:] ** 2 + 5
    model = KAN([2, 1], generator=seeded(), dtype=F64, base_activation=None)
    model.fit(x, y, optimizer="lbfgs", steps=60, entropy=0.0)
    symbolic = model.auto_symbolic(x, ["x", "x^2", "sin"])
    torch.testing.assert_close(symbolic(x), y, rtol=0, atol=1e-3)
    assert symbolic.rmse < 1e-3
    expression = symbolic.symbolic_formula()[0]
    values = sympy.lambdify(sympy.symbols("x1 x2"), expression)(*x.T.numpy())
    torch.testing.assert_close(torch.as_tensor(values).unsqueeze(1), symbolic(x), rtol=0, atol=1e-12)
    assert set(symbolic.to_frame()["function"]) == {"x", "x^2"}


def test_edges_that_no_function_fits_stay_splines() -> None:
    x = samples(80, 2)
    model = KAN([2, 2], generator=seeded(), dtype=F64)
    with torch.no_grad():
        model.layers[0].coefficients.normal_(generator=seeded(1))
        model.layers[0].bias.fill_(0.3)
    symbolic = model.auto_symbolic(x, ["x"])
    torch.testing.assert_close(symbolic(x), model(x), rtol=0, atol=1e-13)
    assert set(symbolic.to_frame()["function"]) == {"bspline"}
    values = sympy.lambdify(sympy.symbols("x1 x2"), symbolic.symbolic_formula())(*x.T.numpy())
    torch.testing.assert_close(
        torch.stack([torch.as_tensor(value) for value in values], 1), symbolic(x), rtol=0, atol=1e-12
    )


def test_figures_name_axes_parts_and_the_kind_of_network() -> None:
    model = KAN([2, 3, 1], generator=seeded())
    axes = model.plot_edge(1, 0, 2).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("h1_3", "part of y1")
    assert axes.get_legend_handles_labels()[1] == ["bspline", "base branch", "edge"]
    texts = {text.get_text() for text in model.plot(input_names=["a", "b"]).axes[0].texts}
    assert {"a", "b", "y1", "KAN [2, 3, 1]"} <= texts
    spline = of_splines(1, 1).plot_edge(0, 0, 0).axes[0]
    assert spline.get_legend_handles_labels()[1] == ["spline", "base branch", "edge"]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_spline_layers_refine_exactly_everywhere(order: int) -> None:
    knots = torch.rand(3, 6 + 2 * order + 1, generator=seeded(order), dtype=F64).cumsum(1)
    layer = SplineLayer(3, 2, 6, order=order, knots=knots, generator=seeded(), dtype=F64)
    with torch.no_grad():
        layer.coefficients.normal_(generator=seeded(1))
    x = torch.linspace(-1, 12, 301, dtype=F64).unsqueeze(1).expand(-1, 3)
    before = layer(x).detach()
    assert before.abs().max() > 0.1
    layer.refine(2 * (6 + order + order) - order)
    assert layer.coefficients.shape == (12 + 3 * order, 3, 2)
    torch.testing.assert_close(layer(x).detach(), before, rtol=0, atol=1e-12)


def test_an_extended_network_refines_without_a_change() -> None:
    """Hidden values leave the grid; without extending, finer splines would not reach as far."""
    model, x = KAN([3, 3, 2], generator=seeded(), dtype=F64), samples(200)
    with torch.no_grad():
        for layer in model.layers:
            layer.coefficients.normal_(generator=seeded(1))
    assert model.layers[0](x).abs().max() > 2
    before = model(x).detach()
    torch.testing.assert_close(model.extend(x)(x).detach(), before, rtol=0, atol=1e-13)
    sizes = [layer.terms - 3 for layer in model.layers]
    least = min(sizes)
    torch.testing.assert_close(model.refine(2 * least + 3)(x).detach(), before, rtol=0, atol=1e-12)
    assert [layer.terms - 3 for layer in model.layers] == [2 * size for size in sizes]
    with pytest.raises(ValueError, match="a grid only grows"):
        model.refine(4)


def test_spline_layer_has_the_functions_and_gradients_of_a_kan_layer() -> None:
    even, any_knots = KANLayer(2, 3, generator=seeded(), dtype=F64), SplineLayer(2, 3, base_activation=None, dtype=F64)
    any_knots.load_state_dict({**even.state_dict(), "knots": any_knots.knots})
    x = samples(70, 2).requires_grad_()
    torch.testing.assert_close(any_knots(x), even(x), rtol=0, atol=1e-13)
    found = torch.autograd.grad(any_knots(x).square().sum(), (x, *any_knots.parameters()))
    truth = torch.autograd.grad(even(x).square().sum(), (x, *even.parameters()))
    torch.testing.assert_close(found, truth, rtol=1e-11, atol=1e-12)
    few = x[:3].detach().requires_grad_()
    assert torch.autograd.gradcheck(any_knots, (few,))
    assert torch.autograd.gradgradcheck(any_knots, (few,))


def test_what_a_kan_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"width \[3\] needs an input and an output size"):
        KAN([3])
    with pytest.raises(ValueError, match="unknown basis 'wavelet'"):
        KAN([2, 1], "wavelet")
    with pytest.raises(TypeError, match="layers must be KANLayers or QKANLayers, got Linear"):
        KAN.from_layers([torch.nn.Linear(2, 2)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="layers must be QKANLayers, got KANLayer"):
        QKAN.from_layers([KANLayer(2, 2)])
    own = KAN([2, 1], BasisFunctions(lambda x, size, radius: torch.stack([x**k for k in range(1, size + 1)])), terms=2)
    with pytest.raises(ValueError, match="basis '<lambda>' has no closed form; fit elementary functions to its edges"):
        own.to_sympy()
    with pytest.raises(ValueError, match=r"layer 0: basis BasisFunctions is an object that a file cannot hold; save"):
        own.save(tmp_path / "own.safetensors")
    assert not list(tmp_path.iterdir())
    KAN([2, 1]).save(tmp_path / "kan.safetensors")
    with pytest.raises(ValueError, match=r"a network of KANLayer, not of QKANLayers; read it with qkan\.KAN"):
        QKAN.load(tmp_path / "kan.safetensors")
    model = of_splines(2, 1)
    with pytest.raises(ValueError, match=r"7 splines of order 2 refine to 16, 25, 34, ... without a change, not to 9"):
        model.refine(9)
    knots = torch.tensor([[-2.0, -1, 0, 0, 1, 2]])
    with pytest.raises(ValueError, match=r"the knots of input 0 must be finite and grow .*got \[-2, -1, 0, 0, 1, 2\]"):
        SplineLayer(1, 1, 3, order=1, knots=knots)
    with pytest.raises(ValueError, match=r"knots of shape \(1, 6\) do not fit; 3 intervals and order 2 need .*8\)"):
        SplineLayer(1, 1, 3, order=2, knots=knots)


@pytest.mark.parametrize("order", [2, 3])
def test_every_named_basis_has_an_exact_closed_form(order: int) -> None:
    x, symbol = torch.linspace(-2, 2, 41, dtype=F64).unsqueeze(1), sympy.Symbol("x")
    for basis, kind in EDGE_FUNCTIONS.items():
        own = order if FAMILIES.get(kind, FAMILIES["rff"]).ordered else None
        layer = KANLayer(1, 1, basis, terms=4, order=own, radius=1.3, generator=seeded(), dtype=F64)
        found = sympy.lambdify(symbol, layer.to_sympy(0, 0))(x[:, 0].numpy())
        torch.testing.assert_close(torch.as_tensor(found), layer.edge_outputs(x)[:, 0, 0].detach(), rtol=0, atol=1e-13)
