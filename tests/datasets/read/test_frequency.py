import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError
from qkan.datasets.read.frequency import Timeline, find_frequency
from qkan.datasets.steps import natural_season


def timeline(*parts, names=()):
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    times = np.concatenate([np.asarray(part) for part in parts])
    times = times.astype("datetime64[ns]" if times.dtype.kind == "M" else np.int64)
    return Timeline(times, starts, np.arange(len(times)), "when", names)


REGULAR = {
    "s": "s",
    "30s": "30s",
    "5min": "5min",
    "90min": "90min",
    "h": "h",
    "D": "D",
    "7D": "7D",
    "W-WED": "7D",
    "B": "B",
    "MS": "MS",
    "ME": "ME",
    "2MS": "2MS",
    "BME": "BME",
    "YE": "YE-DEC",
}


@pytest.mark.parametrize(("alias", "found"), REGULAR.items())
def test_regular_times_have_a_frequency(alias, found):
    times = pd.date_range("2024-01-31", periods=40, freq=alias)
    assert find_frequency(timeline(times)) == found
    assert pd.date_range(times[-1], periods=2, freq=found)[1] == pd.date_range(times[-1], periods=2, freq=alias)[1]


def test_quarters_are_regular_whichever_way_their_anchor_is_named():
    times = pd.date_range("2024-01-01", periods=9, freq="QS")
    assert find_frequency(timeline(times)) in ("QS-JAN", "QS-APR", "QS-JUL", "QS-OCT")


@given(
    alias=st.sampled_from(["7min", "h", "D", "B", "MS", "QE"]),
    lengths=st.lists(st.integers(3, 30), min_size=1, max_size=4),
)
def test_series_of_different_start_and_length_share_their_frequency(alias, lengths):
    calendar = pd.date_range("2023-01-02", periods=60, freq=alias)
    longest = calendar[:25]  # long enough to tell a calendar frequency from a fixed one
    parts = [longest, *(calendar[start : start + length] for start, length in enumerate(lengths))]
    assert pd.tseries.frequencies.to_offset(find_frequency(timeline(*parts))).base == (
        pd.tseries.frequencies.to_offset(alias).base
    )


@pytest.mark.parametrize(
    ("start", "alias", "found"),
    [("2021-01-01", "YS", "YS-JAN"), ("2023-07-01", "MS", "MS"), ("2023-12-31", "ME", "ME")],
)
def test_a_few_months_or_years_of_as_many_days_are_no_fixed_step(start, alias, found):
    assert find_frequency(timeline(pd.date_range(start, periods=3, freq=alias))) == found
    assert find_frequency(timeline(pd.date_range(start, periods=13, freq="28D"))) == "28D"


def test_whole_number_steps_have_no_frequency():
    assert find_frequency(timeline(np.arange(5) * 10, np.arange(3) * 10 + 3)) is None


@pytest.mark.parametrize("step", [10, "10", " 10 ", np.int64(10)])
def test_a_whole_number_step_may_be_written_as_text(step):
    assert find_frequency(timeline(np.arange(5) * 10), frequency=step) is None
    with pytest.raises(DataError, match=r"freq=.*10.* was given, but time column 'when' holds whole-number steps of 5"):
        find_frequency(timeline(np.arange(5) * 5), frequency=step)


def message_of(*parts, **options):
    with pytest.raises(DataError) as caught:
        find_frequency(timeline(*parts, **options))
    return str(caught.value)


def test_a_missing_working_day_is_found_at_its_place():
    times = pd.bdate_range("2024-01-01", periods=40).delete(20)
    message = message_of(times)
    assert "row 21 of time column 'when' is 2024-01-30 00:00:00 after 2024-01-26 00:00:00" in message
    assert "the usual step is one of frequency 'B'" in message


def test_a_missing_month_is_found_at_its_place():
    times = pd.date_range("2024-01-01", periods=40, freq="MS").delete(20)
    message = message_of(times)
    assert "row 21 of time column 'when' is 2025-10-01 00:00:00 after 2025-08-01 00:00:00" in message
    assert "the usual step is one of frequency 'MS'" in message


def test_a_missing_day_is_found_at_its_place():
    times = pd.date_range("2024-01-01", periods=40, freq="D").delete(7)
    assert "row 8 of time column 'when' is 2024-01-09 00:00:00 after 2024-01-07 00:00:00" in message_of(times)


def test_series_of_different_steps_are_irregular():
    daily, hourly = pd.date_range("2024-01-01", periods=5, freq="D"), pd.date_range("2024-01-01", periods=9, freq="h")
    assert "row 1 of time column 'when' (series 'a')" not in message_of(daily, hourly, names=("a", "b"))
    assert "row 2 of time column 'when' (series 'a') is 2024-01-02 00:00:00 after 2024-01-01 00:00:00" in message_of(
        daily, hourly, names=("a", "b")
    )


def test_a_day_off_the_calendar_is_irregular_in_another_series():
    monthly = pd.date_range("2024-01-01", periods=24, freq="MS")
    shifted = pd.DatetimeIndex([*monthly[:5], monthly[5] + pd.Timedelta(days=1), *monthly[6:9]])
    assert "row 30 of time column 'when' (series 'b') is 2024-06-02" in message_of(monthly, shifted, names=("a", "b"))


@pytest.mark.parametrize(
    ("frequency", "points", "season"),
    [
        (None, 10_000, ()),
        ("5min", 4032, (288, 2016)),
        ("5min", 4031, (288,)),
        ("h", 336, (24, 168)),
        ("90min", 1000, (16, 112)),
        ("7h", 1000, (24,)),
        ("5h", 1000, ()),
        ("D", 100, (7,)),
        ("7D", 104, (52,)),
        ("7D", 103, ()),
        ("B", 10, (5,)),
        ("MS", 24, (12,)),
        ("BME", 24, (12,)),
        ("2MS", 24, (6,)),
        ("5MS", 24, ()),
        ("QE-DEC", 8, (4,)),
        ("YE-DEC", 100, ()),
    ],
)
def test_natural_seasons_are_those_of_the_calendar(frequency, points, season):
    assert natural_season(frequency, points) == season
