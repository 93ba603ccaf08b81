"""Scores and tests do not depend on the unit of the values; beyond what all data allow they end in one sentence."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from qkan.datasets.series import MAX_MAGNITUDE
from qkan.forecasting.comparison.significance import origin_losses
from qkan.forecasting.evaluation import (
    accuracy,
    compare_models,
    diebold_mariano,
    frames,
    mase_scales,
    residual_acf,
    residual_diagnostics,
)
from qkan.forecasting.evaluation.metrics import forecast_metrics

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SIZES = [2.0**-1000, 2.0**-560, 2.0**300]  # 1e-301, 3e-169 and 2e90: all but the last have squares that are 0


def in_unit(frame: pd.DataFrame, size: float) -> pd.DataFrame:
    return frame.assign(**{name: frame[name] * size for name in ("y", "good", "bad")})


@pytest.mark.parametrize("size", [*SIZES, 2.0**1020])
def test_a_test_of_differences_does_not_depend_on_their_unit(size: float) -> None:
    differences = np.random.default_rng(0).normal(0.3, 1.0, 50)
    one, other = diebold_mariano(differences, horizon=3), diebold_mariano(differences * size, horizon=3)
    assert (other.statistic, other.p_value) == (one.statistic, one.p_value)
    assert other.difference == one.difference * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_a_comparison_does_not_depend_on_the_unit(make_frame: Callable, size: float, loss: str) -> None:
    frame = make_frame()
    one, other = (compare_models(own, "good", loss=loss) for own in (frame, in_unit(frame, size)))
    assert other["statistic"][0] == pytest.approx(one["statistic"][0], rel=1e-12)
    unit = size if loss == "absolute" else size * size
    assert other["difference"][0] == pytest.approx(one["difference"][0] * unit, rel=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_errors_scale_with_the_unit(make_frame: Callable, size: float) -> None:
    frame = make_frame()
    for table in ("per_series", "pooled", "median"):
        one, other = (getattr(accuracy(own), table) for own in (frame, in_unit(frame, size)))
        for name, unit in (("mae", size), ("rmse", size), ("smape", 1.0)):
            np.testing.assert_allclose(other[name], one[name] * unit, rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_residuals_do_not_depend_on_the_unit(make_frame: Callable, size: float) -> None:
    frame = make_frame()
    one, other = (residual_diagnostics(own, lags=4) for own in (frame, in_unit(frame, size)))
    for name in ("bias_p", "acf1", "ljung_box", "p_value"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-9)
    np.testing.assert_allclose(other["bias"], one["bias"] * size, rtol=1e-12)
    one, other = (residual_acf(own, lags=4) for own in (frame, in_unit(frame, size)))
    np.testing.assert_allclose(other["acf"], one["acf"], rtol=1e-9)


@pytest.mark.parametrize("name", ["y", "good"])
@pytest.mark.parametrize("function", [accuracy, residual_diagnostics, lambda frame: compare_models(frame, "good")])
def test_what_no_data_may_hold_is_refused(make_frame: Callable, name: str, function: Callable) -> None:
    frame = make_frame()
    frame.loc[3, name] = -1e300
    with pytest.raises(ValueError, match=rf"column '{name}' is -1e\+300 for series .*, outside \+-1e\+100; choose a"):
        function(frame)
    assert frames.MAX_MAGNITUDE == MAX_MAGNITUDE


def test_scales_of_what_no_data_may_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"column 'y' is 1e\+308, outside \+-1e\+100; choose a larger unit"):
        mase_scales(pd.DataFrame({"unique_id": "a", "ds": [1, 2], "y": [1.0, 1e308]}))


def test_a_difference_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="difference 1 is inf, and all must be finite; drop what is missing"):
        diebold_mariano([1.0, np.inf, 2.0])


def test_a_forecast_beyond_all_values_has_no_squared_error(make_data: Callable) -> None:
    """As of a method that runs away: what is no float64 is not defined, and it is not tested by it."""
    data = make_data({"a": [0.0, 2.0, 4.0, 10.0, 20.0, 40.0]}, window=2)
    scores = forecast_metrics(data, np.full((3, 1), 1e200))
    assert scores["mae"] == scores["rmse"] == pytest.approx(1e200)
    assert [name for name, value in scores.items() if value is None] == ["mse", "r2", "scaled_mse"]
    assert origin_losses(data, np.full((3, 1), 1e200), squared=True) is None
    np.testing.assert_allclose(origin_losses(data, np.full((3, 1), 1e200)), 1e200)


def test_a_tiny_series_has_a_determination(make_data: Callable) -> None:
    values = np.array([0.0, 2.0, 4.0, 10.0, 20.0, 40.0])
    forecasts = np.array([[11.0], [18.0], [44.0]])
    one, other = (forecast_metrics(make_data({"a": values * own}, window=2), forecasts * own) for own in (1, 2.0**-320))
    assert other["r2"] == pytest.approx(one["r2"], rel=1e-12)
    assert other["rmse"] == pytest.approx(one["rmse"] * 2.0**-320, rel=1e-12)
