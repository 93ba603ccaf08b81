"""Errors as the papers on a benchmark give them, by hand from what a run predicted."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, DataNotice
from qkan.forecasting import CompareConfig, TrainConfig, compare, load_run, train
from qkan.forecasting.data import load
from qkan.forecasting.data.load import cut_windows, load_series_of

_TINY = {"cell": "linear", "window": 6, "epochs": 1, "season": "none", "device": "cpu"}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "rates.csv"
    rng = np.random.default_rng(0)
    dates = pd.date_range("2024-01-01", periods=103, freq="D")
    channels = {"a": rng.normal(size=103).cumsum(), "b": 1e3 * rng.normal(size=103)}
    pd.DataFrame({"date": dates, **channels}).to_csv(path, index=False)
    return path


def test_ltsf_errors_are_standardised_over_all_channels_and_windows(wide, tmp_path):
    run = train(TrainConfig(data=str(wide), protocol="ltsf", horizon=4, **_TINY), tmp_path / "run")
    values = pd.read_csv(wide)
    assert run.config.scaler == "standard"
    frame = run.predictions
    assert len(frame) == 2 * (20 - 4 + 1) * 4  # nothing is dropped
    deviation = frame["unique_id"].map({name: values[name][:72].std(ddof=0) for name in "ab"})
    error = (frame["Linear"] - frame["y"]) / deviation
    wanted = {"mse": (error**2).mean(), "mae": error.abs().mean()}
    assert run.metrics["protocol"]["Linear"] == pytest.approx(wanted, rel=1e-6)
    assert set(run.metrics["protocol"]) == set(run.metrics["test"])
    assert load_run(tmp_path / "run").metrics["protocol"] == run.metrics["protocol"]


def test_files_of_a_run_hold_every_kth_window_of_a_large_part_and_errors_count_all(wide, tmp_path, monkeypatch):
    config = TrainConfig(data=str(wide), protocol="ltsf", horizon=4, **_TINY)
    whole = train(config, tmp_path / "whole")
    monkeypatch.setattr(load, "MOST_TARGETS", 2 * 17 * 4 // 3 + 1)
    with pytest.warns(DataNotice, match="predictions.csv holds 12 of 34 windows of the test part, evenly spread"):
        thin = train(config, tmp_path / "thin")
    assert thin.metrics["protocol"] == whole.metrics["protocol"]
    assert thin.metrics["test"] == whole.metrics["test"]
    kept = whole.predictions.groupby("unique_id")["cutoff"].transform(lambda own: pd.factorize(own)[0] % 3 == 0)
    pd.testing.assert_frame_equal(thin.predictions, whole.predictions[kept].reset_index(drop=True))
    origins = [own.validation.groupby("unique_id")["cutoff"].nunique().tolist() for own in (whole, thin)]
    assert origins == [[8, 8], [4, 4]]


def test_m4_errors_are_means_over_series_scaled_by_all_values_before_the_test(tmp_path):
    rng = np.random.default_rng(1)
    train_values = {name: rng.normal(size=size).cumsum() + 20 for name, size in (("Y1", 31), ("Y2", 44))}
    test_values = {name: rng.normal(size=6) + 20 for name in train_values}
    for name, rows in (("Yearly-train.csv", train_values), ("Yearly-test.csv", test_values)):
        frame = pd.DataFrame({own: pd.Series(values) for own, values in rows.items()}).T
        frame.to_csv(tmp_path / name, index_label="V1")
    config = TrainConfig(data=str(tmp_path / "Yearly-train.csv"), protocol="m4", horizon=6, **_TINY)
    run = train(config, tmp_path / "run")
    frame, mase, smape = run.predictions, [], []
    for name, values in train_values.items():
        own = frame[frame["unique_id"] == name]
        np.testing.assert_allclose(own["y"], test_values[name])
        error = (own["Linear"] - own["y"]).abs()
        mase.append(error.mean() / np.abs(np.diff(values)).mean())
        smape.append((200 * error / (own["y"].abs() + own["Linear"].abs())).mean())
    wanted = {"mase": np.mean(mase), "smape": np.mean(smape)}
    assert run.metrics["protocol"]["Linear"] == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(DataError, match="judges the 6 test values of every series, so horizon must be 6, got 5"):
        train(TrainConfig(data=config.data, protocol="m4", horizon=5, **_TINY), tmp_path / "other")


def test_series_of_m4_that_a_window_leaves_out_are_said_with_one_that_does_not(tmp_path):
    sizes = {"Y1": 13, "Y2": 20, "Y3": 40}
    for name, rows in (("train", sizes), ("test", dict.fromkeys(sizes, 6))):
        frame = pd.DataFrame({own: pd.Series(np.arange(size) ** 0.5) for own, size in rows.items()}).T
        frame.to_csv(tmp_path / f"Yearly-{name}.csv", index_label="V1")
    options = {name: value for name, value in _TINY.items() if name != "window"}
    config = TrainConfig(data=str(tmp_path / "Yearly-train.csv"), protocol="m4", horizon=6, window=9, **options)
    said = (
        "left out 2 of 3 series, too short for window=9 and horizon=6, so these are not the errors of all series that "
        "M4 tells of (window=1 leaves none out): 'Y1', 'Y2'"
    )
    with pytest.warns(DataNotice, match=re.escape(said)):
        assert cut_windows(load_series_of(config), config).ids == ("Y3",)
    config = replace(config, window=1)
    assert cut_windows(load_series_of(config), config).ids == ("Y1", "Y2", "Y3")


@pytest.mark.parametrize("data", ["telecom", "no-such-file"])
def test_a_protocol_asks_for_the_file_of_a_benchmark(data):
    with pytest.raises(DataError, match=f"protocol='ltsf' is for files of public benchmarks, and '{data}' names none"):
        load_series_of(TrainConfig(data=data, protocol="ltsf"))


def test_a_comparison_has_the_errors_of_the_protocol_and_linear_forecasters(wide, tmp_path):
    options = {"cells": ("linear", "gru"), "seeds": 1, "trials": 1, "budget_params": (60,), "workers": 1}
    shared = {name: value for name, value in _TINY.items() if name != "cell"}
    config = CompareConfig(
        data=str(wide), protocol="ltsf", horizon=4, out=str(tmp_path / "compared"), **options, **shared
    )
    table = compare(config).table.set_index("cell")
    run = train(TrainConfig(data=str(wide), protocol="ltsf", horizon=4, lr=1e-2, **_TINY), tmp_path / "run")
    assert table.loc["linear", "ltsf_mse_median"] == pytest.approx(run.metrics["protocol"]["Linear"]["mse"], rel=1e-5)
    assert table.loc["linear", "parameters"] == 6 * 4
    assert table.loc["Naive", "ltsf_mae_median"] == pytest.approx(run.metrics["protocol"]["Naive"]["mae"])
    page = (tmp_path / "compared" / "comparison.md").read_text()
    assert "| MSE of ltsf" in page
    assert "| Linear " in page


@pytest.mark.parametrize("option", [{"time_col": "date"}, {"split": (0.6, 0.2, 0.2)}, {"future_cols": ("a",)}])
def test_what_a_protocol_prescribes_cannot_be_chosen(option):
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=re.escape(f"{name}={value!r} has no effect with protocol='ltsf'")):
        TrainConfig(data="x.csv", protocol="ltsf", **option)
