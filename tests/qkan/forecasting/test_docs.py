"""The page docs/guides/forecasting.md runs from top to bottom."""

import re
from pathlib import Path

import pandas as pd
from click.testing import CliRunner

from qkan.cli.main import cli
from qkan.forecasting.config import CALENDAR, LOSSES, STRATEGIES, TREATMENTS

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "forecasting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qkan.forecasting.training.lbfgs.FINISH_STEPS", 2)  # of 200, which take most of the time
    session: dict = {}
    python = [text for kind, text in BLOCKS if kind == "python"]
    for text in python[:2]:  # make the files that the commands read
        exec(text, session)
    for line in (text for kind, text in BLOCKS if kind == "sh" for text in text.splitlines()):
        done = CliRunner().invoke(cli, [*line.split()[1:]], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    forecast = pd.read_csv("forecast.csv")
    assert len(forecast) == 18
    assert list(forecast.columns)[2:5] == ["QKAN-LSTM", "QKAN-LSTM-lo-80", "QKAN-LSTM-hi-80"]
    for text in python[2:]:
        exec(text, session)
    assert session["again"].equals(session["table"])
    assert session["past"].groupby("unique_id").size().tolist() == [18, 18, 18]
    assert list(session["chosen"]["ds"]) == list(session["table"]["ds"])
    (line,) = re.findall(r"`(qkan predict runs/sales-forecaster [^`]*)`", PAGE)
    done = CliRunner().invoke(cli, line.split()[1:], catch_exceptions=False)
    assert done.output.count("\n") == 19


def test_every_choice_is_documented():
    for name in (*CALENDAR, *LOSSES, *STRATEGIES, *TREATMENTS):
        assert f"`{name}`" in PAGE or f"`--strategy {name}`" in PAGE, name
