"""Coefficients over finer grids and wider domains."""

import pytest
import torch

from qkan.kernels.edges.grids import matrix_between, split_splines, wider


def test_splines_of_order_one_take_the_values_between() -> None:
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(split_splines(2, 1, 2), expected.double(), rtol=0, atol=0)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_a_constant_stays_a_constant(order: int) -> None:
    matrix = split_splines(3, order, 4)
    torch.testing.assert_close(matrix.sum(1), torch.ones(12 + order, dtype=torch.float64), rtol=0, atol=1e-14)


def test_whole_intervals_are_added() -> None:
    assert wider("bspline", 4, 1.0, 1.5) == (6, 1.5)
    assert wider("relu", 4, 1.0, 1.51) == (8, 2.0)
    assert wider("rbf", 5, 1.0, 1.5) == (7, 1.5)
    assert wider("rff", 4, 1.0, 1.51) == (4, 1.51)


def test_fourier_functions_keep_their_frequencies() -> None:
    grown = matrix_between("fourier", 3, (2, 3), (1.0, 1.0)) @ torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    assert grown.tolist() == [1.0, 2.0, 0.0, 3.0, 4.0, 0.0]
