"""Every forecast of the baselines against statsmodels' own forecast from the same origin."""

import warnings

import numpy as np
import pytest
from series_forecasts import forecast
from statsmodels.regression.linear_model import OLS
from statsmodels.tools.tools import add_constant
from statsmodels.tsa.deterministic import Fourier
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.statespace.sarimax import SARIMAX

from qkan.forecasting.baselines import statistical as baseline_models
from qkan.forecasting.baselines.interface import CannotFit
from qkan.forecasting.baselines.smoothing import fit_ets
from qkan.forecasting.baselines.statistical import fit_sarima, fit_theta

KNOWN, FIRST, HORIZON = 120, np.array([120, 121, 137]), 9


@pytest.mark.parametrize("season", [6, 1])
def test_sarima_is_that_of_statsmodels(season: int, wavy, monkeypatch: pytest.MonkeyPatch) -> None:
    values = wavy()
    monkeypatch.setattr(baseline_models, "SEASONAL_ORDERS", (((1, 0, 1), (0, 1, 1)),))
    monkeypatch.setattr(baseline_models, "PLAIN_ORDERS", ((2, 1, 0),))
    rolled = forecast(fit_sarima, values, KNOWN, FIRST, HORIZON, season)
    order, seasonal = ((1, 0, 1), (0, 1, 1, 6)) if season > 1 else ((2, 1, 0), (0, 0, 0, 0))
    assert rolled.choice == ("(1,0,1)(0,1,1)[6]" if season > 1 else "(2,1,0)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = SARIMAX(values[:KNOWN], order=order, seasonal_order=seasonal, simple_differencing=True).fit(disp=False)
        for origin, mean in zip(FIRST, rolled.mean, strict=True):
            own = SARIMAX(values[:origin], order=order, seasonal_order=seasonal).filter(fitted.params)
            expected = own.get_forecast(HORIZON)
            # the fits stop at slightly different parameters; errors are about 1
            np.testing.assert_allclose(mean, expected.predicted_mean, atol=0.02)
            np.testing.assert_allclose(rolled.error, expected.se_mean, rtol=0.05)


def test_a_long_season_is_a_sum_of_harmonics(wavy, monkeypatch: pytest.MonkeyPatch) -> None:
    values = wavy(season=31)
    monkeypatch.setattr(baseline_models, "MAX_SARIMA_SEASON", 30)
    monkeypatch.setattr(baseline_models, "HARMONICS", 3)
    rolled = forecast(fit_sarima, values, KNOWN, FIRST, HORIZON, 31)
    terms = Fourier(31, 3).in_sample(np.arange(160)).to_numpy()
    fitted = OLS(values[:KNOWN], add_constant(terms[:KNOWN])).fit()
    wave = terms @ fitted.params[1:]
    rest = forecast(fit_sarima, values - wave, KNOWN, FIRST, HORIZON, 1)
    assert rolled.choice == f"{rest.choice} after 3 harmonics of [31]"
    ahead = FIRST[:, None] + np.arange(HORIZON)
    np.testing.assert_allclose(rolled.mean, rest.mean + wave[ahead], atol=1e-4)
    np.testing.assert_allclose(rolled.error, rest.error, rtol=1e-4)
    assert np.abs(rolled.mean - values[ahead]).mean() < 2.0  # the wave alone spans 10


def test_sarima_takes_the_order_with_the_smallest_aic() -> None:
    noise = np.random.default_rng(3).normal(0, 1, 401)
    moving = np.cumsum(noise[1:] - 0.7 * noise[:-1])  # ARIMA(0,1,1)
    assert forecast(fit_sarima, moving, 380, np.array([380]), 2, 1).choice == "(0,1,1)"


@pytest.mark.parametrize(("season", "shift", "kind"), [(6, 0.0, "multiplied"), (6, -40.0, "added"), (1, 0.0, "none")])
def test_theta_is_that_of_statsmodels(season: int, shift: float, kind: str, wavy) -> None:
    values = wavy() + shift
    rolled = forecast(fit_theta, values, KNOWN, FIRST, HORIZON, season)
    assert (rolled.choice, rolled.error) == (f"season {kind}", None)
    own = ThetaModel(values[:KNOWN], period=max(season, 2), deseasonalize=season > 1).fit()
    np.testing.assert_allclose(rolled.mean[0], own.forecast(HORIZON), rtol=1e-10)


def test_theta_moves_on_with_fixed_parameters(wavy) -> None:
    values = wavy(season=1)
    rolled = forecast(fit_theta, values, KNOWN, FIRST, HORIZON, 1)
    own = ThetaModel(values[:KNOWN], period=2, deseasonalize=False).fit()
    slope, alpha = own.params
    for origin, mean in zip(FIRST, rolled.mean, strict=True):
        level = values[0]
        for value in values[1:origin]:
            level = alpha * value + (1 - alpha) * level
        drift = slope * (np.arange(HORIZON) + (1 - (1 - alpha) ** origin) / alpha)
        np.testing.assert_allclose(mean, level + drift / 2, rtol=1e-10)


@pytest.mark.parametrize(("model", "season"), [(fit_ets, 6), (fit_ets, 26), (fit_sarima, 6), (fit_theta, 6)])
def test_the_future_is_not_seen(model, season: int, wavy) -> None:
    values = wavy()
    changed = values.copy()
    changed[KNOWN:] += 1000.0
    before, after = (forecast(model, own, KNOWN, FIRST[:1], 3, season) for own in (values, changed))
    np.testing.assert_array_equal(before.mean, after.mean)


@pytest.mark.parametrize("model", [fit_ets, fit_sarima, fit_theta])
def test_only_the_last_values_are_fitted(model, wavy, monkeypatch: pytest.MonkeyPatch) -> None:
    values = wavy()
    monkeypatch.setattr(baseline_models, "MAX_FIT", 60)
    short, long = (forecast(model, own, known, first, 3, 6) for own, known, first in (
        (values[60:], KNOWN - 60, FIRST - 60), (values, KNOWN, FIRST)
    ))  # fmt: skip
    np.testing.assert_array_equal(short.mean, long.mean)


@pytest.mark.parametrize(
    ("model", "known", "season", "reason"),
    [
        (fit_ets, 12, 6, "only 12 values before the first origin, at least 13 needed for season 6"),
        (fit_ets, 9, 1, "only 9 values before the first origin, at least 10 needed for season 1"),
        (fit_sarima, 17, 6, "only 17 values before the first origin, at least 20 needed for season 6"),
        (fit_theta, 12, 6, "only 12 values before the first origin, at least 13 needed for season 6"),
    ],
)
def test_what_is_too_short_or_too_long_is_said(model, known: int, season: int, reason: str, wavy) -> None:
    with pytest.raises(CannotFit, match=reason):
        forecast(model, wavy(), known, np.array([known]), 2, season)


def test_a_straight_line_has_no_sarima() -> None:
    with pytest.raises(CannotFit, match="constant once differenced"):
        forecast(fit_sarima, np.arange(100.0), 80, np.array([80]), 2, 1)
