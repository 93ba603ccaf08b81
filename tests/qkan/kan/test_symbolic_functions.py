"""Fits of c f(a x + b) + d."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan import SymbolicFunction
from qkan.kan.symbolic_functions import LIBRARY, chosen, fit, score

F64 = torch.float64

#: a function, the numbers to find, and the same in the simplest form
TRUTHS: list[tuple[str, tuple[float, ...], tuple[float, ...]]] = [
    ("x", (1.3, 0.2, 2, -1), (1, 0, 2.6, -0.6)),
    ("x^2", (-2, 0.6, 0.5, 1), (1, -0.3, 2, 1)),
    ("x^3", (-1, 0.4, 0.7, 0), (1, -0.4, -0.7, 0)),
    ("x^4", (2, 0.2, 0.5, 0), (1, 0.1, 8, 0)),
    ("1/x", (-1, -3, 2, 0), (1, 3, -2, 0)),
    ("1/x^2", (2, 6, 4, 0.5), (1, 3, 1, 0.5)),
    ("sqrt", (-4, 10, 1, 0), (-1, 2.5, 2, 0)),
    ("exp", (-0.8, 0.5, 0.5, 1), (-0.8, 0, 0.5 * math.exp(0.5), 1)),
    ("log", (3, 8.4, 1, 0), (1, 2.8, 1, math.log(3))),
    ("sin", (-3, 0.4 + 2 * math.pi, 1, 0), (3, -0.4, -1, 0)),
    ("cos", (4, 0.2 + math.pi, 1, 0), (4, 0.2, -1, 0)),
    ("abs", (2, 0.6, 2, 0), (1, 0.3, 4, 0)),
    ("tan", (0.5, 0.1, 1, 0), (0.5, 0.1, 1, 0)),
    ("tanh", (-3, 1, 2, 1), (3, -1, -2, 1)),
    ("gaussian", (-1.4, 0.3, 1, 0), (1.4, -0.3, 1, 0)),
    ("arctan", (4, 0.3, 1, 0), (4, 0.3, 1, 0)),
    ("arcsin", (0.38, 0.1, 1, 0), (0.38, 0.1, 1, 0)),
]


def line(count: int = 150) -> Tensor:
    return 4 * torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=F64) - 2.1


def curve(name: str, numbers: tuple[float, ...], x: Tensor) -> Tensor:
    a, b, c, d = numbers
    return c * LIBRARY[name].function(a * x + b) + d


def test_every_function_is_tried_below() -> None:
    assert {name for name, _, _ in TRUTHS} | {"0"} == set(LIBRARY)


@pytest.mark.parametrize(("name", "numbers", "simplest"), TRUTHS)
def test_a_curve_of_the_library_is_found_exactly(
    name: str, numbers: tuple[float, ...], simplest: tuple[float, ...]
) -> None:
    x = line()
    found, r2, lost = fit(LIBRARY[name], x[None], curve(name, numbers, x)[None])
    assert 1 - r2.item() < 1e-13
    assert found[0].tolist() == pytest.approx(simplest, rel=1e-5, abs=1e-5)
    assert lost.item() == 0


def test_many_curves_are_fitted_as_each_by_itself() -> None:
    x = torch.stack([line(), 3 * line() + 5, line() / 7])
    y = torch.stack([torch.sin(2 * x[0]), torch.exp(x[1] / 4), x[2] ** 2])
    together = fit(LIBRARY["tanh"], x, y)
    for index in range(3):
        alone = fit(LIBRARY["tanh"], x[index : index + 1], y[index : index + 1])
        assert together[1][index].item() == pytest.approx(alone[1].item(), abs=1e-9)


def test_r2_of_a_line_is_that_of_the_regression() -> None:
    x = line()
    y = x + 0.3 * torch.sin(9 * x)
    _, r2, _ = fit(LIBRARY["x"], x[None], y[None])
    assert r2.item() == pytest.approx(float(torch.corrcoef(torch.stack([x, y]))[0, 1] ** 2), abs=1e-12)


def test_poles_stay_outside_the_samples() -> None:
    x = line()
    y = 1 / (x + 0.2)  # its pole lies between samples
    for name in ("1/x", "log", "sqrt"):
        found, r2, _ = fit(LIBRARY[name], x[None], y[None])
        a, b, _, _ = found[0].tolist()
        assert r2.item() < 0.9
        assert float((a * x + b).min()) > 0


def test_a_flat_curve_is_a_constant() -> None:
    x = line()
    found, r2, _ = fit(LIBRARY["0"], x[None], torch.full_like(x, 0.25)[None])
    assert found[0].tolist() == [1, 0, 0, 0.25]
    assert r2.item() == 1


def test_a_limit_of_a_function_costs_the_digits_that_cancel() -> None:
    x = line()
    y = x**2 + 1e-3 * torch.sin(20 * x)
    _, r2, lost = fit(LIBRARY["cos"], x[None], y[None])
    assert 1 - r2.item() < 1e-3  # c - c cos(a x) with a tiny a
    assert lost.item() > 1
    _, _, lost = fit(LIBRARY["x^2"], x[None], y[None])
    assert lost.item() == 0


def test_the_score_weighs_error_against_complexity() -> None:
    assert score(0.99, 2, 0.5) == pytest.approx(-1)
    assert score(0.0, 0, 0.5) == 0
    assert score(1.0, 2, 0.5) == score(1 - 1e-12, 2, 0.5) == pytest.approx(-9)


@pytest.mark.parametrize(
    ("library", "error", "message"),
    [
        (["x", "sinc"], ValueError, "unknown function 'sinc' in library; use some of 0, x, x"),
        ([], ValueError, "library holds no function"),
        ("sin", TypeError, "library must be a sequence of names, got the text 'sin'"),
        ({"f": torch.sin}, TypeError, r"library\['f'\] must be a SymbolicFunction, got builtin_function_or_method"),
    ],
)
def test_bad_libraries_are_refused(library: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        chosen(library)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"complexity": -1}, "complexity -1 must be 0 or more"),
        ({"complexity": 1, "domain": (1.0, 1.0)}, r"domain \(1.0, 1.0\) must be two ascending numbers"),
        ({"complexity": 1, "parity": 2}, "parity 2 must be 1"),
    ],
)
def test_functions_check_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SymbolicFunction(torch.sin, lambda u: u, **options)
