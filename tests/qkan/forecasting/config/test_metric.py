"""The error that forecasts are judged by chooses the loss."""

import pytest

from qkan.forecasting import CompareConfig, Forecaster, TrainConfig


@pytest.mark.parametrize(
    ("options", "loss", "scaler", "judged_by"),
    [
        ({}, "mse", "minmax", "mae"),
        ({"metric": "mae"}, "mae", "minmax", "mae"),
        ({"metric": "rmse"}, "mse", "minmax", "rmse"),
        ({"metric": "mase"}, "mae", "change", "mase"),
        ({"metric": "mae", "loss": "quantile"}, "quantile", "minmax", "mae"),
        ({"metric": "mse", "loss": "huber", "scaler": "robust"}, "huber", "robust", "mse"),
        ({"protocol": "m4"}, "mae", "change", "mae"),
        ({"protocol": "m4", "loss": "mse", "scaler": "minmax"}, "mse", "minmax", "mae"),
        ({"protocol": "ltsf", "metric": "mae"}, "mae", "standard", "mae"),
    ],
)
def test_losses_follow_the_metric_that_is_asked_for(options, loss, scaler, judged_by):
    for config in (TrainConfig(data="x", **options), CompareConfig(data="x", out="o", **options)):
        assert (config.loss, config.scaler, config.judged_by) == (loss, scaler, judged_by)
        assert type(config).from_dict(config.to_dict()) == config


def test_a_forecaster_has_the_metric():
    assert Forecaster("lstm", metric="mase").config.loss == "mae"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "mae", "loss": "mse"}, "loss='mse' does not train for metric='mae'; leave out one of them, or use"),
        ({"metric": "mase", "scaler": "minmax"}, "scaler='minmax' does not count errors in the unit of metric='mase'"),
        ({"metric": "mape"}, "unknown metric 'mape'; choose one of mae, mse, rmse, mase"),
    ],
)
def test_what_contradicts_the_metric_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(data="x", **options)
