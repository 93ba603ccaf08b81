import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, Series, load_series
from qkan.datasets.windows import season_phases
from qkan.datasets.windows.phases import step_numbers


def series(times, frequency=None) -> Series:
    times = pd.Series(times)
    times = times.astype("int64") if frequency is None else times.astype("datetime64[ns]")
    return Series("s", pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0}), frequency)


def places(own: Series, season: int, times=None) -> np.ndarray:
    """The places in the season that the phases stand for."""
    phases = season_phases(own, own.times if times is None else times, (season,))
    found = phases[:, 0].astype(np.float64) * season / (2 * np.pi)
    np.testing.assert_allclose(found, np.round(found), rtol=0, atol=2e-4)
    return np.round(found) % season


def test_hours_of_the_day_have_the_phases_of_the_clock():
    own = series(pd.date_range("2026-03-05 07:00", periods=30, freq="h"), "h")
    np.testing.assert_array_equal(places(own, 24), (7 + np.arange(30)) % 24)
    thursday = 3 * 24 + 7
    np.testing.assert_array_equal(places(own, 168), (thursday + np.arange(30)) % 168)


@pytest.mark.parametrize(
    ("frequency", "season", "first"),
    [
        *(("MS", 12, "2020-03-01"), ("ME", 12, "2020-03-31"), ("QS", 4, "2020-04-01"), ("B", 5, "2020-03-04")),
        *(("SMS", 24, "2020-03-01"), ("2MS", 6, "2020-03-01"), ("YS", 3, "2020-01-01"), ("WOM-2TUE", 12, "2020-03-10")),
    ],
)
def test_steps_of_the_calendar_count_one_by_one(frequency, season, first):
    own = series(pd.date_range(first, periods=40, freq=frequency), frequency)
    found = places(own, season)
    np.testing.assert_array_equal(np.diff(found) % season, np.ones(39))
    later = series(own.times[7:], frequency)  # other data of the same kind continue the same seasons
    np.testing.assert_array_equal(places(later, season), found[7:])


def test_whole_numbers_count_in_their_own_step():
    own = series(np.arange(100, 160, 5))
    np.testing.assert_array_equal(places(own, 7), (20 + np.arange(12)) % 7)


@pytest.mark.parametrize(
    ("times", "frequency"),
    [
        (pd.date_range("2026-03-05 00:30", periods=60, freq="h"), "h"),
        (pd.date_range("2026-03-05 12:00", periods=60, freq="D"), "D"),
        (pd.date_range("2026-02-15 06:00", periods=20, freq="QS-FEB"), "QS-FEB"),
        (pd.date_range("2026-03-05 00:00:00.0015", periods=60, freq="3ms"), "3ms"),
        (np.arange(1, 121, 2), None),
        (np.arange(-7, 113, 2), None),
    ],
)
def test_times_between_two_steps_have_a_place_of_their_own(times, frequency):
    own = series(times, frequency)
    np.testing.assert_array_equal(np.diff(places(own, 7)) % 7, np.ones(len(times) - 1))


def test_phases_of_a_trading_day_begin_at_the_opening_also_behind_a_day_that_is_missing():
    own = load_series("telecom")
    day, week = places(own, 169), places(own, 845)
    np.testing.assert_array_equal(day, np.arange(len(day)) % 169)
    weekday = pd.DatetimeIndex(own.times).dayofweek.to_numpy()
    np.testing.assert_array_equal(week, weekday * 169 + day)
    assert (np.diff(week) % 845 != 1).any()  # the source leaves out working days
    ahead = own.future_times(0, 170)
    np.testing.assert_array_equal(places(own, 169, ahead), np.arange(170) % 169)


def test_phases_lie_in_one_turn_and_are_exact_where_seasons_begin():
    own = series(pd.date_range("2026-01-01", periods=24 * 400, freq="h"), "h")
    phases = season_phases(own, own.times, (24, 168))
    assert phases.dtype == np.float32
    assert phases.min() >= 0
    assert phases.max() < np.float32(2 * np.pi)
    assert (phases[::24, 0] == 0).all()


def test_no_season_gives_no_channel():
    own = series(np.arange(4))
    assert season_phases(own, own.times, ()).shape == (4, 0)


def test_calendar_steps_before_their_origin_are_refused():
    times = pd.date_range("1790-01-01", periods=3, freq="CBMS").to_numpy().astype("datetime64[ns]")
    with pytest.raises(DataError, match="1790-01-01 00:00:00 lies before 1800-01-01"):
        step_numbers(times, "CBMS")
