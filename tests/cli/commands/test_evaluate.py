"""``qkan evaluate``."""

import json
from pathlib import Path

import pytest
from tiny_runs import BARE_FLAGS

from qkan.cli.tables import count, number, print_scores
from qkan.forecasting import load_run


def test_errors_are_those_of_the_training(trained: Path, qkan) -> None:
    done = qkan("evaluate", trained)
    assert done.exit_code == 0, done.output
    (row,) = [line.split() for line in done.output.splitlines() if line.startswith(" LSTM ")]
    scores = json.loads((trained / "metrics.json").read_text())["test"]["LSTM"]
    assert row[1:] == [number(scores[name]) for name in ("mae", "rmse", "mse", "r2", "smape", "mase")]


def _train(qkan, out: Path, *options: str) -> Path:
    words = ["train", "lstm", "--data", "damped-shm", "--epochs", "1", "--hidden-size", "2", "--window", "3"]
    done = qkan(*words, *BARE_FLAGS, *options, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_several_runs_share_one_table_with_the_errors_of_each(trained: Path, tmp_path: Path, qkan) -> None:
    other = _train(qkan, tmp_path / "gru", "--cell", "gru")
    done = qkan("evaluate", trained, other)
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if line.startswith(" ")]
    names = [row.split("  ")[0].strip() for row in rows if any(own.isdecimal() for own in row)]
    assert (names[:4], names[-1]) == (["forecast", "LSTM", "GRU", "Naive"], "Ridge")
    assert done.output.count("the best simple method.") == 2
    for model, folder in (("LSTM", trained), ("GRU", other)):
        scores = json.loads((folder / "metrics.json").read_text())["test"][model]
        (row,) = [line.split() for line in rows if line.startswith(f" {model} ")]
        assert row[1:] == [number(scores[name]) for name in ("mae", "rmse", "mse", "r2", "smape", "mase")]


def test_runs_of_one_cell_are_told_apart_by_their_folders(trained: Path, tmp_path: Path, qkan) -> None:
    other = _train(qkan, tmp_path / "again", "--cell", "lstm")
    done = qkan("evaluate", trained, other)
    assert done.exit_code == 0, done.output
    assert f" LSTM ({trained}) " in done.output
    assert f"MAE of LSTM ({other}): " in done.output


def test_runs_of_different_targets_are_refused(trained: Path, tmp_path: Path, qkan) -> None:
    done = qkan("evaluate", trained, _train(qkan, tmp_path / "far", "--cell", "lstm", "--horizon", "2"))
    assert done.exit_code == 2
    assert f"the runs {trained} and {tmp_path / 'far'} are tested on different targets" in done.stderr


def test_tampered_weights_are_refused(trained: Path, tmp_path: Path, qkan) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in trained.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "model.safetensors").write_bytes(b"\0" * 64)
    done = qkan("evaluate", copy)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {copy / 'model.safetensors'} is not the file that the run wrote")


def test_verdict_of_a_better_model(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = dict.fromkeys(("rmse", "mse", "r2", "smape", "mase"))
    print_scores({"LSTM": {"mae": 9.0, **empty}, "Naive": {"mae": 12.0, **empty}}, load_run(trained))
    assert "MAE of LSTM: 25.0 % below that of Naive, the best simple method." in capsys.readouterr().out


def test_verdict_where_the_naive_forecast_is_perfect(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = dict.fromkeys(("rmse", "mse", "r2", "smape", "mase"))
    print_scores({"LSTM": {"mae": 9.0, **empty}, "Naive": {"mae": 0.0, **empty}}, load_run(trained))
    assert "The forecast Naive makes no error at all." in capsys.readouterr().out


@pytest.mark.parametrize(("number", "text"), [(0, "0 epochs"), (1, "1 epoch"), (1000, "1,000 epochs")])
def test_counts_agree_with_their_noun(number: int, text: str) -> None:
    assert count(number, "epoch") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(13.034, "13.03"), (1234.2, "1234"), (123456.0, "1.23e+05"), (0.5, "0.5000"), (3.2e-4, "3.20e-04"), (None, "-")],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text
