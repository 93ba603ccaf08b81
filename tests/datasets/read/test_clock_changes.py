"""Local times of Europe/Rome around the clock changes: the missing hour and the repeated one."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, read_series

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


def test_the_repeated_hour_of_local_times_is_refused_whatever_is_said_of_gaps(tmp_path):
    path, _ = written(tmp_path, AUTUMN, "naive")
    for missing in ("refuse", "mask"):
        with pytest.raises(DataError, match=r"row 4 .*2024-10-27 02:00:00 and repeats the time of row 3"):
            read_series(path, missing=missing)
