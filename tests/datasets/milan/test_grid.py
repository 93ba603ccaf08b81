"""The options, the clock and the names of the Milan grid."""

import datetime as dt

import pandas as pd
import pytest

from qkan.datasets import DataError, names_file
from qkan.datasets.milan.grid import (
    MilanOptions,
    day_bounds,
    default_path,
    find_milan,
    local_day,
    names_milan,
    parse_days,
    parse_squares,
    read_facts,
    wall_clock,
)

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "squares"),
    [
        ("5161", (5161,)),
        ("7, 1,3-5", (1, 3, 4, 5, 7)),
        ("1,10000", (1, 10000)),
        ("9-9", (9,)),
    ],
)
def test_squares_are_numbers_and_ranges(text, squares):
    assert parse_squares(text) == squares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "squares '' has the part '', which is neither a number nor a range; write numbers",
        ),
        ("1,,2", "has the part '', which is neither"),
        ("a", "has the part 'a', which is neither"),
        ("-5", "has the part '-5', which is neither"),
        ("1-2-3", "has the part '1-2-3', which is neither"),
        ("1.5", "has the part '1.5', which is neither"),
        ("٣", "has the part '٣', which is neither"),
        ("0", "squares '0' has 0, outside 1 to 10000; name squares of the Milan grid"),
        ("5-10001", "has 10001, outside 1 to 10000"),
        ("1-999999999", "has 999999999, outside 1 to 10000"),
        ("60-50", "has the range 60-50, which runs backwards; swap its ends"),
        ("1,2-4,3", "names 3 twice; name every square once"),
    ],
)
def test_other_squares_are_refused(text, message):
    with pytest.raises(DataError) as error:
        parse_squares(text)
    assert message in str(error.value)


def test_days_are_days_and_ranges():
    days = parse_days("2013-11-29..2013-12-02, 2014-01-01,2013-11-01")
    assert [f"{day:%m%d}" for day in days] == ["1101", "1129", "1130", "1201", "1202", "0101"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "2013-10-31",
            "days '2013-10-31' has '2013-10-31', which is no day of 2013-11-01 to 2014-01-01",
        ),
        ("2014-01-02", "which is no day of"),
        ("2013-11-31", "has '2013-11-31', which is no day of"),
        ("20131101", "has '20131101', which is no day of"),
        ("2013-11-01..", "has '', which is no day of"),
        ("2013-11-01..2013-11-02..2013-11-03", "with more than two ends; write FIRST..LAST"),
        ("2013-11-03..2013-11-01", "which runs backwards; swap its ends"),
        ("2013-11-01,2013-11-01", "names 2013-11-01 twice"),
    ],
)
def test_other_days_are_refused(text, message):
    with pytest.raises(DataError) as error:
        parse_days(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": "sms"}, "unknown signal 'sms'; choose one of sms_in, sms_out, call_in, call_out, internet"),
        ({"freq": "5min"}, "unknown freq '5min'; choose one of 10min, 1h"),
        ({"fill": "mean"}, "unknown fill 'mean'; choose one of zero, missing"),
        ({"squares": ()}, "squares is empty; name at least one of 1 to 10000"),
        ({"squares": (0,)}, "squares 0 has 0, outside 1 to 10000"),
        ({"squares": (2, 1)}, "must ascend without repeats"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(DataError) as error:
        MilanOptions(**options)
    assert message in str(error.value)


def test_the_first_official_moment_starts_its_day():
    assert day_bounds(dt.date(2013, 11, 1)) == (1383260400000, 1383260400000 + 24 * HOUR)
    assert local_day(1383260400000) == dt.date(2013, 11, 1)
    assert local_day(1383260400000 - 1) == dt.date(2013, 10, 31)


@pytest.mark.parametrize(("day", "hours"), [("2013-03-31", 23), ("2013-10-27", 25), ("2013-10-28", 24)])
def test_days_of_a_clock_change_have_23_and_25_hours(day, hours):
    first, last = day_bounds(dt.date.fromisoformat(day))
    assert last - first == hours * HOUR
    assert local_day(first) == local_day(last - 1) == dt.date.fromisoformat(day)


def test_a_moment_outside_the_calendar_is_refused():
    with pytest.raises(DataError, match=r"time -1 is outside the years 1970 to 2261"):
        local_day(-1)


def test_the_wall_clock_is_ds_in_winter():
    ds = pd.date_range("2013-11-01", "2014-01-02", freq="10min")
    assert (wall_clock(ds).tz_localize(None) == ds).all()


def test_the_wall_clock_skips_an_hour_in_spring():
    ds = pd.DatetimeIndex(["2013-03-31 01:50", "2013-03-31 02:00", "2013-03-31 02:10"])
    shown = wall_clock(ds)
    assert [str(t) for t in shown] == [
        "2013-03-31 01:50:00+01:00",
        "2013-03-31 03:00:00+02:00",
        "2013-03-31 03:10:00+02:00",
    ]


def test_the_wall_clock_shows_an_hour_twice_in_autumn():
    ds = pd.date_range("2013-10-27 00:30", periods=5, freq="30min")  # standard time: regular
    assert [str(t) for t in wall_clock(ds)] == [
        "2013-10-27 01:30:00+02:00",
        "2013-10-27 02:00:00+02:00",
        "2013-10-27 02:30:00+02:00",
        "2013-10-27 02:00:00+01:00",
        "2013-10-27 02:30:00+01:00",
    ]


def test_the_wall_clock_wants_naive_times():
    with pytest.raises(DataError, match=r"ds has the zone UTC; give the naive times"):
        wall_clock(pd.date_range("2013-11-01", periods=2, tz="UTC"))


@pytest.mark.parametrize("name", ["milan", "milan-sms_in-10min", "milan-internet-1h"])
def test_milan_is_a_name_even_beside_a_folder_of_that_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert names_milan(name)
    assert not names_file(name)
    assert names_file(f"./{name}")


def test_without_an_import_both_commands_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("QKAN_DATA", str(tmp_path))
    with pytest.raises(DataError) as error:
        find_milan("milan-internet-1h")
    assert str(error.value).startswith(f"there is no 'milan-internet-1h' in {str(tmp_path)!r} yet; download")
    assert "`qkan data fetch milan --out milan`" in str(error.value)
    assert "`qkan data import milan milan --signal internet --freq 1h`" in str(error.value)
    with pytest.raises(DataError, match=r"then run `qkan data import milan milan` \("):
        find_milan("milan")


def test_milan_is_the_only_import_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("QKAN_DATA", str(tmp_path))
    default_path("call_out", "1h").touch()
    assert find_milan("milan") == tmp_path / "milan-call_out-1h.parquet"
    default_path("internet", "10min").touch()
    with pytest.raises(DataError, match=r"'milan' could mean 2 imports in .*; name one of milan-call_out-1h, m"):
        find_milan("milan")
    assert find_milan("milan-internet-10min") == tmp_path / "milan-internet-10min.parquet"


def test_an_unknown_signal_in_the_name_lists_the_known_ones():
    with pytest.raises(DataError, match=r"unknown signal 'calls'; choose one of sms_in,"):
        find_milan("milan-calls-1h")


def test_the_default_place_is_the_cache_of_the_user(monkeypatch):
    monkeypatch.delenv("QKAN_DATA", raising=False)
    path = default_path("sms_in", "1h")
    assert path.name == "milan-sms_in-1h.parquet"
    assert path.parent.name == "qkan"


def test_facts_of_another_file_are_refused(tmp_path):
    pd.DataFrame({"y": [1.0]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"was not written by `qkan data import milan`"):
        read_facts(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"cannot be read as Parquet"):
        read_facts(tmp_path / "broken.parquet")
