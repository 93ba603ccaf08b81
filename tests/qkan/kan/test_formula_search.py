"""From data to a formula: sparse fits, functions that are chosen together, and formulas that print in a few lines."""

import math

import pytest
import sympy
import torch

from qkan import QKAN, fit
from qkan.kan.regularization import sparse_weights

READABLE = {"preact_trainable": True, "postact_weight_trainable": True, "base_activation": None}


def samples(count: int, seed: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
    return x, torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2)


def test_the_classic_example_of_the_kan_paper_ends_at_its_formula() -> None:
    x, y = samples(500)
    net = QKAN([2, 5, 1], generator=torch.Generator().manual_seed(0), **READABLE)
    for _ in range(2):
        net.fit(x, y, sparse=True)
        net.prune(x)
        net = net.compact()
    assert net.width == [2, 1, 1]
    net.fit(x, y, steps=(20, 60))
    formula = net.auto_symbolic(x, ["x^2", "exp", "sin", "tanh"], y=y)
    assert [layer.names for layer in formula.layers] == [[["sin", "x^2"]], [["exp"]]]
    (found,) = formula.symbolic_formula(digits=5, tolerance=1e-4)
    x1, x2 = sympy.symbols("x1 x2")
    wanted = sympy.exp(sympy.sin(sympy.Float(math.pi, 5) * x1) + x2**2)
    assert str(found) == str(wanted)
    fresh, targets = samples(200, 7)
    torch.testing.assert_close(formula(fresh), targets.double(), rtol=0, atol=1e-5)


def test_sparse_weights_follow_the_scale_of_the_targets() -> None:
    y = torch.randn(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once, tenfold = sparse_weights(y), sparse_weights(10 * y)
    assert tenfold["entropy"] == pytest.approx(100 * once["entropy"])
    x = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    nets = [QKAN([2, 2, 1], reps=1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) for _ in "ab"]
    first = nets[0].fit(x, y, sparse=True, optimizer="adam", steps=3)
    second = nets[1].fit(x, y, **once, optimizer="adam", steps=3)
    assert [row["regularization"] for row in first.rows] == [row["regularization"] for row in second.rows]
    assert first.rows[0]["regularization"] > 0


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (QKAN([2, 1], reps=1), {"sparse": 0.1}, TypeError, "sparse must be True or False, got 0.1"),
        (QKAN([2, 1], reps=1), {"sparse": True, "l1": 0.1}, ValueError, "sparse=True and l1 0.1, entropy 0.0 exclude"),
        (torch.nn.Linear(2, 1), {"sparse": True}, TypeError, "sparse, l1 and entropy need a model with a method"),
    ],
)
def test_bad_sparse(model: torch.nn.Module, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(model, *samples(10), **options)


def test_bad_targets_of_a_search() -> None:
    net, (x, y) = QKAN([2, 1], reps=1), samples(10)
    with pytest.raises(ValueError, match=r"y of shape \(1, 10\) does not fit; x needs \(10, 1\)"):
        net.auto_symbolic(x, y=y.T)
    with pytest.raises(TypeError, match=r"y must be a torch.Tensor, got ndarray; convert it with torch.as_tensor"):
        net.auto_symbolic(x, y=y.numpy())
    with pytest.raises(ValueError, match="y holds values that are not finite"):
        net.auto_symbolic(x, ["x"], y=y * math.nan)
    with pytest.raises(ValueError, match="has 64 edges, more than 60 that are chosen together; prune it"):
        QKAN([8, 8], reps=1).auto_symbolic(torch.rand(20, 8), ["x"], y=torch.rand(20, 8))


def test_formulas_print_in_a_few_lines_and_stay_exact() -> None:
    net = QKAN([2, 5, 1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    formulas = net.to_sympy()
    assert len(str(formulas)) < 300
    assert len(str(formulas[0])) > 10_000
    assert str(formulas).endswith("(cut; print one of its elements for all of it)")
    assert repr(formulas) == str(formulas)
    layers = str(net.to_sympy(nested=False))
    assert len(layers) < 1_500
    assert "h1_5 = " in layers
    many = str(QKAN([2, 20], reps=1).to_sympy())
    assert "... and 14 more" in many
    assert len(many) < 1_500
    x = samples(20)[0].double()
    small = QKAN([2, 1], reps=2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = sympy.lambdify(sympy.symbols("x1 x2"), small.to_sympy(), cse=True)(*x.T.numpy())
    torch.testing.assert_close(torch.as_tensor(values[0]), small(x)[:, 0].detach(), rtol=0, atol=1e-12)
