"""Frames as users have them: other packages, names, types, orders and zones, in and out of a `Forecaster`."""

import warnings

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest

from qkan.datasets import DataError, DataNotice
from qkan.forecasting import Forecaster, RunError

TINY = {"window": 4, "horizon": 2, "hidden_size": 2, "epochs": 1, "batch_size": 64, "device": "cpu", "lbfgs_steps": 0}
DAYS = pd.date_range("2024-03-01", periods=40, freq="D", tz="Europe/Rome")
IDS = (2, 10, 1)


def sales(times=DAYS, ids=IDS, **columns):
    """A panel in the order of ``ids``."""
    parts = [
        pd.DataFrame(
            {"unique_id": name, "ds": times, "y": 100.0 * place + np.sin(np.arange(len(times)) / 3), **columns}
        )
        for place, name in enumerate(ids)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    return Forecaster("lstm", **TINY).fit(sales())


def test_ids_times_and_order_are_those_of_the_frame(fitted):
    frame = sales()
    for table in (fitted.predict(), fitted.predict(frame)):
        assert table["unique_id"].tolist() == [2, 2, 10, 10, 1, 1]
        assert table.dtypes[:2].tolist() == frame.dtypes[:2].tolist()
        assert table["ds"].tolist()[:2] == list(pd.date_range("2024-04-10", periods=2, freq="D", tz="Europe/Rome"))
    past = fitted.cross_validate(frame, n_windows=2, step_size=2)
    assert past["unique_id"].tolist() == [2] * 4 + [10] * 4 + [1] * 4
    assert past.dtypes[:3].tolist() == [*frame.dtypes[:2], frame["ds"].dtype]
    assert past.merge(frame, on=["unique_id", "ds", "y"]).shape[0] == 12
    assert past["cutoff"].tolist()[::2] == [DAYS[-5], DAYS[-3]] * 3
    assert fitted.predict(frame[frame["unique_id"] != 10])["unique_id"].tolist() == [2, 2, 1, 1]


def test_columns_have_the_names_of_the_frame():
    names = {"unique_id": "shop", "ds": "day", "y": "sold"}
    frame, plain = sales(DAYS.tz_localize(None), price=1.0), Forecaster("lstm", **TINY, future_cols=["price"])
    own = Forecaster("lstm", **TINY, id_col="shop", time_col="day", target_col="sold", future_cols=["price"])
    future = sales(pd.date_range("2024-04-10", periods=2), price=2.0).drop(columns="y")
    table = own.fit(frame.rename(columns=names)).predict(futr_df=future.rename(columns=names))
    expected = plain.fit(frame).predict(futr_df=future)
    pd.testing.assert_frame_equal(table, expected.rename(columns=names))
    assert list(own.cross_validate(frame.rename(columns=names)).columns) == ["shop", "day", "cutoff", "sold", "LSTM"]


def test_a_saved_forecaster_knows_the_names_of_its_columns(tmp_path):
    frame = sales(ids=["a"]).rename(columns={"unique_id": "shop", "ds": "day", "y": "sold"})
    forecaster = Forecaster("lstm", **TINY, id_col="shop", time_col="day", target_col="sold").fit(frame)
    forecaster.save(tmp_path / "run")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "run").predict(frame), forecaster.predict())


@pytest.mark.parametrize("package", ["polars", "pyarrow"])
def test_frames_of_other_packages_come_back_as_such(package, fitted):
    frame = sales()
    if package == "polars":
        given = polars.from_pandas(frame)
        other = polars.LazyFrame({"ds": [1]})
        with pytest.raises(TypeError, match="got LazyFrame; call collect"):
            fitted.fit(other)
        types = given.schema
    else:
        given = pa.Table.from_pandas(frame)
        types = {field.name: field.type for field in given.schema}
    forecaster = Forecaster("lstm", **TINY).fit(given)
    expected = fitted.predict()
    for table in (forecaster.predict(), forecaster.predict(given)):
        assert type(table) is type(given)
        found = table.schema if package == "polars" else {field.name: field.type for field in table.schema}
        assert {name: found[name] for name in ("unique_id", "ds")} == {
            name: types[name] for name in ("unique_id", "ds")
        }
        pd.testing.assert_frame_equal(table.to_pandas(), expected, check_dtype=False)
    assert type(forecaster.cross_validate(given)) is type(given)


def test_dates_of_polars_and_its_names_of_steps():
    months = pd.date_range("2023-01-15", periods=30, freq=pd.DateOffset(months=1))
    frame = polars.from_pandas(sales(months.as_unit("ms"), ids="a")).with_columns(polars.col("ds").cast(polars.Date))
    table = Forecaster("lstm", freq="1mo", **TINY).fit(frame).predict()
    assert table.schema["ds"] == polars.Date
    assert [str(day) for day in table["ds"]] == ["2025-07-15", "2025-08-15"]


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (pd.DataFrame(), DataError, "'the data frame' has no rows; a series needs at least 3 values"),
        (sales().iloc[:0], DataError, "'the data frame' has no rows"),
        ([1.0, 2.0, 3.0], TypeError, "must be a data frame of pandas, polars or pyarrow, got list; make one: pd.DataF"),
        (np.ones(30), TypeError, "got ndarray; make one"),
        ({"y": [1.0]}, TypeError, "got dict; make one"),
        (
            sales()["y"],
            TypeError,
            r"got Series; make a table of it: y\.rename\('y'\)\.rename_axis\('ds'\)\.reset_index",
        ),
        (None, TypeError, "got NoneType; make one"),
        ("sales.csv", TypeError, "got str; make one"),
        (sales().groupby("unique_id"), TypeError, "got DataFrameGroupBy; give the frame itself"),
        (
            pd.concat({"a": sales()}, axis=1),
            DataError,
            "the columns of the data have 2 levels; give them one name each",
        ),
    ],
)
def test_what_is_no_frame_is_one_sentence(data, error, sentence, fitted):
    for ask in (Forecaster("lstm", **TINY).fit, fitted.cross_validate, *([] if data is None else [fitted.predict])):
        with pytest.raises(error, match=sentence):
            ask(data)


def test_a_series_becomes_a_frame_as_the_sentence_says():
    y = pd.Series(np.arange(40.0), index=DAYS)
    table = Forecaster("lstm", **TINY).fit(y.rename("y").rename_axis("ds").reset_index()).predict()
    assert table["ds"].dtype == DAYS.dtype


def test_an_index_of_times_is_used_and_said():
    frame = sales(ids=["a"]).set_index("ds").rename_axis(None)
    with pytest.warns(DataNotice, match="the index of 'the data frame' is taken for the times"):
        table = Forecaster("lstm", **TINY).fit(frame).predict()
    assert list(table.columns) == ["unique_id", "ds", "LSTM"]


def test_a_month_is_a_step():
    months = pd.DatetimeIndex([pd.Timestamp("2022-01-30") + pd.DateOffset(months=place) for place in range(32)])
    frame = sales(months[:30], ids="a")
    for step in (pd.DateOffset(months=1), "1mo", None):
        assert Forecaster("lstm", freq=step, **TINY).fit(frame).predict()["ds"].tolist() == months[30:].tolist()
    with pytest.raises(DataError, match=r"is no step of freq=<DateOffset: months=2> \(their step is '1mo'\)"):
        Forecaster("lstm", freq=pd.DateOffset(months=2), **TINY).fit(frame)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Index])
def test_lists_are_taken_wherever_tuples_are(kind):
    options = {
        "past_cols": kind(["price"]),
        "calendar": kind(["weekday"]),
        "levels": kind([80, 90]),
        "loss": "quantile",
    }
    forecaster = Forecaster("lstm", **TINY, **options)
    assert (forecaster.config.past_cols, forecaster.config.levels) == (("price",), (80, 90))
    forecaster.fit(sales(price=1.0))
    ends = ["LSTM-lo-90", "LSTM-hi-90"]
    for level in (kind([90]), kind([90.0]), 90, 90.0, np.int64(90)):
        assert list(forecaster.predict(level=level).columns)[3:] == ends
    assert list(forecaster.cross_validate(sales(price=1.0), level=90).columns)[5:] == ends
    assert Forecaster(levels=90, loss="quantile").config.interval_levels == (90,)


def test_newer_data_goes_on_by_the_step_it_was_fitted_on(fitted):
    with pytest.raises(RunError, match="not trained on series '5'"):
        fitted.predict(sales(ids=[5]))
    with pytest.raises(RunError, match="trained on steps of D, but the data has steps of h"):
        fitted.predict(sales(pd.date_range("2024-03-01", periods=40, freq="h", tz="Europe/Rome")))
    table = fitted.predict(sales(ids=[5, 2]).assign(y=lambda frame: frame["y"] + 9000), new_series="scale")
    assert table["unique_id"].tolist() == [5, 5, 2, 2]
    assert (table["LSTM"][:2] - 9000).abs().max() < 3


def test_new_series_and_new_steps_get_no_intervals_of_the_old(fitted):
    far = sales(ids=[5, 2]).assign(y=lambda frame: frame["y"] + 9000)
    table = fitted.predict(far, new_series="scale", level=50)
    assert table["LSTM-lo-50"].isna().tolist() == [True, True, False, False]
    alone = Forecaster("lstm", **TINY).fit(sales(ids=[2]))
    hours = sales(pd.date_range("2024-03-01", periods=40, freq="h", tz="Europe/Rome"), ids=[2])
    for frame in (sales(ids=[5]).assign(y=lambda frame: frame["y"] + 9000), hours):
        with pytest.raises(RunError, match="trained on none of these series, so it holds no errors of theirs to make"):
            alone.predict(frame, new_series="scale", level=50)
    moved = hours.assign(y=hours["y"] + 9000)  # sums of days are no sums of hours
    assert (alone.predict(moved, new_series="scale")["LSTM"] - 9000).abs().max() < 5


def test_what_was_decided_is_said_once():
    frame = sales().iloc[::-1].rename(columns={"ds": "Date"})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Forecaster("lstm", **TINY).cross_validate(frame, n_windows=3)
    notes = [str(one.message)[:40] for one in said if one.category is DataNotice]
    assert notes == ["column 'Date' of 'the data frame' is tak", "the rows are not in the order of time co"]


def test_numbers_of_numpy_are_numbers_and_shares_are_no_percent(fitted):
    forecaster = Forecaster("lstm", **(TINY | {"window": np.int64(4), "lr": np.float64(0.01)}))
    assert (type(forecaster.config.window), type(forecaster.config.lr)) == (int, float)
    for call in (fitted.predict, lambda **own: fitted.cross_validate(sales(), **own)):
        with pytest.raises(ValueError, match=r"level 0\.9 is out of range; give percent from 1 to below"):
            call(level=0.9)
    assert len(fitted.predict(h=np.int64(2))) == 2 * len(fitted.run.scaler.ids)
    assert len(fitted.cross_validate(sales(), n_windows=np.int64(1), h=np.int32(2))) == 2 * len(fitted.run.scaler.ids)
    for wrong in (2.5, "x", True, -1):
        with pytest.raises(ValueError, match=r"^val_size must be an integer between 0 and"):
            forecaster.fit(sales(), val_size=wrong)
