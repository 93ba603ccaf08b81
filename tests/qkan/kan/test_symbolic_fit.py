"""Networks whose edges are snapped to elementary functions."""

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from plain import PLAIN
from torch import Tensor

from qkan import QKAN, SymbolicKAN
from qkan.kan.symbolic_functions import LIBRARY

F64 = torch.float64
SMALL = ["0", "x", "x^2", "sin", "exp"]


def samples(inputs: int = 2, count: int = 120) -> Tensor:
    return 2 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(3), dtype=F64) - 1


def exact_network() -> QKAN:
    """sin(pi x1) + x2^2: R = 1 near its linear point is sin(0.6) sin(w x), and the base branch is the square."""
    network = QKAN(
        [2, 1],
        reps=1,
        preact_trainable=True,
        postact_weight_trainable=True,
        base_activation=torch.square,
        dtype=F64,
    )
    layer = network.layers[0]
    with torch.no_grad():
        layer.theta.zero_()
        layer.theta[..., 1, :] = torch.tensor([math.pi / 2, 0.6], dtype=F64)
        layer.preact_weight.fill_(math.pi)
        layer.postact_weight.copy_(torch.tensor([[1 / math.sin(0.6), 0.0]]))
        layer.base_weight.copy_(torch.tensor([[0.0, 1.0]]))
    return network


def random_network(width: list[int], **options: Any) -> QKAN:
    network = QKAN(width, reps=2, dtype=F64, **(PLAIN | options))
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(2 * torch.rand(parameter.shape, generator=generator, dtype=F64) - 1)
    return network


def evaluated(symbolic: SymbolicKAN, x: Tensor) -> Tensor:
    symbols = sympy.symbols(f"x1:{x.shape[1] + 1}")
    values = sympy.lambdify(symbols, symbolic.symbolic_formula(), cse=True)(*x.T.numpy())
    return torch.tensor(np.stack([np.broadcast_to(v, len(x)) for v in values], -1))


def test_a_known_formula_is_recovered() -> None:
    x = samples()
    symbolic = exact_network().auto_symbolic(x)
    assert str(symbolic.symbolic_formula(digits=6, tolerance=1e-7)[0]) == "x2**2 + sin(3.14159*x1)"
    assert symbolic.rmse.item() < 1e-9
    assert symbolic.r2.item() == pytest.approx(1, abs=1e-12)
    assert symbolic.to_frame()["function"].tolist() == ["sin", "x^2"]


def test_suggestions_are_ranked() -> None:
    suggestions = exact_network().suggest_symbolic(0, 0, 0, samples(), k=4)
    assert len(suggestions) == 4
    best = suggestions[0]
    assert (best.function, best.complexity) == ("sin", 3)
    assert (best.a, best.b, best.c, best.d) == pytest.approx((math.pi, 0, 1, 0), abs=1e-6)
    assert best.score == pytest.approx(-8.5)
    frame = suggestions.to_frame()
    assert list(frame.columns) == ["function", "a", "b", "c", "d", "r2", "complexity", "score"]
    assert frame["score"].is_monotonic_increasing
    assert frame["function"][1] == "cos"  # the same with a phase
    assert "sin" in str(suggestions)


def test_hidden_edges_are_fitted_on_what_reaches_them() -> None:
    network = random_network([2, 2, 1])
    x = samples()
    hidden = network.layers[0](x)[:, 1].detach()
    expected = network.layers[1].edge_outputs(network.layers[0](x))[:, 0, 1].detach()
    best = network.suggest_symbolic(1, 0, 1, x, k=1, library=["x"])[0]
    slope = float(
        ((hidden - hidden.mean()) * (expected - expected.mean())).sum() / (hidden - hidden.mean()).square().sum()
    )
    assert best.c == pytest.approx(slope, rel=1e-9)


def test_the_snapped_network_is_its_formula_and_leaves_the_network_alone() -> None:
    network = random_network([2, 3, 2])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = samples()
    symbolic = network.auto_symbolic(x, SMALL, r2=0.9)
    names = set(symbolic.to_frame()["function"])
    assert "circuit" in names  # some stay
    assert names - {"circuit"}  # and some do not
    y = symbolic(x.reshape(4, 30, 2)).reshape(120, 2)
    assert torch.allclose(evaluated(symbolic, x), y.detach(), rtol=0, atol=1e-11)
    assert torch.allclose(symbolic.rmse, (y - network(x)).square().mean(0).sqrt(), rtol=1e-9)
    assert torch.allclose(symbolic.r2, 1 - (y - network(x)).square().mean(0) / network(x).var(0, correction=0))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "edges left as they were=1" in repr(symbolic)


def test_a_snapped_network_survives_copies_and_pickles() -> None:
    x = samples()
    symbolic = random_network([2, 2, 1]).auto_symbolic(x, SMALL, r2=0.9)
    y = symbolic(x)
    copies = copy.deepcopy(symbolic), pickle.loads(pickle.dumps(symbolic))
    with torch.no_grad():
        for parameter in symbolic.parameters():
            parameter.zero_()
    assert all(torch.equal(twin(x), y) for twin in copies)


def test_where_nothing_fits_the_network_stays_exact() -> None:
    network = random_network([2, 3, 1])
    x = samples()
    symbolic = network.auto_symbolic(x, ["0"], r2=1.0)
    assert set(symbolic.to_frame()["function"]) == {"circuit"}
    assert torch.allclose(symbolic(x), network(x), rtol=0, atol=1e-13)
    assert symbolic.symbolic_formula() == network.to_sympy()


def test_a_pruned_edge_is_nothing() -> None:
    network = random_network([2, 1])
    network.layers[0].edge_mask = torch.tensor([[True, False]])
    symbolic = network.auto_symbolic(samples(), ["x", "sin"], r2=-math.inf)
    assert symbolic.to_frame()["function"].tolist()[1] == "0"
    assert symbolic.symbolic_formula()[0].free_symbols == {sympy.Symbol("x1")}


def test_refit_improves_a_trained_network_towards_its_data() -> None:
    x = samples()
    y = torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2
    options = {"reps": 3, "preact_trainable": True, "postact_weight_trainable": True, "base_activation": None}
    network = QKAN([2, 1], dtype=F64, generator=torch.Generator().manual_seed(0), **options)
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (network(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float((network(x) - y).detach().abs().max()) > 1e-4  # a network that is trained, but not to the end
    # Near the truth a sine fits the parabola, too; dear sines leave it to x^2.
    library = {"x^2": LIBRARY["x^2"], "sin": dataclasses.replace(LIBRARY["sin"], complexity=9)}
    symbolic = network.auto_symbolic(x, library, r2=0.9)
    assert symbolic.to_frame()["function"].tolist() == ["sin", "x^2"]
    assert symbolic.refit(x, y) is symbolic
    assert float((symbolic(x) - y).detach().abs().max()) < 1e-6
    assert str(symbolic.symbolic_formula(digits=4, tolerance=1e-4)[0]) == "x2**2 + sin(3.142*x1)"


def test_refit_keeps_what_it_cannot_improve() -> None:
    symbolic = exact_network().auto_symbolic(samples(), ["x^2", "log", "sin"])
    before = [parameter.detach().clone() for parameter in symbolic.parameters() if parameter.requires_grad]
    symbolic.refit(samples(), torch.full((120, 1), math.nan, dtype=F64), steps=3)
    after = [parameter for parameter in symbolic.parameters() if parameter.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_gradients_reach_the_inputs_and_the_numbers() -> None:
    symbolic = exact_network().auto_symbolic(samples(), SMALL)
    x = samples(count=5).requires_grad_()
    symbolic(x).sum().backward()
    expected = torch.stack([math.pi * torch.cos(math.pi * x[:, 0]), 2 * x[:, 1]], -1)
    assert torch.allclose(x.grad, expected, rtol=0, atol=1e-6)
    assert torch.allclose(symbolic.layers[0].affine.grad[..., 3], torch.full((1, 2), 5.0, dtype=F64))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, x: n.suggest_symbolic(1, 0, 0, x), ValueError, r"layer_index 1 is outside \[0, 0\]"),
        (lambda n, x: n.suggest_symbolic(0.0, 0, 0, x), TypeError, "layer_index must be an int, got float"),
        (lambda n, x: n.suggest_symbolic(0, 0, 2, x), ValueError, r"input 2 is outside \[0, 1\]"),
        (lambda n, x: n.suggest_symbolic(0, 0, 0, x, k=0), ValueError, r"k 0 is outside \[1, "),
        (lambda n, x: n.suggest_symbolic(0, 0, 0, x.numpy()), TypeError, "QKAN needs a torch.Tensor, got nda"),
        (lambda n, x: n.auto_symbolic(x, penalty="x"), TypeError, "penalty must be a number, got str; 0 ranks by"),
        (lambda n, x: n.suggest_symbolic(0, 0, 0, x, penalty=-1), ValueError, "penalty -1 must be a finite number"),
        (lambda n, x: n.auto_symbolic(x, r2=1.5), ValueError, "r2 1.5 must be at most 1"),
        (
            lambda n, x: n.auto_symbolic(x[:, :1]),
            ValueError,
            r"QKAN needs an input of shape \(..., 2\), got \(120, 1\)",
        ),
        (lambda n, x: n.auto_symbolic(x[:1]), ValueError, r"x of shape \(1, 2\) holds 1 samples; give two or more"),
        (lambda n, x: n.auto_symbolic(x / 0), ValueError, "x holds values that are not finite"),
        (lambda n, x: n.auto_symbolic(x.long()), TypeError, "QKAN needs a floating-point input"),
        (
            lambda n, x: n.auto_symbolic(x, ["x"]).refit(x, x),
            ValueError,
            r"y of shape \(120, 2\) does not fit; x needs",
        ),
        (lambda n, x: n.auto_symbolic(x, ["x"]).refit(x, x[:, :1], steps=0), ValueError, r"steps 0 is outside \[1, "),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(QKAN([2, 1], reps=1, dtype=F64), samples())


def test_activations_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="the output of layer 0 holds values that are not finite"):
        QKAN([2, 1], ansatz="px", dtype=F64).auto_symbolic(2 * samples())


def test_too_many_edges_are_refused() -> None:
    with pytest.raises(ValueError, match="the network has 2,025 edges, more than 2,000 that can be snapped"):
        QKAN([45, 45]).auto_symbolic(torch.zeros(2, 45))
