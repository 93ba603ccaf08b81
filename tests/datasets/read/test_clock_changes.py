"""Local times of Europe/Rome around the clock changes: the missing hour and the repeated one."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, read_series, series_from_frame

SPRING, AUTUMN = "2024-03-30 22:00", "2024-10-26 22:00"


def written(tmp_path, start, style):
    """Thirty hours from 22:00 UTC on, in one of the ways that a file may hold them, and the true moments."""
    utc = pd.date_range(start, periods=30, freq="h", tz="UTC")
    rome = utc.tz_convert("Europe/Rome")
    local = rome.tz_localize(None)
    texts = {"utc": utc.strftime("%Y-%m-%dT%H:%M:%SZ"), "offsets": rome.map(pd.Timestamp.isoformat), "naive": local}
    path = tmp_path / ("x.parquet" if style == "zoned" else "x.csv")
    frame = pd.DataFrame({"ds": rome if style == "zoned" else texts[style], "y": np.arange(30.0)})
    frame.to_parquet(path) if style == "zoned" else frame.to_csv(path, index=False)
    return path, utc


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
@pytest.mark.parametrize("style", ["utc", "zoned"])
def test_hours_that_know_their_zone_become_regular_utc(tmp_path, start, style):
    path, utc = written(tmp_path, start, style)
    series = read_series(path)
    assert series.frequency == "h"
    assert (series.times == utc.tz_localize(None).to_numpy()).all()


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_hours_whose_offset_changes_become_utc(tmp_path, start):
    path, utc = written(tmp_path, start, "offsets")
    with pytest.warns(DataNotice, match="more than one offset from UTC; its times are kept, and come back, as UTC"):
        series = read_series(path)
    assert (series.frequency, str(series.form.clock.zone)) == ("h", "UTC")
    assert (series.times == utc.tz_localize(None).to_numpy()).all()


def test_the_missing_hour_of_local_times_is_a_gap(tmp_path):
    path, _ = written(tmp_path, SPRING, "naive")
    with pytest.raises(DataError, match=r"irregular: row 4 .*2024-03-31 03:00:00 after 2024-03-31 01:00:00"):
        read_series(path)
    filled = read_series(path, missing="mask")
    assert list(np.flatnonzero(~filled.observed)) == [3]
    assert pd.Timestamp(filled.times[3]) == pd.Timestamp("2024-03-31 02:00")


def test_a_few_hours_over_a_clock_change_stay_apart():
    times = pd.date_range("2024-10-26 20:00", periods=12, freq="h", tz="UTC").tz_convert("Europe/Rome")
    series = series_from_frame(pd.DataFrame({"ds": times, "y": np.arange(12.0)}))
    assert series.frequency == "h"
    assert series.give_back(series.frame)["ds"].tolist() == times.tolist()


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
@pytest.mark.parametrize("style", ["naive", "newest first", "panel"])
def test_a_zone_that_is_said_makes_local_times_regular_and_they_come_back_as_they_were(tmp_path, start, style):
    path, utc = written(tmp_path, start, "naive")
    frame = pd.read_csv(path)
    if style == "newest first":
        frame = frame.iloc[::-1]
    if style == "panel":  # rows of two series take turns
        frame = pd.concat([frame.assign(unique_id=name) for name in "ab"]).sort_index(kind="stable")
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match="if clocks change there, say the zone with time_zone='Europe/Rome' or"):
        read_series(path)
    series = read_series(path, time_zone="Europe/Rome")
    assert series.frequency == "h"
    for index in range(len(series.ids)):
        assert (series.times_of(index) == utc.tz_localize(None).to_numpy()).all()
        assert series.values_of(index).tolist() == list(range(30))
    local = utc.tz_convert("Europe/Rome").tz_localize(None)
    back = series.give_back(series.frame[["unique_id", "ds"]])
    assert back["ds"].tolist() == local.tolist() * len(series.ids)
    ahead = series.frame.assign(ds=series.all_future_times(30).ravel())
    wall = (utc + pd.Timedelta(hours=30)).tz_convert("Europe/Rome").tz_localize(None)
    assert series.give_back(ahead)["ds"].tolist() == wall.tolist() * len(series.ids)


@pytest.mark.parametrize(
    ("times", "zone", "sentence"),
    [
        (pd.date_range("2024-01-01", periods=5, freq="h"), "Rome", "time_zone='Rome' is no time zone; give a name"),
        (pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC"), "UTC", "holds times with a zone; leave it out"),
        (["2024-01-01T00:00Z", "2024-01-01T01:00Z", "2024-01-01T02:00Z"], "UTC", "holds times with a zone; leave it"),
        (range(5), "UTC", "time_zone='UTC' was given, but time column 'ds' holds whole numbers; leave it out"),
        (pd.date_range("2024-03-31", periods=5, freq="h"), "Europe/Rome",
         r"row 3 of time column 'ds' is '2024-03-31 02:00:00', a time that the clocks of Europe/Rome skip; correct it"),
    ],
)  # fmt: skip
def test_a_zone_that_cannot_be_is_refused(times, zone, sentence):
    with pytest.raises(DataError, match=sentence):
        series_from_frame(pd.DataFrame({"ds": times, "y": np.arange(float(len(times)))}), time_zone=zone)


def test_the_repeated_hour_of_local_times_is_refused_whatever_is_said_of_gaps(tmp_path):
    path, _ = written(tmp_path, AUTUMN, "naive")
    for missing in ("refuse", "mask"):
        with pytest.raises(DataError, match=r"row 4 .*2024-10-27 02:00:00 and repeats the time of row 3"):
            read_series(path, missing=missing)
