import dataclasses

import numpy as np
import pytest

from qkan.datasets import load_series, make_forecast_data
from qkan.forecasting.baselines.features import LagFeatures
from qkan.forecasting.baselines.interface import Fitting, Origins
from qkan.forecasting.baselines.registry import plain_forecasts
from qkan.forecasting.baselines.ridge import fit_ridge
from qkan.forecasting.baselines.simple import SeasonalMean

RANDOM = np.random.default_rng(3)


def ridge_of(data, trials=1):
    return fit_ridge(data, Fitting(trials=trials))[0]


def forecasts_of(baseline, data, part="test"):
    return baseline.forecast(Origins.of(data, part)).mean


def test_a_linear_recursion_is_forecast_as_least_squares_does(make_data):
    values, noise = np.zeros(600), RANDOM.standard_normal(600)
    for t in range(1, 600):
        values[t] = 0.9 * values[t - 1] + noise[t]
    data = make_data({"a": values}, window=4, horizon=1)
    assert LagFeatures(data).seasons == ()
    first = data.target_rows("test")[:, 0]
    rows = np.arange(4, 300)

    def design(targets):
        last = values[targets - 1]
        return last, np.column_stack([values[targets - 1 - lag] - last for lag in (1, 2, 3)] + [np.ones(len(targets))])

    last, features = design(rows)
    weights = np.linalg.lstsq(features, values[rows] - last, rcond=None)[0]
    last, features = design(first)
    found = forecasts_of(ridge_of(data), data)[:, 0]
    np.testing.assert_allclose(found, last + features @ weights, atol=0.03)


def test_telecom_has_the_error_that_a_practitioner_would_get():
    data = make_forecast_data(load_series("telecom"), window=12, horizon=1)
    error = np.abs(forecasts_of(ridge_of(data), data) - data.target_values("test")).mean()
    assert error == pytest.approx(12.036, abs=0.01)  # 12.11 with fewer harmonics and no seasonal lags


def test_targets_are_not_seen(make_data):
    values = np.sin(np.arange(200) / 5) + 0.1 * RANDOM.standard_normal(200)
    changed = values.copy()
    changed[-3:] += 100
    both = [make_data({"a": own}, window=5, horizon=3) for own in (values, changed)]
    one, other = (ridge_of(data) for data in both)
    before, after = (forecasts_of(own, data) for own, data in zip((one, other), both, strict=True))
    np.testing.assert_array_equal(before[:-5], after[:-5])
    for mine, its in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_line_to_a_target_is_no_value_to_learn_from(make_data):
    data = make_data({"a": np.sin(np.arange(200) / 5)}, window=5, horizon=3)
    observed = np.ones(200, dtype=bool)
    observed[40:45] = False
    gap = dataclasses.replace(data.series, observed=observed, missing="interpolate")
    origins = LagFeatures(dataclasses.replace(data, series=gap)).train.known
    np.testing.assert_array_equal(origins, [*range(5, 38), *range(46, 98)])


def test_the_mean_season_of_the_training_part_is_repeated(make_data):
    values = np.tile([1.0, 5.0, 3.0], 20) + np.repeat(np.arange(20.0), 3)
    data = make_data({"a": values, "b": 2 * values}, window=2, horizon=2, season=(3,))
    end = data.boundaries[0, 0]
    means = np.array([values[:end][place::3].mean() for place in range(3)])
    rows = data.target_rows("test") % 60
    factor = 1 + data.test.series[:, None]
    np.testing.assert_allclose(forecasts_of(SeasonalMean(data, 3), data), factor * means[rows % 3])
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
    errors = np.abs(forecasts_of(ridge_of(data), data) - data.target_values("test"))
    assert errors[data.test.series == 0].max() < 0.02
    assert errors[data.test.series == 1].max() < 1.0


def test_data_without_a_training_window_have_no_ridge(make_data):
    data = make_data({"a": np.arange(20.0)}, window=2, horizon=6, split=(0.5, 0.0, 0.5), trained_horizon=1)
    assert "Ridge" in plain_forecasts(data, "test")["test"]
    short = make_data({"a": np.arange(20.0)}, window=2, horizon=9, split=(0.5, 0.0, 0.5), trained_horizon=1)
    assert "Ridge" not in plain_forecasts(short, "test")["test"]


def test_the_number_of_lags_with_the_smallest_validation_error_is_taken(make_data):
    values, noise = np.zeros(900), RANDOM.standard_normal(900)
    for t in range(20, 900):
        values[t] = 0.9 * values[t - 20] + noise[t]  # a window of 4 does not show it
    data = make_data({"a": values}, window=4, horizon=1, split=(0.6, 0.2, 0.2))
    short, best = ridge_of(data), ridge_of(data, trials=3)
    assert (short.settings["lags"], best.settings["lags"]) == (4, 24)
    errors = [np.abs(forecasts_of(own, data) - data.target_values("test")).mean() for own in (short, best)]
    assert errors[1] < 0.7 * errors[0]
    again = fit_ridge(data, Fitting(settings={"ridge": best.settings}))[0]
    np.testing.assert_array_equal(again.weights[0], best.weights[0])


def test_what_follows_the_data_is_forecast_from_its_end(make_data):
    values = np.sin(2 * np.pi * np.arange(240) / 12)
    data = make_data({"a": values, "b": 3 + values[:200]}, window=6, horizon=2, season=(12,), split=(0.5, 0.2, 0.3))
    found = ridge_of(data).forecast(Origins.at_end(data.series)).mean
    np.testing.assert_allclose(found[0], np.sin(2 * np.pi * np.arange(240, 242) / 12), atol=0.02)
    np.testing.assert_allclose(found[1], 3 + np.sin(2 * np.pi * np.arange(200, 202) / 12), atol=0.02)
