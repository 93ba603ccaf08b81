import dataclasses

import numpy as np
import pytest

from qkan.datasets import load_series, make_forecast_data
from qkan.forecasting.baselines.plain import plain_forecasts
from qkan.forecasting.baselines.ridge import RidgeBaseline
from qkan.forecasting.baselines.simple import season_mean

RANDOM = np.random.default_rng(3)


def test_a_linear_recursion_is_forecast_as_least_squares_does(make_data):
    values, noise = np.zeros(600), RANDOM.standard_normal(600)
    for t in range(1, 600):
        values[t] = 0.9 * values[t - 1] + noise[t]
    data = make_data({"a": values}, window=4, horizon=1)
    assert RidgeBaseline(data).seasons == ()
    first = data.target_rows("test")[:, 0]
    rows = np.arange(4, 300)

    def design(targets):
        last = values[targets - 1]
        return last, np.column_stack([values[targets - 1 - lag] - last for lag in (1, 2, 3)] + [np.ones(len(targets))])

    last, features = design(rows)
    weights = np.linalg.lstsq(features, values[rows] - last, rcond=None)[0]
    last, features = design(first)
    found = RidgeBaseline(data).forecast("test")[:, 0]
    np.testing.assert_allclose(found, last + features @ weights, atol=0.03)


def test_telecom_has_the_error_that_a_practitioner_would_get():
    data = make_forecast_data(load_series("telecom"), window=12, horizon=1)
    error = np.abs(RidgeBaseline(data).forecast("test") - data.target_values("test")).mean()
    assert error == pytest.approx(12.036, abs=0.01)  # 12.11 with fewer harmonics and no seasonal lags


def test_targets_are_not_seen(make_data):
    values = np.sin(np.arange(200) / 5) + 0.1 * RANDOM.standard_normal(200)
    changed = values.copy()
    changed[-3:] += 100
    one, other = (RidgeBaseline(make_data({"a": own}, window=5, horizon=3)) for own in (values, changed))
    np.testing.assert_array_equal(one.forecast("test")[:-5], other.forecast("test")[:-5])
    for mine, its in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_line_to_a_target_is_no_value_to_learn_from(make_data):
    data = make_data({"a": np.sin(np.arange(200) / 5)}, window=5, horizon=3)
    observed = np.ones(200, dtype=bool)
    observed[40:45] = False
    gap = dataclasses.replace(data.series, observed=observed, missing="interpolate")
    origins = RidgeBaseline(dataclasses.replace(data, series=gap))._origins(0)
    np.testing.assert_array_equal(origins, [*range(5, 38), *range(46, 98)])


def test_the_mean_season_of_the_training_part_is_repeated(make_data):
    values = np.tile([1.0, 5.0, 3.0], 20) + np.repeat(np.arange(20.0), 3)
    data = make_data({"a": values, "b": 2 * values}, window=2, horizon=2, season=(3,))
    end = data.boundaries[0, 0]
    means = np.array([values[:end][place::3].mean() for place in range(3)])
    rows = data.target_rows("test") % 60
    factor = 1 + data.test.series[:, None]
    np.testing.assert_allclose(season_mean(data, 3), factor * means[rows % 3])
    assert list(plain_forecasts(data, "test")["test"]) == [
        "Naive",
        "Drift",
        "SeasonalNaive(3)",
        "SeasonalMean(3)",
        "Ridge",
    ]


def test_one_regression_serves_all_series(make_data):
    values = np.sin(np.arange(300) / 4)
    data = make_data({"a": values, "b": 1000 + 50 * values}, window=6, horizon=2, split=(0.5, 0.2, 0.3))
    errors = np.abs(RidgeBaseline(data).forecast("test") - data.target_values("test"))
    assert errors[data.test.series == 0].max() < 0.02
    assert errors[data.test.series == 1].max() < 1.0


def test_data_without_a_training_window_have_no_ridge(make_data):
    data = make_data({"a": np.arange(20.0)}, window=2, horizon=6, split=(0.5, 0.0, 0.5), trained_horizon=1)
    assert "Ridge" in plain_forecasts(data, "test")["test"]
    short = make_data({"a": np.arange(20.0)}, window=2, horizon=9, split=(0.5, 0.0, 0.5), trained_horizon=1)
    assert "Ridge" not in plain_forecasts(short, "test")["test"]
