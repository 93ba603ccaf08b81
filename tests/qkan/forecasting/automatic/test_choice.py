"""How much of every candidate is in a forecast, by forecasts that are made up."""

import numpy as np
import pytest

from qkan.forecasting.automatic import choice
from qkan.forecasting.automatic.choice import LEAST_WEIGHT, POWER, SELECTED, combination_weights, weighted_error

TARGETS = np.zeros((1, 4))
WEIGHTS = np.full((1, 4), 0.25)


def shares(*rows: list[float], weights: np.ndarray = WEIGHTS) -> np.ndarray:
    """Of forecasts of four steps, whose errors they are."""
    return combination_weights([np.array([row]) for row in rows], TARGETS, weights)


def test_most_falls_with_a_power_of_the_error_and_the_rest_is_selected() -> None:
    found = shares([1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 2.2, 2.2])
    inverse = np.array([1.0, 1.0, 1.1**-POWER])
    np.testing.assert_allclose(found, SELECTED * np.array([0.5, 0.5, 0.0]) + (1 - SELECTED) * inverse / inverse.sum())


def test_where_the_mean_of_all_is_worse_than_the_best_the_selection_is_alone() -> None:
    np.testing.assert_allclose(shares([1.0, 1.0, 1.0, 1.0], [1.1, 1.1, 1.1, 1.1]), [1.0, 0.0])


def test_equally_good_candidates_of_which_no_mean_is_better_share_alike() -> None:
    found = shares([1.0, -1.0, 1.0, -1.0], [1.0, -1.0, 1.0, -1.000001])
    assert found.sum() == pytest.approx(1.0)


def test_a_small_share_is_none() -> None:
    found = shares([1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0], [4.0, 4.0, -4.0, -4.0])
    assert 0.25**POWER < LEAST_WEIGHT
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0])


def test_of_many_the_best_has_a_share() -> None:
    many = [[1.0 + 1e-4 * place] * 4 for place in range(80)]
    found = shares(*many)
    assert found.sum() == pytest.approx(1.0)
    assert found[0] > 0


def test_a_candidate_without_error_takes_all() -> None:
    assert shares([0.0] * 4, [1.0] * 4).tolist() == [1.0, 0.0]


def test_the_same_forecast_twice_counts_once() -> None:
    found = shares([1.0] * 4, [-1.0] * 4, [-1.0] * 4)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0])


def test_what_was_not_observed_counts_nothing() -> None:
    weights = np.array([[0.5, 0.5, 0.0, 0.0]])
    missing = np.array([[0.0, 0.0, np.nan, np.nan]])
    assert weighted_error(np.array([[1.0, 3.0, 9.0, 9.0]]), missing, weights) == 2.0
    good_where_nothing_is_known = np.array([[3.0, 3.0, 0.0, 0.0]])
    found = combination_weights([np.ones((1, 4)), good_where_nothing_is_known], missing, weights)
    assert found[0] > 0.98


def test_the_selection_of_many_targets_looks_at_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(400, 2))
    own = [targets + rng.normal(size=(400, 2)) * scale for scale in (1.0, 1.2)]
    weights = np.full((400, 2), 1 / 800)
    whole = combination_weights(own, targets, weights)
    monkeypatch.setattr(choice, "MOST_TARGETS", 80)
    np.testing.assert_allclose(combination_weights(own, targets, weights), whole, atol=0.1)
