"""Forecasters for scikit-learn's tools: options as they were given, unfitted copies, pickles."""

import pickle

import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.base import clone

from qkan.forecasting import AutoForecaster, Forecaster

TINY = {"window": 3, "horizon": 2, "epochs": 1, "season": "none", "level": "none", "lbfgs_steps": 0, "past_cols": []}


def frame() -> pd.DataFrame:
    return pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=40, freq="D"), "y": np.sin(np.arange(40) / 3)})


def linear() -> Forecaster:
    return Forecaster("linear", **TINY)


def test_a_clone_has_the_options_and_not_the_fit() -> None:
    model = linear().fit(frame())
    copy = clone(model)
    assert copy.get_params() == model.get_params() == {"cell": "linear", "freq": None, **TINY}
    assert copy.config == linear().config
    with pytest.raises(ValueError, match="this forecaster is not fitted"):
        copy.predict()
    pd.testing.assert_frame_equal(copy.fit(frame()).predict(), model.predict())


def test_a_clone_leaves_to_the_data_what_was_left_to_them() -> None:
    model = Forecaster("linear", season="none")
    assert clone(model).get_params() == {
        "cell": "linear",
        "window": None,
        "horizon": None,
        "freq": None,
        "season": "none",
    }
    assert clone(model).fit(frame()).config == model.fit(frame()).config


def test_a_clone_of_a_loaded_forecaster_is_trained_alike(tmp_path) -> None:
    model = linear().fit(frame())
    model.save(tmp_path / "run")
    loaded = Forecaster.load(tmp_path / "run")
    assert loaded.get_params()["lbfgs_steps"] == 0
    assert [name for name in vars(model) if not hasattr(loaded, name)] == []
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(loaded)).predict(frame()), model.predict())
    pd.testing.assert_frame_equal(clone(loaded).fit(frame()).predict(), model.predict())


def test_setting_an_option_makes_a_forecaster_new() -> None:
    model = linear().fit(frame())
    assert model.set_params() is model
    assert len(model.predict()) == 2
    assert model.set_params(horizon=5, metric="mae") is model
    assert (model.config.horizon, model.config.loss) == (5, "mae")
    with pytest.raises(ValueError, match="this forecaster is not fitted"):
        model.predict()


@pytest.mark.parametrize(("name", "value", "error"), [("window", -1, ValueError), ("windows", 3, TypeError)])
def test_a_refused_option_leaves_a_forecaster_as_it_was(name: str, value: int, error: type[Exception]) -> None:
    model = linear().fit(frame())
    before = model.predict()
    with pytest.raises(error, match=name):
        model.set_params(**{name: value})
    assert model.get_params() == linear().get_params()
    pd.testing.assert_frame_equal(model.predict(), before)


def test_the_text_of_a_forecaster_makes_it_again() -> None:
    assert repr(Forecaster("lstm", horizon=3, levels=())) == "Forecaster(cell='lstm', horizon=3, levels=())"
    assert eval(repr(linear())).get_params() == linear().get_params()


def test_a_search_is_cloned_too() -> None:
    model = AutoForecaster(3, candidates=("drift", "ridge"), season="none")
    assert clone(model).get_params() == model.get_params()
    assert clone(model).config == model.config
    assert len(model.set_params(horizon=2, candidates=("drift",)).fit(frame()).predict()) == 2


@pytest.mark.parametrize("package", [pd.DataFrame, polars.DataFrame])
def test_a_pickled_forecaster_forecasts_the_same_into_frames_of_the_same_package(package: type) -> None:
    model = linear().fit(package(frame().to_dict("series")))
    again, before = pickle.loads(pickle.dumps(model)).predict(), model.predict()
    assert type(again) is type(before) is package
    assert again.equals(before)
