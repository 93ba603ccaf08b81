import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError, Series, Session
from qkan.datasets.steps import step_frame


def two_series(**changes):
    frame = pd.DataFrame(
        {
            "unique_id": ["a", "a", "a", "b", "b"],
            "ds": np.array([0, 1, 2, 5, 6], dtype=np.int64),
            "y": [1.0, 2.0, 3.0, 10.0, 20.0],
        }
    )
    return frame.assign(**changes)


def hourly(start="2024-03-01 20:00", count=3, **options):
    times = pd.date_range(start, periods=count, freq="h").as_unit("ns")
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(float(count))})
    return Series("hours", frame, frequency="h", **options)


def test_series_knows_where_its_single_series_lie():
    series = Series("two", two_series())
    assert series.ids == ("a", "b")
    assert series.starts.tolist() == [0, 3, 5]
    assert series.lengths.tolist() == [3, 2]
    assert series.values_of(1).tolist() == [10.0, 20.0]
    assert series.times_of(1).tolist() == [5, 6]


def test_series_of_one_row_is_allowed():
    series = Series("one", step_frame(np.array([7]), "one"))
    assert (series.ids, series.lengths.tolist(), series.future_times(0, 2).tolist()) == (("one",), [1], [1, 2])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (two_series().drop(columns="ds"), "has no column 'ds'; it must have unique_id, ds, y"),
        (two_series().iloc[:0], "has no rows"),
        (two_series(y=[1, 2, 3, 4, 5]), "column 'y' of 'bad' is int64; convert it to float64"),
        (two_series(ds=[0.0, 1, 2, 5, 6]), "column 'ds' of 'bad' is float64, but frequency None needs int64"),
        (two_series(y=[1.0, np.nan, 3, 4, 5]), "value nan in row 1 of 'bad' is not finite"),
        (two_series(y=[1.0, 2, 3, 4, -np.inf]), "value -inf in row 4 of 'bad' is not finite"),
        (two_series(y=[1.0, 2, 3, -1e101, 5]), r"value -1e\+101 in row 3 of 'bad' is outside \+-1e\+100"),
        (two_series(ds=np.array([0, 1, 1, 5, 6])), "time 1 in row 2 of 'bad' does not come after"),
        (two_series(ds=np.array([0, 1, 2, 6, 5])), "time 5 in row 4 of 'bad' does not come after"),
        (two_series(unique_id=["b", "b", "b", "a", "a"]), "rows of 'bad' are not sorted by 'unique_id'"),
        (two_series(unique_id=["a", "b", "a", "b", "b"]), "rows of 'bad' are not sorted by 'unique_id'"),
    ],
)
def test_series_refuses_a_frame_that_breaks_the_rules(frame, message):
    with pytest.raises(DataError, match=message):
        Series("bad", frame)


@pytest.mark.parametrize("scale", [1e-200, 3e-101, 1e-310])
def test_values_too_small_to_square_are_refused_with_a_fix_that_works(scale):
    frame = two_series(y=[1.0, 2.0, 3.0, 1 * scale, 0.0])
    with pytest.raises(DataError, match=r"series 'b' reach .* at most, too small .*; choose a smaller unit") as caught:
        Series("small", frame)
    assert two_series(x=frame["y"]).pipe(lambda own: Series("small", own)).values[0] == 1
    with pytest.raises(DataError, match="the values of x of series 'b' reach"):
        Series("small", two_series(x=frame["y"]), past=("x",))
    factor = int(str(caught.value).rpartition("1e")[2])
    enlarged = frame["y"].where(frame["unique_id"] == "a", frame["y"] * 10.0 ** (factor - 9) * 1e9)
    assert 0.99 <= Series("large", two_series(y=enlarged)).values_of(1)[0] < 10.1
    Series("none", two_series(y=[1.0, 2.0, 3.0, 0.0, 0.0]))


def test_series_wants_timestamps_with_a_frequency():
    with pytest.raises(DataError, match="is int64, but frequency 'h' needs datetime64"):
        Series("bad", two_series(), frequency="h")


@pytest.mark.parametrize("season", [(0,), (1,), (-3,), (7, 7), (845, 169)])
def test_series_refuses_impossible_seasons(season):
    with pytest.raises(DataError, match="must be ascending whole numbers above 1"):
        Series("bad", two_series(), season=season)


def test_fingerprint_ignores_descriptions():
    assert Series("a", two_series()).fingerprint() == Series("b", two_series(), unit="m", season=(2,)).fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"y": [1.0, 2.0, 3.0, 10.0, np.nextafter(20.0, 21.0)]},
        {"ds": np.array([0, 1, 2, 6, 7])},
        {"unique_id": ["a", "a", "a", "c", "c"]},
        {"unique_id": ["a", "a", "b", "b", "b"]},
    ],
)
def test_fingerprint_changes_with_ids_times_and_values(changes):
    assert Series("x", two_series(**changes)).fingerprint() != Series("x", two_series()).fingerprint()


def test_fingerprint_is_the_same_for_ever():
    expected = "980b25650f18435ace3176cb737ab68add21a755aad6b7b33833ccac2e443030"
    assert Series("x", two_series()).fingerprint() == expected


def test_describe_is_what_a_run_remembers():
    described = hourly(unit="m", season=(24, 168)).describe()
    assert described.pop("fingerprint") == hourly().fingerprint()
    assert described == {
        "name": "hours",
        "series": 1,
        "points": 3,
        "lengths": [3],
        "frequency": "h",
        "step": None,
        "named": True,
        "season": [24, 168],
        "unit": "m",
    }


def test_future_steps_go_on_with_the_step_of_the_series():
    frame = step_frame(np.ones(3), "a").assign(ds=np.array([10, 15, 20]))
    assert Series("fives", frame).future_times(0, 3).tolist() == [25, 30, 35]


def test_future_times_cross_midnight():
    following = hourly().future_times(0, 3)
    assert following.dtype == np.dtype("datetime64[ns]")
    assert pd.DatetimeIndex(following).tolist() == list(pd.date_range("2024-03-01 23:00", periods=3, freq="h"))


def test_future_times_of_a_monthly_series_keep_the_month_ends():
    times = pd.date_range("2023-11-30", periods=3, freq="ME").as_unit("ns")
    series = Series("m", pd.DataFrame({"unique_id": "m", "ds": times, "y": [1.0, 2.0, 3.0]}), frequency="ME")
    assert pd.DatetimeIndex(series.future_times(0, 2)).strftime("%Y-%m-%d").tolist() == ["2024-02-29", "2024-03-31"]


def test_future_times_need_at_least_one_step():
    with pytest.raises(DataError, match="steps is 0; ask for at least 1"):
        hourly().future_times(0, 0)


@given(opening=st.integers(0, 20), length=st.integers(0, 3), steps=st.integers(1, 60))
def test_session_times_stay_in_hours_on_working_days(opening, length, steps):
    first, last = f"{opening:02d}:00", f"{opening + length:02d}:00"
    series = hourly(start=f"2024-03-01 {first}", count=1, session=Session(first, last))
    times = pd.DatetimeIndex(series.future_times(0, steps))
    assert len(times) == steps
    assert times.is_monotonic_increasing
    assert times.is_unique
    assert set(times.day_of_week) <= {0, 1, 2, 3, 4}
    assert set(times.hour) <= set(range(opening, opening + length + 1))


@pytest.mark.parametrize("text", ["7", "25:00", "07:60", "morning"])
def test_session_refuses_a_malformed_time(text):
    with pytest.raises(DataError, match=f"time of day '{text}' is not between '00:00' and '23:59'"):
        Session(text, "21:00")


def test_session_refuses_to_end_before_it_starts():
    with pytest.raises(DataError, match="session ends at '07:00' before it starts at '21:00'"):
        Session("21:00", "07:00")


def test_future_times_of_all_series_are_those_of_each():
    steps = Series("two", two_series())
    assert steps.all_future_times(2).tolist() == [[3, 4], [7, 8]]
    frames = [hourly(count=count).frame.assign(unique_id=name) for name, count in (("a", 3), ("b", 3), ("c", 2))]
    hours = Series("three", pd.concat(frames, ignore_index=True), frequency="h")
    expected = [hours.future_times(index, 3).tolist() for index in range(3)]
    assert hours.all_future_times(3).tolist() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"past": ("z",)}, "covariate 'z' of 'bad' must be a float64 column of the frame"),
        ({"future": ("x",)}, "x = inf in row 2 of 'bad' is not finite"),
        ({"missing": "skip"}, "missing='skip' is unknown; choose one of refuse, mask, interpolate, zero"),
        ({"observed": np.ones(4, dtype=bool)}, "observed of 'bad' must be 5 truth values, one for every row"),
    ],
)
def test_series_refuses_covariates_that_break_the_rules(options, message):
    with pytest.raises(DataError, match=message):
        Series("bad", two_series(x=[0.0, 1, np.inf, 2, 3]), **options)
