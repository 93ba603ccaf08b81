"""``qkan data prepare``, and what commands do with the panel."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from qkan.cli.main import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file of two series."""
    monkeypatch.chdir(tmp_path)
    draw, hours = np.random.default_rng(0), pd.date_range("2024-01-01", periods=60, freq="h")
    names = np.repeat(["a", "b"], 60)
    pd.DataFrame({"id": names, "hour": [*hours, *hours], "y": draw.normal(size=120)}).to_csv("table.csv", index=False)
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


PREPARE = ("data", "prepare", "table.csv", "--out", "panel", "--time-col", "hour", "--id-col", "id")
SHORT = ("--window", "4", "--epochs", "1", "--device", "cpu", "--lbfgs-steps", "0")
TINY = ("--cell", "lstm", "--hidden-size", "2", *SHORT)


@pytest.mark.filterwarnings("ignore::qkan.datasets.DataNotice")
def test_a_panel_goes_wherever_a_file_does(folder: Path) -> None:
    assert "2 series, 120 values, step h, in panel" in run(*PREPARE)
    of_panel = run("data", "show", "panel/", "--out", "panel.png")
    of_file = run("data", "show", "table.csv", "--time-col", "hour", "--id-col", "id", "--out", "file.png")
    head = ("panel", "table", "source", "summary", "Plot")
    kept = [
        [line for line in text.splitlines() if not any(word in line for word in head)] for text in (of_panel, of_file)
    ]
    assert kept[0] == kept[1]
    run("train", "lstm", *TINY, "--data", "panel/", "--out", "run")
    forecasts = [run("predict", "run", "--horizon", "2", *more) for more in ((), ("--data", "panel/"))]
    assert forecasts[0] == forecasts[1]
    assert "LSTM" in run("evaluate", "run", "--data", "panel/")


@pytest.mark.filterwarnings("ignore::qkan.datasets.DataNotice")
def test_a_comparison_on_a_panel_is_that_on_its_file(folder: Path) -> None:
    run(*PREPARE)
    few = ("--cells", "lstm", "--budget-params", "60", "--seeds", "1", "--trials", "1", "--workers", "1")
    few = (*few, "--horizon", "2", "--folds", "2", *SHORT)
    run("compare", "lstm", "--data", "panel/", *few, "--out", "of-panel")
    run("compare", "lstm", "--data", "table.csv", "--time-col", "hour", "--id-col", "id", *few, "--out", "of-file")
    for table, rows in (("runs", 2), ("comparison", 5)):
        of_panel, of_file = (pd.read_csv(f"{name}/{table}.csv") for name in ("of-panel", "of-file"))
        clocks = [name for name in of_file if "seconds" in name]
        assert len(of_file) == rows
        pd.testing.assert_frame_equal(of_panel.drop(columns=clocks), of_file.drop(columns=clocks), check_exact=True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (PREPARE, "there is a panel in"),
        (("data", "prepare", "none.csv", "--out", "other"), "there is no file 'none.csv'"),
        (("data", "prepare", "table.csv", "--out", "no/panel"), "does not exist; make it first"),
        (("data", "show", "panel/", "--time-col", "day"), "--time-col day was given, but the panel"),
        (("train", "lstm", *TINY, "--data", "panel/", "--missing", "zero", "--past-cols", "x"), "--past-cols"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:4]),
)
def test_what_cannot_be_is_said_in_a_line(words: tuple[str, ...], sentence: str, folder: Path) -> None:
    run(*PREPARE)
    before = {str(own): own.stat().st_mtime_ns for own in folder.rglob("*") if own.is_file()}
    done = CliRunner().invoke(cli, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert sentence in done.output.splitlines()[-1]
    assert before == {str(own): own.stat().st_mtime_ns for own in folder.rglob("*") if own.is_file()}
