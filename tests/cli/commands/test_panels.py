"""Covariates, missing values, losses and strategies on the command line."""

import json

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting import load_run, read_config

TINY = [
    "--cell",
    "lstm",
    "--hidden-size",
    "2",
    "--epochs",
    "2",
    "--batch-size",
    "64",
    "--window",
    "4",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """A file of two hourly series with covariates, a gap and a missing value."""
    rng = np.random.default_rng(0)
    parts = []
    for name, length in (("east", 60), ("west", 70)):
        times = pd.date_range("2024-01-01", periods=length, freq="h")
        holiday = rng.integers(0, 2, length).astype(float)
        y = np.sin(np.arange(length) / 3) + holiday
        parts.append(
            pd.DataFrame({"site": name, "time": times, "sales": y, "price": rng.random(length), "off": holiday})
        )
    frame = pd.concat(parts, ignore_index=True).drop(index=[20, 21])
    frame.loc[30, "sales"] = np.nan
    path = tmp_path_factory.mktemp("panel") / "sales.csv"
    frame.to_csv(path, index=False)
    return path


def columns(path):
    return ["--data", str(path), "--time-col", "time", "--target-col", "sales", "--id-col", "site"]


EXTRAS = ["--past-cols", "price", "--future-cols", "off", "--calendar", "hour,weekday", "--missing", "mask"]


@pytest.fixture(scope="module")
def run(panel, tmp_path_factory):
    from click.testing import CliRunner

    from qkan.cli.main import cli

    out = tmp_path_factory.mktemp("runs") / "sales"
    options = ["--horizon", "2", "--loss", "quantile", "--levels", "80,90", "--out", str(out)]
    done = CliRunner().invoke(cli, ["train", "lstm", *columns(panel), *EXTRAS, *TINY, *options])
    assert done.exit_code == 0, done.output
    return out, done.output


def test_a_run_records_the_options_and_scores_every_series(run):
    out, text = run
    config = read_config(out)
    assert (config.past_cols, config.future_cols, config.calendar) == (("price",), ("off",), ("hour", "weekday"))
    assert (config.missing, config.loss, config.levels) == ("mask", "quantile", (80.0, 90.0))
    assert "9: value; observed or not; past price; future off; calendar hour, weekday; season 24" in text
    assert "Test part, all series together" in text
    assert "Test part, median over the series" in text
    by_series = pd.read_csv(out / "metrics_by_series.csv")
    metrics = json.loads((out / "metrics.json").read_text())
    own = by_series[by_series["forecast"] == "LSTM"]
    assert own["unique_id"].tolist() == ["east", "west"]
    assert metrics["test_median"]["LSTM"]["mae"] == pytest.approx(own["mae"].median())
    table = load_run(out).predictions
    errors = (table["y"] - table["LSTM"]).abs()
    assert metrics["test"]["LSTM"]["mae"] == pytest.approx(errors.mean())
    for name, mae in zip(own["unique_id"], own["mae"], strict=True):
        assert mae == pytest.approx(errors[table["unique_id"] == name].mean())
    ends = table[["LSTM-lo-90", "LSTM-lo-80", "LSTM", "LSTM-hi-80", "LSTM-hi-90"]].to_numpy()
    assert (np.diff(ends, axis=1) >= 0).all()


def test_evaluate_prints_the_medians_again(qkan, run):
    done = qkan("evaluate", str(run[0]))
    for title in ("all series together", "median over the series"):
        assert f"Test part, {title}" in done.output
        table = done.output.split(title)[1].splitlines()[:6]
        assert table[3:] == run[1].split(title)[1].splitlines()[3:6]


def future_rows(steps):
    rows = [
        {"site": name, "time": start + pd.Timedelta(hours=step), "off": 1}
        for name, start in (("east", pd.Timestamp("2024-01-03 12:00")), ("west", pd.Timestamp("2024-01-03 22:00")))
        for step in range(steps)
    ]
    return pd.DataFrame(rows)


def test_predict_takes_the_future_from_a_file_or_from_the_data(qkan, run, panel, tmp_path):
    later, together, out = tmp_path / "later.csv", tmp_path / "together.csv", tmp_path / "forecast.csv"
    future_rows(3).to_csv(later, index=False)
    pd.concat([pd.read_csv(panel, parse_dates=["time"]), future_rows(3)]).sort_values(["site", "time"]).to_csv(
        together, index=False
    )
    first = qkan("predict", str(run[0]), "--future", str(later)).stdout
    assert first.splitlines()[0] == "unique_id,ds,LSTM,LSTM-lo-80,LSTM-hi-80,LSTM-lo-90,LSTM-hi-90"
    assert len(first.splitlines()) == 5
    assert qkan("predict", str(run[0]), "--data", str(together)).stdout == first
    qkan("predict", str(run[0]), "--future", str(later), "--horizon", "3", "--out", str(out))
    table = pd.read_csv(out)
    assert table["LSTM"].notna().all()
    assert table["LSTM-hi-90"].isna().tolist() == [False, False, True] * 2  # fed back: no honest interval


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--future-cols", "rain"], "'sales.csv' has no future column 'rain'; its columns are"),
        (["--past-cols", "site"], "covariate 'site' is the time, target or id column already"),
        (["--missing", "refuse"], "or say how to treat missing values with --missing mask, 'interpolate' or 'zero'"),
        (["--missing", "drop"], "'drop' is not one of 'refuse', 'mask', 'interpolate', 'zero'"),
        (["--calendar", "hours"], "unknown calendar feature 'hours'; choose from minute, hour"),
        (["--levels", "80"], "--levels 80.0 need the loss that trains quantiles: --loss quantile, not --loss mse"),
        (["--levels", "most"], "'most' is not a list of percentages separated by commas, such as 80,90"),
        (["--loss", "quantile", "--levels", "120"], "levels must lie between 1 and 100 %"),
        (["--strategy", "guess"], "'guess' is not one of 'direct', 'recursive'"),
        (
            ["--loss", "quantile", "--strategy", "recursive", "--horizon", "2"],
            "--loss quantile with --strategy recursive would give intervals that ignore",
        ),
    ],
)
def test_impossible_options_are_refused(qkan, panel, tmp_path, options, message):
    done = qkan(
        *("train", "lstm", *columns(panel), "--missing", "mask", *TINY, "--out", str(tmp_path / "run"), *options)
    )
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "run").exists()


def test_steps_have_no_calendar(qkan, tmp_path):
    done = qkan("train", "lstm", "--data", "damped-shm", *TINY, "--calendar", "hour", "--out", str(tmp_path / "x"))
    assert done.exit_code == 2
    assert "--calendar hour needs dates, but the times of the data are whole-number steps" in " ".join(
        done.output.split()
    )


def test_missing_future_rows_are_named(qkan, run):
    done = qkan("predict", str(run[0]))
    assert done.exit_code == 2
    assert "series 'east' has 0 future rows with off, but 2 steps are to be forecast" in " ".join(done.output.split())


def test_a_file_for_the_future_needs_a_model_that_knows_it(qkan, panel, tmp_path):
    out = tmp_path / "run"
    qkan("train", "lstm", *columns(panel), "--missing", "zero", *TINY, "--strategy", "recursive", "--out", str(out))
    assert read_config(out).strategy == "recursive"
    done = qkan("predict", str(out), "--future", str(panel))
    assert done.exit_code == 2
    assert "the model uses no covariate known in advance" in " ".join(done.output.split())


def test_cells_are_compared_on_the_same_channels(qkan, panel, tmp_path):
    out = tmp_path / "compared"
    qkan(
        *(
            "compare",
            "lstm",
            *columns(panel),
            *EXTRAS,
            "--cells",
            "lstm,gru",
            "--budget-params",
            "120",
            "--trials",
            "1",
        ),
        *("--seeds", "1", "--epochs", "1", "--window", "4", "--workers", "1", "--loss", "mae", "--out", str(out)),
    )
    table = pd.read_csv(out / "runs.csv")
    assert (table["parameters"] > 40).all()
    assert table["test_mae"].notna().all()
    assert json.loads((out / "config.json").read_text())["compare"]["calendar"] == ["hour", "weekday"]
