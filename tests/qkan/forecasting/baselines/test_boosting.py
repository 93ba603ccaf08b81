"""LightGBM as a baseline: what it learns, and what a fit with given settings repeats."""

import numpy as np
import pytest

from qkan.forecasting.baselines.interface import Fitting, Origins
from qkan.forecasting.baselines.registry import fit_baselines
from qkan.forecasting.baselines.simple import naive

pytest.importorskip("lightgbm")  # of the dependency group `test`


@pytest.fixture(scope="module")
def data(make_data):
    noise = np.random.default_rng(0).normal(0, 0.2, 600)
    wave = np.abs((np.arange(600) % 12) - 6.0)  # a triangle, whose turns a linear model misses
    return make_data({"a": wave + noise, "b": 50 + 10 * wave}, window=6, horizon=2, season=(12,), split=(0.6, 0.2, 0.2))


def test_trees_know_the_season_of_every_series(data):
    (found,) = fit_baselines(data, ("lightgbm",), Fitting(trials=2))
    errors = np.abs(found.forecast(Origins.of(data)).mean - data.target_values("test"))
    own = data.test.series == 0
    assert errors[own].mean() < 0.3 < 0.5 * np.abs(naive(data) - data.target_values("test"))[own].mean()
    assert errors[~own].mean() < 1.0
    assert (found.name, found.parameters) == ("LightGBM", None)
    assert found.forecast(Origins.at_end(data.series)).mean.shape == (2, 2)


def test_settings_of_a_fit_repeat_it(data):
    (found,) = fit_baselines(data, ("lightgbm",), Fitting(trials=1))
    assert found.settings["lags"] == 6
    (again,) = fit_baselines(data, ("lightgbm",), Fitting(settings={"lightgbm": found.settings}))
    np.testing.assert_array_equal(*(own.forecast(Origins.of(data)).mean for own in (found, again)))


def test_without_validation_part_the_usual_number_of_trees_is_grown(make_data):
    data = make_data({"a": np.sin(np.arange(80.0))}, window=4, split=(0.8, 0.0, 0.2))
    (found,) = fit_baselines(data, ("lightgbm",), Fitting(trials=3))
    assert found.settings == {"lags": 4, "rounds": 100}


def test_trees_know_the_level_where_the_next_value_depends_on_it(make_data):
    values = np.empty(600)
    values[0] = 0.3
    for step in range(1, 600):
        values[step] = 3.9 * values[step - 1] * (1 - values[step - 1])
    data = make_data({"a": values}, window=2, split=(0.7, 0.1, 0.2))
    (found,) = fit_baselines(data, ("lightgbm",), Fitting(trials=1))
    errors = np.abs(found.forecast(Origins.of(data)).mean - data.target_values("test"))
    assert errors.mean() < 0.03  # without the level 0.2


def test_of_many_pairs_some_are_learnt_from_with_fewer_bins(data, monkeypatch):
    from qkan.forecasting.baselines import boosting

    bins = []
    for most in (100_000, 400):
        monkeypatch.setattr(boosting, "MOST_PAIRS", most)
        (found,) = fit_baselines(data, ("lightgbm",), Fitting(settings={"lightgbm": {"lags": 6, "rounds": 1}}))
        pairs = len(found._training_pairs()[1])
        assert pairs <= most
        bins.append(found.model.params.get("max_bin"))
    assert pairs > 300  # origins are spread evenly, for every step others
    assert bins == [None, 63]
