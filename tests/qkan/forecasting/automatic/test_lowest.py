"""Counts are never forecast below 0; what may be negative is."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, Series
from qkan.forecasting.automatic import AutoForecaster
from qkan.forecasting.automatic.lowest import lowest_forecasts

FALLING = np.round(60 - 0.5 * np.arange(118) + np.random.default_rng(0).normal(size=118)).clip(0)
RULES = ("drift", "ridge")


def panel(*values: np.ndarray, observed: np.ndarray | None = None) -> Series:
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(own)), "y": np.asarray(own, dtype=float)})
        for name, own in zip("abcd", values, strict=False)
    ]
    return Series("made", pd.concat(frames, ignore_index=True), observed=observed)


def test_counts_are_whole_numbers_of_which_none_is_below_0() -> None:
    series = panel(np.array([0, 3, 1]), np.array([0, -1, 2]), np.array([0.5, 1, 2]), np.zeros(3))
    np.testing.assert_array_equal(lowest_forecasts(series, None), [0, -np.inf, -np.inf, 0])
    np.testing.assert_array_equal(lowest_forecasts(series, False), [-np.inf] * 4)


def test_only_what_is_known_before_the_origins_counts() -> None:
    series = panel(np.array([0, 3, -1]), np.array([1, 2, 3]))
    np.testing.assert_array_equal(lowest_forecasts(series, None, np.array([2, 3])), [0, 0])


def test_what_was_filled_says_nothing() -> None:
    series = panel(np.array([0, 1.5, 3]), observed=np.array([True, False, True]))
    assert lowest_forecasts(series, None) == 0


def test_negative_values_are_refused_where_none_may_be() -> None:
    with pytest.raises(
        DataError, match=r"series .b. has the value -1, so its forecasts may be below 0, too; leave out"
    ):
        lowest_forecasts(panel(np.ones(3), np.array([0, -1, 2])), True)


@pytest.mark.parametrize(("shift", "nonnegative", "lowest"), [(0, None, 0.0), (0.5, None, -4.0), (0.5, True, 0.0)])
def test_forecasts_and_intervals_of_counts_end_at_0(shift: float, nonnegative: bool | None, lowest: float) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(118), "y": FALLING + shift})
    auto = AutoForecaster(10, candidates=RULES, budget=None, nonnegative=nonnegative, season="none").fit(frame)
    table = auto.predict(level=80)
    least = table[[auto.name, f"{auto.name}-lo-80"]].min()
    if lowest == 0:
        assert least.tolist() == [0.0, 0.0]
        assert min(one.judged.min() for one in auto.found.candidates) >= 0
    else:
        assert (least < -1).all()
