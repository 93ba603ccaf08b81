import numpy as np

from qkan.forecasting.baselines import Origins
from qkan.forecasting.baselines.registry import plain_forecasts
from qkan.forecasting.baselines.simple import Drift, SeasonalMean, SeasonalNaive, naive


def seasonal_naive(data, season):
    return SeasonalNaive(data, season).forecast(Origins.of(data)).mean


def drift(data, part="test"):
    return Drift(data).forecast(Origins.of(data, part)).mean


VALUES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]


def test_naive_repeats_the_last_value_of_the_window(make_data):
    data = make_data({"a": VALUES}, window=2, horizon=2)  # test targets: steps 4-5, 5-6, 6-7
    np.testing.assert_array_equal(naive(data), [[8, 8], [16, 16], [32, 32]])


def test_seasonal_naive_repeats_the_last_season_known(make_data):
    data = make_data({"a": [*VALUES, 0.0, 0, 0, 0, 0]}, horizon=5, split=(8 / 13, 0.0, 5 / 13))  # one window: 8 to 12
    np.testing.assert_array_equal(seasonal_naive(data, 3), [[32, 64, 128, 32, 64]])
    np.testing.assert_array_equal(seasonal_naive(data, 1), naive(data))


def test_baselines_use_no_target_whatever_the_horizon(make_data):
    split = (8 / 13, 0.0, 5 / 13)
    data, changed = (
        make_data({"a": [*VALUES, *[end] * 5]}, horizon=5, split=split, season=(3, 5)) for end in (0.0, 7.0)
    )
    forecasts, others = (plain_forecasts(own, "test")["test"] for own in (data, changed))
    assert len(forecasts) == 6
    for name in forecasts:
        np.testing.assert_array_equal(forecasts[name], others[name])


def test_drift_draws_on_the_line_through_first_and_last_value(make_data):
    data = make_data({"a": [0.0, 5.0, 1.0, 6.0, 9.0, 9.0]}, window=1, horizon=2)  # targets 3-4 and 4-5
    np.testing.assert_allclose(drift(data), [[1.5, 2.0], [8.0, 10.0]])


def test_drift_of_one_known_value_repeats_it(make_data):
    data = make_data({"a": [3.0, 4.0, 6.0, 8.0]}, window=1, horizon=1, split=(0.5, 0.0, 0.5))
    np.testing.assert_allclose(drift(data, "train"), [[3.0]])


def test_series_do_not_mix(make_data):
    data = make_data({"a": [1.0, 1, 1, 1, 1, 1], "b": [0.0, 10, 20, 30, 40, 50]}, window=2, season=(2,))
    np.testing.assert_array_equal(naive(data).ravel(), [1, 1, 1, 20, 30, 40])
    np.testing.assert_array_equal(drift(data).ravel(), [1, 1, 1, 30, 40, 50])
    np.testing.assert_array_equal(seasonal_naive(data, 2).ravel(), [1, 1, 1, 10, 20, 30])


def test_a_season_longer_than_the_past_has_no_forecast(make_data):
    found = SeasonalNaive(make_data({"a": VALUES}), 5).forecast(Origins(np.array([0, 0]), np.array([4, 5]))).mean
    np.testing.assert_array_equal(found, [[np.nan], [1.0]])


def test_only_seasons_that_fit_are_offered(make_data):
    assert list(plain_forecasts(make_data({"a": VALUES}, season=(2, 4, 5)), "test")["test"]) == [
        "Naive",
        "Drift",
        "SeasonalNaive(2)",
        "SeasonalNaive(4)",
        "SeasonalMean(2)",
        "Ridge",
    ]


def test_rules_forecast_what_follows_the_series(make_data):
    series = {"a": VALUES, "b": [10 * value for value in VALUES]}
    data = make_data(series, horizon=2, season=(2,), split=(0.5, 0.0, 0.5))
    end, inside = Origins.at_end(data.series), Origins(np.array([0]), np.array([5]))
    np.testing.assert_array_equal(SeasonalNaive(data, 2).forecast(end).mean, [[64, 128], [640, 1280]])
    np.testing.assert_array_equal(SeasonalMean(data, 2).forecast(end).mean, [[2.5, 5], [25, 50]])
    np.testing.assert_array_equal(SeasonalMean(data, 2).forecast(inside).mean, [[5, 2.5]])
