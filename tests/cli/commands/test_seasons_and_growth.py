"""What a user need not say: window and horizon, short series, a file that has grown; and what a page shares."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from qkan.cli.main import cli
from qkan.datasets import DataNotice
from qkan.forecasting import Forecaster, load_run, read_config

FAST = ["--cell", "lstm", "--hidden-size", "2", "--epochs", "1", "--batch-size", "64", "--lbfgs-steps", "0"]


def panel(lengths: dict[str, int], freq: str = "h") -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=max(lengths.values()), freq=freq)
    rng = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": times[:length], "y": 10 + rng.random(length)})
        for name, length in lengths.items()
    )


def write(folder: Path, frame: pd.DataFrame, name: str = "values.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


@pytest.mark.parametrize(
    ("freq", "options", "sizes"),
    [
        ("h", [], (48, 24)),
        ("MS", [], (24, 12)),
        ("10min", [], (12, 1)),  # a season of 144 steps would take long
        ("h", ["--season", "6,24"], (12, 6)),
        ("h", ["--season", "none"], (12, 1)),
        ("h", ["--window", "5"], (5, 24)),
        ("h", ["--horizon", "3"], (48, 3)),
    ],
)
def test_window_and_horizon_come_from_the_season(tmp_path, qkan, freq, options, sizes):
    path = write(tmp_path, panel({"a": 400}, freq).drop(columns="unique_id"))
    done = qkan("train", "lstm", "--data", path, *FAST, *options, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    config = read_config(tmp_path / "run")
    assert (config.window, config.horizon) == sizes
    hint = f"next: qkan predict {tmp_path / 'run'}"
    last = done.stdout.splitlines()[-1]
    assert last == hint if config.horizon > 1 else last.startswith(f"{hint} --horizon ")


def test_sizes_fit_a_short_series(tmp_path, qkan):
    path = write(tmp_path, panel({"a": 60}).drop(columns="unique_id"))
    done = qkan("train", "lstm", "--data", path, *FAST, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    config = read_config(tmp_path / "run")
    assert (config.window, config.horizon) == (18, 6)  # the validation part has 6 values, the training part 42


def test_a_comparison_takes_the_same_sizes(tmp_path, qkan):
    path = write(tmp_path, panel({"a": 240}).drop(columns="unique_id"))
    options = ["--cells", "lstm", "--budget-params", "250", "--seeds", "1", "--trials", "1", "--epochs", "1"]
    done = qkan("compare", "lstm", "--data", path, *options, "--workers", "1", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "config.json").read_text())["compare"]
    assert (record["window"], record["horizon"]) == (48, 24)
    assert "MASE" in (tmp_path / "out" / "comparison.md").read_text()


def test_the_step_can_be_given(tmp_path, qkan):
    frame = panel({"a": 50}, "D").drop(columns="unique_id")
    frame = frame[frame["ds"].dt.day_of_week < 5]
    path = write(tmp_path, frame)
    done = qkan("train", "lstm", "--data", path, "--freq", "B", *FAST, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert load_run(tmp_path / "run").data["frequency"] == "B"
    done = qkan("train", "lstm", "--data", path, "--freq", "h", *FAST, "--out", tmp_path / "no")
    assert done.exit_code == 2
    assert "which is no step of --freq h" in done.stderr
    done = qkan("train", "lstm", "--data", "telecom", "--freq", "h", *FAST, "--out", tmp_path / "no")
    assert "--freq h was given, but 'telecom' is a built-in series" in done.stderr


def test_short_series_are_left_out_with_a_count(tmp_path, qkan):
    path = write(tmp_path, panel({"a": 90, "b": 100, "brief": 2, "c": 95, "short": 12}))
    sizes = ["--window", "8", "--horizon", "2"]
    done = qkan("train", "lstm", "--data", path, *FAST, *sizes, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "Note: left out 1 of 5 series, of fewer than 3 values: 'brief'" in done.stderr
    assert "Note: left out 1 of 4 series, too short for --window 8 and --horizon 2: 'short'" in done.stderr
    assert load_run(tmp_path / "run").scaler.ids == ("a", "b", "c")
    forecast = qkan("predict", tmp_path / "run")
    assert forecast.stdout.count("\n") == 1 + 3 * 2
    assert qkan("evaluate", tmp_path / "run").exit_code == 0
    assert qkan("report", tmp_path / "run", "--baselines", "naive").exit_code == 0


def test_all_series_too_short_is_an_error(tmp_path, qkan):
    path = write(tmp_path, panel({"a": 9, "b": 8}))
    done = qkan("train", "lstm", "--data", path, *FAST, "--window", "8", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "series 'a' has 9 points and only 6 of them in the training part, which needs at least 9" in done.stderr


def test_predict_goes_on_with_a_file_that_has_grown(tmp_path, qkan):
    frame = panel({"a": 90, "b": 100})
    path = write(tmp_path, frame[frame["ds"] < "2024-01-04 12:00"])
    done = qkan("train", "lstm", "--data", path, *FAST, "--window", "4", "--horizon", "1", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    before = qkan("evaluate", tmp_path / "run").stdout
    write(tmp_path, frame)
    done = qkan("predict", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "has 22 more values than when" in done.stderr
    assert [line.split(",")[1] for line in done.stdout.splitlines()[1:]] == [
        "2024-01-04 18:00:00",
        "2024-01-05 04:00:00",
    ]
    again = qkan("evaluate", tmp_path / "run")
    assert (again.stdout, "only the values of the training are looked at" in again.stderr) == (before, True)
    frame.iloc[3, 2] += 1
    write(tmp_path, frame)
    done = qkan("predict", tmp_path / "run")
    assert done.exit_code == 2
    assert "has changed since" in done.stderr


def test_a_shared_page_names_no_folder_and_no_option_without_effect(tmp_path, qkan):
    path = write(tmp_path, panel({"a": 90}).drop(columns="unique_id"))
    sizes = ["--window", "8", "--horizon", "1"]
    assert qkan("train", "lstm", "--data", path, *FAST, *sizes, "--out", tmp_path / "run").exit_code == 0
    assert qkan("report", tmp_path / "run", "--baselines", "naive").exit_code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert str(tmp_path) not in page
    assert "qkan train lstm --data values.csv" in page
    for name in ("reps", "ansatz", "qubits", "latent features", "strategy", "num nodes", "time col", "levels"):
        assert f'<th scope="row">{name}</th>' not in page
    assert '<th scope="row">hidden size</th>' in page


def test_a_saved_forecaster_gets_a_report_on_data_that_is_named(tmp_path, qkan):
    frame = panel({"a": 90, "b": 100})
    fitted = Forecaster("lstm", window=4, horizon=1, epochs=1, hidden_size=2, batch_size=64, lbfgs_steps=0).fit(frame)
    fitted.save(tmp_path / "saved")
    done = qkan("report", tmp_path / "saved", "--baselines", "naive")
    assert done.exit_code == 2
    assert "give the data" in done.stderr
    assert "--data" in done.stderr
    path = write(tmp_path, frame)
    done = qkan("report", tmp_path / "saved", "--data", path, "--baselines", "naive")
    assert done.exit_code == 0, done.output
    assert "These are forecasts of values, named for this report" in done.stdout
    page = (tmp_path / "saved" / "report.html").read_text()
    assert "<h1>LSTM on values</h1>" in page
    assert "qkan report saved --data values.csv" in page
    assert "qkan train" not in page


def test_forecaster_takes_the_season_and_other_horizons():
    frame = panel({"a": 200, "b": 150, "short": 20})
    fitted = Forecaster("lstm", season=12, epochs=1, hidden_size=2, batch_size=64, lbfgs_steps=0)
    with pytest.warns(DataNotice, match="left out 1 of 3 series, too short for window=24 and horizon=12: 'short'"):
        fitted.fit(frame)
    assert (fitted.config.window, fitted.config.horizon) == (24, 12)
    assert fitted.run.data["season"] == [12]
    assert fitted.predict().groupby("unique_id").size().to_dict() == {"a": 12, "b": 12}
    assert fitted.predict(h=15).groupby("unique_id").size().to_dict() == {"a": 15, "b": 15}
    whole = frame[frame["unique_id"] != "short"]
    table = fitted.cross_validate(whole, h=5, n_windows=2)
    assert table.groupby(["unique_id", "cutoff"]).size().tolist() == [5] * 4
    with pytest.raises(ValueError, match="h must be an integer between 1 and 10000, got 0"):
        fitted.predict(h=0)


def test_predictions_are_what_evaluation_libraries_read(trained: Path):
    table = load_run(trained).predictions
    assert list(table.columns) == ["unique_id", "ds", "cutoff", "y", "LSTM"]
    assert (table["cutoff"] == table["ds"] - 1).all()
    done = CliRunner().invoke(cli, ["predict", str(trained)])
    assert done.stdout.splitlines()[0] == "unique_id,ds,LSTM"
