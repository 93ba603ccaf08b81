import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_config

from qkan.datasets import DataError, DataNotice, Series, load_series, series_from_frame
from qkan.datasets.table_form import TableForm
from qkan.forecasting import RunError, evaluate, predict, train
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.runs.inference import windows_for


def series_of(values, name="damped-shm", start=0, **options) -> Series:
    steps = np.arange(start, start + len(values), dtype=np.int64)
    frame = pd.DataFrame({"unique_id": name, "ds": steps, "y": np.asarray(values, dtype=np.float64)})
    return Series(name, frame, **options)


@pytest.fixture(scope="module")
def two_series_run(two_series_file, tmp_path_factory):
    config = tiny_config(data=str(two_series_file), time_col="ds", horizon=2)
    return train(config, tmp_path_factory.mktemp("runs") / "two")


def test_evaluating_again_gives_the_metrics_of_the_run(finished_run):
    assert evaluate(finished_run) == finished_run.metrics["test"]


def test_model_row_is_the_error_of_the_model(finished_run):
    data = windows_for(finished_run)
    errors = forecast_windows(finished_run.model, data) - data.target_values("test")
    assert evaluate(finished_run)["LSTM"]["mae"] == pytest.approx(np.abs(errors).mean())


def test_other_data_is_scaled_as_in_training(finished_run):
    louder = series_of(3 * load_series("damped-shm").values)
    data = windows_for(finished_run, louder)
    assert data.scaler.offset == finished_run.scaler.offset
    np.testing.assert_allclose(data.inverse(data.test.targets, data.test.series), data.target_values("test"), rtol=1e-5)
    assert data.train.inputs.max() > 2


def test_a_series_that_its_data_does_not_name_is_that_of_a_run_of_one(finished_run):
    unnamed = series_of(load_series("damped-shm").values, "calls", form=TableForm(named=False))
    assert evaluate(finished_run, unnamed) == evaluate(finished_run)


def test_data_can_be_named_or_read_from_a_file(finished_run, tmp_path):
    path = tmp_path / "values.csv"
    pd.DataFrame({"y": load_series("damped-shm").values}).to_csv(path, index=False)
    assert evaluate(finished_run, path) == evaluate(finished_run, "damped-shm")


def test_changed_data_of_a_run_is_refused_until_it_is_named(tmp_path):
    path = tmp_path / "values.csv"
    values = np.sin(np.arange(80) / 4)
    pd.DataFrame({"y": values}).to_csv(path, index=False)
    run = train(tiny_config(data=str(path), epochs=1), tmp_path / "run")
    pd.DataFrame({"y": np.append(0.25, values)}).to_csv(path, index=False)
    for ask in (evaluate, predict):
        with pytest.raises(RunError, match=r"values\.csv' has changed since .*run was trained; to use the new values"):
            ask(run)
    assert predict(run, data=path)["ds"].tolist() == [81]


def test_prediction_of_the_trained_horizon_is_the_model_on_the_last_window(finished_run):
    series = load_series("damped-shm")
    table = predict(finished_run)
    assert list(table.columns) == ["unique_id", "ds", "LSTM"]
    assert (table["unique_id"].tolist(), table["ds"].tolist()) == (["damped-shm"], [240])
    scaled = finished_run.scaler.transform(series.values[-4:])
    with torch.no_grad():
        expected = finished_run.model(torch.tensor(scaled, dtype=torch.float32)[None, :, None])
    assert table["LSTM"].tolist() == pytest.approx(finished_run.scaler.inverse_transform(expected.numpy())[0].tolist())


def test_longer_horizon_feeds_predictions_back(finished_run):
    values = list(load_series("damped-shm").values)
    for step in range(3):
        values.append(predict(finished_run, data=series_of(values))["LSTM"].iloc[0])
        assert len(values) == 241 + step
    np.testing.assert_allclose(predict(finished_run, horizon=3)["LSTM"], values[-3:], rtol=1e-5)


def test_horizons_are_prefixes_of_each_other(two_series_run):
    long = predict(two_series_run, horizon=5)
    for horizon in (1, 2, 3, 4):
        short = predict(two_series_run, horizon=horizon)
        expected = long.groupby("unique_id").head(horizon).reset_index(drop=True)
        pd.testing.assert_frame_equal(short, expected)


def test_every_series_goes_on_in_its_own_time_and_level(two_series_run):
    table = predict(two_series_run, horizon=3)
    assert table["unique_id"].tolist() == ["east"] * 3 + ["west"] * 3
    expected = pd.date_range("2024-01-03 12:00", periods=3, freq="h")
    assert table["ds"].tolist() == 2 * expected.tolist()
    assert table.groupby("unique_id")["LSTM"].mean().round(-1).to_dict() == {"east": 10, "west": -50}


def test_telecom_goes_on_on_the_next_working_morning(tmp_path):
    run = train(tiny_config(data="telecom", epochs=1, batch_size=4096), tmp_path / "run")
    times = predict(run, horizon=170)["ds"]
    assert times.iloc[0] == pd.Timestamp("2003-10-27 07:00")  # the data ends on Friday 24 October at 21:00
    assert times.iloc[[168, 169]].tolist() == [pd.Timestamp("2003-10-27 21:00"), pd.Timestamp("2003-10-28 07:00")]


def test_some_of_the_series_keep_their_own_scale(two_series_run, two_series_file, tmp_path):
    frame = pd.read_csv(two_series_file)
    frame[frame["unique_id"] == "west"].to_csv(tmp_path / "west.csv", index=False)
    whole, one = predict(two_series_run), predict(two_series_run, data=tmp_path / "west.csv")
    pd.testing.assert_frame_equal(one, whole[whole["unique_id"] == "west"].reset_index(drop=True))


def test_series_that_the_run_does_not_know_is_refused(two_series_run, two_series_file, tmp_path):
    frame = pd.read_csv(two_series_file)
    frame["unique_id"] = frame["unique_id"].replace("east", "north")
    frame.to_csv(tmp_path / "north.csv", index=False)
    with pytest.raises(RunError, match=r"was not trained on series 'north'; it knows 2 series, 'east' the first"):
        predict(two_series_run, data=tmp_path / "north.csv")


def test_series_shorter_than_the_window_is_refused(finished_run):
    with pytest.raises(
        DataError, match=r"series 'damped-shm' has 3 values, the model needs the last 4; give more data"
    ):
        predict(finished_run, data=series_of([1.0, 2, 3]))


@pytest.mark.parametrize("horizon", [0, -1, 10_001, 1.5, True])
def test_horizon_out_of_range_is_refused(finished_run, horizon):
    with pytest.raises(ValueError, match=f"horizon must be an integer between 1 and 10000, got {horizon!r}"):
        predict(finished_run, horizon=horizon)


def test_future_values_never_change_earlier_predictions(finished_run, tmp_path):
    values = load_series("damped-shm").values
    run = replace(finished_run, path=shutil.copytree(finished_run.path, tmp_path / "copy"))
    before = forecast_windows(run.model, windows_for(run, series_of(values)))
    changed = np.concatenate([values[:220], values[220:] + 5.0])
    after = forecast_windows(run.model, windows_for(run, series_of(changed)))
    np.testing.assert_array_equal(before[:29], after[:29])  # targets 192 to 220 see nothing after step 219
    assert not np.allclose(before[29:], after[29:])


# --- what a run was not trained on ------------------------------------------------------------------------------------


def days(level, name="east", freq="D", count=40):
    times = pd.date_range("2024-01-01", periods=count, freq=freq)
    return pd.DataFrame({"unique_id": name, "ds": times, "y": level + np.sin(np.arange(count) / 3)})


def test_a_run_of_one_series_refuses_another_id(finished_run):
    for ask in (evaluate, lambda run, series: predict(run, data=series)):
        with pytest.raises(RunError, match=r"not trained on series 'renamed'; .* with new_series='scale'"):
            ask(finished_run, series_of(load_series("damped-shm").values, "renamed"))


def test_a_series_far_from_what_was_trained_is_said(finished_run, tmp_path):
    path = tmp_path / "calls.csv"
    pd.DataFrame({"y": 9239 + load_series("damped-shm").values}).to_csv(path, index=False)
    with pytest.warns(
        DataNotice, match=r"the last values of series 'calls' lie \d{4} times as far from the middle as those"
    ):
        predict(finished_run, data=path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataNotice)
        predict(finished_run)


def test_other_steps_are_refused(two_series_run, finished_run):
    with pytest.raises(
        RunError, match=r"was trained on steps of h, but the data has steps of D; resample the data, train"
    ):
        predict(two_series_run, data=series_from_frame(days(10.0)))
    frame = load_series("damped-shm").frame
    with pytest.raises(
        RunError, match=r"was trained on whole-number steps of 1, but the data has whole-number steps of 5; resample"
    ):
        predict(finished_run, data=series_from_frame(frame.assign(ds=5 * frame["ds"])))
    with pytest.raises(RunError, match=r"was trained on whole-number steps of 1, but the data has steps of D"):
        predict(finished_run, data=series_from_frame(days(0.0, "damped-shm")))


def test_a_few_times_that_fit_several_steps_have_that_of_the_run(tmp_path):
    data = tmp_path / "working.csv"
    days(10.0, freq="B").to_csv(data, index=False)
    run = train(tiny_config(data=str(data), epochs=1), tmp_path / "run")
    week = days(10.0, freq="B", count=5)  # Monday to Friday: days, or working days
    week.to_csv(data, index=False)
    assert predict(run, data=data)["ds"].tolist() == [pd.Timestamp("2024-01-08")]


@pytest.mark.parametrize("last", [9239.0, -3e6])
def test_new_series_are_scaled_by_their_own_window_when_asked(two_series_run, last):
    frame = pd.concat([days(last, "new", "h"), days(10.0, "east", "h"), days(-last, "newer", "h")])
    series = series_from_frame(frame)
    with pytest.raises(RunError, match="not trained on series 'new'; it knows 2 series, 'east' the first of them"):
        predict(two_series_run, data=series)
    table = predict(two_series_run, data=series, new_series="scale")
    assert table["unique_id"].drop_duplicates().tolist() == ["new", "east", "newer"]
    for name, level in (("new", last), ("newer", -last)):
        assert (table[table["unique_id"] == name]["LSTM"] - level).abs().max() < 3
    known = predict(two_series_run, data=series_from_frame(days(10.0, "east", "h")))
    assert table[table["unique_id"] == "east"]["LSTM"].tolist() == pytest.approx(known["LSTM"].tolist())
    scores = evaluate(two_series_run, series, new_series="scale")
    assert scores["LSTM"]["mae"] < 3
    with pytest.raises(ValueError, match="unknown new_series 'guess'; choose one of refuse, scale"):
        predict(two_series_run, data=series, new_series="guess")
