"""Families of functions against the formulas of their papers, written another way, in double precision."""

import math

import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import COMBINATIONS, FAMILIES, functions_of

X = torch.linspace(-2.9, 3.1, 61, dtype=torch.float64)
RADIUS, SIZE = 1.5, 4


def ends(order: int) -> list[tuple[float, float]]:
    """Where each function of a grid begins and ends."""
    length = 2 * RADIUS / SIZE
    return [(-RADIUS + (t - order) * length, -RADIUS + (t + 1) * length) for t in range(SIZE + order)]


def combined(activation: str, combination: str, order: int, x: Tensor) -> Tensor:
    formulas = {
        "quad1": lambda u, v: u * v * u * v,
        "quad2": lambda u, v: u * v + u**2 + v**2,
        "sum": lambda u, v: u + v,
        "prod": lambda u, v: u * v,
        "sum_prod": lambda u, v: u + v + u * v,
        "cubic1": lambda u, v: (u + v) * (u**2 + v**2),
        "cubic2": lambda u, v: u**3 * v**3,
    }
    assert set(formulas) == set(COMBINATIONS)
    function = BASES[activation][0]
    scale = 2 * RADIUS
    return torch.stack(
        [formulas[combination](function((x - low) / scale), function((high - x) / scale)) for low, high in ends(order)]
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_splines_and_bumps(order: int) -> None:
    length = 2 * RADIUS / SIZE
    knots = [-RADIUS + (t - order) * length for t in range(SIZE + 2 * order + 1)]
    splines = functions_of("bspline", order).values(X, SIZE, RADIUS)
    bumps = functions_of("relu", order).values(X, SIZE, RADIUS)
    for t, (low, high) in enumerate(ends(order)):
        element = BSpline.basis_element(knots[t : t + order + 2], extrapolate=False)
        truth = torch.from_numpy(element(X.numpy())).nan_to_num(0.0)
        torch.testing.assert_close(splines[t], truth, rtol=0, atol=1e-14)
        bump = ((X - low).relu() * (high - X).relu()) ** 2 * 16 / (high - low) ** 4
        torch.testing.assert_close(bumps[t], bump, rtol=0, atol=1e-14)
    inside = X.abs() < RADIUS
    torch.testing.assert_close(splines.sum(0)[inside], torch.ones_like(X[inside]), rtol=0, atol=1e-14)


def test_gaussians() -> None:
    places = torch.linspace(-RADIUS, RADIUS, 5, dtype=torch.float64)
    truth = torch.exp(-(((X - places[:, None]) / (places[1] - places[0])) ** 2))
    torch.testing.assert_close(functions_of("rbf", 3).values(X, 5, RADIUS), truth, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind.partition("-")[2] in COMBINATIONS])
def test_combinations_are_at_most_one_on_the_domain(kind: str) -> None:
    activation, _, combination = kind.partition("-")
    inside = torch.linspace(-RADIUS, RADIUS, 64 * SIZE + 1, dtype=torch.float64)
    for order in (1, 3):
        height = combined(activation, combination, order, inside).abs().max()
        found = functions_of(kind, order).values(X, SIZE, RADIUS)
        torch.testing.assert_close(found, combined(activation, combination, order, X) / height, rtol=1e-12, atol=1e-13)
    if kind == "relu-quad1":
        torch.testing.assert_close(found, functions_of("relu", 3).values(X, SIZE, RADIUS), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", FAMILIES)
def test_slopes_are_derivatives(kind: str) -> None:
    for order in (2, 3, 5) if FAMILIES[kind].ordered else (3,):
        functions = functions_of(kind, order)
        given = functions.slopes(X, SIZE, RADIUS)
        exact = functions._replace(slopes=None).differentiate(X, SIZE, RADIUS)
        torch.testing.assert_close(given, exact, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_value_depends_on_its_own_input_alone(kind: str) -> None:
    functions = functions_of(kind, 3)
    alone = torch.stack([functions.values(x, SIZE, RADIUS) for x in X], -1)
    torch.testing.assert_close(functions.values(X, SIZE, RADIUS), alone, rtol=0, atol=1e-14)
    assert functions.values(torch.tensor([math.nan]), SIZE, RADIUS).isnan().all()
