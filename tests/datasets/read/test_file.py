import contextlib
import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkan.datasets import DataError, DataNotice, make_forecast_data, read_series, series_from_frame

MISSING = (
    "missing or NaN; fill it first, or say how to treat missing values with missing='mask', 'interpolate' or 'zero'"
)


@pytest.fixture
def write(tmp_path):
    def write(content, name="calls.csv"):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    return write


def dated(*times, column="ds"):
    return f"{column},y\n" + "".join(f"{time},{row}\n" for row, time in enumerate(times))


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_lone_column_is_read_in_the_order_of_its_rows(write):
    series = read_series(write("calls\n5\n6.5\n-7e1\n"))
    assert (series.name, series.ids, series.frequency, series.season) == ("calls", ("calls",), None, ())
    assert series.times.tolist() == [0, 1, 2]
    assert series.values.tolist() == [5.0, 6.5, -70.0]


@pytest.mark.parametrize("name", ["calls.csv", "calls.csv.gz", "CALLS.CSV", "calls.parquet"])
def test_every_kind_of_file_gives_the_same_series(write, name):
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=4, freq="D"), "y": [1.0, 2.0, 4.0, 8.0]})
    text = frame.to_csv(index=False)
    contents = {".gz": gzip.compress(text.encode()), ".parquet": frame}
    series = read_series(write(contents.get(name[name.rindex(".") :], text), name))
    assert series.name.lower() == "calls"
    assert series.frequency == "D"
    assert series.times.dtype == np.dtype("datetime64[ns]")
    assert series.values.tolist() == [1.0, 2.0, 4.0, 8.0]


def test_default_columns_are_unique_id_ds_and_y(write):
    series = read_series(write("y,other,ds,unique_id\n1,9,1,b\n2,9,2,b\n3,9,3,b\n4,9,5,a\n5,9,6,a\n6,9,7,a\n"))
    assert series.ids == ("a", "b")
    assert series.times.tolist() == [5, 6, 7, 1, 2, 3]
    assert series.values.tolist() == [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]


def test_columns_can_be_chosen(write):
    series = read_series(
        write("site,hour,calls,y\nx,1,10,0\nx,2,20,0\nx,3,30,0\n"), time_col="hour", target_col="calls", id_col="site"
    )
    assert (series.ids, series.times.tolist(), series.values.tolist()) == (("x",), [1, 2, 3], [10.0, 20.0, 30.0])
    assert series.summary == "column 'calls' of calls.csv"


def test_the_only_numeric_column_is_the_target(write):
    assert read_series(write("ds,note,calls\n1,a,10\n2,b,20\n3,c,30\n")).values.tolist() == [10.0, 20.0, 30.0]


def test_interleaved_series_keep_their_own_order(write):
    series = read_series(write("unique_id,y\nb,1\na,2\nb,3\na,4\nb,5\na,6\n"))
    assert (series.values_of(0).tolist(), series.values_of(1).tolist()) == ([2.0, 4.0, 6.0], [1.0, 3.0, 5.0])
    assert series.times.tolist() == [0, 1, 2, 0, 1, 2]


def test_ids_are_text_as_it_stands(write):
    rows = "".join(f"{name},{row}\n" for name in ("007", "NA", "1.0") for row in range(3))
    assert read_series(write("unique_id,y\n" + rows)).ids == ("007", "1.0", "NA")


def test_numeric_ids_of_a_parquet_file_become_text(write):
    frame = pd.DataFrame({"unique_id": [2, 2, 2, 10, 10, 10], "y": np.arange(6.0)})
    assert read_series(write(frame, "x.parquet")).ids == ("10", "2")


def test_dates_in_the_index_of_a_parquet_file_are_found(write):
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0]}, index=pd.date_range("2024-02-28", periods=3, name="ds"))
    assert read_series(write(frame, "x.parquet")).frequency == "D"


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, 2, 3], dtype=np.uint8),
        np.array([1, 2, 3], dtype=np.float32),
        pd.array([1, 2, 3], dtype="Int64"),
        pd.array([1.0, 2.0, 3.0], dtype="Float32"),
        [Decimal(1), Decimal(2), Decimal(3)],
    ],
)
def test_every_kind_of_number_becomes_float64(write, column):
    series = read_series(write(pd.DataFrame({"y": column}), "x.parquet"))
    assert series.values.dtype == np.float64
    assert series.values.tolist() == [1.0, 2.0, 3.0]


def test_integers_beyond_64_bits_become_floats(write):
    assert read_series(write(f"y\n{10**20}\n{2**53}\n-3\n")).values.tolist() == [1e20, 2.0**53, -3.0]


def test_times_with_a_zone_become_utc(write):
    series = read_series(write(dated(*(f"2024-01-01T0{hour}:00:00+02:00" for hour in range(3)))))
    assert series.times[0] == np.datetime64("2023-12-31T22:00:00")
    assert series.frequency == "h"


def test_zoned_hours_of_a_parquet_file_are_regular_across_a_clock_change(write):
    times = pd.date_range("2024-03-30 22:00", periods=8, freq="h", tz="Europe/Berlin")
    assert read_series(write(pd.DataFrame({"ds": times, "y": np.arange(8.0)}), "x.parquet")).frequency == "h"


def test_whole_numbers_written_as_floats_are_steps(write):
    assert read_series(write(dated("10.0", "20.0", "30.0"))).times.tolist() == [10, 20, 30]


def test_blank_lines_at_the_end_are_no_values(write):
    assert read_series(write("y\n1\n2\n3\n\n\n")).values.tolist() == [1.0, 2.0, 3.0]


def test_byte_order_mark_is_no_part_of_the_first_name(write):
    assert read_series(write(b"\xef\xbb\xbfy,z\n1,0\n2,0\n3,0\n")).values.tolist() == [1.0, 2.0, 3.0]


def test_thousands_of_series_are_read_like_one(write):
    names = np.char.mod("s%04d", np.arange(2000))
    times = pd.date_range("2024-01-01", periods=30, freq="MS")
    values = np.arange(60_000.0)
    frame = pd.DataFrame({"unique_id": np.repeat(names, 30), "ds": np.tile(times, 2000), "y": values})
    series = read_series(write(frame.sample(frac=1.0, random_state=0).sort_values("ds", kind="stable"), "x.parquet"))
    assert (len(series.ids), series.frequency, series.season) == (2000, "MS", (12,))
    assert series.values.tolist() == values.tolist()
    assert len(make_forecast_data(series, window=4, horizon=1).test) == 2000 * 6


# --- files that cannot be read ---------------------------------------------------------------------------------------


def complaint(path, **columns):
    with pytest.raises(DataError) as caught:
        read_series(path, **columns)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_file(tmp_path):
    assert complaint(tmp_path / "no.csv").endswith("no.csv'; check the path, or give the name of a built-in series")


def test_folder(tmp_path):
    assert "is a folder; give the path of one .csv, .csv.gz, .parquet, .xlsx file" in complaint(tmp_path)


def test_unknown_kind_of_file(write):
    assert "book.ods' is none of .csv, .csv.gz, .parquet, .xlsx" in complaint(write("y\n1\n", "book.ods"))


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_empty_file(write, name):
    assert f"{name}' is empty; it needs a header line" in complaint(write(b"", name))


@pytest.mark.parametrize("text", ["y\n", "y\n\n\n", "ds,y\n,\n"])
def test_file_without_rows(write, text):
    assert "has no rows below its header" in complaint(write(text))


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_binary_junk(write, name):
    junk = bytes(np.random.default_rng(0).integers(128, 256, 500, dtype=np.uint8))
    assert f"cannot be read as {name[1:]} (" in complaint(write(junk, name))


def test_zero_bytes(write):
    assert "its first line has zero bytes" in complaint(write(b"\0" * 1000))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(alphabet='0123456789.,-"\n\r yea;', max_size=80).map(str.encode))
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_no_content_whatever_escapes_as_another_error(write, name, content):
    packed = gzip.compress(content) if name == "x.csv.gz" else content
    with contextlib.suppress(DataError):
        assert np.isfinite(read_series(write(packed, name)).values).all()


def test_truncated_gzip(write):
    packed = gzip.compress(b"y\n" + b"1\n2\n3\n" * 1000)
    assert "cannot be read as .csv.gz" in complaint(write(packed[:-20], "x.csv.gz"))


def test_damaged_gzip(write):
    packed = bytearray(gzip.compress(b"y\n" + bytes(range(48, 58)) * 100))
    packed[20:30] = b"\xff" * 10
    assert "cannot be read as .csv.gz" in complaint(write(bytes(packed), "x.csv.gz"))


@pytest.mark.parametrize("damage", [slice(-50, None), slice(4, 54)])
def test_damaged_parquet(write, damage):
    content = bytearray(write(pd.DataFrame({"y": np.random.default_rng(0).random(1000)}), "x.parquet").read_bytes())
    content[damage] = b"\xff" * 50
    assert "cannot be read as .parquet" in complaint(write(bytes(content), "x.parquet"))


def test_truncated_parquet(write):
    content = write(pd.DataFrame({"y": np.arange(1000.0)}), "x.parquet").read_bytes()
    assert "cannot be read as .parquet" in complaint(write(content[: len(content) // 2], "x.parquet"))


def test_no_header_line(write):
    assert "its first line '1, 2' holds values, but must name the columns" in complaint(write("1,2\n3,4\n5,6\n"))
    rows = "".join(f"2024-01-0{day},{day}\n" for day in range(1, 6))  # the first would be lost without a word
    assert "its first line '2024-01-01, 1' holds values, but must name the columns" in complaint(write(rows))


def test_rows_longer_than_the_header(write):
    assert "its rows have more fields than its first line has names" in complaint(write("a,b\n1,2,3\n4,5,6\n7,8,9\n"))


def test_ragged_rows(write):
    assert "Expected 2 fields in line 3, saw 3" in complaint(write("a,b\n1,2\n3,4,5\n"))


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["time", "target", "id"])
def test_no_such_column(write, role):
    message = complaint(write("ds,y\n1,2\n2,3\n3,4\n"), **{f"{role}_col": "zzz"})
    assert message == f"'calls.csv' has no {role} column 'zzz'; its columns are 'ds', 'y'"


def test_a_long_list_of_columns_is_cut(write):
    path = write(",".join(f"c{i}" for i in range(20)) + "\n" + ",".join("1" * 20) + "\n")
    assert complaint(path, target_col="y").endswith("'c7' and 12 more")


def test_several_numeric_columns(write):
    assert "has several numeric columns, 'a', 'b'; choose one with target_col" in complaint(
        write("a,b\n1,2\n3,4\n5,6\n")
    )


def test_no_numeric_column(write):
    assert "has no numeric column among 'a:b'; name the one" in complaint(write("a:b\n1:2\n3:4\n5:6\n"))
    dates = "ds\n2024-01-01\n2024-01-02\n2024-01-03\n"
    assert "has no column beside 'ds'; name the one" in complaint(write(dates))


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("abc", "'abc', not a number; correct or drop it"),
        (
            '"1,5"',
            "'1,5', not a number; correct it, or say that numbers have decimal commas with decimal=',' where the file "
            "is read",
        ),
        (
            "",
            MISSING,
        ),
        (
            "NaN",
            MISSING,
        ),
        ("inf", "inf; every value must be finite, so correct it"),
        ("-inf", "-inf; every value must be finite, so correct it"),
        ("-1e101", "-1e+101, outside +-1e+100; correct it, or choose a larger unit"),
    ],
)
def test_unusable_value(write, value, what):
    assert complaint(write(f"y\n1\n{value}\n3\n4\n")) == f"row 2 of column 'y' is {what}"


def test_missing_value_of_a_nullable_column(write):
    frame = pd.DataFrame({"y": pd.array([1, 2, None], dtype="Int64")})
    assert "row 3 of column 'y' is missing or NaN" in complaint(write(frame, "x.parquet"))


@pytest.mark.parametrize(
    ("column", "kind"), [([True, False, True], "bool"), (pd.date_range("2024", periods=3), "datetime64")]
)
def test_target_of_another_kind(write, column, kind):
    message = complaint(write(pd.DataFrame({"y": column}), "x.parquet"))
    assert message.startswith(f"target column 'y' holds {kind}")
    assert message.endswith("values, not numbers; choose another target_col")


def test_lists_are_no_numbers(write):
    assert "row 1 of column 'y' is '[1]', not a number" in complaint(
        write(pd.DataFrame({"y": [[1], [2], [3]]}), "x.parquet")
    )


@pytest.mark.parametrize(("text", "count"), [("y\n1\n2\n", 2), ("y\n1\n", 1)])
def test_too_few_points(write, text, count):
    assert complaint(write(text)).startswith(f"series 'calls' has {count} points; every series needs at least 3")


def test_one_of_several_series_has_too_few_points(write):
    with pytest.warns(DataNotice, match="left out 1 of 2 series, of fewer than 3 values: 'b'"):
        assert read_series(write("unique_id,y\na,1\na,2\na,3\nb,1\n")).ids == ("a",)
    assert "series 'a' has 2 points" in complaint(write("unique_id,y\na,1\na,2\nb,1\n"))


@pytest.mark.parametrize("missing", ["", None])
def test_missing_id(write, missing):
    frame = pd.DataFrame({"unique_id": ["a", "a", missing, "a"], "y": np.arange(4.0)})
    assert "row 3 of id column 'unique_id' is missing" in complaint(write(frame, "x.parquet"))


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (("2024-01-01", "", "2024-01-03"), "row 2 of time column 'ds' is missing"),
        (("2024-01-01", "2024-01-02", "soon"), "row 3 of time column 'ds' is 'soon', not an ISO 8601 time"),
        (("01/02/2024", "02/02/2024", "03/02/2024"), "row 1 of time column 'ds' is '01/02/2024', not an ISO 8601"),
        (("2024-01-01", "2024-02-30", "2024-03-01"), "row 2 of time column 'ds' is '2024-02-30', not an ISO 8601"),
        (("0.5", "1.5", "2.5"), "row 1 of time column 'ds' is 0.5; numeric times must be whole steps below 2^53"),
        (("1", "inf", "3"), "row 2 of time column 'ds' is inf; numeric times must be whole steps"),
        (("1", "2", str(2**60)), "row 3 of time column 'ds' is 1.15292e+18; numeric times must be whole steps"),
        (("True", "False", "True"), "time column 'ds' holds true and false, not times"),
        (("1500-01-01", "1500-01-02", "1500-01-03"), "the years 1678 to 2261"),
    ],
)
def test_unusable_time(write, times, message):
    found = complaint(write(dated(*times)))
    assert message in found
    assert "choose the order of the rows as the time with time_col='rows'" in found or "use whole-number steps" in found


def test_times_with_and_without_a_zone(write):
    message = complaint(write(dated("2024-01-01T00:00:00+01:00", "2024-01-01T01:00:00+01:00", "2024-01-01T02:00:00")))
    assert message == (
        "time column 'ds' mixes times with and without a time zone: row 1 is '2024-01-01T00:00:00+01:00', "
        "but row 3 is '2024-01-01T02:00:00'; write all times in UTC"
    )


def test_duplicated_time(write):
    message = complaint(write(dated("2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03")))
    assert message.startswith("row 3 of time column 'ds' is 2024-01-02 00:00:00 and repeats the time of row 2; drop")


def test_irregular_times_name_the_series_and_the_row_of_the_file(write):
    rows = "a,1,0\nb,1,0\na,2,0\nb,2,0\na,3,0\nb,4,0\na,4,0\nb,5,0\n"
    message = complaint(write("unique_id,ds,y\n" + rows))
    assert message.startswith("the times are irregular: row 6 of time column 'ds' (series 'b') is 4 after 2, while")


def test_irregular_times_are_usable_in_row_order(write):
    path = write(dated("2024-01-01", "2024-01-02", "2024-01-09", column="day"))
    assert "the times are irregular: row 3 of time column 'day'" in complaint(path, time_col="day")
    assert read_series(path, time_col="rows").times.tolist() == [0, 1, 2]


@pytest.mark.parametrize("lacking", ["", "\n", "1e400\n"], ids=["whole", "one missing", "one infinite"])
@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**64 - 1, 2**80 + 1])
def test_whole_numbers_that_floats_cannot_hold_are_refused(write, number, lacking):
    path = write(f"k,y\n1,1\n1,2\n1,{number}\n1,4\n" + ("" if not lacking else f"1,{lacking}1,5\n"))
    with pytest.raises(
        DataError, match=rf"row 3 of column 'y' is .*{number}.*, a whole number above 2\^53 that would be"
    ):
        read_series(path, missing="mask", target_col="y")


@pytest.mark.parametrize(
    "cells",
    [
        pd.array([1, 2, 2**53 + 1], dtype="Int64"),
        pd.array([1, None, 2**53 + 1], dtype="Int64"),
        np.array([1, 2, 2**64 - 1], dtype="uint64"),
        [1, 2, 2**53 + 1],
        [1, "2", str(2**53 + 1)],
        [Decimal(1), 2, Decimal(2**53 + 1)],
        [1.5, None, 2**53 + 1],
    ],
    ids=lambda cells: str(cells)[:30],
)
def test_whole_numbers_of_frames_that_floats_cannot_hold_are_refused(cells):
    if isinstance(cells, list):
        cells = pd.Series(cells, dtype=object)
    with pytest.raises(
        DataError, match=r"row 3 of column 'y' is .*, a whole number above 2\^53 that would be rounded; sub"
    ):
        series_from_frame(pd.DataFrame({"y": cells}), missing="mask")


def test_large_numbers_that_floats_hold_are_read(write):
    numbers = [2**53, -(2**53), 2**60, 2**53 + 2, 10**22]
    assert read_series(write("y\n" + "\n".join(map(str, numbers)))).values.tolist() == numbers
    assert read_series(write("y\n1e17\n\n9007199254740993.5\n2\n"), missing="mask").values[0] == 1e17
    frame = pd.DataFrame({"y": [Decimal("1e90"), Decimal("0.1"), -(2**63)]})
    assert series_from_frame(frame).values.tolist() == [1e90, 0.1, -(2.0**63)]
