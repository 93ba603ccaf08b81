"""Window and horizon that nobody asked for."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import Series
from qkan.forecasting import CompareConfig, TrainConfig
from qkan.forecasting.data.load import sized

NOTHING = {"window": None, "horizon": None}


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
