"""What nobody asked for: window and horizon, and how a panel is read."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import Series
from qkan.forecasting import CompareConfig, TrainConfig
from qkan.forecasting.data.defaults import sized

NOTHING = {"window": None, "horizon": None}
IN_THE_DATA = {**NOTHING, "loss": None}


def daily(count: int) -> Series:
    """A series with a season of 24 steps."""
    values = np.sin(np.arange(count) * np.pi / 12)
    return Series("made", pd.DataFrame({"unique_id": "a", "ds": np.arange(count), "y": values}), season=(24,))


@pytest.mark.parametrize(
    ("options", "count", "sizes"),
    [
        ({}, 400, (48, 24)),
        ({"segment": 7}, 400, (42, 24)),  # not 48, which is no multiple
        ({"segment": 60}, 400, (60, 24)),
        ({"order": "periods"}, 150, (24, 15)),  # 45 steps would fit
        ({"order": "segments"}, 150, (24, 15)),
        ({"cell": "sparse"}, 150, (24, 15)),
        ({"cell": "sparse", "season": (10,)}, 400, (20, 10)),
        ({}, 150, (45, 15)),
    ],
)
def test_a_window_that_nobody_asked_for_is_a_multiple_of_the_segment(options, count, sizes):
    found = sized(TrainConfig(data="x", **options), daily(count), NOTHING)
    assert (found.window, found.horizon) == sizes
    if "segment" in options or options.get("order"):
        many = sized(CompareConfig(data="x", out="o", **options), daily(count), NOTHING)
        assert (many.window, many.horizon) == sizes


def test_a_window_that_was_asked_for_stays():
    found = sized(TrainConfig(data="x", segment=7), daily(400), {"window": 50, "horizon": None})
    assert (found.window, found.horizon) == (50, 24)


@pytest.mark.parametrize(("count", "window"), [(33, 21), (32, 14)])  # 12 of them are targets or validate
def test_windows_of_m4_are_three_of_the_longest_season_where_every_series_holds_them(count, window):
    series = [daily(200).frame, daily(count).frame.assign(unique_id="b")]
    both = Series("made", pd.concat(series), season=(7,), borders=(-8, -4), mase_season=1)
    found = sized(TrainConfig(data="x", protocol="m4"), both, NOTHING)
    assert (found.window, found.horizon) == (window, 4)


HOURS, QUARTERS, TENS, DAYS = (24, 168), (96, 672), (144, 1008), (7,)


@pytest.mark.parametrize(
    ("season", "train", "options", "horizon", "sizes"),
    [
        (HOURS, 8_640, {}, None, (720, 96)),
        (HOURS, 8_640, {}, 720, (720, 720)),
        (HOURS, 8_640, {}, 12, (336, 12)),  # read step by step
        (HOURS, 8_640, {"strategy": "recursive"}, None, (336, 96)),
        (HOURS, 8_640, {"season": "none"}, None, (336, 96)),
        (HOURS, 8_640, {"order": "periods"}, 12, (720, 12)),
        (HOURS, 8_640, {"cell": "sparse"}, 12, (720, 12)),
        (QUARTERS, 34_560, {}, None, (672, 96)),
        (TENS, 36_887, {}, None, (336, 96)),  # less than a day ahead
        (TENS, 36_887, {}, 192, (1_008, 192)),
        (DAYS, 5_311, {}, None, (210, 96)),
        ((), 5_311, {}, None, (336, 96)),
        (HOURS, 500, {}, None, (192, 71)),
        (HOURS, 240, {}, None, (103, 34)),
        ((), 6, {}, None, (2, 1)),  # one value tests  # no week for every window
    ],
)
def test_windows_of_ltsf_are_read_by_periods_or_are_short(season, train, options, horizon, sizes):
    made = Series("made", daily(int(train / 0.7)).frame, season=season, borders=(train, int(train / 0.7 * 0.8)))
    found = sized(TrainConfig(data="x", protocol="ltsf", **options), made, {"window": None, "horizon": horizon})
    assert (found.window, found.horizon) == sizes


@pytest.mark.parametrize(("given", "lr"), [({}, 0.03), ({"lr": 0.03}, 0.03), ({"lr": None}, 0.01)])
def test_the_file_of_a_benchmark_takes_a_lower_learning_rate_unless_one_is_asked_for(given, lr):
    config = TrainConfig(data="x", protocol="m4")
    made = Series("made", daily(200).frame, season=(7,), borders=(-8, -4), mase_season=1)
    assert sized(config, made, {**NOTHING, **given}).lr == lr
    assert sized(TrainConfig(data="x"), daily(200), {**NOTHING, **given}).lr == 0.03


@pytest.mark.parametrize(
    ("options", "given", "read"),
    [
        ({"horizon": 96}, {}, (96, 8)),  # 12 segments of 8 steps
        ({"horizon": 97, "season": (97,)}, {}, (100, 10)),  # a prime number of steps
        ({"horizon": 95}, {}, (12, None)),  # less than a season
        ({"horizon": 96, "season": (48,)}, {}, (96, None)),
        ({"horizon": 96, "order": "steps"}, {}, (12, None)),
        ({"horizon": 96, "cell": "linear"}, {}, (12, None)),
        ({"horizon": 96}, {"window": 50}, (50, None)),
        ({"horizon": 96, "segment": 6}, {}, (12, 6)),
    ],
)
def test_a_season_of_many_steps_that_is_predicted_whole_is_read_by_segments(options, given, read):
    config = TrainConfig(data="x", **{"season": (96,), **options})
    found = sized(config, daily(1500), {"window": None, "horizon": config.horizon, **given})
    assert (found.window, found.segment) == read


def test_a_short_series_is_not_read_so_far_back():
    config = TrainConfig(data="x", season=(96,), horizon=96)
    assert sized(config, daily(400), {"window": None, "horizon": 96}).segment is None


def panel(*lengths: int, season: tuple[int, ...] = (24, 168)) -> Series:
    """Several series of these lengths."""
    frames = [
        pd.DataFrame({"unique_id": f"s{place}", "ds": np.arange(count), "y": np.sin(np.arange(count) * np.pi / 12)})
        for place, count in enumerate(lengths)
    ]
    return Series("made", pd.concat(frames, ignore_index=True), season=season)


def chosen(series: Series, given: dict[str, object] | None = None, **options: object) -> tuple[object, ...]:
    """Window, horizon, loss and seasonal lags."""
    found = sized(TrainConfig(data="x", **options), series, {**IN_THE_DATA, **(given or {})})
    return found.window, found.horizon, found.loss, found.seasonal_lags


def test_a_panel_is_read_a_day_ahead_by_periods_of_a_week():
    assert chosen(panel(1488, 1488)) == (168, 24, "mae", None)
    assert chosen(panel(1488)) == (48, 24, "mse", None)  # a single series as before


def test_a_panel_that_is_read_step_by_step_has_the_values_one_season_back():
    assert chosen(panel(1488, 1488), {"horizon": 1}) == (48, 1, "mae", True)
    assert chosen(panel(1488, 1488), {"window": 48}) == (48, 24, "mae", True)
    assert chosen(panel(1488, 1488), {"window": 168}) == (168, 24, "mae", None)  # by periods
    assert chosen(panel(1488, 1488), strategy="recursive") == (48, 24, "mae", True)
    assert chosen(panel(1488, 1488), {"window": 200, "horizon": 1})[-1] is None  # the window holds them
    assert chosen(panel(600, 600), {"horizon": 1})[-1] is None  # the training part would not hold it twice
    assert chosen(panel(1488, 1488, 300), {"horizon": 1})[-1] is None  # the short series would be left out
    assert chosen(panel(400, 400), season="none") == (12, 1, "mae", None)


@pytest.mark.parametrize("cell", ["linear", "sparse", "cycle"])
def test_published_linear_forecasters_read_a_panel_as_they_are_published(cell):
    assert chosen(panel(1488, 1488), cell=cell)[2:] == ("mse", None)
    both = CompareConfig(data="x", out="o", cells=("lstm", cell))
    assert sized(both, panel(1488, 1488), IN_THE_DATA).seasonal_lags is None


def test_what_was_asked_for_of_a_panel_stays():
    assert chosen(panel(1488, 1488), {"horizon": 1}, seasonal_lags=False) == (48, 1, "mae", False)
    assert chosen(panel(1488, 1488), {"loss": "mse"}, loss="mse")[2] == "mse"
    assert chosen(panel(1488, 1488), metric="rmse")[2] == "mse"
    assert chosen(panel(1488, 1488), order="segments", segment=12) == (48, 24, "mae", None)
    assert chosen(panel(1488, 1488), order="steps") == (48, 24, "mae", True)


def test_the_first_fold_decides_how_far_back_a_panel_is_read():
    folds = CompareConfig(data="x", out="o", folds=5)
    assert sized(folds, panel(800, 800), NOTHING).window == 48  # it trains on 280 values; a single split would on 560
    assert sized(replace(folds, folds=1), panel(800, 800), NOTHING).window == 168
    assert sized(folds, panel(1488, 1488), NOTHING).window == 168


RNG = np.random.default_rng(0)
SPIKES = (5 + RNG.standard_normal(400)) * np.where(RNG.random(400) < 0.01, 20, 1)
DEMAND = (RNG.random(400) < 0.25) * RNG.poisson(4, 400).astype(float)
STEPPED = RNG.standard_normal(400) + 8 * (np.arange(400) > 100)


@pytest.mark.parametrize(
    ("values", "given", "loss"),
    [
        (SPIKES, None, "mae"),
        (1e-90 * SPIKES, "auto", "mae"),
        (SPIKES, "mse", "mse"),
        (DEMAND, None, "mae"),
        (STEPPED, None, "mse"),  # one break is no spike
        (RNG.standard_t(4, 400), None, "mse"),
        (np.full(400, 3.0), None, "mse"),
        (np.concatenate([np.ones(300), SPIKES[:100]]), None, "mse"),  # behind the training part
    ],
)
def test_no_spike_outweighs_the_other_values_of_one_series(values, given, loss):
    series = Series("made", pd.DataFrame({"unique_id": "a", "ds": np.arange(len(values)), "y": values}))
    assert sized(TrainConfig(data="x"), series, {**NOTHING, "loss": given}).loss == loss


def test_a_metric_that_was_asked_for_says_the_loss_of_a_series_with_spikes():
    series = Series("made", pd.DataFrame({"unique_id": "a", "ds": np.arange(400), "y": SPIKES}))
    assert sized(TrainConfig(data="x", metric="rmse"), series, {**NOTHING, "loss": None}).loss == "mse"
