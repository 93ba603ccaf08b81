"""From data to a formula: sparse fits, functions that are chosen together, and formulas that print in a few lines."""

import math

import pytest
import sympy
import torch
from torch.nn import functional as F

from qkan import QKAN


def samples(count: int, seed: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
    return x, torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2)


def test_the_classic_example_of_the_kan_paper_ends_at_its_formula_with_all_defaults() -> None:
    x, y = samples(500)
    net = QKAN([2, 5, 1], generator=torch.Generator().manual_seed(0))
    net.fit(x, y)
    assert net.prune(x).change == 0  # what goes was idle after the fit already
    net = net.compact()
    assert net.width == [2, 1, 1]
    formula = net.auto_symbolic(x, ["x^2", "exp", "sin", "tanh"], y=y)
    assert [layer.names for layer in formula.layers] == [[["sin", "x^2"]], [["exp"]]]
    (found,) = formula.symbolic_formula(digits=5, tolerance=1e-4)
    x1, x2 = sympy.symbols("x1 x2")
    wanted = sympy.exp(sympy.sin(sympy.Float(math.pi, 5) * x1) + x2**2)
    assert str(found) == str(wanted)
    fresh, targets = samples(200, 7)
    torch.testing.assert_close(formula(fresh), targets.double(), rtol=0, atol=1e-5)


def tiny() -> QKAN:
    return QKAN([2, 2, 1], reps=1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_the_entropy_of_a_fit_follows_the_scale_of_the_targets(factor: float) -> None:
    x = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = factor * torch.randn(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 7 * factor
    net = tiny()
    start = net.regularization(x, entropy=0.03 * float(y.var(correction=0))).item()
    first = net.fit(x, y, optimizer="adam", steps=6).rows
    assert first[0]["regularization"] == pytest.approx(start, rel=1e-12)
    # A third of the steps with all of it, anew with a tenth and then with none, and the rest.
    assert [row["optimizer"] for row in first] == [*(["start", "adam", "adam"] * 3), *(["adam"] * 4)]
    assert [row["step"] for row in first] == list(range(13))
    assert [row["regularization"] > 0 for row in first] == [True] * 6 + [False] * 7
    assert first[3]["regularization"] == pytest.approx(0.1 * start, rel=1e-12)
    assert first[6]["train_loss"] == first[0]["train_loss"]
    assert all(row["regularization"] == 0 for row in tiny().fit(x, y, optimizer="adam", steps=3, entropy=0).rows)


def test_the_entropy_of_a_classifier_follows_its_loss() -> None:
    x = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    classes = (x[:, 0] > 0.5).long()
    net = QKAN([2, 2], reps=1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        blind = F.cross_entropy(net(x).mean(0).expand(50, 2), classes).item()
    row = net.fit(x, classes, loss=F.cross_entropy, optimizer="adam", steps=1).rows[0]
    expected = tiny_regularization(x, 0.03 * blind)
    assert row["regularization"] == pytest.approx(expected, rel=1e-12)


def tiny_regularization(x: torch.Tensor, entropy: float) -> float:
    net = QKAN([2, 2], reps=1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return net.regularization(x, entropy=entropy).item()


def test_silence_leaves_idle_edges_at_zero_where_a_fit_keeps_them() -> None:
    net, (x, _) = tiny(), samples(30)
    x = x.double()
    with torch.no_grad():
        net.layers[0].postact_weight[:] = torch.tensor([[0.75, 1e-4], [0.5, 0.625]])
        net.layers[1].postact_weight[:] = torch.tensor([[0.875, 1e-5]])
    held = net.silence(x)
    assert net.layers[0].postact_weight.tolist() == [[0.75, 0.0], [0.0, 0.0]]
    assert net.layers[1].postact_weight.tolist() == [[0.875, 0.0]]
    assert net.layers[0].edge_mask is None
    assert {name for name, own in net.named_parameters() if any(own is one for one, _ in held)} == {
        name for name, _ in net.named_parameters()
    }
    for parameter, kept in held[:4]:
        assert kept.expand_as(parameter).reshape(2, 2, -1)[..., 0].tolist() == [[True, False], [False, False]]
    with torch.no_grad():
        net.layers[1].postact_weight.zero_()
    assert net.silence(x) == []  # no input would reach the output


def test_a_sine_and_a_cosine_that_are_the_same_are_written_with_the_smaller_phase() -> None:
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    net = QKAN([1, 1], reps=1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for shift, name in ((0.0, "sin"), (math.pi / 2, "cos"), (math.pi, "sin")):
        y = torch.sin(2 * x + shift)
        formula = net.auto_symbolic(x, ["cos", "sin"], r2=-math.inf, y=y)
        assert formula.layers[0].names == [[name]]
        torch.testing.assert_close(formula(x), y, rtol=0, atol=1e-8)
    one = net.auto_symbolic(x, ["cos"], r2=-math.inf, y=torch.sin(2 * x))
    assert one.layers[0].names == [["cos"]]


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
