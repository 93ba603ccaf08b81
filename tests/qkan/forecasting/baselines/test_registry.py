"""One way to fit any baseline: names, packages that are missing, what is said about each."""

import numpy as np
import pytest
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.statespace.sarimax import SARIMAX

from qkan.forecasting.baselines import Fitting, NotInstalled, Origins, fit_baselines, registry
from qkan.forecasting.baselines.tables import choice_table, failure_table, forecast_frame
from qkan.forecasting.config import BASELINE_NAMES, BASELINE_PACKAGES, CompareConfig

OWN = [name for name in BASELINE_NAMES if name not in BASELINE_PACKAGES]


@pytest.fixture(scope="module")
def data(make_data):
    wave = 10 + np.sin(np.arange(120) * np.pi / 6)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 120))
    return make_data({"a": wave + noise[0], "b": 5 * wave + noise[1]}, window=6, horizon=2, season=(12,))


def test_every_baseline_forecasts_from_any_moment(data):
    asked: list[tuple[str, int, int]] = []
    fitted = fit_baselines(data, OWN, Fitting(told=lambda *step: asked.append(step)))
    assert [own.name.partition("(")[0] for own in fitted] == [BASELINE_NAMES[name] for name in OWN]
    moments = Origins(np.array([1, 0, 1]), np.array([60, 100, 120]))  # the last one is the end of its series
    for own in fitted:
        mean, error = own.forecast(moments)
        assert mean.shape == (3, 2)
        assert np.isfinite(mean).all()
        assert (error is not None) == (own.name in ("ETS", "SARIMA", "DoubleSARIMA"))
        np.testing.assert_array_equal(own.forecast(Origins(moments.series[1:2], moments.known[1:2])).mean, mean[1:2])
        assert own.seconds >= 0
        assert own.parameters is not None
    assert [step for step in asked if step[0] == "Theta"] == [("Theta", 0, 2), ("Theta", 1, 2), ("Theta", 2, 2)]
    assert {own.name: own.parameters for own in fitted[:4]} == {
        "Naive": 0, "Drift": 0, "SeasonalNaive(12)": 0, "SeasonalMean(12)": 24,
    }  # fmt: skip


def test_the_frame_of_a_part_has_intervals_where_a_model_gives_errors(data):
    fitted = fit_baselines(data, ("naive", "ets"))
    frame = forecast_frame(data, "test", fitted, (90,))
    assert list(frame.columns[5:]) == ["Naive", "ETS", "ETS-lo-90", "ETS-hi-90"]
    inside = (frame["y"] >= frame["ETS-lo-90"]) & (frame["y"] <= frame["ETS-hi-90"])
    assert 0.75 < inside.mean() <= 1


def test_a_constant_series_fails_by_name_and_the_others_go_on(make_data):
    data = make_data({"flat": np.full(60, 5.0), "wavy": np.sin(np.arange(60.0))}, window=4, season=(6,))
    fitted = fit_baselines(data, OWN)
    frame = forecast_frame(data, "test", fitted).set_index("unique_id")
    assert set(failure_table(fitted).itertuples(index=False, name=None)) == {
        ("SARIMA", "flat", "the known values are constant once differenced"),
        ("DoubleSARIMA", "flat", "the known values are constant once differenced"),
        ("Theta", "flat", "the known values are constant without their season"),
    }
    assert frame.loc["flat", ["SARIMA", "DoubleSARIMA", "Theta"]].isna().all(axis=None)
    np.testing.assert_allclose(frame.loc["flat", ["Naive", "Drift", "ETS", "SeasonalMean(6)"]], 5, rtol=1e-6)
    assert frame.loc["wavy"].notna().all(axis=None)
    assert set(choice_table(fitted)["model"]) == {"Ridge", "ETS", "SARIMA", "DoubleSARIMA", "Theta"}


@pytest.mark.parametrize(("name", "model"), [("ets", ETSModel), ("sarima", SARIMAX)])
def test_what_was_chosen_by_series_is_the_only_thing_that_is_fitted_again(name, model, data, monkeypatch):
    fitted = fit_baselines(data, (name,))[0]
    fits, fit = [], model.fit
    monkeypatch.setattr(model, "fit", lambda own, **options: fits.append(own) or fit(own, **options))
    again = fit_baselines(data, (name,), Fitting(settings={name: fitted.settings}))[0]
    assert len(fits) == len(data.ids)
    assert again.choices == fitted.choices
    moments = Origins(np.array([0, 1]), np.array([60, 120]))
    np.testing.assert_array_equal(again.forecast(moments).mean, fitted.forecast(moments).mean)


def test_a_baseline_that_no_series_allows_is_left_out(make_data):
    data = make_data({"a": np.arange(20.0)}, window=2, horizon=9, split=(0.5, 0.0, 0.5), trained_horizon=1)
    reasons: dict[str, str] = {}
    asked = ("ridge", "naive", "seasonal-naive", "seasonal-mean")
    assert [own.name for own in fit_baselines(data, asked, Fitting(left_out=reasons.__setitem__))] == ["Naive"]
    assert reasons == {
        "ridge": "no training part holds a window and its targets",
        "seasonal-naive": "the data have no season",
        "seasonal-mean": "the data have no season",
    }


def test_a_season_that_is_not_known_twice_is_the_reason_that_its_rules_are_missing(make_data):
    data = make_data({"a": np.arange(20.0)}, window=2, split=(0.5, 0.2, 0.3), season=(15,))
    reasons: dict[str, str] = {}
    assert fit_baselines(data, ("seasonal-naive", "seasonal-mean"), Fitting(left_out=reasons.__setitem__)) == []
    assert reasons == {
        "seasonal-naive": "the values before the first forecast of a series hold no whole season",
        "seasonal-mean": "the training part of a series does not hold a season twice",
    }


@pytest.mark.parametrize(("name", "package"), [("lightgbm", "lightgbm"), ("mstl", "statsforecast")])
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(name, package, data, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(
        NotInstalled,
        match=rf"the baseline '{name}' needs {package}, which is not installed: pip install 'qkan-seq\[baselines\]'",
    ):
        fit_baselines(data, ("naive", name))


def test_unknown_baselines_are_refused(data):
    with pytest.raises(ValueError, match=r"unknown baseline 'arima'; choose from naive, .*, ets, sarima, theta"):
        fit_baselines(data, ("arima",))
    with pytest.raises(ValueError, match=r"unknown baseline 'arima'; choose from .*ets, sarima, theta"):
        CompareConfig(data="x.csv", out="x", baselines=("arima",))
