"""Advice in a message leads to something that works: each refusal, and what its sentence says to do."""

import re

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, read_series, series_from_frame
from qkan.datasets.read.frequency import ROW_ORDER

HOURS = pd.date_range("2024-01-01", periods=12, freq="h")
SUMMER = pd.date_range("2024-10-26 20:00", periods=12, freq="h", tz="UTC").tz_convert("Europe/Rome")
SPRING = pd.date_range("2024-03-30 20:00", periods=12, freq="h", tz="UTC").tz_convert("Europe/Rome")


def table(times=HOURS, name="ds", **columns):
    return pd.DataFrame({name: times, "y": np.arange(float(len(times))), **columns})


def off_the_grid():
    times = HOURS.to_list()
    times[5] += pd.Timedelta(minutes=17)
    return times


REFUSED = {
    "a missing hour": (table(HOURS.delete(5)), {}, ["missing", "rows"]),
    "an hour off the grid": (table(off_the_grid()), {}, ["rows"]),
    "another step than the given one": (table(), {"frequency": "2h"}, ["found", "rows"]),
    "a step with gaps": (table(), {"frequency": "30min"}, ["found", "missing", "rows"]),
    "no step": (table(), {"frequency": "often"}, ["found"]),
    "a step of dates for numbers": (table(range(12)), {"frequency": "h"}, ["found"]),
    "a missing bill": (
        table(pd.date_range("2024-01-15", periods=12, freq=pd.DateOffset(months=1)).delete(5)),
        {},
        ["missing", "rows"],
    ),
    "a missing value": (table().assign(y=[1, np.nan, 3, *range(9)]), {}, ["missing"]),
    "slashes": (table(HOURS.strftime("%d/%m/%Y %H:%M")), {}, ["format", "rows"]),
    "words": (table([f"hour {n}" for n in range(12)]), {}, ["format", "rows"]),
    "two columns of times": (table(HOURS, "from", until=HOURS + pd.Timedelta(hours=1)), {}, ["column", "rows"]),
    "half hours as numbers": (table(np.arange(12) / 2), {}, ["rows"]),
    "true and false": (table([True, False] * 6), {}, ["rows"]),
    "series without ids": (pd.concat([table(shop="a"), table(shop="b")]), {}, ["id"]),
    "an hour that comes twice": (
        table(SUMMER.tz_localize(None)),
        {},
        [
            "id",
            "zone",
        ],
    ),
    "an hour that is skipped": (table(SPRING.tz_localize(None)), {}, ["missing", "rows", "zone"]),
    "several numbers": (table(z=1.0).rename(columns={"y": "x"}), {}, ["target"]),
    "text for numbers": (table().astype({"y": str}).replace("5.0", "5,5"), {}, []),
}
ADVICE = {  # what a sentence says, and what it asks for
    "missing": (r"missing='mask', 'interpolate' or 'zero'", {"missing": "mask"}),
    "rows": (rf"time_col={ROW_ORDER!r}", {"time_col": ROW_ORDER}),
    "found": (r"leave it out to have the step found|their step is", {"frequency": None}),
    "format": (r"time_format='%d/%m/%Y' or the like", {}),
    "column": (r"choose one with time_col='from'", {"time_col": "from"}),
    "id": (r"name the column that tells series apart with id_col", {"id_col": "shop"}),
    "zone": (r"if clocks change there, say the zone with time_zone='Europe/Rome'", {"time_zone": "Europe/Rome"}),
    "target": (r"choose one with target_col", {"target_col": "x"}),
}


FORMATS = {"slashes": "%d/%m/%Y %H:%M", "words": "hour %H"}


@pytest.mark.parametrize("case", REFUSED)
def test_advice_works(case):
    frame, options, wanted = REFUSED[case]
    with pytest.raises(DataError) as refused:
        series_from_frame(frame, **options)
    given = [name for name, (says, _) in ADVICE.items() if re.search(says, str(refused.value))]
    assert set(given) == set(wanted), refused.value
    for name in given:
        if name == "id" and "shop" not in frame:
            continue  # there are no several series
        mended = {**options, **ADVICE[name][1]}
        if name == "rows":
            mended.pop("frequency", None)
        if name == "format":
            mended["time_format"] = FORMATS[case]
        assert len(series_from_frame(frame, **mended).values) >= 10, name


def test_whole_numbers_that_are_dates_keep_no_gaps_of_hundreds_of_rows():
    frame = table([20240131, 20240229, 20240331, 20240430, 20240630])
    with pytest.warns(
        DataNotice, match="are read as dates of the format %Y%m%d; keep them as numbers with time_format='ste"
    ):
        filled = series_from_frame(frame, missing="mask")
    assert (filled.frequency, len(filled.values)) == ("ME", 6)
    with pytest.raises(DataError, match=r"has 5 times and \d+ are missing between them|irregular"):
        series_from_frame(frame, missing="mask", time_format="steps")
    assert (
        len(series_from_frame(table([20240101, 20240102, 20240104]), missing="mask", time_format="steps").values) == 4
    )


def test_advice_about_decimal_commas_works(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('ds,y\n1,"1,5"\n2,"2,5"\n3,"3,5"\n')
    with pytest.raises(DataError, match=r"say that numbers have decimal commas with decimal=','"):
        read_series(path)
    assert read_series(path, decimal=",").values.tolist() == [1.5, 2.5, 3.5]
