"""The level that the training part of a series chooses where nobody asked."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataNotice, ForecastData, Series
from qkan.forecasting import CompareConfig, TrainConfig
from qkan.forecasting.data.level import choose_level
from qkan.forecasting.data.load import as_cut, cut_windows
from qkan.forecasting.data.reasons import chosen_parts

NOISE = np.random.default_rng(0).standard_normal(600)
STEPS = np.arange(600)


def logistic(count: int = 600) -> np.ndarray:
    values = np.full(count, 0.4)
    for step in range(1, count):
        values[step] = 3.9 * values[step - 1] * (1 - values[step - 1])
    return values


def made(values: np.ndarray, copies: int = 1) -> Series:
    frames = [pd.DataFrame({"unique_id": f"s{n}", "ds": np.arange(len(values)), "y": values}) for n in range(copies)]
    return Series("made", pd.concat(frames, ignore_index=True))


def cut(values: np.ndarray, **options: object) -> tuple[TrainConfig, ForecastData]:
    config = TrainConfig(data="x", **options)
    return config, cut_windows(made(values), config)


def level_of(values: np.ndarray, **options: object) -> str:
    return as_cut(*cut(values, **options)).level


@pytest.mark.parametrize(
    ("values", "level"),
    [
        (logistic(), "none"),  # the next value depends on the level itself
        (np.random.default_rng(4).poisson(6, 600).astype(float), "none"),  # counts around a level that stays
        (np.cumsum(NOISE), "last"),
        (0.05 * STEPS + NOISE, "last"),  # nobody knows the level to come
        (np.exp(-STEPS / 200) * np.sin(STEPS / 3), "last"),
        (np.exp(-STEPS / 100), "last"),
        (np.full(600, 3.0), "last"),
    ],
    ids=["logistic map", "counts", "walk", "trend", "damped", "decay", "constant"],
)
def test_a_level_is_taken_away_unless_the_next_value_depends_on_it(values, level):
    assert level_of(values) == level


def busy_hours(spread: float, day: int = 60) -> np.ndarray:
    """Counts around the hour of a week of 3 days, with a level of their own every day."""
    draw = np.random.default_rng(3)
    hours, days = np.abs(draw.normal(30, 12, 3 * day)), np.repeat(draw.normal(0, spread, 50), day)
    return draw.poisson(np.maximum(hours[np.arange(50 * day) % (3 * day)] + days, 1)).astype(float)


def test_the_mean_season_is_taken_away_where_changes_from_it_are_forecast_better():
    options = {"season": (60, 180), "horizon": 60}
    assert level_of(busy_hours(2.0), **options) == "season"
    assert choose_level(cut(busy_hours(2.0), **options)[1]).why.startswith("changes from it forecast")
    walk = 20 * np.cumsum(np.random.default_rng(0).standard_normal(3000))
    assert level_of(walk + busy_hours(0.0), **options) == "last"  # leaves its range
    assert level_of(logistic(), season=(12, 36)) == "none"
    assert level_of(busy_hours(2.0), season=(60, 300), horizon=60) != "season"  # too few of them to have a mean


def test_the_mean_of_a_short_season_is_not_the_level_which_may_move_later():
    values = 20 + 3 * np.sin(2 * np.pi * STEPS / 12) + 0.5 * NOISE
    assert level_of(values, season=(12,), horizon=12) != "season"


def test_a_mean_season_that_was_asked_for_needs_a_season_in_the_data():
    with pytest.warns(DataNotice, match="level='season' has no effect: the training part shows no season; name one"):
        assert level_of(np.cumsum(NOISE), level="season") == "last"


def test_the_reason_is_told_with_figures():
    level, why = choose_level(cut(logistic())[1])
    assert level == "none"
    assert why.startswith("the next value depends on the level itself: error ")
    assert choose_level(cut(np.cumsum(NOISE))[1]).why == "the level leaves its range"
    assert choose_level(cut(logistic(40))[1]) == ("last", "too few values to tell")


def test_values_behind_the_training_part_choose_no_level():
    walk = np.concatenate([logistic(420), 50 + 10 * np.cumsum(NOISE[:180])])  # 0.7 of 600 values train
    found = [choose_level(cut(own)[1]) for own in (walk, logistic())]
    assert found[0] == found[1]


def test_what_was_asked_for_stays_and_so_does_what_an_order_needs():
    assert level_of(logistic(), level="last") == "last"
    assert level_of(logistic(), cell="linear") == "last"
    assert level_of(logistic(), order="periods", season=(4,), window=28, horizon=4) == "mean"


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, "window"),
        ({"order": "periods", "season": (4,), "window": 28, "horizon": 4}, "window"),
        ({"level": "last"}, "last"),
        ({"cell": "linear"}, "last"),  # as published
        ({"per_series": True}, "last"),  # every series smooths its own
        ({"category_cols": ("kind",)}, "last"),  # its effect would be multiplied by the scale of a window
    ],
)
def test_several_series_have_the_mean_and_the_scale_of_every_window_taken_away(options, level):
    config = TrainConfig(data="x", **options)
    series = made(np.cumsum(NOISE), copies=2)
    kinds = series.frame.assign(kind=np.where(series.frame["ds"] % 3 == 0, "a", "b"))
    series = Series("made", kinds, categories=("kind",)) if "category_cols" in options else series
    assert as_cut(config, cut_windows(series, config)).level == level


def test_all_cells_of_a_comparison_have_the_level_of_the_data():
    config = CompareConfig(data="x", out="o", cells=("lstm", "qkan"))
    data = cut_windows(made(logistic()), config)
    assert as_cut(config, data).level == "none"


def plan(asked: TrainConfig, series: Series, data: ForecastData) -> str:
    return chosen_parts(asked, as_cut(asked, data), series, data)


def test_a_plan_says_what_was_chosen_and_why():
    values = np.exp(-STEPS / 200) * np.sin(STEPS / 3)
    config, data = cut(values)
    said = plan(config, made(values), data)
    assert said.startswith("season none (19 steps repeat, but the last values leave ")
    assert "; level last (changes since then leave " in said
    asked = TrainConfig(data="x", season="none", level="none")
    assert plan(asked, made(values), cut(values, season="none")[1]) == "season none (as asked); level none"


def test_a_plan_names_no_values_one_season_back_where_there_is_no_season():
    with pytest.warns(DataNotice, match="seasonal_lags=True has no effect"):
        config, data = cut(NOISE, seasonal_lags=True)
    assert "season back" not in plan(config, made(NOISE), data)
    config, data = cut(NOISE, seasonal_lags=True, season=(12,))
    assert plan(config, made(NOISE), data).endswith("; values one season back")


def test_a_constant_series_has_enough_values_that_do_not_change():
    found = choose_level(cut(np.full(600, 3.0))[1])
    assert found == ("last", "the newest values do not change")


def test_mostly_one_value_is_the_level():
    rare = np.random.default_rng(2).poisson(0.4, 700).astype(float)
    assert level_of(rare) == level_of(5 + rare, loss="mae") == "none"
    assert level_of(np.where(STEPS > 350, 4.0, 0.0) + (NOISE > 1)) == "last"  # it leaves its range


def panel_of(*values: np.ndarray) -> Series:
    frames = [pd.DataFrame({"unique_id": f"s{n}", "ds": np.arange(len(own)), "y": own}) for n, own in enumerate(values)]
    return Series("made", pd.concat(frames, ignore_index=True))


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ([(n + 1) * (STEPS[:80] + 0.3 * NOISE[80 * n : 80 * n + 80]) for n in range(4)], "last"),
        ([10.0**n * logistic(200) for n in range(4)], "none"),
        ([np.exp(0.01 * (n + 1) * STEPS[:120]) * (1 + 0.1 * NOISE[:120]) for n in range(4)], "window"),
        ([np.full(80, float(n)) for n in range(4)], "window"),
    ],
    ids=["lines", "logistic maps", "growth of several rates", "constant"],
)
def test_a_panel_keeps_mean_and_scale_of_its_windows_unless_another_level_is_clearly_better(values, level):
    series = panel_of(*values)
    config = TrainConfig(data="x", window=8, horizon=4, loss="mae")
    found = as_cut(config, cut_windows(series, config))
    assert (found.level, found.skip) == (level, 4 if level == "last" else 2)
