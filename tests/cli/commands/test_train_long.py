"""``qkan train lstm`` on long windows: orders, linear forecasters, the gate and the protocols of benchmarks."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two channels of 400 hours with a day of 24, wide, in the working directory."""
    monkeypatch.chdir(tmp_path)
    steps, rng = np.arange(400), np.random.default_rng(0)
    wave = 10 + np.sin(2 * np.pi * steps / 24)
    channels = {name: wave + 0.1 * rng.normal(size=400) for name in ("a", "b")}
    dates = pd.date_range("2024-01-01", periods=400, freq="h")
    pd.DataFrame({"date": dates, **channels}).to_csv("hours.csv", index=False)
    return Path("hours.csv")


COMMON = ("--protocol", "ltsf", "--window", "48", "--horizon", "6", "--epochs", "1", "--season", "24", "--seed", "1")
COMMON += ("--lbfgs-steps", "0")


@pytest.mark.parametrize(
    ("options", "cell", "read"),
    [
        (("--cell", "sparse"), "sparse", ", read by periods of 24"),
        (("--cell", "linear"), "linear", ""),
        (("--cell", "cycle"), "cycle", ""),
        (("--cell", "gru", "--order", "periods"), "gru, hidden size 4, layers 1", ", read by periods of 24"),
        (("--cell", "lstm", "--segment", "12"), "lstm, hidden size 4, layers 1", ", read by segments of 12"),
    ],
)
def test_the_plan_says_how_the_window_is_read_and_forecasts_go_beyond_the_horizon(hours, qkan, options, cell, read):
    done = qkan("train", "lstm", "--data", hours, *COMMON, *options, "--out", "run")
    assert done.exit_code == 0, done.output
    assert f"48 steps in, 6 out{read}" in done.output
    assert re.search(rf"^cell +{cell}", done.output, re.MULTILINE)
    assert "Test part, protocol ltsf: errors standardised by the training part" in done.output
    predicted = qkan("predict", "run", "--horizon", "30", "--out", "ahead.csv")
    assert predicted.exit_code == 0, predicted.output
    assert len(pd.read_csv("ahead.csv")) == 2 * 30
    again = qkan("train", "lstm", "--out", "run", "--resume")
    assert again.exit_code == 0, again.output
    assert "protocol ltsf" in qkan("evaluate", "run").output


def test_a_window_that_is_no_multiple_of_the_segment_is_refused_with_one_that_is(hours, qkan):
    done = qkan("train", "lstm", "--data", hours, *COMMON, "--cell", "lstm", "--segment", "7", "--out", "run")
    assert done.exit_code == 2
    assert "take --window 42 or --window 49, or --segment 6" in done.stderr
    assert not Path("run").exists()


def test_a_closed_gate_is_said(hours, qkan):
    frame = pd.read_csv(hours)
    rng = np.random.default_rng(3)
    frame.assign(a=rng.normal(size=400).cumsum(), b=rng.normal(size=400).cumsum()).to_csv(hours, index=False)
    done = qkan("train", "lstm", "--data", hours, *COMMON, "--cell", "linear", "--lr", "0.3", "--out", "run")
    assert "no gain of Linear over the last value, so the forecasts repeat that value" in " ".join(done.output.split())


def test_the_list_of_series_names_the_protocols(qkan):
    assert "--data FILE --protocol ltsf: " in qkan("data", "list").output
