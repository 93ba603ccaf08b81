"""Files of public benchmarks, read and split as their papers do."""

import re

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice, FixedBorders, make_forecast_data, protocol_series

ETT = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]


def ett_file(folder, rows=14_500, freq="h", **more):
    """An ETT file whose channels count rows, the first from 0."""
    dates = pd.date_range("2016-07-01", periods=rows, freq=freq)
    frame = pd.DataFrame({"date": dates, **{name: np.arange(rows) + place for place, name in enumerate(ETT)}})
    path = folder / "ETTh1.csv"
    frame.assign(**more).to_csv(path, index=False)
    return path


def m4_files(folder, train, test, names=("Yearly-train.csv", "Yearly-test.csv")):
    """Official files: a row a series, empty where it has ended."""
    for name, rows in zip(names, (train, test), strict=True):
        frame = pd.DataFrame({own: pd.Series(values) for own, values in rows.items()}).T
        frame.columns = [f"V{place + 2}" for place in range(frame.shape[1])]
        frame.insert(0, "V1", list(rows))
        frame.to_csv(folder / name, index=False)
    return folder / names[0]


def test_an_ett_file_has_parts_of_12_4_and_4_months_of_30_days(tmp_path):
    series = protocol_series("ltsf", ett_file(tmp_path))
    assert series.ids == tuple(sorted(ETT))
    assert set(series.lengths) == {20 * 30 * 24}
    assert FixedBorders(*series.borders).boundaries(14_400) == (12 * 30 * 24, 16 * 30 * 24)
    assert (series.frequency, series.season) == ("h", (24, 168))
    assert series.values_of(series.ids.index("OT"))[:3].tolist() == [6, 7, 8]
    assert protocol_series("ltsf", tmp_path / "ETTh1.csv", series=("OT",)).borders == (8_640, 11_520)


def test_other_wide_files_have_70_10_and_20_percent_rounded_down(tmp_path):
    rows = 7_588 // 4 + 1  # 1,898: 1,328.6 train and 379.6 test
    dates = pd.date_range("1990-01-01", periods=rows).strftime("%Y/%-m/%-d 0:00")
    pd.DataFrame({"date": dates, "0": 1.0 + np.arange(rows), "OT": 2.0}).to_csv(tmp_path / "exchange.csv", index=False)
    series = protocol_series("ltsf", tmp_path / "exchange.csv")
    assert (series.borders, series.frequency, series.ids) == ((1_328, 1_519), "D", ("0", "OT"))


def test_rows_are_steps_where_times_are_irregular(tmp_path):
    dates = pd.date_range("2020-01-01", periods=60, freq="10min").delete(9)
    pd.DataFrame({"date": dates, "wet": np.arange(59.0)}).to_csv(tmp_path / "weather.csv", index=False)
    with pytest.warns(DataNotice, match="the times of weather.csv are irregular, so its rows are taken as steps"):
        series = protocol_series("ltsf", tmp_path / "weather.csv")
    assert (series.frequency, series.times.tolist()) == (None, list(range(59)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.rename(columns={"date": "day"}), "which has a column date and one column a channel"),
        (lambda frame: frame[["date"]], "which has a column date and one column a channel"),
        (lambda frame: frame.assign(OT="warm"), "column 'OT' of wide.csv holds 'warm', which is no number"),
        (lambda frame: frame.assign(date="soon"), "'soon' in row 1 of wide.csv is no time"),
        (
            lambda frame: frame,
            "has 40 rows, but protocol 'ltsf' takes 20 months of 30 days of an ETT file",
        ),
        (
            lambda frame: frame.assign(date=pd.date_range("2020-01-01", periods=40)),
            "wide.csv has steps of D, but ETT files have steps of h or 15min",
        ),
        (lambda frame: frame.assign(OT=frame["OT"].replace(9, np.inf)), "row 4 of column 'OT' is inf"),
        (lambda frame: frame.assign(OT=True), "column 'OT' of wide.csv holds bool values, not numbers; drop it"),
        (
            lambda frame: frame.assign(OT=frame["OT"].where(frame["OT"] != 9)),
            "row 4 of column 'OT' of wide.csv is missing or NaN, and benchmarks of protocol 'ltsf' have every value",
        ),
    ],
)
def test_a_wide_file_of_another_shape_is_refused(tmp_path, change, message):
    change(pd.read_csv(ett_file(tmp_path, rows=40))).to_csv(tmp_path / "wide.csv", index=False)
    with pytest.raises(DataError, match=re.escape(message)):
        protocol_series("ltsf", tmp_path / "wide.csv")


def test_m4_joins_the_official_parts(tmp_path):
    train = {"Y1": [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], "Y2": list(np.arange(14.0) ** 2)}
    test = {"Y1": list(range(14, 20)), "Y2": list(range(6))}
    series = protocol_series("m4", m4_files(tmp_path, train, test))
    assert (series.name, series.borders, series.season) == ("m4-yearly", (-12, -6), ())
    assert series.values_of(0).tolist() == [float(value) for value in range(1, 20)]
    assert series.lengths.tolist() == [19, 20]
    assert FixedBorders(*series.borders).boundaries(19) == (7, 13)


def test_m4_knows_a_group_by_its_ids_and_packed_files(tmp_path):
    train, test = ({name: list(np.arange(size)) for name in ("Q1", "Q2")} for size in (30, 8))
    path = m4_files(tmp_path, train, test, ("my_train.csv.gz", "my_test.csv.gz"))
    series = protocol_series("m4", path)
    assert (series.name, series.season) == ("m4-quarterly", (4,))


@pytest.mark.parametrize(
    ("train", "test", "names", "message"),
    [
        ({"Y1": [1, 2]}, {"Y2": [1] * 6}, None, "series 'Y1' is in only one of Yearly-train.csv and Yearly-test.csv"),
        ({"Y1": [1, 2]}, {"Y1": [1] * 5}, None, "has 5 test values a series, and Yearly-train.csv is of group yearly"),
        ({"Y1": [1, None, 3]}, {"Y1": [1] * 6}, None, "without a gap; row 1 ('Y1') has not"),
        ({"Y1": [1, 2]}, {"Y1": [1] * 6}, ("a.csv", "b.csv"), "whose name has the word train, got a.csv"),
        ({"Y1": [1, 2]}, {"Y1": [1] * 6}, ("train.csv", "b.csv"), "needs the test values beside train.csv"),
        ({"a": [1, 2]}, {"a": [1] * 6}, ("train.csv", "test.csv"), "is of group unknown"),
    ],
)
def test_m4_files_of_another_shape_are_refused(tmp_path, train, test, names, message):
    path = m4_files(tmp_path, train, test, *([names] if names else []))
    with pytest.raises(DataError, match=re.escape(message)):
        protocol_series("m4", path)


def test_a_channel_of_texts_that_are_numbers_is_refused_in_one_sentence(tmp_path):
    frame = pd.DataFrame({"date": pd.date_range("2026-01-01", periods=50, freq="h").astype(str), "a": ["1.5"] * 50})
    frame.to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(DataError, match=r"column 'a' .* holds '?1.5'?, which is no number"):
        protocol_series("ltsf", tmp_path / "texts.parquet")


def test_the_scaler_counts_changes_over_the_season_that_m4_judges_by(tmp_path):
    """Daily series have weeks, but their MASE is that of single days."""
    values = np.random.default_rng(0).normal(size=60).cumsum() + 7 * (np.arange(60) % 7)
    path = m4_files(tmp_path, {"D1": values[:46]}, {"D1": values[46:]}, ("Daily-train.csv", "Daily-test.csv"))
    series = protocol_series("m4", path)
    assert (series.season, series.mase_season) == ((7,), 1)
    data = make_forecast_data(series, window=14, horizon=14, split=FixedBorders(*series.borders), scaler="change")
    assert data.scaler.scale[0] == pytest.approx(np.abs(np.diff(values[:32])).mean())
