"""Files of spreadsheets: separators, decimal commas, encodings, workbooks."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, read_future, read_series

TABLE = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=12), "y": np.arange(12) * 1234.5, "n": range(12)})


def told(path, **options):
    with pytest.warns(DataNotice) as said:
        series = read_series(path, target_col="y", **options)
    return series, [str(one.message) for one in said]


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8", name="calls.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def grouped(value):
    """1.234,5 as it is written in Germany and Italy."""
    return f"{value:,.1f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize("sep", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_separators_and_decimal_commas_are_found_and_said(sep, decimal, write):
    path = write(TABLE.to_csv(index=False, sep=sep, decimal=decimal))
    series, (said,) = told(path)
    assert series.values.tolist() == TABLE["y"].tolist()
    name = {";": "semicolons", "\t": "tabs", "|": "bars"}[sep]
    commas = " and with decimal commas" if decimal == "," else ""
    assert said.startswith(f"'calls.csv' is read with {name} between the columns{commas}; say otherwise with sep=...")
    given = {"sep": "tab" if sep == "\t" else sep, "decimal": decimal}
    assert read_series(path, target_col="y", **given).values.tolist() == TABLE["y"].tolist()


def test_groups_of_thousands_and_dates_with_points_are_told_apart(write):
    rows = "".join(f"{time:%d.%m.%Y};{grouped(y)};{n}\n" for time, y, n in TABLE.itertuples(index=False))
    series, _ = told(write("Datum;y;n\n" + rows), time_col="Datum", time_format="%d.%m.%Y", past_cols=["n"])
    assert series.values.tolist() == TABLE["y"].tolist()
    assert (series.frequency, series.covariates(["n"])[:, 0].tolist()) == ("D", list(range(12)))


def test_one_column_of_decimal_commas_is_one_column(write):
    assert told(write("y\n1,5\n2,25\n3,0\n"))[0].values.tolist() == [1.5, 2.25, 3.0]
    path = write("y\n" + "1,234\n" * 5)  # 1234, or 1.234
    assert told(path)[0].values.tolist() == [1.234] * 5


def test_both_marks_are_refused_with_options_that_work(write):
    path = write("ds;y\n1;1,5\n2;2.5\n3;3,5\n")
    with pytest.raises(DataError, match=r"row 1 of column 'y' is '1,5', not a number; correct it, .* with decimal=','"):
        told(path)
    quoted = write('ds,y\n1,"1,5"\n2,"2,5"\n3,"3,0"\n')
    with pytest.raises(DataError, match=r"'1,5', not a number; correct it, .* with decimal=','"):
        read_series(quoted)
    assert read_series(quoted, decimal=",").values.tolist() == [1.5, 2.5, 3.0]


def test_the_line_of_a_spreadsheet_that_names_the_separator_is_understood(write):
    assert told(write("sep=;\nds;y\n1;1,5\n2;2\n3;3\n"))[0].values.tolist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings_are_found_and_said(encoding, write):
    path = write("ds,y,Zürich €\n" + "".join(f"{row},{row},ß\n" for row in range(9)), encoding)
    if encoding == "utf-8-sig":
        assert len(read_series(path).values) == 9
        return
    series, (said,) = told(path)
    assert series.values.tolist() == list(range(9))
    assert said.startswith(f"'calls.csv' is read as {encoding} text")


def test_another_encoding_can_be_said(write):
    path = write("日付,値\n" + "".join(f"{row},{row}\n" for row in range(9)), "shift_jis")
    assert read_series(path, encoding="shift_jis", time_col="日付", target_col="値").values.tolist() == list(range(9))
    with pytest.raises(
        DataError, match=r"its byte 0x93 is no utf-8 text\); say how it is encoded with encoding='cp1252'"
    ):
        read_series(path, encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sep": "::"}, "sep='::' cannot stand between columns; choose one character such as ';' or 'tab'"),
        ({"decimal": "x"}, "decimal='x' is no decimal mark; choose '.' or ','"),
        ({"encoding": "klingon"}, "encoding='klingon' is unknown; choose one of Python's, such as utf-8"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence, write):
    with pytest.raises(DataError, match=sentence):
        read_series(write("ds,y\n1,2\n"), **options)


def test_a_file_of_the_future_is_written_in_the_same_way(write):
    series, _ = told(write(TABLE.to_csv(index=False, sep=";", decimal=",")), future_cols=["n"])
    future = write("ds;n\n2024-01-13;1,5\n", name="later.csv")
    assert read_future(future, series, sep=";", decimal=",")["n"].tolist() == [1.5]


def test_a_workbook_is_read(tmp_path):
    path = tmp_path / "calls.xlsx"
    with pd.ExcelWriter(path) as book:
        TABLE.assign(unique_id=7).to_excel(book, index=False, sheet_name="calls")
        TABLE.to_excel(book, sheet_name="notes")
    series, (said,) = told(path)
    assert (series.ids, series.frequency, series.values.tolist()) == (("7",), "D", TABLE["y"].tolist())
    assert said == "the first of the 2 sheets of 'calls.xlsx' is read, 'calls'"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"calls\.xlsx' cannot be read as \.xlsx \(.*\); check whether it is damaged"):
        read_series(path)
    path.write_bytes(b"ds,y\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as"):
        read_series(path)


def test_a_workbook_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "calls.xlsx"
    TABLE.to_excel(path, index=False)
    monkeypatch.setattr("qkan.datasets.read.limits.memory", lambda: 4000)
    with pytest.raises(DataError, match="it unpacks to more text than the"):
        read_series(path)
