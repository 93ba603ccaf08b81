"""Intervals: what ``predict`` returns is what the report of the run measures, for any loss."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_runs import tiny_config

from qkan.datasets import DataNotice
from qkan.forecasting import Forecaster, RunError, load_run, predict, train
from qkan.forecasting.evaluation import calibration
from qkan.forecasting.evaluation.conformal import conformal_rank
from qkan.forecasting.report import report_run
from qkan.forecasting.report.run_frame import frames_of
from qkan.forecasting.runs import conformal


@pytest.fixture(scope="module")
def quantile_run(tmp_path_factory):
    config = tiny_config(loss="quantile", levels=(50, 90))
    return train(config, tmp_path_factory.mktemp("runs") / "quantile")


def test_conformal_radii_by_hand(finished_run):
    table = predict(finished_run, level=(80, 90))
    assert list(table.columns) == [
        "unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80", "LSTM-lo-90", "LSTM-hi-90",
    ]  # fmt: skip
    scores = np.sort((finished_run.validation["y"] - finished_run.validation["LSTM"]).abs())
    for level in (80, 90):
        radius = scores[conformal_rank(len(scores), level) - 1]
        np.testing.assert_allclose(table[f"LSTM-hi-{level}"] - table["LSTM"], radius, rtol=1e-12)
        np.testing.assert_allclose(table["LSTM"] - table[f"LSTM-lo-{level}"], radius, rtol=1e-12)
    assert predict(finished_run).equals(table[["unique_id", "ds", "LSTM"]])


def test_steps_beyond_the_horizon_have_no_conformal_interval(finished_run):
    with pytest.warns(
        DataNotice, match=r"^intervals end with step 1 of 3: later steps go on from forecasts .*horizon=3"
    ):
        table = predict(finished_run, level=[80], horizon=3)
    assert table["LSTM-lo-80"].isna().tolist() == [False, True, True]
    assert table["LSTM"].notna().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(finished_run, level=[80])
        predict(finished_run, horizon=3)  # nobody asked for intervals


def test_the_report_measures_the_intervals_that_predict_returns(quantile_run, tmp_path):
    made = report_run(quantile_run, tmp_path / "r.html", baselines=())
    pooled = made.accuracy.pooled.set_index("model")
    assert list(pooled.index) == ["LSTM", "LSTM (conformal)"]
    for level in (50, 90):  # the levels of the training, from the file that the training left
        own = quantile_run.predictions
        inside = (own["y"] >= own[f"LSTM-lo-{level}"]) & (own["y"] <= own[f"LSTM-hi-{level}"])
        assert pooled.loc["LSTM", f"coverage-{level}"] == pytest.approx(100 * inside.mean())
    conformal = predict(quantile_run, conformal=True)
    width = (conformal["LSTM-hi-90"] - conformal["LSTM-lo-90"]).iloc[0]
    assert pooled.loc["LSTM (conformal)", "width-90"] == pytest.approx(width, rel=1e-6)
    assert made.notes[0] == "Intervals of LSTM are its own, which the quantile loss trained."
    assert made.notes[1].startswith("Intervals of LSTM (conformal) (50 % and 90 %) are split-conformal")


def test_levels_of_the_training_are_its_own_and_others_conformal(quantile_run):
    own = predict(quantile_run)
    assert predict(quantile_run, level=[90]).equals(own.drop(columns=["LSTM-lo-50", "LSTM-hi-50"]))
    mixed = predict(quantile_run, level=[90, 95])
    assert (mixed["LSTM-hi-95"] >= mixed["LSTM-hi-90"]).all()
    assert not np.isclose(mixed["LSTM-hi-90"], own["LSTM-hi-90"]).any()


def test_a_recursive_run_calibrates_every_step_of_its_horizon(tmp_path):
    run = train(tiny_config(strategy="recursive", horizon=3, epochs=1), tmp_path / "run")
    assert set(run.validation["step"]) == {1, 2, 3}
    pd.testing.assert_frame_equal(
        run.validation.drop(columns="unit"),
        frames_of(run).validation,
        rtol=0,
        atol=0,
    )
    assert predict(run, level=[80]).notna().all(axis=None)


def test_a_run_without_a_validation_part_says_what_is_lacking(tmp_path):
    run = train(replace(tiny_config(epochs=1), split=(0.8, 0.0, 0.2)), tmp_path / "run")
    assert not (run.path / "validation.csv").exists()
    with pytest.raises(RunError, match=r"run holds no errors on a validation part to make intervals from; predict wi"):
        predict(run, level=[80])


@pytest.mark.parametrize(
    "damage", ["", "unique_id,ds\n", "a,b\n1,2\n", "unique_id,ds,cutoff,step,y,LSTM,unit\na,2,1,1,x,1,1\n"]
)
def test_a_damaged_file_of_errors_is_one_sentence(finished_run, tmp_path, damage):
    copy = shutil.copytree(finished_run.path, tmp_path / "copy")
    (copy / "validation.csv").write_text(damage)
    with pytest.raises(RunError, match=r"cannot read .*validation\.csv: "):
        predict(load_run(copy), level=[80])


def test_a_forecaster_gives_conformal_intervals_before_and_after_saving(tmp_path):
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=90, freq="h"), "y": np.sin(np.arange(90) / 3)}
    )
    fitted = Forecaster("lstm", window=4, horizon=2, epochs=1, hidden_size=2, batch_size=64).fit(frame, val_size=20)
    table = fitted.predict(level=[80])
    assert list(table.columns) == ["unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    fitted.save(tmp_path / "saved")
    assert Forecaster.load(tmp_path / "saved").predict(frame, level=[80]).equals(table)


def test_adaptive_intervals_go_on_from_all_errors_that_are_known(finished_run, tmp_path):
    table = predict(finished_run, level=(80, 90), intervals="adaptive", horizon=2)
    assert table["LSTM-hi-90"].isna().tolist() == [False, True]  # no errors of two steps were seen
    width = (table["LSTM-hi-90"] - table["LSTM"]).iloc[0]
    frames = frames_of(finished_run)
    errors = pd.concat([(frame["y"] - frame["LSTM"]).abs() for frame in (frames.validation, frames.test)])
    assert np.isclose(errors, width, rtol=1e-9).any()
    assert table["LSTM-lo-80"].iloc[0] >= table["LSTM-lo-90"].iloc[0]
    made = report_run(finished_run, tmp_path / "r.html", baselines=("naive",), levels=(90,), intervals="adaptive")
    assert made.notes[0].startswith("Intervals of LSTM, Naive (90 %) are adaptive: from the last 500 errors of each")
    assert 80 <= made.accuracy.pooled.set_index("model").loc["LSTM", "coverage-90"] <= 100
    assert "--intervals adaptive" in (tmp_path / "r.html").read_text()


def test_adaptive_intervals_without_enough_errors_are_refused(finished_run):
    with pytest.raises(RunError, match=r"too few values behind its training part for adaptive intervals of 99.9 %; "):
        predict(finished_run, level=(99.9,), intervals="adaptive")
    with pytest.raises(ValueError, match="unknown intervals 'rolling'; choose one of split, adaptive"):
        predict(finished_run, level=(90,), intervals="rolling")


def test_adaptive_intervals_of_a_forecaster_know_only_errors_that_it_was_not_trained_on(monkeypatch):
    values = np.sin(np.arange(400) / 3) + np.random.default_rng(0).normal(size=400) / 5
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(400), "y": values})
    taken = []

    def adapt(errors, *arguments, **options):
        taken.append(errors)
        return calibration.adapt(errors, *arguments, **options)

    monkeypatch.setattr(conformal, "adapt", adapt)
    fitted = Forecaster("lstm", hidden_size=1, window=6, horizon=1, epochs=1).fit(frame)
    fitted.predict(level=80, intervals="adaptive")
    assert taken[0]["ds"].min() == 360  # the newest tenth chose the epoch; all before was trained on
    everything = Forecaster("lstm", hidden_size=1, window=6, horizon=1, epochs=1).fit(frame, val_size=0)
    with pytest.raises(RunError, match="trained on all of its data, so no errors are left; fit it with val_size above"):
        everything.predict(level=80, intervals="adaptive")
