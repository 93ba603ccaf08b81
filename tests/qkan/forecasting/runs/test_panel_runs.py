"""Run folders of models with more than one channel."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting import Forecaster, evaluate, load_run, predict, train
from qkan.forecasting.baselines.registry import plain_forecasts
from qkan.forecasting.comparison.workers import train_and_score
from qkan.forecasting.data.load import load_windows
from qkan.forecasting.evaluation.metrics import median_scores, score_series
from qkan.forecasting.report import report_run
from qkan.forecasting.report.run_frame import frames_of
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.runs.inference import windows_for


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=70, freq="h")
    y = np.sin(np.arange(70) / 3)
    frame = pd.DataFrame({"ds": times, "y": y, "x": rng.random(70), "z": rng.random(70)})
    frame.loc[[12, 40, 68], "y"] = np.nan
    path = tmp_path_factory.mktemp("panel") / "values.csv"
    frame.to_csv(path, index=False)
    return tiny_config(
        data=str(path), past_cols=("x",), calendar=("hour",), missing="mask", horizon=2, epochs=6, batch_size=8
    )


class Stop:
    """A watcher that ends the training after the third epoch."""

    def start(self, epochs, steps, done=0): ...

    def step(self, loss, count=1): ...

    def epoch(self, metrics):
        if metrics["epoch"] == 3:
            raise ConnectionResetError

    def finish(self): ...


def test_an_interrupted_run_ends_with_the_same_weights(config, tmp_path):
    whole = train(config, tmp_path / "whole")
    with pytest.raises(ConnectionResetError):
        train(config, tmp_path / "broken", progress=Stop())
    resumed = train(config, tmp_path / "broken", resume=True)
    for mine, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert resumed.history.equals(whole.history)
    assert evaluate(resumed) == whole.metrics["test"]
    table = resumed.predictions
    missing = table[table["y"].isna()]
    assert missing["ds"].unique().tolist() == ["2024-01-03 20:00:00"]
    errors = (table["y"] - table["LSTM"]).abs()
    assert whole.metrics["test"]["LSTM"]["mae"] == pytest.approx(errors.mean())
    loaded = Forecaster.load(tmp_path / "broken")
    renamed = predict(load_run(tmp_path / "whole"))
    assert loaded.predict().equals(renamed)


def test_errors_by_series_and_their_median_by_hand(make_data):
    data = make_data({"a": [0.0, 2, 4, 6, 8, 9], "b": [0.0, 1, 0, 1, 5, 5], "c": [3.0, 3, 3, 3, 3, 3]})
    shift = np.array([[1.0], [1], [1], [2], [2], [2], [6], [6], [6]])
    table = score_series(data, {"model": data.target_values("test") + shift, **plain_forecasts(data, "test")["test"]})
    own = table[table["forecast"] == "model"]
    assert own["mae"].tolist() == pytest.approx([1, 2, 6])
    assert own["mase"].tolist()[:2] == pytest.approx([0.5, 2])
    assert np.isnan(own["mase"].tolist()[2])  # its training part repeats itself
    medians = median_scores(table)
    assert (medians["model"]["mae"], medians["model"]["mase"]) == (pytest.approx(2), pytest.approx(1.25))
    assert medians["Naive"]["mae"] == pytest.approx(np.median([5 / 3, 5 / 3, 0]))


def test_frames_of_a_recursive_run_have_every_step_and_no_missing_target(config, tmp_path):
    run = train(replace(config, strategy="recursive", epochs=1), tmp_path / "run")
    frames = frames_of(run)
    for part in (frames.validation, frames.test):
        assert set(part["step"]) == {1, 2}
        assert part[["y", frames.model]].notna().all(axis=None)
    assert pd.Timestamp("2024-01-03 20:00") not in set(frames.test["ds"])
    assert len(frames.test) == run.predictions["y"].notna().sum()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Three series with missing values: of different lengths, and one whose training part is constant."""
    rng = np.random.default_rng(1)
    times = pd.date_range("2024-01-01", periods=200, freq="h")
    frames = []
    for name, length in (("constant", 160), ("long", 200), ("short", 120)):
        y = 10 + np.sin(np.arange(length) * 2 * np.pi / 24) + rng.normal(0, 0.3, length)
        if name == "constant":
            y[:120] = 5.0
        y[rng.integers(0, length, 20)] = np.nan
        y[-1] = 9.0
        frames.append(pd.DataFrame({"unique_id": name, "ds": times[:length], "y": y}))
    path = tmp_path_factory.mktemp("uneven") / "values.csv"
    pd.concat(frames).to_csv(path, index=False)
    return tiny_config(data=str(path), missing="interpolate", window=6, epochs=1, batch_size=64)


def test_mase_is_the_same_number_wherever_it_is_shown(uneven, tmp_path):
    """Of series that have one: a constant training part takes it from no other series."""
    run = train(uneven, tmp_path / "run")
    shown = run.metrics["test"]["LSTM"]["mase"]
    own = score_series(windows_for(run), {"model": forecast_windows(run.model, windows_for(run))})["mase"]
    assert own.isna().tolist() == [True, False, False]
    assert shown == pytest.approx(own.mean())
    assert run.metrics["without_mase"] == 1
    assert evaluate(run)["LSTM"]["mase"] == shown
    report = report_run(run, baselines=("naive",))
    assert report.accuracy.pooled.set_index("model")["mase"].tolist() == pytest.approx(
        [shown, run.metrics["test"]["Naive"]["mase"]]
    )
    assert "1 of 3 series have none, because their training part repeats itself" in report.path.read_text()
    record, _ = train_and_score(uneven, load_windows(uneven))
    assert record["test_mase"] == pytest.approx(shown)


def test_a_constant_series_takes_no_intervals_from_the_others(uneven, tmp_path):
    run = train(uneven, tmp_path / "run")
    made = report_run(run, baselines=("naive",), levels=(95,))  # more than the errors of one series can tell
    own = made.accuracy.per_series.set_index(["model", "unique_id"])["coverage-95"].unstack()
    assert own.isna().all().tolist() == [True, False, False]
    assert made.accuracy.pooled["coverage-95"].notna().all()
    assert any("1 of 3 series have none" in note and "repeats itself" in note for note in made.notes)
