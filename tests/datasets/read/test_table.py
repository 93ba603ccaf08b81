"""Covariates, missing values and gaps: what a table becomes."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, future_frame, series_from_frame

NAN = np.nan


def table(y, *, start="2024-01-01", skip=(), name="a", freq="h", **columns):
    """Regular rows, without those at the positions ``skip``."""
    times = pd.date_range(start, periods=len(y), freq=freq)
    frame = pd.DataFrame({"unique_id": name, "ds": times, "y": np.array(y, dtype=float), **columns})
    return frame.drop(index=list(skip))


def hours(series):
    return ((series.times - series.times[0]) / np.timedelta64(1, "h")).astype(int).tolist()


def test_mask_repeats_the_last_value_and_remembers_what_was_observed():
    series = series_from_frame(table([NAN, 1, 2, NAN, 7, 9, 5, NAN], skip=[4]), missing="mask")
    assert series.values.tolist() == [1, 2, 2, 2, 9, 5]  # missing ones at the ends are no part of the series
    assert series.observed.tolist() == [True, True, False, False, True, True]
    assert hours(series) == [0, 1, 2, 3, 4, 5]
    assert series.times[0] == np.datetime64("2024-01-01T01")


def test_interpolation_draws_a_line_within_each_series():
    frame = pd.concat([table([0, NAN, NAN, 6, 5]), table([10, 20, NAN, 40], name="b")])
    series = series_from_frame(frame, missing="interpolate")
    assert series.values.tolist() == [0, 2, 4, 6, 5, 10, 20, 30, 40]
    assert series.observed.tolist() == [True, False, False, True, True, True, True, False, True]


def test_zero_fills_with_values_like_any_other():
    series = series_from_frame(table([NAN, 3, 4, 7, 5, NAN], skip=[3]), missing="zero")
    assert series.values.tolist() == [0, 3, 4, 0, 5]
    assert series.observed is None


@pytest.mark.parametrize("missing", ["mask", "interpolate"])
def test_nothing_is_marked_where_nothing_is_missing(missing):
    series = series_from_frame(table([1, 2, 3]), missing=missing)
    assert (series.observed, series.missing) == (None, missing)


def test_gaps_are_filled_at_the_times_of_each_series():
    frame = pd.concat([table(range(6), skip=[2, 3]), table(range(5), start="2024-03-01 00:30", name="b", skip=[1])])
    series = series_from_frame(frame, missing="mask")
    assert series.frequency == "h"
    assert (series.lengths.tolist(), series.times_of(1)[1]) == ([6, 5], np.datetime64("2024-03-01T01:30"))
    assert series.values_of(0).tolist() == [0, 1, 1, 1, 4, 5]


def test_gaps_in_steps_and_in_months_are_filled():
    steps = pd.DataFrame({"ds": [10, 15, 25, 30, 35], "y": [1.0, 2, 4, 5, 6]})
    assert series_from_frame(steps, missing="mask").times.tolist() == [10, 15, 20, 25, 30, 35]
    months = series_from_frame(table(range(30), freq="ME", skip=[20, 22]), missing="mask")
    assert months.frequency == "ME"
    assert months.times.tolist() == pd.date_range("2024-01-31", periods=30, freq="ME").as_unit("ns").to_numpy().tolist()


def test_of_two_steps_the_one_that_misses_fewest_is_taken():
    days = table(range(40), freq="B", skip=[25])
    assert series_from_frame(days, missing="mask").frequency == "B"


@pytest.mark.parametrize("freq", ["30min", "h"])
def test_the_step_can_be_given(freq):
    series = series_from_frame(table(range(5)), missing="mask", frequency=freq)
    assert series.frequency == freq
    assert len(series.values) == {"h": 5, "30min": 9}[freq]


@pytest.mark.parametrize(
    ("freq", "options", "message"),
    [
        ("2h", {}, r"row 2 of time column 'ds' .*which is no step of freq='2h'"),
        (
            "30min",
            {},
            r"no step of freq='30min' \(their step is 'h'\); resample the data, or say how to fill gaps with missing",
        ),
        ("sometimes", {}, "freq='sometimes' is no frequency that pandas knows"),
        (1, {}, "freq=1 was given, but time column 'ds' holds dates"),
        ("ms", {"missing": "mask"}, "has 5 times and 14,399,996 are missing between them"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(freq, options, message):
    with pytest.raises(DataError, match=message):
        series_from_frame(table(range(5)), frequency=freq, **options)


def test_gaps_are_refused_with_the_option_that_helps():
    with pytest.raises(DataError, match=r"irregular: row 4 .* or say how to fill gaps with missing='mask', 'interpo"):
        series_from_frame(table(range(6), skip=[3]))
    with pytest.raises(
        DataError, match=r"row 3 of column 'y' is missing or NaN; fill it first, or say how .* missing="
    ):
        series_from_frame(table([1, 2, NAN, 4]))


@pytest.mark.parametrize("missing", ["refuse", "mask", "interpolate", "zero"])
def test_repeated_times_are_refused_in_every_case(missing):
    frame = pd.concat([table([1, 2, 3]), table([3, 4], start="2024-01-01 02:00")])
    with pytest.raises(DataError, match=r"row 4 of time column 'ds' .* repeats the time of row 3"):
        series_from_frame(frame, missing=missing)


def test_rows_without_a_value_at_the_end_are_the_future():
    frame = pd.concat(
        [
            table([1, 2, 3, 4, NAN, NAN], holiday=[0, 1, 0, 1, 0, 1], price=[5, 6, 7, 8, NAN, NAN]),
            table([1, 2, 3, NAN], name="b", holiday=[1.0, 1, 1, 0], price=9.0),
        ]
    )
    series = series_from_frame(frame, past_cols=["price"], future_cols=["holiday"])
    assert (series.past, series.future) == (("price",), ("holiday",))
    assert series.lengths.tolist() == [4, 3]
    assert series.covariates(["price", "holiday"])[:4].tolist() == [[5, 0], [6, 1], [7, 0], [8, 1]]
    assert list(series.futr_exog.columns) == ["unique_id", "ds", "holiday"]
    assert series.futr_exog[["unique_id", "holiday"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0]]


def test_what_comes_after_a_given_time_is_the_future_whatever_its_value():
    frame = table([1, NAN, 3, NAN, 5, 6], holiday=range(6))
    until = {"a": np.datetime64("2024-01-01T03")}
    series = series_from_frame(frame, future_cols=["holiday"], missing="interpolate", until=until)
    assert series.values.tolist() == [1, 2, 3, 3]  # nothing of the 5 after the moment
    assert series.futr_exog["holiday"].tolist() == [4, 5]


def test_covariates_of_filled_rows_repeat_their_last_value():
    frame = table(range(6), skip=[2], price=[1, NAN, 3, 4, NAN, 6])
    series = series_from_frame(frame, past_cols=["price"], missing="mask")
    assert series.covariates(["price"])[:, 0].tolist() == [1, 1, 1, 4, 4, 6]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"past_cols": ["price"]}, "'the data frame' has no past column 'price'; its columns are"),
        ({}, {"future_cols": ["price"]}, "'the data frame' has no future column 'price'"),
        ({"price": "high"}, {"past_cols": ["price"]}, "row 1 of column 'price' is 'high', not a number"),
        ({"price": True}, {"past_cols": ["price"]}, "covariate 'price' holds bool values, not numbers; leave it out"),
        (
            {"price": [1, 2, NAN, 4]},
            {"past_cols": ["price"]},
            "row 3 of column 'price' is missing or NaN; fill it first",
        ),
        ({"price": [1, 2, 3, np.inf]}, {"past_cols": ["price"]}, "row 4 of column 'price' is inf"),
        (
            {"price": [NAN, 2, 3, 4]},
            {"past_cols": ["price"], "missing": "mask"},
            "'price' has no value at 2024-01-01 00",
        ),
        ({}, {"past_cols": ["y"], "target_col": "y"}, "covariate 'y' is the time, target or id column already"),
        ({"z": 1.0}, {"past_cols": ["y"], "target_col": "z"}, "a covariate cannot be called 'y' here; rename"),
        ({"z": 1.0}, {"past_cols": ["z"], "future_cols": ["z"]}, "covariate 'z' is named twice; name it once"),
        ({}, {"missing": "drop"}, "missing='drop' is unknown; choose one of refuse, mask, interpolate, zero"),
    ],
)
def test_covariates_that_cannot_be_used_are_refused(columns, options, message):
    with pytest.raises(DataError, match=message):
        series_from_frame(table([1, 2, 3, 4], **columns), **options)


def test_a_column_that_comes_twice_is_refused():
    frame = table([1, 2, 3]).assign(z=1.0).rename(columns={"z": "y"})
    with pytest.raises(DataError, match="has more than one column 'y'"):
        series_from_frame(frame)


def test_a_series_without_any_value_is_named():
    frame = pd.concat([table([1, 2, 3]), table([NAN, NAN, NAN], name="b")])
    with pytest.warns(DataNotice, match="left out 1 of 2 series, of fewer than 3 values: 'b'"):
        assert len(series_from_frame(frame, missing="mask").ids) == 1
    with pytest.raises(DataError, match="has 0 points; every series needs at least 3"):
        series_from_frame(table([NAN, NAN, NAN]), missing="mask")


def with_holiday():
    return series_from_frame(table([1, 2, 3, 4], holiday=0.0), future_cols=["holiday"])


def future(times, values=1.0):
    return pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(list(times)), "holiday": values})


def read_future(frame):
    series = with_holiday()
    return series.with_futr_exog(future_frame(frame, series, label="later.csv", time_col="ds", id_col="unique_id"))


def test_future_rows_can_come_in_a_table_of_their_own():
    frame = future(["2024-01-01 05:00", "2024-01-01 04:00"], [2.0, 1.0])
    assert read_future(frame).futr_exog["holiday"].tolist() == [1.0, 2.0]
    assert read_future(frame.drop(columns="unique_id")).futr_exog["unique_id"].tolist() == ["a", "a"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            future(["2024-01-01 05:00"]),
            "future row 1 of series 'a' has the time 2024-01-01 05:00:00, but 2024-01-01 04:00",
        ),
        (
            future(["2024-01-01 04:00"] * 2),
            "future row 2 of series 'a' has the time 2024-01-01 04:00:00, but .* 05:00:00",
        ),
        (future(["2024-01-01 04:00"], NAN), "future value of 'holiday' of series 'a' at 2024-01-01 04:00:00 is nan"),
        (future(["2024-01-01 04:00"]).drop(columns="holiday"), "'later.csv' has no future column 'holiday'"),
        (future(["2024-01-01 04:00"]).drop(columns="ds"), "'later.csv' has no time column 'ds'"),
        (future(["2024-01-01 04:00"], "no"), "row 1 of column 'holiday' is 'no', not a number"),
    ],
)
def test_future_rows_that_do_not_follow_are_refused(frame, message):
    with pytest.raises(DataError, match=message):
        read_future(frame)


def test_fingerprint_knows_covariates_and_gaps_but_not_the_future():
    plain = with_holiday()
    other = series_from_frame(table([1, 2, 3, 4], holiday=[0, 0, 1.0, 0]), future_cols=["holiday"])
    assert other.fingerprint() != plain.fingerprint()
    assert read_future(future(["2024-01-01 04:00"])).fingerprint() == plain.fingerprint()
    prints = {series_from_frame(table([1, y, 1, 1]), missing="mask").fingerprint() for y in (1, NAN)}
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("frame", "options"),
    [
        ({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}, {}),
        ({"ds": pd.date_range("2024", periods=3), "y": [1.0, np.nan, 3]}, {}),
        ({"ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-09"]), "y": [1.0, 2, 3]}, {}),
        ({"ds": pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-02"]), "y": [1.0, 2, 3]}, {}),
        ({"y": ["a", "b", "c"]}, {}),
        ({"y": [1.0, 2, 3], "x": [1.0, 2, 3]}, {"past_cols": ["x"], "future_cols": ["x"]}),
        ({"y": [1.0, 2, 3], "u": [[1], [2], [3]]}, {"id_col": "u"}),
    ],
)
def test_messages_to_python_name_arguments_and_no_options_of_the_command_line(frame, options) -> None:
    with pytest.raises(DataError) as caught:
        series_from_frame(pd.DataFrame(frame), **options)
    assert "--" not in str(caught.value)
