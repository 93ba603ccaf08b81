"""Learning rates that a run tries before it trains: chosen by validation errors alone, kept, and gone on with."""

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import tiny_config

from qkan.forecasting import Run, RunError, Tuning, load_run, train
from qkan.forecasting.executors import ExecutorError
from qkan.forecasting.runs import tuning
from qkan.forecasting.training import trials
from qkan.forecasting.training.progress import Silent

HERE = Tuning(trials=3, workers=1)
RATES = [0.01, 0.03, 0.1]


class Watcher(Silent):
    """Remembers the trials, and ends the process, as it were, after some."""

    def __init__(self, ends_after: int | None = None) -> None:
        self.ends_after, self.rows = ends_after, []
        self.begun: tuple[int, int] | None = None
        self.ended = False

    def trials_start(self, trials, done=0):
        self.begun = (trials, done)

    def trial(self, row):
        self.rows.append(row)
        if len(self.rows) == self.ends_after:
            raise KeyboardInterrupt

    def trials_finish(self):
        self.ended = True


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny_config(), tmp_path_factory.mktemp("runs") / "tuned", tune=HERE)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def test_the_rate_of_the_lowest_validation_error_is_trained_as_if_it_had_been_asked_for(tuned, tmp_path):
    losses = [train(tiny_config(lr=lr), tmp_path / f"{lr}").metrics["best_validation_loss"] for lr in RATES]
    assert tuned.tuning["lr"].tolist() == RATES
    assert tuned.tuning["validation_loss"].tolist() == losses
    best = RATES[losses.index(min(losses))]
    assert tuned.config == replace(load_run(tmp_path / f"{best}").config, lr=best)
    for name in ("config.json", "model.safetensors", "history.csv", "predictions.csv", "validation.csv"):
        assert (tuned.path / name).read_bytes() == (tmp_path / f"{best}" / name).read_bytes()
    own = {path.name for path in tuned.path.iterdir()}
    assert own - {path.name for path in (tmp_path / f"{best}").iterdir()} == {"tuning.csv"}


def test_the_table_is_read_from_the_folder_and_its_damage_is_told(tuned, tmp_path):
    run = load_run(tuned.path)
    assert list(run.tuning) == ["lr", "validation_loss", "epochs", "best_epoch", "diverged", "seconds"]
    assert run.tuning["epochs"].tolist() == [2, 2, 2]
    assert "tuning.csv" in json.loads((run.path / "manifest.json").read_text())["sha256"]
    copy = replace(run, path=tmp_path)
    (tmp_path / "tuning.csv").write_bytes((run.path / "tuning.csv").read_bytes().replace(b"0.01", b"0.02"))
    with pytest.raises(RunError, match=r"tuning.csv is not the file that the run wrote \(its sha256 differs\)"):
        _ = copy.tuning


def test_a_killed_search_goes_on_with_what_is_missing(tuned, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(), tmp_path / "r", tune=HERE, progress=Watcher(ends_after=1))
    assert tuning.planned_trials(tmp_path / "r") == 3
    watcher = Watcher()
    run = train(tiny_config(), tmp_path / "r", resume=True, tune=HERE, progress=watcher)
    assert watcher.begun == (3, 1)
    assert [row["lr"] for row in watcher.rows] == RATES[1:]
    assert watcher.ended
    pd.testing.assert_frame_equal(plain(run.tuning), plain(tuned.tuning), check_exact=True)
    assert run.config == tuned.config


def test_a_training_that_was_killed_behind_its_search_keeps_the_rate(tuned, tmp_path):
    class Ends(Watcher):
        def epoch(self, metrics):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        train(tiny_config(), tmp_path / "r", tune=HERE, progress=Ends())
    assert json.loads((tmp_path / "r" / "config.json").read_text())["config"]["lr"] == tuned.config.lr
    watcher = Watcher()
    run = train(tiny_config(), tmp_path / "r", resume=True, progress=watcher)
    assert watcher.begun is None
    assert (run.path / "model.safetensors").read_bytes() == (tuned.path / "model.safetensors").read_bytes()


def test_a_folder_that_holds_the_list_of_trials_alone_is_begun_anew(tmp_path):
    tuning.begin(tmp_path, Tuning(trials=2))
    assert train(tiny_config(), tmp_path, tune=Tuning(trials=2, workers=1)).tuning["lr"].tolist() == RATES[:2]


def test_who_resumes_it_without_a_word_of_trials_tries_what_it_lists(tmp_path):
    tuning.begin(tmp_path, Tuning(trials=2))
    assert train(tiny_config(), tmp_path, resume=True).tuning["lr"].tolist() == RATES[:2]


def test_a_file_of_the_user_by_that_name_stays(tmp_path):
    (tmp_path / "tuning.csv").write_text("day,hours\nMonday,3\n")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        train(tiny_config(), tmp_path, tune=HERE)
    assert (tmp_path / "tuning.csv").read_text() == "day,hours\nMonday,3\n"


def test_a_run_that_replaces_a_tuned_one_has_no_table(tmp_path):
    train(tiny_config(epochs=1), tmp_path, tune=Tuning(trials=2, workers=1))
    assert train(tiny_config(epochs=1), tmp_path, overwrite=True).tuning is None


def test_an_interrupted_search_goes_on_as_it_began(tuned, finished_run):
    with pytest.raises(RunError, match=r"was started with 3 trials of learning rates, not with 2; resume it as it was"):
        train(tiny_config(), tuned.path, resume=True, tune=Tuning(trials=2))
    with pytest.raises(RunError, match=r"was started without trials of learning rates, not with 3"):
        train(tiny_config(), finished_run.path, resume=True, tune=HERE)


def test_what_cannot_be_tuned_is_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "r"
    with pytest.raises(ValueError, match=r"^trials of learning rates are judged by the validation part, which split="):
        train(tiny_config(split=(0.8, 0.0, 0.2)), out, tune=HERE)
    with pytest.raises(ValueError, match=r"^every trial of a learning rate is trained by one process, not by the 2 of"):
        train(tiny_config(devices=2, lbfgs_steps=None), out, tune=HERE)
    assert not out.exists()


@pytest.mark.parametrize("value", [1, 9, 2.5, None, "3"])
def test_how_many_can_be_tried(value):
    with pytest.raises(ValueError, match=r"^trials must be an integer between 2 and 8, got"):
        Tuning(trials=value)


def test_rates_that_all_diverge_are_told(tmp_path, monkeypatch):
    bad = {"validation_loss": math.inf, "epochs": 1, "best_epoch": 1, "diverged": True, "seconds": 0.1}
    monkeypatch.setattr(tuning, "try_rate", lambda data, config: bad)
    with pytest.raises(RunError, match=r"^all 3 trials diverged, down to a learning rate of 0\.01; choose a lower one"):
        train(tiny_config(), tmp_path, tune=HERE)


def test_a_cluster_that_is_gone_leaves_what_was_finished(tmp_path, monkeypatch):
    real = trials.start_executor

    @contextlib.contextmanager
    def breaking(work, shared, **how):
        with real(work, shared, **how) as do_all:

            def some(jobs):
                yield next(do_all(jobs))
                raise ExecutorError("the Ray cluster at head:6379 is gone")

            yield some

    monkeypatch.setattr(trials, "start_executor", breaking)
    said = (
        r"^the Ray cluster at head:6379 is gone; the finished trials are kept, and resume=True goes on there, with any "
        "executor$"
    )
    with pytest.raises(RunError, match=said):
        train(tiny_config(), tmp_path, tune=HERE)
    assert tuning.read_tuning(tmp_path / "tuning.csv")["validation_loss"].notna().tolist() == [True, False, False]


def test_a_damaged_table_is_told(tuned: Run, tmp_path: Path):
    good = (tuned.path / "tuning.csv").read_text()
    for bad in (
        "",
        "lr\n0.01\n0.03\n",
        good.replace("0.03", "0.01"),
        good.replace("0.03", "-3"),
        good.replace("0.01,", "0.01,x"),
        "\0",
    ):
        (tmp_path / "tuning.csv").write_text(bad)
        with pytest.raises(RunError, match=r"^cannot read .*tuning.csv: .*; restore the file, or train again"):
            tuning.read_tuning(tmp_path / "tuning.csv")
