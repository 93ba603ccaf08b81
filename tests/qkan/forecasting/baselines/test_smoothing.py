"""Exponential smoothing against statsmodels' own forecasts from the same origins, and on a series of the textbooks."""

import warnings

import numpy as np
import pandas as pd
import pytest
from series_forecasts import forecast
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from qkan.forecasting.baselines import smoothing
from qkan.forecasting.baselines.simple import repeat_season
from qkan.forecasting.baselines.smoothing import Form, fit_ets, forms

KNOWN, FIRST, HORIZON = 120, np.array([120, 121, 137]), 9

# Monthly totals of international airline passengers, thousands, 1949 to 1960: Box and Jenkins (1976), series G.
AIR_PASSENGERS = np.array(
    [
        *(112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158, 133),
        *(114, 140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218, 230, 242),
        *(209, 191, 172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201, 204, 188, 235, 227, 234, 264),
        *(302, 293, 259, 229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278, 284, 277, 317, 313),
        *(318, 374, 413, 405, 355, 306, 271, 306, 315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336, 340, 318),
        *(362, 348, 363, 435, 491, 505, 404, 359, 310, 337, 360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405),
        *(417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432),
    ],
    dtype=np.float64,
)


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
