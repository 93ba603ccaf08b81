"""``qkan predict``."""

import io
import os
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import tiny_config

from qkan.datasets import load_series
from qkan.forecasting import load_run, predict, train


def test_forecast_is_printed_as_csv(trained: Path, qkan) -> None:
    done = qkan("predict", trained, "--horizon", "3")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(io.StringIO(done.stdout))
    pd.testing.assert_frame_equal(table, predict(load_run(trained), horizon=3), check_dtype=False)
    assert list(table["ds"]) == [240, 241, 242]


def test_forecast_goes_to_a_file(trained: Path, tmp_path: Path, qkan) -> None:
    file = tmp_path / "new folder" / "forecast.csv"
    done = qkan("predict", trained, "--out", file)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"1 forecast written to {file}\n")
    assert file.read_text() == qkan("predict", trained).stdout


def test_a_file_is_replaced_only_when_asked(trained: Path, tmp_path: Path, qkan) -> None:
    file = tmp_path / "forecast.csv"
    file.write_text("mine")
    done = qkan("predict", trained, "--out", file)
    assert (done.exit_code, file.read_text()) == (2, "mine")
    assert done.stderr == f"Error: {file} exists already; choose another file, or replace it with --overwrite\n"
    assert qkan("predict", trained, "--out", file, "--overwrite").exit_code == 0
    assert file.read_text().startswith("unique_id,ds,LSTM\n")


def test_other_data_is_continued(trained: Path, tmp_path: Path, qkan) -> None:
    values = load_series("damped-shm").frame["y"][:100]
    pd.DataFrame({"y": values}).to_csv(tmp_path / "shorter.csv", index=False)
    table = pd.read_csv(io.StringIO(qkan("predict", trained, "--data", tmp_path / "shorter.csv").stdout))
    assert list(table["ds"]) == [100]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-run"], "there is no run folder no-such-run"),
        (["{trained}", "--horizon", "0"], "Invalid value for '--horizon': 0 is not in the range 1<=x<=10000."),
        (["{trained}", "--data", "nope.csv"], "nope.csv"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, trained: Path, qkan) -> None:
    done = qkan("predict", *(word.format(trained=trained) for word in arguments))
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_predicting_into_the_null_device_leaves_it_a_device(trained: Path, qkan) -> None:
    """As root, a rename over /dev/null would break every program of the machine."""
    before = os.stat("/dev/null")
    for more in ([], ["--overwrite"]):
        assert qkan("predict", trained, "--out", "/dev/null", *more).exit_code == 0
    after = os.stat("/dev/null")
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)


def test_a_full_disk_is_one_line(trained: Path, qkan) -> None:
    done = qkan("predict", trained, "--out", "/dev/full")
    assert done.exit_code == 2
    assert done.stderr == (
        "Error: cannot write /dev/full: No space left on device; nothing was lost: make room or allow writing there, "
        "then repeat or resume\n"
    )


def test_a_planted_link_is_not_followed(trained: Path, tmp_path: Path, qkan) -> None:
    victim, link = tmp_path / "victim", tmp_path / "forecast.csv"
    victim.write_text("mine")
    link.symlink_to(victim)
    assert qkan("predict", trained, "--out", link).exit_code == 2
    assert qkan("predict", trained, "--out", link, "--overwrite").exit_code == 0
    assert victim.read_text() == "mine"
    assert link.read_text().startswith("unique_id,ds,LSTM\n")


# --- what a file of hours holds, and what is said about it ------------------------------------------------------------


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on hours up to 23:00 of two series, in the order b, a, and its data."""
    folder = tmp_path_factory.mktemp("hourly")
    times = pd.date_range("2024-01-01", periods=72, freq="h")
    parts = [pd.DataFrame({"unique_id": name, "Date": times, "y": range(72)}) for name in "ba"]
    pd.concat(parts).iloc[::-1].iloc[::-1].to_csv(folder / "calls.csv", index=False)
    run = train(tiny_config(data=str(folder / "calls.csv"), epochs=1), folder / "run")
    return run.path, folder / "calls.csv"


def test_an_hourly_forecast_at_midnight_keeps_its_time(hourly: tuple[Path, Path], qkan) -> None:
    done = qkan("predict", hourly[0])
    assert done.stderr == ""  # the training said which column holds the times
    lines = done.stdout.splitlines()
    assert [line.rpartition(",")[0] for line in lines[1:]] == ["b,2024-01-04 00:00:00", "a,2024-01-04 00:00:00"]
    assert pd.read_csv(hourly[0] / "predictions.csv")["unique_id"].unique().tolist() == ["b", "a"]
    assert (pd.read_csv(hourly[0] / "predictions.csv")["ds"].str.len() == len("2024-01-04 00:00:00")).all()


def test_what_was_decided_is_one_line_each(hourly: tuple[Path, Path], tmp_path: Path, qkan) -> None:
    frame = pd.read_csv(hourly[1])
    frame["y"] += 0.5
    frame.iloc[::-1].to_csv(tmp_path / "backwards.csv", index=False, sep=";", decimal=",")
    done = qkan("predict", hourly[0], "--data", tmp_path / "backwards.csv")
    assert done.stderr.splitlines() == [
        "Note: 'backwards.csv' is read with semicolons between the columns and with decimal commas; say otherwise with "
        "--sep ..., --decimal ... or --encoding ...",
        "Note: column 'Date' of 'backwards.csv' is taken for the times; name another one, or take the order of the "
        "rows with --time-col rows",
        "Note: the rows are not in the order of time column 'Date'; they were sorted by it",
    ]
    assert done.exit_code == 0


def test_new_series_are_forecast_when_asked(hourly: tuple[Path, Path], tmp_path: Path, qkan) -> None:
    pd.read_csv(hourly[1]).replace("b", "c").assign(y=9239.0).to_csv(tmp_path / "new.csv", index=False)
    done = qkan("predict", hourly[0], "--data", tmp_path / "new.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "was not trained on series 'c'" in done.stderr
    assert done.stderr.endswith("scale each by its own last window with --new-series scale\n")
    done = qkan("predict", hourly[0], "--data", tmp_path / "new.csv", "--new-series", "scale")
    assert pd.read_csv(io.StringIO(done.stdout))["LSTM"].round(-2).tolist()[0] == 9200
    assert qkan("evaluate", hourly[0], "--data", tmp_path / "new.csv", "--new-series", "scale").exit_code == 0


def test_ids_that_are_formulas_are_text_in_tables_and_come_back(tmp_path: Path, qkan) -> None:
    ids, rows = ["=1+1", "NA", "-5"], range(40)
    frame = pd.DataFrame({"unique_id": [name for name in ids for _ in rows], "y": [float(row % 7) for row in rows] * 3})
    frame.to_csv(tmp_path / "in.csv", index=False)
    options = ["--cell", "lstm", "--hidden-size", "1", "--epochs", "1", "--window", "4", "--horizon", "1"]
    run = tmp_path / "run"
    done = qkan("train", "lstm", "--data", tmp_path / "in.csv", *options, "--out", run)
    assert done.exit_code == 0, done.output
    for table in (run / "predictions.csv", run / "metrics_by_series.csv"):
        assert "\n'=1+1," in table.read_text()
        assert "\n=" not in table.read_text()
        assert "\n-5," in table.read_text()
    assert set(load_run(run).predictions["unique_id"]) == set(ids)
    done = qkan("predict", run, "--out", tmp_path / "out.csv")
    assert "\n'=1+1," in (tmp_path / "out.csv").read_text()
    again = pd.read_csv(tmp_path / "in.csv", dtype={"unique_id": str}, keep_default_na=False)
    again["unique_id"] = again["unique_id"].replace("=1+1", "'=1+1")  # as a table of ours has it
    again.to_csv(tmp_path / "again.csv", index=False)
    assert qkan("predict", run, "--data", tmp_path / "again.csv").stdout == (tmp_path / "out.csv").read_text()
