"""Exponential smoothing against statsmodels' own forecasts from the same origins, and on a series of the textbooks."""

import warnings

import numpy as np
import pandas as pd
import pytest
from series_forecasts import forecast
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from benchmarks.small_series import AIR_PASSENGERS
from qkan.forecasting.baselines import smoothing
from qkan.forecasting.baselines.simple import repeat_season
from qkan.forecasting.baselines.smoothing import Form, fit_ets, forms

KNOWN, FIRST, HORIZON = 120, np.array([120, 121, 137]), 9


@pytest.mark.parametrize(
    "form",
    [Form(False, False, 6), Form(True, False, 6), Form(True, True, 6), Form(True, False, 1), Form(False, False, 26)],
)
def test_every_form_forecasts_as_statsmodels_does(form: Form, wavy, monkeypatch) -> None:
    values = wavy(trend=0.8)
    monkeypatch.setattr(smoothing, "forms", lambda season: [form])
    rolled = forecast(fit_ets, values, KNOWN, FIRST, HORIZON, form.season)
    initial = "estimated" if form.season <= 24 else "heuristic"
    options = {**form.options, "initialization_method": initial}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ETSModel(pd.Series(values[:KNOWN]), **options).fit(disp=False)
        own = fitted.get_prediction(KNOWN, KNOWN + HORIZON - 1)
        np.testing.assert_allclose(rolled.error, np.sqrt(own.forecast_variance), rtol=1e-6)
        np.testing.assert_allclose(rolled.mean[0], fitted.forecast(HORIZON), rtol=1e-6)
        for origin, mean in zip(FIRST, rolled.mean, strict=True):
            if initial == "estimated":  # the heuristic's first state would change with the origin
                moved = ETSModel(values[:origin], **options).smooth(np.asarray(fitted.params))
                np.testing.assert_allclose(mean, moved.forecast(HORIZON), rtol=1e-6)


def test_the_candidates() -> None:
    assert [form.name for form in forms(12)] == [
        "(A,N,N)", "(A,N,A)[12]", "(A,A,N)", "(A,A,A)[12]", "(A,Ad,N)", "(A,Ad,A)[12]",
    ]  # fmt: skip
    assert [form.name for form in forms(1)] == ["(A,N,N)", "(A,A,N)", "(A,Ad,N)"]


def test_an_undamped_trend_is_chosen_where_there_is_one() -> None:
    """AirPassengers, split 70 / 10 / 20, the next twelve months: half the error of the seasonal naive forecast."""
    first = np.arange(115, 133)
    rolled = forecast(fit_ets, AIR_PASSENGERS, 101, first, 12, 12)
    targets = AIR_PASSENGERS[first[:, None] + np.arange(12)]
    assert rolled.choice == "(A,A,A)[12]"
    error = np.abs(rolled.mean - targets).mean()
    assert error == pytest.approx(17.7, abs=0.1)
    assert error < 0.5 * np.abs(repeat_season(AIR_PASSENGERS, first, 12, 12) - targets).mean()


def test_a_damped_trend_is_chosen_where_there_is_one(wavy) -> None:
    values = 40 * (1 - 0.97 ** np.arange(160)) + wavy()
    assert forecast(fit_ets, values, KNOWN, FIRST, HORIZON, 6).choice == "(A,Ad,A)[6]"


def test_a_season_that_is_not_there_is_left_out() -> None:
    values = 50 + np.cumsum(np.random.default_rng(0).normal(0, 1, 150))
    assert forecast(fit_ets, values, KNOWN, FIRST, HORIZON, 6).choice == "(A,N,N)"
