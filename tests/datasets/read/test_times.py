"""Times as forecasters have them: columns of other names, any order, other calendars and clocks, dates in disguise."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, series_from_frame
from qkan.datasets.windows import season_phases

DAYS = pd.date_range("2024-01-01", periods=20, freq="D")


def table(times, name="ds", **columns):
    return pd.DataFrame({name: times, "y": np.arange(float(len(times))), **columns})


def told(frame, **options):
    """The series of a table, and what was decided about it."""
    with pytest.warns(DataNotice) as said:
        series = series_from_frame(frame, **options)
    return series, [str(one.message) for one in said]


def coming(series, steps=2):
    """The times that follow the first series, in the user's form."""
    frame = pd.DataFrame({"unique_id": series.ids[0], "ds": series.future_times(0, steps)})
    return series.give_back(frame)["ds"]


# --- which column -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Date", "timestamp", "DATETIME", "Stichtag", 7])
@pytest.mark.parametrize("form", [None, "%Y-%m-%d", "%d/%m/%Y", "%d.%m.%y"])
def test_a_column_of_times_that_is_not_called_ds_is_found(name, form):
    written, options = DAYS if form is None else DAYS.strftime(form), {}
    if form in ("%d/%m/%Y", "%d.%m.%y"):
        with (
            pytest.raises(DataError, match="say how it is written with time_format='%d/%m/%Y'"),
            pytest.warns(DataNotice),
        ):
            series_from_frame(table(written, name))
        options = {"time_format": form}
    series, (said,) = told(table(written, name), **options)
    assert (series.frequency, series.times[0]) == ("D", np.datetime64("2024-01-01"))
    assert said.startswith(f"column {name!r} of 'the data frame' is taken for the times; name another one, or take")


@pytest.mark.parametrize("index", [DAYS, DAYS.rename("when"), DAYS.to_period("D")])
def test_an_index_of_times_is_found(index):
    series, (said,) = told(pd.DataFrame({"y": np.arange(20.0)}, index=index))
    assert series.frequency == "D"
    assert said.startswith("column 'when' of" if index.name else "the index of 'the data frame' is taken for the times")


@pytest.mark.parametrize(
    "index",
    [
        DAYS.strftime("%Y-%m-%d"),
        DAYS.date,
        DAYS.strftime("%Y%m%d").astype(int),
        pd.MultiIndex.from_arrays([["a"] * 20, DAYS]),
    ],
)
def test_an_index_without_a_name_that_reads_as_times_is_not_dropped(index):
    series, said = told(pd.DataFrame({"y": np.arange(20.0)}, index=index)[::-1])
    assert (series.frequency, series.times[0], series.values[0]) == ("D", np.datetime64("2024-01-01"), 0)
    assert "is taken for the times" in said[0]


@pytest.mark.parametrize("written", ["%b %Y", "%d %B %Y", "%b-%y", "%B %d, %Y", "%Y-%b"])
def test_dates_with_names_of_months_are_no_row_order(written):
    months = pd.date_range("2020-01-01", periods=20, freq="MS")
    with pytest.warns(DataNotice), pytest.raises(DataError, match="say how it is written with time_format="):
        series_from_frame(table(months.strftime(written), "when"))
    series, _ = told(table(months.strftime(written), "when"), time_format=written)
    assert (series.frequency, series.times[0]) == ("MS", np.datetime64("2020-01-01"))


def test_whole_numbers_that_are_dates_are_times_whatever_their_column_is_called():
    series, said = told(table(DAYS.strftime("%Y%m%d").astype(int), "Stichtag")[::-1])
    assert (series.times[0], series.values[0], len(said)) == (np.datetime64("2024-01-01"), 0, 3)


def test_whole_numbers_are_times_under_the_name_of_times_only():
    assert told(table(range(2001, 2021), "Year"))[0].times[0] == 2001
    assert series_from_frame(table(range(2001, 2021), "shops")).times[0] == 0


def test_two_columns_of_times_are_refused():
    frame = table(DAYS, "sold", paid=DAYS)
    with pytest.raises(
        DataError, match="several columns that may hold the times, 'sold', 'paid'; choose one with time_"
    ):
        series_from_frame(frame)
    assert series_from_frame(frame, time_col="paid").frequency == "D"
    assert series_from_frame(frame, time_col="rows").frequency is None


def test_what_stands_in_the_index_and_in_a_column_is_refused():
    with pytest.raises(DataError, match="'ds' is a column of 'the data frame' and its index too; rename or drop one"):
        series_from_frame(table(DAYS).set_index("ds", drop=False))


# --- in which order ---------------------------------------------------------------------------------------------------


def test_the_newest_first_is_sorted_within_each_series_and_said():
    frame = pd.concat([table(DAYS, unique_id="a"), table(DAYS[:9], unique_id="b")])
    series, (said,) = told(frame.iloc[::-1])
    assert series.frame.equals(series_from_frame(frame).frame)
    assert said == "the rows are not in the order of time column 'ds'; they were sorted by it"


def test_duplicates_stay_errors_in_any_order():
    with (
        pytest.raises(DataError, match=r"row 5 of time .* 2024-01-03 00:00:00 and repeats the time of row 3"),
        pytest.warns(),
    ):
        series_from_frame(table(DAYS[[0, 1, 2, 4, 2, 3]]))


# --- calendars --------------------------------------------------------------------------------------------------------


def months(start, count, step=1):
    return pd.DatetimeIndex([pd.Timestamp(start) + pd.DateOffset(months=step * place) for place in range(count)])


def days_of_month(*days):
    months = pd.period_range("2023-01", periods=8, freq="M")
    return pd.DatetimeIndex(
        [month.start_time.replace(day=min(day, month.days_in_month)) for month in months for day in days]
    )


@pytest.mark.parametrize(
    ("times", "alias"),
    [
        (months("2024-01-15", 14), "1mo"),
        (months("2023-12-28 06:00", 14), "1mo"),
        (months("2024-01-30", 14), "1mo"),
        (months("2024-01-29", 14, 3), "3mo"),
        (months("2020-02-29", 7, 12), "YE-FEB"),
        (pd.date_range("2020-02-29", periods=7, freq=pd.DateOffset(years=1)), "12mo"),  # the 28th from 2021 on
        (pd.date_range("2024-01-30", periods=9, freq=pd.DateOffset(months=1)), "1mo"),  # the 29th from February on
        (pd.date_range("2024-01-01", periods=14, freq="SMS"), "SMS-15"),
        (pd.date_range("2024-01-10", periods=14, freq="SME-10"), "SME-10"),
        (days_of_month(5, 20), "5,20/mo"),
        (days_of_month(15, 30), "15,30/mo"),  # the last of February
        (days_of_month(1, 11, 21), "1,11,21/mo"),
        (pd.date_range("2024-01-01", periods=14, freq="BME"), "BME"),
        (pd.date_range("2024-01-01", periods=14, freq="BQE"), "BQE-DEC"),
        (pd.date_range("2024-01-01", periods=14, freq="QE"), "QE-DEC"),
        (pd.date_range("2024-01-01", periods=14, freq="LWOM-FRI"), "LWOM-FRI"),
        (pd.date_range("2024-01-01", periods=14, freq="28D"), "28D"),
        (pd.bdate_range("2024-01-01", periods=30, freq="C", weekmask="1111110"), "Mon,Tue,Wed,Thu,Fri,Sat/w"),
        (pd.bdate_range("2024-01-01 06:30", periods=14, freq="C", weekmask="1001000"), "Mon,Thu/w"),
    ],
)
def test_calendars_of_billing_are_regular_and_go_on(times, alias):
    series = series_from_frame(table(times[:-2]))
    assert series.frequency == alias
    assert coming(series).tolist() == times[-2:].tolist()
    assert series_from_frame(table(times[:-2]), frequency=alias).frequency == alias
    season = {"3mo": (4,), "QE-DEC": (4,), "BQE-DEC": (4,), "Mon,Tue,Wed,Thu,Fri,Sat/w": (6,), "Mon,Thu/w": (2,)}
    assert series.season == season.get(alias, ())  # of fewer than two years
    turns = season_phases(series, series.times, (2,))[:, 0] > 1
    assert (turns[1:] != turns[:-1]).all()  # steps are counted one by one


def test_gaps_of_listed_days_are_filled_and_few_days_are_no_list():
    saturdays = pd.bdate_range("2024-01-01", periods=60, freq="C", weekmask="1111110")
    filled = series_from_frame(table(saturdays.delete([10, 33])), missing="mask")
    assert (filled.frequency, len(filled.values)) == ("Mon,Tue,Wed,Thu,Fri,Sat/w", 60)
    assert np.flatnonzero(~filled.observed).tolist() == [10, 33]
    bills = days_of_month(5, 20)
    filled = series_from_frame(table(bills.delete(4)), missing="interpolate")
    assert (filled.times == bills.to_numpy()).all()
    with pytest.raises(DataError, match="the times are irregular"):
        series_from_frame(table(pd.DatetimeIndex(["2024-01-01", "2024-01-03", "2024-01-06", "2024-01-08"])))
    with pytest.raises(DataError, match=r"freq='5,20/mo' .*|which is no step of freq='5,20/mo'"):
        series_from_frame(table(DAYS), frequency="5,20/mo")


def test_every_series_keeps_its_own_day_of_the_month():
    times = {"a": months("2024-01-15", 9), "b": months("2024-01-31", 9), "c": months("2024-02-28", 9)}
    frame = pd.concat([table(own, unique_id=name) for name, own in times.items()])
    series = series_from_frame(frame)
    following = pd.DatetimeIndex(series.all_future_times(1)[:, 0]).strftime("%m-%d").tolist()
    assert (series.frequency, following) == ("1mo", ["10-15", "10-31", "11-28"])


def test_a_missing_bill_is_filled_on_its_day():
    times = months("2024-01-30", 30)
    with pytest.raises(DataError, match="row 14 of time column 'ds' is 2025-03-30 00:00:00 after 2025-01-30"):
        series_from_frame(table(times.delete(13)))
    series = series_from_frame(table(times.delete(13)), missing="mask")
    assert series.times.tolist() == times.as_unit("ns").to_numpy().tolist()
    assert (np.flatnonzero(~series.observed).tolist(), series.season) == ([13], (12,))


@pytest.mark.parametrize(
    "step", ["1mo", pd.DateOffset(months=1), "MS", "M", "ME", pd.offsets.MonthBegin(), pd.DateOffset(years=1)]
)
def test_a_step_can_be_given_as_an_alias_or_an_offset(step):
    name, freq = ("2024-01-31", "ME") if step in ("M", "ME") else ("2024-01-01", "MS")
    times = months(name, 9, 12) if step == pd.DateOffset(years=1) else pd.date_range(name, periods=9, freq=freq)
    series = series_from_frame(table(times[:-1]), frequency=step)
    assert coming(series, 1).tolist() == times[-1:].tolist()


@pytest.mark.parametrize("step", ["sometimes", pd.DateOffset(months=1, days=2), "-1h", 3.5, dt.timedelta(0)])
def test_what_is_no_step_is_one_sentence(step):
    with pytest.raises(DataError, match=r"freq=.* is no frequency that pandas knows, such as 'h', '5min' or '1mo'"):
        series_from_frame(table(DAYS), frequency=step)


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Europe/Rome", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe"])
@pytest.mark.parametrize("freq", ["D", "MS", "6h", "h"])
def test_local_times_are_regular_across_clock_changes(zone, freq):
    count = {"D": 400, "MS": 14}.get(freq, 2000)
    if freq == "h":
        times = pd.date_range("2023-12-31 12:00", periods=count, freq="h", tz="UTC").tz_convert(zone)
    else:  # where midnight is skipped, the day begins at one
        clock = pd.date_range("2023-12-01", periods=count, freq=freq)
        times = clock.tz_localize(zone, ambiguous=np.ones(count, bool), nonexistent="shift_forward")
    series = series_from_frame(table(times[:-2]))
    assert series.frequency == freq
    found = coming(series)
    assert found.tolist() == times[-2:].tolist()
    assert found.dtype == times.dtype


def test_days_in_utc_are_regular_whatever_zone_they_are_written_in():
    times = pd.date_range("2024-03-01", periods=60, freq="D", tz="UTC").tz_convert("Europe/Rome")
    assert coming(series_from_frame(table(times[:-2]))).tolist() == times[-2:].tolist()


def test_days_whose_offset_changes_in_text_keep_the_times_on_the_wall():
    rome = pd.date_range("2024-03-20", periods=30, freq="D", tz="Europe/Rome")
    series, (said,) = told(table(rome.map(pd.Timestamp.isoformat)))
    assert "more than one offset from UTC; its times are kept, and come back, as the times on the walls" in said
    assert (series.frequency, str(coming(series)[0])) == ("D", "2024-04-19 00:00:00")


def test_calendar_features_are_those_of_the_users_clock():
    hours = pd.date_range("2024-03-30 12:00", periods=30, freq="h", tz="Europe/Rome")
    series = series_from_frame(table(hours))
    assert pd.DatetimeIndex(series.wall_times(series.times)).hour.tolist() == hours.hour.tolist()


def test_a_message_shows_times_as_the_user_wrote_them():
    times = pd.date_range("2024-03-25", periods=20, freq="D", tz="Europe/Rome").delete(9)
    with pytest.raises(DataError, match=r"is 2024-04-04 00:00:00\+02:00 after 2024-04-02 00:00:00\+02:00"):
        series_from_frame(table(times))


# --- dates in disguise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "alias", "following"),
    [
        ([20240131, 20240229, 20240331, 20240430], "ME", [20240531, 20240630]),
        ([20240227, 20240228, 20240229, 20240301], "D", [20240302, 20240303]),
        ([202308, 202309, 202310, 202311], "MS", [202312, 202401]),
    ],
)
def test_whole_numbers_that_are_dates_are_read_as_dates(numbers, alias, following):
    series, (said,) = told(table(numbers), missing="mask")
    assert (series.frequency, len(series.values)) == (alias, 4)  # no hundreds of rows between them
    assert coming(series).tolist() == following
    assert f"such as {numbers[0]}, are read as dates" in said
    if alias != "ME":
        assert series_from_frame(table(numbers[:3]), time_format="steps").step == 1


def test_whole_numbers_that_are_no_dates_stay_steps():
    for numbers in ([20240130, 20240131, 20240132], [1000, 1001, 1002], [2021, 2022, 2023]):
        assert series_from_frame(table(numbers)).times.tolist() == numbers


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        DAYS,
        DAYS.as_unit("s"),
        DAYS.tz_localize("Asia/Tokyo"),
        DAYS.to_period("D"),
        pd.Series(DAYS.date),
        pd.Series(range(20), dtype="int32"),
        pd.Series(range(20), dtype="Int64"),
    ],
)
def test_times_come_back_in_their_type(times):
    times = pd.Series(times)
    found = coming(series_from_frame(table(times[:-2])))
    assert found.tolist() == times[-2:].tolist()
    assert found.dtype == times.dtype


@pytest.mark.parametrize(
    "ids",
    [[2, 10, 1], pd.array([2, 10, 1], "Int32"), ["b", "a", "c"], pd.Categorical(["y", "x", "z"]), [2.5, 10.0, 1.0]],
)
def test_ids_come_back_in_their_type_and_order(ids):
    ids = pd.Series(ids)
    frame = pd.concat([table(DAYS).assign(unique_id=ids.iloc[[place] * 20].to_numpy()) for place in range(3)])
    frame["unique_id"] = frame["unique_id"].astype(ids.dtype)
    series = series_from_frame(frame)
    back = series.give_back(pd.DataFrame({"unique_id": np.repeat(series.ids, 2), "ds": series.times[:6]}))
    assert back["unique_id"].tolist() == [one for one in ids for _ in range(2)]
    assert back["unique_id"].dtype == ids.dtype


def test_a_number_and_its_text_are_not_taken_for_one_series():
    frame = pd.concat([table(DAYS, unique_id=1), table(DAYS, unique_id="1")]).astype({"unique_id": object})
    with pytest.raises(DataError, match="id column 'unique_id' holds 1 as a number and as text"):
        series_from_frame(frame)


# --- what else tables hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "alias", "first"),
    [
        ([f"{2010 + i // 4}Q{i % 4 + 1}" for i in range(12)], "QS-JAN", "2010-01-01"),
        ([f"Q{i % 4 + 1} {2010 + i // 4}" for i in range(12)], "QS-JAN", "2010-01-01"),
        ([f"{2010 + i // 4}-q{i % 4 + 1}" for i in range(12)], "QS-JAN", "2010-01-01"),
        ([f"2024-W{i:02d}" for i in range(1, 13)], "7D", "2024-01-01"),
        ([f"2026W{i:02d}" for i in range(1, 13)], "7D", "2025-12-29"),
    ],
)
def test_quarters_and_weeks_in_text_are_their_first_days(texts, alias, first):
    series = series_from_frame(table(texts))
    assert series.frequency in (alias, "QS-OCT")
    assert pd.Timestamp(series.times[0]) == pd.Timestamp(first)
    with pytest.raises(DataError, match=r"row 2 of time column 'ds' is '2024-W60', not an ISO 8601 time"):
        series_from_frame(table(["2024-W01", "2024-W60", "2024-W03"]))


def test_an_index_of_two_levels_without_names_tells_series_apart():
    frame = (
        table(DAYS).assign(unique_id=["b"] * 10 + ["a"] * 10).set_index(["unique_id", "ds"]).rename_axis([None, None])
    )
    with pytest.warns(DataNotice, match="the index of 'the data frame' is taken for the times"):
        series = series_from_frame(frame)
    assert series.ids == ("a", "b")
    assert series.lengths.tolist() == [10, 10]


@pytest.mark.parametrize("index", [True, False])
def test_durations_are_no_times(index):
    durations = pd.timedelta_range("0h", periods=20, freq="h")
    frame = pd.DataFrame({"y": np.arange(20.0)}, index=durations) if index else table(durations)
    with pytest.raises(DataError, match=r"holds durations, not times; add them to a first time, such as pd\.Timestamp"):
        series_from_frame(frame)
    moved = (
        frame.set_axis(pd.Timestamp("2024-01-01") + durations, axis=0)
        if index
        else table(pd.Timestamp("2024") + durations)
    )
    assert series_from_frame(moved).frequency == "h"


def test_complex_numbers_and_groups_of_thousands_are_refused():
    with pytest.raises(DataError, match="target column 'y' holds complex128 values, not numbers"):
        series_from_frame(table(DAYS).assign(y=1j))
    frame = table(DAYS).assign(y=[f"{1000 + i:,}" for i in range(20)])
    with pytest.raises(DataError, match=r"row 1 of column 'y' is '1,000', not a number; write it without commas"):
        series_from_frame(frame)
    assert series_from_frame(frame.assign(y=frame["y"].str.replace(",", ""))).values[0] == 1000


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("freq", ["h", "MS"])
def test_seconds_since_1970_are_times_and_come_back_as_such(unit, freq):
    times = pd.date_range("2024-01-01", periods=12, freq=freq)
    numbers = times.to_numpy().astype(f"datetime64[{unit}]").astype(np.int64)
    with pytest.warns(DataNotice, match=rf"such as {numbers[0]}, are read as dates of the format unix {unit}; keep"):
        series = series_from_frame(table(numbers))
    assert series.frequency == freq
    assert (series.times == times.as_unit("ns").to_numpy()).all()
    back = series.give_back(series.frame)["ds"]
    assert back.dtype == np.int64
    assert back.tolist() == numbers.tolist()
    assert series_from_frame(table(numbers), time_format=f"unix {unit}").frequency == freq
    if freq == "h":
        assert series_from_frame(table(numbers), time_format="steps").frequency is None
    assert series_from_frame(table(range(10**9, 10**9 + 20))).frequency is None
