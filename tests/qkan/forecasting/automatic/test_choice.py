"""How much of every candidate is in a forecast, by errors that are made up."""

import numpy as np
import pytest

from qkan.forecasting.automatic.choice import LEAST_WEIGHT, POWER, combination_weights

OTHERS = [np.full((1, 1), value) for value in (1.0, 2.0, 3.0)]


def test_shares_fall_with_a_power_of_the_error() -> None:
    weights = combination_weights([1.0, 1.1], OTHERS[:2])
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] / weights[1] == pytest.approx(1.1**POWER)


def test_equal_errors_have_equal_shares() -> None:
    np.testing.assert_allclose(combination_weights([2.0, 2.0, 2.0], OTHERS), 1 / 3)


def test_a_small_share_is_none() -> None:
    weights = combination_weights([1.0, 1.0, 4.0], OTHERS)
    assert 0.25**POWER < LEAST_WEIGHT
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.0])


def test_of_many_the_best_has_a_share() -> None:
    many = [np.full((1, 1), float(value)) for value in range(40)]
    assert combination_weights([1.0] * 40, many).sum() == pytest.approx(1.0)


def test_a_candidate_without_error_takes_all() -> None:
    assert combination_weights([0.0, 1.0], OTHERS[:2]).tolist() == [1.0, 0.0]


def test_the_same_forecast_twice_counts_once() -> None:
    weights = combination_weights([1.0, 1.0, 1.0], [OTHERS[0], OTHERS[1], OTHERS[1]])
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.0])
