"""``qkan report``."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import tiny_config

from qkan.cli.commands import report
from qkan.forecasting import load_run, predict, train
from qkan.forecasting.evaluation import accuracy, check_frame, fit_conformal
from qkan.forecasting.report import report_run
from qkan.forecasting.report.run_frame import frames_of, training_command
from qkan.forecasting.report.run_report import MAX_ORIGINS
from qkan.forecasting.runs.record import sum_of

FAST = "naive,seasonal-naive,theta"


@pytest.fixture(scope="module")
def two_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on two series with a season, two steps ahead."""
    folder = tmp_path_factory.mktemp("two")
    times = pd.date_range("2024-01-01", periods=130, freq="h")
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"unique_id": name, "ds": times, "y": level + np.sin(np.arange(130) / 4) + rng.normal(0, 0.3, 130)}
        )
        for name, level in (("east", 10.0), ("west", -50.0))
    ]
    pd.concat(frames).to_csv(folder / "two.csv", index=False)
    train(tiny_config(data=str(folder / "two.csv"), horizon=2, split=(0.6, 0.2, 0.2)), folder / "run")
    return folder / "run"


def first_words(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line.strip()]


def test_frames_are_the_predictions_of_the_run(two_series: Path) -> None:
    run = load_run(two_series)
    frames = frames_of(run)
    own = run.predictions
    assert frames.model == "LSTM"
    assert list(frames.test["unique_id"]) == list(own["unique_id"])
    assert list(frames.test["ds"]) == list(pd.to_datetime(own["ds"]))
    assert list(frames.test["cutoff"]) == list(pd.to_datetime(own["cutoff"]))
    np.testing.assert_allclose(frames.test["LSTM"], own["LSTM"], rtol=1e-6)
    np.testing.assert_allclose(frames.test["y"], own["y"], rtol=1e-12)
    checked = check_frame(frames.test.drop(columns="step"))
    assert (checked["ds"] - checked["cutoff"] == checked["step"] * pd.Timedelta("1h")).all()
    assert accuracy(frames.test).pooled["mae"][0] == pytest.approx(run.metrics["test"]["LSTM"]["mae"], rel=1e-6)
    assert frames.training.groupby("unique_id").size().to_dict() == {"east": 78, "west": 78}
    assert frames.validation["cutoff"].min() == frames.training["ds"].max()
    assert frames.validation["ds"].max() < frames.test["ds"].min()


def test_a_report_of_two_series(two_series: Path, qkan) -> None:
    done = qkan("report", two_series, "--baselines", FAST)
    assert done.exit_code == 0, done.output
    path = two_series / "report.html"
    assert done.stdout.splitlines()[-1] == f"Report written to {path}"
    assert first_words(done.stdout)[3:7] == ["LSTM", "Naive", "SeasonalNaive(24)", "Theta"]
    names = "LSTM, Naive, SeasonalNaive(24), Theta"
    assert f"Intervals of {names} (80 % and 90 %) are split-conformal, from the 25 or more errors" in done.stdout
    text = path.read_text(encoding="utf-8")
    assert "<h1>LSTM on two</h1>" in text
    assert f"--out report.html --levels 80,90 --baselines {FAST} --overwrite" in text
    assert "<td>west</td>" in text
    assert "qkan train lstm --data two.csv --season none --window 4 --horizon 2 " in text
    assert " --decoder last --split 0.6,0.2,0.2" in text
    assert '<tr><th scope="row">split</th><td>0.6,0.2,0.2</td></tr>' in text


def test_another_run_stands_beside(two_series: Path, tmp_path: Path, qkan) -> None:
    """Under its own name, in the verdict too; one of the same name is told apart by its folder."""
    config = load_run(two_series).config
    train(replace(config, seed=1), tmp_path / "again")
    train(replace(config, cell="gru"), tmp_path / "other")
    words = ["--beside", tmp_path / "other", "--beside", tmp_path / "again", "--baselines", "naive", "--levels", "80"]
    done = qkan("report", two_series, *words, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert first_words(done.stdout)[3:7] == ["LSTM", "GRU", "LSTM", "Naive"]
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<tr><th scope="row">LSTM (again)</th><td>the run again</td></tr>' in text
    assert "--beside other --beside again --overwrite" in text
    assert "error than Naive</strong>" in text
    assert '"models":["LSTM",' in text
    twice = qkan("report", two_series, *words[:2], *words[:2], "--out", tmp_path / "twice.html")
    assert twice.exit_code == 2
    assert "is named twice" in twice.stderr


def test_a_run_of_other_targets_is_refused(two_series: Path, trained: Path, tmp_path: Path, qkan) -> None:
    done = qkan("report", two_series, "--beside", trained, "--out", tmp_path / "r.html")
    assert done.exit_code == 2
    assert "are tested on different targets, so their errors do not compare" in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_what_comes_next_is_what_is_predicted(two_series: Path, tmp_path: Path) -> None:
    run = load_run(two_series)
    report_run(run, tmp_path / "r.html", baselines=(), levels=(80,))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    numbers = json.loads(text.partition('id="numbers-next">')[2].partition("</script>")[0])
    expected = predict(run, level=80)
    for part, (name, own) in zip(numbers["series"], expected.groupby("unique_id"), strict=True):
        assert part["name"] == name
        np.testing.assert_allclose(part["models"]["LSTM"][-2:], own["LSTM"], atol=1e-3)
        np.testing.assert_allclose(part["bands"][0]["low"][-2:], own["LSTM-lo-80"], atol=1e-3)


def test_numbers_come_from_calibration_on_the_validation_part(two_series: Path, tmp_path: Path) -> None:
    run = load_run(two_series)
    made = report_run(run, tmp_path / "r.html", baselines=(), levels=(80,))
    frames = frames_of(run)
    expected = accuracy(fit_conformal(frames.validation, levels=(80,)).apply(frames.test)).pooled
    pd.testing.assert_series_equal(made.accuracy.pooled["coverage-80"], expected["coverage-80"])
    pd.testing.assert_series_equal(made.accuracy.pooled["width-80"], expected["width-80"])


def test_all_baselines_and_fewer_origins(trained: Path, tmp_path: Path, qkan) -> None:
    done = qkan("report", trained, "--out", tmp_path / "new" / "r.html", "--levels", "60", "--origins", "20")
    assert done.exit_code == 0, done.output
    assert "This report covers the last 20 origins of each series, not the whole test part." in done.stdout
    text = (tmp_path / "new" / "r.html").read_text(encoding="utf-8")
    assert '<tr><th scope="row">origins per series</th><td>20</td></tr>' in text
    words = "naive,drift,seasonal-naive,seasonal-mean,ridge,ets,sarima,theta"
    assert f"--levels 60 --baselines {words} --origins 20 --overwrite" in text
    assert first_words(done.stdout)[3:10] == ["LSTM", "Naive", "Drift", "Ridge", "ETS", "SARIMA", "Theta"]


def test_few_validation_errors_are_pooled_or_give_no_interval(two_series: Path, tmp_path: Path) -> None:
    run = load_run(two_series)
    pooled = report_run(run, tmp_path / "a", baselines=(), levels=(97,))  # 33 errors; a series has 25, both 50
    assert pooled.notes == (
        "Intervals of LSTM (97 %) are split-conformal, from the errors of all series, in units of their mean seasonal "
        "change (50 for each step), on the validation part.",
    )
    with pytest.raises(ValueError, match="levels is empty"):
        report_run(run, tmp_path / "b", levels=())
    with pytest.raises(ValueError, match="origins must be a whole number of at least 1, got 0"):
        report_run(run, tmp_path / "b", origins=0)
    none = report_run(run, tmp_path / "b", baselines=(), levels=(99.5,))
    assert none.notes == ("LSTM: no intervals of 99.5 %, because the validation part has too few errors for them.",)


def test_without_validation_part_there_is_no_calibration(tmp_path: Path, qkan) -> None:
    train(tiny_config(split=(0.8, 0.0, 0.2), epochs=1), tmp_path / "run")
    done = qkan("report", tmp_path / "run", "--baselines", "none")
    assert done.exit_code == 0, done.output
    assert "LSTM: no intervals, because the split has no validation part to calibrate with." in done.stdout


def test_sarima_of_many_series_must_be_asked_for(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qkan.forecasting.report import run_report

    monkeypatch.setattr(run_report, "MOST_SLOW_SERIES", 0)
    made = report_run(load_run(trained), tmp_path / "r.html", origins=5)
    assert list(made.accuracy.pooled["model"]) == ["LSTM", "Naive", "Drift", "Ridge", "ETS", "Theta"]
    assert made.notes[0].startswith("SARIMA was left out: 1 series would take long")


def test_a_file_is_replaced_only_when_asked(trained: Path, tmp_path: Path, qkan) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    arguments = ["report", trained, "--out", path, "--baselines", "none"]
    done = qkan(*arguments)
    assert (done.exit_code, path.read_text()) == (2, "mine")
    assert done.stderr == f"Error: {path} exists already; choose another file, or replace it with --overwrite\n"
    assert qkan(*arguments, "--overwrite").exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-run"], "there is no run folder no-such-run"),
        (["{trained}", "--baselines", "arima"], "unknown baseline 'arima'; choose from naive, drift, seasonal-naive"),
        (["{trained}", "--levels", "0"], "level 0.0 is out of range; give percent from 1 to below 100"),
        (
            ["{trained}", "--levels", "ninety"],
            "'ninety' is not a list of percentages separated by commas, such as 80,90",
        ),
        (["{trained}", "--origins", "0"], "Invalid value for '--origins': 0 is not in the range x>=1."),
        (["{trained}", "--out", "{trained}"], "is a folder; give the name of a file"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, trained: Path, qkan) -> None:
    done = qkan("report", *(word.format(trained=trained) for word in arguments))
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_the_training_command_makes_the_same_run(two_series: Path, tmp_path: Path, monkeypatch, qkan) -> None:
    monkeypatch.chdir(two_series.parent)  # the command names the file without its folder
    words = shlex.split(training_command(load_run(two_series)))
    assert words[:3] == ["qkan", "train", "lstm"]
    assert words[words.index("--loss") + 1] == "mse"  # that of the run, and not what the data of several series suggest
    done = qkan(*words[1:-1], tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert load_run(tmp_path / "again").config == load_run(two_series).config
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (two_series / "predictions.csv").read_bytes()


def test_the_default_of_origins_is_that_of_the_library() -> None:
    assert report._ORIGINS == MAX_ORIGINS


def test_data_that_changed_is_said(two_series: Path, tmp_path: Path, qkan) -> None:
    shutil.copytree(two_series, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["data"]["fingerprint"] = "0" * 64
    record["sha256"] = sum_of({name: value for name, value in record.items() if name != "sha256"})
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    done = qkan("report", tmp_path / "run")
    assert done.exit_code == 2
    assert "has changed since" in done.stderr
    assert not (tmp_path / "run" / "report.html").exists()
