"""Our forecaster in sktime: its own checks, numbers of the forecaster itself, panels, columns of X, errors."""

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="needs sktime: pip install 'qkan-seq[sktime]'")

from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.series.detrend import Detrender
from sktime.utils.estimator_checks import check_estimator

from qkan.datasets import DataNotice
from qkan.forecasting import Forecaster
from qkan.interop.sktime import QKANForecaster

LINEAR, RECURRENT = QKANForecaster.get_test_params()
BARE = LINEAR["options"]
#: Checks that differ in shapes or methods alone are run once or twice here; `make test-sktime` runs all 890.
QUICK = [
    "clone",
    "constructor",
    "cutoff",
    "doctest_examples",
    "fh_attribute",
    "fh_not_passed_error_handling",
    "get_test_params_coverage",
    "hierarchical_with_exogenous",
    "obj_vs_cls_signature",
    "pred_int_tag",
    "random_tags",
    "repr",
    "set_params_sklearn",
    "unequal_length_hierarchical_fit_predict",
    "update_tag",
    "update_with_exogenous_variables",
    "valid_object_tags",
    "y_invalid_type_raises_error",
    "X_invalid_type_raises_error",
    "categorical_y_raises_error",
    "deepcopy_fitted",
    "_y_remember_data",
]
ONCE = [
    *(
        f"test_{check}[QKANForecaster-ForecasterFitPredict{scenario}-predict]"
        for scenario in ("UnivariateWithX", "PanelSimple")
        for check in ("fit_idempotent", "methods_have_no_side_effects", "persistence_via_pickle")
    ),
    *(
        f"test_predict_time_index[QKANForecaster-y:1cols-fh={fh}-{times}]"
        for times in ("int-int-False", "range-int-True", "period-period-False", "datetime-datetime-False")
        for fh in ("[2 5]", "-3")
    ),
    "test_predict_interval[QKANForecaster-y:2cols-fh=[2 5]-alpha=[0.25, 0.75]-0]",
    "test_predict_quantiles[QKANForecaster-y:1cols-fh=1-alpha=0.05]",
    "test_update_predict_predicted_index[QKANForecaster-y:1cols-update_params=False-step=5-1-fh=[2 5]]",
]


def test_the_checks_of_sktime_pass() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if os.environ.get("SKTIME_CHECKS") == "all":
            found = check_estimator(QKANForecaster, verbose=False)
            assert len(found) > 800
        else:
            names, forecaster = [f"test_{name}" for name in QUICK], QKANForecaster(**LINEAR)
            found = check_estimator(forecaster, verbose=False, tests_to_run=names)
            assert {name.partition("[")[0] for name in found} == set(names)
            found |= check_estimator(forecaster, verbose=False, fixtures_to_run=ONCE)
            assert set(ONCE) <= set(found)
    assert {name: result for name, result in found.items() if result != "PASSED"} == {}


def months(length: int = 60, phase: float = 0.0) -> pd.Series:
    noise = np.random.default_rng(0).normal(0, 0.1, length)
    steps = np.arange(length)
    return pd.Series(
        np.sin(steps / 3 + phase) + noise, pd.period_range("2020-01", periods=length, freq="M"), name="sold"
    )


def covariates(length: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    index = pd.period_range("2020-01", periods=length, freq="M")
    return pd.DataFrame({"price": draw.normal(size=length), "place": draw.choice(["a", "b"], length)}, index)


def panel(ends: tuple[int, ...] = (60, 60, 57)) -> pd.DataFrame:
    parts = {("all", f"shop {number}"): months(end, number) for number, end in enumerate(ends)}
    return pd.concat(parts, names=["area", "shop", "month"]).to_frame()


def by_hand(
    frame: pd.DataFrame, level: tuple[int, ...] | None = None, val_size: int = 20, **options: Any
) -> pd.DataFrame:
    """The forecast of our forecaster itself."""
    own = {**BARE, "window": 3, "epochs": 1, "horizon": 3, **options}
    model = Forecaster("linear", **own).fit(frame[frame.y.notna()] if "y" in frame else frame, val_size=val_size)
    return model.predict(frame, level=level)


def long(series: pd.Series, name: str = "one") -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": series.index.to_timestamp(), "y": series.to_numpy()})


def test_forecasts_and_intervals_are_those_of_our_forecaster() -> None:
    y = months()
    model = QKANForecaster(**{**LINEAR, "val_size": 20}).fit(y, fh=[1, 3])
    expected = by_hand(long(y), level=(80, 50))
    forecast, ends = model.predict(), model.predict_interval(coverage=[0.8, 0.5])
    assert (forecast.name, [str(month) for month in forecast.index]) == ("sold", ["2025-01", "2025-03"])
    np.testing.assert_array_equal(forecast, expected.Linear[[0, 2]])
    assert ends.columns.tolist() == [("sold", share, end) for share in (0.8, 0.5) for end in ("lower", "upper")]
    np.testing.assert_array_equal(ends["sold", 0.8], expected.loc[[0, 2], ["Linear-lo-80", "Linear-hi-80"]])
    np.testing.assert_array_equal(ends["sold", 0.5, "lower"], expected.loc[[0, 2], "Linear-lo-50"])
    quantiles = model.predict_quantiles(alpha=[0.1, 0.5, 0.9])
    np.testing.assert_array_equal(quantiles["sold", 0.1], ends["sold", 0.8, "lower"])
    np.testing.assert_array_equal(quantiles["sold", 0.5], forecast)


def test_all_series_of_a_hierarchy_train_one_network_and_go_on_from_their_own_ends() -> None:
    y = panel()
    model = QKANForecaster(**{**LINEAR, "val_size": 20}).fit(y, fh=[1, 2, 3])
    frame = pd.concat([long(part.droplevel([0, 1]).sold, "/".join(name)) for name, part in y.groupby(level=[0, 1])])
    forecast = model.predict()
    assert forecast.index.names == ["area", "shop", "month"]
    np.testing.assert_array_equal(forecast.sold, by_hand(frame).Linear)
    assert [str(month) for month in forecast.loc["all", "shop 2"].index] == ["2024-10", "2024-11", "2024-12"]


def test_times_that_are_named_are_the_same_for_all_series() -> None:
    y, fh = panel(), pd.period_range("2025-02", periods=2, freq="M")
    forecast = QKANForecaster(**{**LINEAR, "horizon": 3}).fit(y).predict(fh)
    assert {tuple(part.index.get_level_values(-1)) for _, part in forecast.groupby(level=[0, 1])} == {tuple(fh)}
    assert forecast.notna().all(axis=None)
    far = QKANForecaster(**{**LINEAR, "horizon": 3}).fit(y).predict(range(1, 6))
    assert forecast.loc["all", "shop 2"].sold.iloc[0] == far.loc["all", "shop 2"].sold.iloc[4]
    assert forecast.loc["all", "shop 0"].sold.iloc[0] == far.loc["all", "shop 0"].sold.iloc[1]


def test_columns_of_x_are_numbers_and_names_known_in_advance() -> None:
    y, X = months(), covariates(63)
    model = QKANForecaster(**{**LINEAR, "val_size": 20}).fit(y, X[:60], fh=[1, 2, 3])
    frame = X.assign(ds=X.index.to_timestamp(), y=y, unique_id="one")
    expected = by_hand(frame, future_cols=["price"], category_cols=["place"])
    np.testing.assert_array_equal(model.predict(X=X[60:]), expected.Linear)
    np.testing.assert_array_equal(model.predict(X=X), expected.Linear)
    assert (model.predict(X=X[60:].assign(price=5.0)) != expected.Linear.to_numpy()).any()


def test_past_columns_are_needed_up_to_the_end_alone() -> None:
    y, X = months(), covariates()
    options = {**BARE, "past_cols": "price"}
    model = QKANForecaster(**{**LINEAR, "val_size": 20, "options": options}).fit(y, X[["price"]], fh=[1, 2, 3])
    expected = by_hand(X.assign(ds=X.index.to_timestamp(), y=y, unique_id="one"), past_cols=["price"])
    np.testing.assert_array_equal(model.predict(), expected.Linear)


@pytest.mark.parametrize("refit", [False, True])
def test_an_update_goes_on_from_new_values_and_trains_on_them_if_asked(refit: bool) -> None:
    y = months()
    model = QKANForecaster(**{**LINEAR, "val_size": 20}).fit(y[:50], fh=[1, 2, 3])
    before = model.forecaster_
    model.update(y[48:], update_params=refit)
    assert (model.forecaster_ is before) != refit
    trained = long(y if refit else y[:50])
    expected = Forecaster("linear", **BARE, window=3, epochs=1, horizon=3).fit(trained, val_size=20).predict(long(y))
    np.testing.assert_array_equal(model.predict(), expected.Linear)


def test_missing_values_at_the_end_are_forecast_over() -> None:
    y = months()
    y.iloc[-2:] = np.nan
    model = QKANForecaster(**{**LINEAR, "horizon": 4, "options": {**BARE, "missing": "mask"}}).fit(y)
    assert model.get_tag("capability:missing_values")
    forecast = model.predict([1, 2])
    np.testing.assert_array_equal(forecast, model.forecaster_.predict().Linear[2:])


def test_sktimes_pipelines_searches_and_backtests_take_it() -> None:
    y, cv = months(), ExpandingWindowSplitter(fh=[1, 2], initial_window=50, step_length=4)
    search = ForecastingGridSearchCV(QKANForecaster(**LINEAR), cv=cv, param_grid={"window": [2, 4]}, backend=None).fit(
        y, fh=[1, 2]
    )
    assert search.best_params_["window"] in (2, 4)
    chain = TransformedTargetForecaster([("detrend", Detrender()), ("qkan", QKANForecaster(**LINEAR))])
    assert len(evaluate(chain, cv, y)) == 3


def test_a_random_state_decides_on_the_start() -> None:
    y, options = months(30), {**RECURRENT, "val_size": 5, "options": {**BARE, "skip": 0}}

    def forecast(state: Any) -> list[float]:
        return QKANForecaster(**options, random_state=state).fit(y, fh=[1, 2]).predict().tolist()

    assert forecast(3) == forecast(3) != forecast(4)
    assert forecast(np.random.RandomState(1)) == forecast(np.random.RandomState(1))


def test_a_series_that_is_too_short_is_left_out() -> None:
    y = panel((60, 5, 60))
    with pytest.warns(DataNotice, match="all/shop 1"):
        model = QKANForecaster(**{**LINEAR, "val_size": 5}).fit(y, fh=[1, 2])
    forecast = model.predict().sold
    assert forecast.isna().groupby(level="shop").all().tolist() == [False, True, False]
    assert len(forecast) == 6


@pytest.mark.parametrize(
    ("options", "X", "error", "message"),
    [
        ({"options": {"lag": 3}}, None, TypeError, "Forecaster has no option 'lag'; its options are"),
        ({"options": {"seed": 3}}, None, TypeError, "options holds 'seed', which QKANForecaster sets from its own"),
        ({"cell": "rnn"}, None, ValueError, "unknown cell 'rnn'; choose one of qkan, hqkan"),
        ({"window": 0}, None, ValueError, "window must be an integer between 1 and 100000, got 0"),
        (
            {"window": 90},
            None,
            ValueError,
            "only 36 of them in the training part, which needs at least 92 (window + horizon)",
        ),
        ({"horizon": 0}, None, ValueError, "horizon must be an integer between 1 and"),
        ({"val_size": 1.5}, None, ValueError, "val_size 1.5 must be a whole number, a share in (0, 1), or None"),
        ({"options": {"past_cols": ["cost"]}}, covariates(), ValueError, "X has no column 'cost' beside y"),
    ],
)
def test_what_the_model_cannot_take_is_said(
    options: dict[str, Any], X: pd.DataFrame | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        QKANForecaster(**{**LINEAR, **options}).fit(months(), X, fh=[1, 2])
    assert message in str(caught.value)


def test_what_a_forecast_lacks_is_said() -> None:
    y, X = months(), covariates(63)
    model = QKANForecaster(**LINEAR).fit(y, X[:60], fh=[1, 3])
    for given in (None, X[["place"]]):
        with pytest.raises(
            ValueError, match="X has no column 'price' for the steps to predict, which the forecaster was"
        ):
            model.predict(X=given)
    with pytest.raises(
        ValueError, match="X has 1 rows behind the last value of series 'y', and 3 steps are to predict"
    ):
        model.predict(X=X[:61])
    with pytest.raises(NotImplementedError, match="in-sample"):
        QKANForecaster(**LINEAR).fit(y, fh=[-1, 1])
    with pytest.raises(ValueError, match="too few errors for them; ask for lower levels"):
        QKANForecaster(**{**LINEAR, "val_size": 5}).fit(y, fh=[1]).predict_interval(coverage=0.99)
    with pytest.raises(ValueError, match="step"):
        QKANForecaster(**LINEAR).fit(y.drop(y.index[[7, 19, 30]]), fh=[1])
