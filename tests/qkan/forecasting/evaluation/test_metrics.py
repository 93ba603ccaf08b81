import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics import functional

from qkan.forecasting.evaluation.metrics import METRICS, forecast_metrics, mase_scale, mase_season

VALUES = [0.0, 2.0, 4.0, 10.0, 20.0, 40.0]  # training 0, 2, 4 (range 4, so 1 unit is 0.5 scaled); test 10, 20, 40


def test_metrics_equal_the_hand_calculation(make_data):
    data = make_data({"a": VALUES}, window=2)
    scores = forecast_metrics(data, np.array([[11.0], [18.0], [44.0]]))  # errors 1, -2, 4
    assert list(scores) == list(METRICS)
    mean = 70 / 3
    total = (10 - mean) ** 2 + (20 - mean) ** 2 + (40 - mean) ** 2
    expected = {
        "mae": 7 / 3,
        "mse": 7.0,
        "rmse": 7**0.5,
        "r2": 1 - 21 / total,
        "smape": 100 * np.mean([2 * 1 / 21, 2 * 2 / 38, 2 * 4 / 84]),
        "mase": (7 / 3) / 2,  # the training part moves by 2 each step
        "scaled_mse": 7.0 / 4,
    }
    assert scores == pytest.approx(expected, rel=1e-12)


def test_metrics_agree_with_torchmetrics_on_values_around_one(make_data):
    rng = np.random.default_rng(0)
    data = make_data({"a": list(rng.normal(size=40))})
    forecast = data.target_values("test") + rng.normal(size=(20, 1))
    scores = forecast_metrics(data, forecast)
    pair = torch.from_numpy(forecast).flatten(), torch.from_numpy(data.target_values("test")).flatten()
    assert scores["mae"] == pytest.approx(float(functional.mean_absolute_error(*pair)))
    assert scores["mse"] == pytest.approx(float(functional.mean_squared_error(*pair)))
    assert scores["r2"] == pytest.approx(float(functional.r2_score(*pair)))
    smape = functional.symmetric_mean_absolute_percentage_error(*pair)
    assert scores["smape"] == pytest.approx(100 * float(smape))


def test_zero_forecast_of_zero_has_no_percentage_error(make_data):
    data = make_data({"a": [1.0, 2, 3, 0, 0, 2]})
    assert forecast_metrics(data, np.array([[0.0], [0], [2]]))["smape"] == 0


def test_metrics_pool_windows_and_steps(make_data):
    data = make_data({"a": VALUES}, window=1, horizon=2)  # targets (10, 20), (20, 40)
    scores = forecast_metrics(data, np.array([[10.0, 24.0], [20.0, 40.0]]))
    assert (scores["mae"], scores["mse"]) == (1.0, 4.0)


def test_mase_weighs_every_series_by_its_own_scale(make_data):
    data = make_data({"a": VALUES, "b": [10 * value for value in VALUES]}, window=2)
    np.testing.assert_array_equal(mase_scale(data), [2.0, 20.0])
    forecast = data.target_values("test") + np.array([[1.0], [1], [1], [10], [10], [10]])
    assert forecast_metrics(data, forecast)["mase"] == pytest.approx(0.5)


def test_mase_compares_with_the_shortest_season_that_the_training_part_holds(make_data):
    values = [float(i % 3 + 3 * (i // 3)) for i in range(12)]  # rises by 3 every 3 steps
    data = make_data({"a": values}, season=(3, 20))
    assert mase_season(data) == 3
    np.testing.assert_array_equal(mase_scale(data), [3.0])
    assert mase_season(make_data({"a": values}, season=(6,))) == 1


def test_perfect_forecast(make_data):
    data = make_data({"a": VALUES})
    scores = forecast_metrics(data, data.target_values("test"))
    assert scores == {"mae": 0, "mse": 0, "rmse": 0, "r2": 1, "smape": 0, "mase": 0, "scaled_mse": 0}


def test_undefined_metrics_are_none(make_data):
    data = make_data({"a": [1.0, 1, 1, 5, 5, 5]}, window=2)
    scores = forecast_metrics(data, np.full((3, 1), 4.0))
    assert (scores["r2"], scores["mase"], scores["mae"]) == (None, None, 1.0)


def test_squares_of_tiny_values_are_numbers(make_data):
    scores = forecast_metrics(make_data({"a": [x * 1e-99 for x in VALUES]}), np.zeros((3, 1)))
    assert 0 < scores["mse"] < 1e-194
    assert 0 < scores["mae"] < 1e-96


def test_wrong_shape_is_refused(make_data):
    with pytest.raises(ValueError, match=r"predictions must have the shape of the targets \(3, 1\), got \(3,\)"):
        forecast_metrics(make_data({"a": VALUES}), np.zeros(3))


@given(factor=st.floats(1e-3, 1e3), errors=st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_units_scale_the_metrics_as_they_should(make_data, factor, errors):
    plain, scaled = (make_data({"a": [unit * value for value in VALUES]}) for unit in (1.0, factor))
    offsets = np.array(errors)[:, None]
    one = forecast_metrics(plain, plain.target_values("test") + offsets)
    other = forecast_metrics(scaled, scaled.target_values("test") + factor * offsets)
    assert other["mae"] == pytest.approx(factor * one["mae"], rel=1e-6, abs=1e-9)
    assert other["mse"] == pytest.approx(factor**2 * one["mse"], rel=1e-6, abs=1e-9)
    for name in ("r2", "smape", "mase", "scaled_mse"):
        assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9)
