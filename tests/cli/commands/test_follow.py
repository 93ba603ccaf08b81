"""``qkan predict --follow``: forecasts as the rows of a file, or of standard input, come."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from tiny_runs import tiny_config

from qkan.cli.main import cli
from qkan.datasets import load_series
from qkan.forecasting import load_run, predict, train
from qkan.forecasting.streaming.follow import Lines

KNOWN = 200


@pytest.fixture(scope="module")
def values() -> pd.Series:
    return load_series("damped-shm").frame["y"]


@pytest.fixture
def run(tmp_path: Path, values: pd.Series) -> Path:
    """A run that was trained on the first 200 of 240 values."""
    _write(tmp_path / "known.csv", values, 0, KNOWN)
    train(tiny_config(data=str(tmp_path / "known.csv"), epochs=1), tmp_path / "run")
    return tmp_path / "run"


def _write(file: Path, values: pd.Series, begin: int, end: int) -> None:
    pd.DataFrame({"ds": range(begin, end), "y": values[begin:end]}).to_csv(file, index=False)


def follow(run: Path, source: str | Path, *arguments: Any, rows: str | None = None) -> Any:
    words = ["predict", str(run), "--follow", str(source), *map(str, arguments)]
    return CliRunner().invoke(cli, words, input=rows, catch_exceptions=False)


def _text(values: pd.Series, begin: int, end: int) -> str:
    return pd.DataFrame({"ds": range(begin, end), "y": values[begin:end]}).to_csv(index=False)


def _whole(values: pd.Series, run: Path, end: int) -> pd.DataFrame:
    _write(run.parent / "whole.csv", values, 0, end)
    return predict(load_run(run), data=run.parent / "whole.csv")


def test_rows_of_standard_input_go_on_from_the_data_of_the_run_and_then_from_the_state(run, values):
    for begin, end in ((KNOWN, KNOWN + 2), (KNOWN + 2, KNOWN + 3)):
        done = follow(run, "-", rows=_text(values, begin, end))
        assert done.exit_code == 0, done.output
        found = pd.read_csv(io.StringIO(done.stdout))
        assert list(found["cutoff"]) == [end - 1]
        wanted = _whole(values, run, end)
        assert found["ds"].tolist() == wanted["ds"].tolist()
        assert found["LSTM"].tolist() == pytest.approx(wanted["LSTM"].tolist(), rel=1e-6)
    assert (run / "stream.safetensors").exists()


def test_rows_that_are_known_are_passed_over_at_the_beginning(run, values):
    done = follow(run, "-", rows=_text(values, 0, KNOWN + 1))
    assert done.exit_code == 0, done.output
    assert f"{KNOWN} rows of standard input are known already" in done.stderr
    assert pd.read_csv(io.StringIO(done.stdout))["cutoff"].tolist() == [KNOWN]


def test_a_file_that_grows_is_followed_until_it_is_interrupted(run, values, tmp_path, monkeypatch):
    file, out = tmp_path / "new.csv", tmp_path / "out" / "forecast.csv"
    _write(file, values, KNOWN, KNOWN + 1)
    waits = []

    def grow(self: Lines, run: Any, **how: Any) -> Any:
        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                raise KeyboardInterrupt
            with file.open("a") as opened:  # a line and a half, then the rest
                row = f"{KNOWN + 1},{values[KNOWN + 1]}\n"
                opened.write(row[:5] if len(waits) == 1 else row[5:])

        return tables(self, run, poll=0.0, wait=wait)

    tables = Lines.tables
    monkeypatch.setattr(Lines, "tables", grow)
    done = follow(run, file, "--out", out)
    assert done.exit_code == 130
    assert f"stopped; the next --follow of {run} goes on from here" in done.stderr
    assert pd.read_csv(out)["cutoff"].tolist() == [KNOWN, KNOWN + 1]
    monkeypatch.undo()
    again = follow(run, "-", rows=_text(values, KNOWN + 2, KNOWN + 3))
    assert pd.read_csv(io.StringIO(again.stdout))["cutoff"].tolist() == [KNOWN + 2]


def test_rows_that_do_not_go_on_end_with_the_state_before_them(run, values):
    header, *rows = _text(values, KNOWN, KNOWN + 3).splitlines()
    done = follow(run, "-", rows="\n".join([header, rows[0], rows[2]]) + "\n")
    assert done.exit_code == 2
    assert "the times are irregular" in done.stderr.splitlines()[-1]
    done = follow(run, "-", rows=_text(values, KNOWN, KNOWN + 1))
    assert pd.read_csv(io.StringIO(done.stdout))["cutoff"].tolist() == [KNOWN]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such.csv"], "cannot follow no-such.csv: No such file or directory; give a CSV file"),
        (["some.parquet"], "some.parquet does not grow line by line"),
        (["{folder}"], "is no regular file; follow a pipe by standard input"),
        (["-", "--horizon", "3"], "--horizon has no effect with --follow"),
        (["-", "--conformal"], "--conformal has no effect with --follow"),
        (["-", "--intervals", "adaptive"], "--intervals adaptive has no effect with --follow"),
        (["-", "--new-series", "scale"], "--new-series scale has no effect with --follow"),
    ],
)
def test_what_cannot_be_followed_is_said(trained, tmp_path, arguments, sentence):
    done = follow(trained, *(word.format(folder=tmp_path) for word in arguments))
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_a_damaged_state_is_one_sentence_and_stays(run, values):
    (run / "stream.safetensors").write_bytes(b"no state")
    done = follow(run, "-", rows=_text(values, KNOWN, KNOWN + 1))
    assert done.exit_code == 2
    assert "cannot be read as the state of a stream" in done.stderr
    assert (run / "stream.safetensors").read_bytes() == b"no state"
