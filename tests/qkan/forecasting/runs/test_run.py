import csv
import errno
import hashlib
import json
import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from qkan.datasets import DataError, load_series
from qkan.forecasting import Run, RunError, load_run, read_config, train
from qkan.forecasting.config import CELL_NAMES

FILES = {
    "checkpoint", "config.json", "environment.json", "forecast.png", "history.csv", "loss.png", "manifest.json",
    "metrics.json", "metrics_by_series.csv", "model.safetensors", "predictions.csv", "validation.csv",
}  # fmt: skip


class Stop:
    """A watcher that ends the training at the end of an epoch."""

    def __init__(self, epoch, error=ConnectionResetError):
        self.when, self.error = epoch, error

    def start(self, epochs, steps, done=0): ...

    def step(self, loss, count=1): ...

    def finish(self): ...

    def epoch(self, metrics):
        if metrics["epoch"] == self.when:
            raise self.error


@pytest.fixture
def copied(finished_run: Run, tmp_path: Path) -> Path:
    """A copy of a finished run's folder, to be damaged."""
    return Path(shutil.copytree(finished_run.path, tmp_path / "copy"))


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """The folder of a run that crashed after its first epoch."""
    with pytest.raises(ConnectionResetError):
        train(tiny_config(), tmp_path / "unfinished", progress=Stop(2))
    return tmp_path / "unfinished"


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_run_folder_holds_what_it_promises(finished_run):
    assert {path.name for path in finished_run.path.iterdir()} == FILES
    record = json.loads((finished_run.path / "config.json").read_text())
    assert record["config"] == finished_run.config.to_dict()
    assert record["data"]["fingerprint"] == load_series("damped-shm").fingerprint()
    manifest = json.loads((finished_run.path / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    summed = {name for name in FILES if name.endswith((".csv", ".safetensors"))} | {"metrics.json"}
    assert manifest["sha256"] == {
        name: hashlib.sha256((finished_run.path / name).read_bytes()).hexdigest() for name in summed
    }
    for name in ("loss.png", "forecast.png"):
        assert (finished_run.path / name).read_bytes().startswith(b"\x89PNG")


def test_environment_names_versions_and_device(finished_run):
    environment = json.loads((finished_run.path / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["threads_available"] == torch.get_num_threads()


def test_history_has_a_row_per_epoch(finished_run):
    history = finished_run.history
    assert list(history.columns) == ["epoch", "train_loss", "val_loss", "lr"]
    assert history["epoch"].tolist() == [1, 2]
    assert history["val_loss"].min() == finished_run.metrics["best_validation_loss"]


def test_predictions_explain_the_metrics(finished_run):
    table = finished_run.predictions
    assert list(table.columns) == ["unique_id", "ds", "cutoff", "y", "LSTM"]
    assert table["ds"].tolist() == list(range(192, 240))
    np.testing.assert_array_equal(table["y"], load_series("damped-shm").values[192:])
    assert finished_run.metrics["test"]["LSTM"]["mae"] == pytest.approx((table["y"] - table["LSTM"]).abs().mean())


def test_metrics_name_model_and_baselines(finished_run):
    assert list(finished_run.metrics["test"]) == ["LSTM", "Naive", "Drift", "Ridge"]
    assert (finished_run.metrics["parameters"], finished_run.metrics["epochs"]) == (43, 2)
    assert finished_run.metrics["train_seconds"] > 0


def test_predictions_of_a_longer_horizon_name_their_cutoff(tmp_path):
    run = train(tiny_config(horizon=3, epochs=1), tmp_path / "run")
    assert run.predictions["cutoff"].tolist()[:4] == [191, 191, 191, 192]
    assert run.predictions["ds"].tolist()[:4] == [192, 193, 194, 193]


def test_run_without_validation_part_has_no_validation_error(tmp_path):
    run = train(tiny_config(split=(0.8, 0.0, 0.2), epochs=1), tmp_path / "run")
    assert run.metrics["best_validation_loss"] is None
    assert "val_loss" not in run.history


def test_loaded_model_has_the_trained_weights_and_is_in_eval_mode(finished_run):
    again = load_run(str(finished_run.path))
    assert not again.model.training
    torch.testing.assert_close(again.model.state_dict(), finished_run.model.state_dict(), rtol=0, atol=0)
    assert again.metrics == finished_run.metrics


@pytest.mark.parametrize("cell", ["qkan", "hqkan", "lowrank", "gru", "gr-kan"])
def test_every_cell_trains_saves_and_loads(tmp_path, cell):
    run = train(tiny_config(cell=cell, epochs=1), tmp_path / cell)
    assert run.config.cell == cell
    assert math.isfinite(run.metrics["test"][CELL_NAMES[cell]]["mae"])


def test_existing_run_is_not_overwritten_unless_asked(copied):
    before = (copied / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"there is a run in .*copy already; choose another folder, or pass overwrite"):
        train(tiny_config(), copied)
    assert (copied / "model.safetensors").read_bytes() == before
    assert train(tiny_config(seed=1), copied, overwrite=True).config.seed == 1
    assert (copied / "model.safetensors").read_bytes() != before


def test_overwriting_starts_anew_and_a_crash_leaves_an_unfinished_run(copied):
    with pytest.raises(ConnectionResetError):
        train(tiny_config(seed=1), copied, overwrite=True, progress=Stop(1))
    with pytest.raises(RunError, match="is unfinished"):
        load_run(copied)
    assert not (copied / "checkpoint" / "last.ckpt").exists()
    assert read_config(copied).seed == 1


@pytest.mark.parametrize("content", [None, "{}", '{"compare": {}}'])
def test_folder_that_is_no_run_is_never_replaced(tmp_path, content):
    (tmp_path / "thesis.tex").write_text("years of work")
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match="is not a run folder; choose another folder"):
        train(tiny_config(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match=r"cannot make the folder .*run: File exists; choose another one"):
        train(tiny_config(), tmp_path / "run")


def test_bad_options_and_data_leave_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"unknown data 'telecon'.*did you mean 'telecom'"):
        train(tiny_config(data="telecon"), tmp_path / "run")
    with pytest.raises(DataError, match="240 points"):
        train(tiny_config(window=200), tmp_path / "run")
    with pytest.raises(ValueError, match="'zigzag'"):
        train(tiny_config(cell="qkan", ansatz="zigzag"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cell", ["lstm", "qkan"])
def test_crashed_run_resumes_to_the_same_weights_and_history(tmp_path, cell):
    config = tiny_config(cell=cell, epochs=4, batch_size=16, lr=0.03)
    train(config, tmp_path / "whole")
    with pytest.raises(ConnectionResetError):
        train(config, tmp_path / "crashed", progress=Stop(3))
    train(config, tmp_path / "crashed", resume=True)
    for name in ("model.safetensors", "history.csv", "predictions.csv"):
        assert (tmp_path / "crashed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_leaves_a_whole_checkpoint_that_resumes(tmp_path):
    class Interrupt(Stop):
        def epoch(self, metrics):
            if metrics["epoch"] == self.when:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(), tmp_path / "run", progress=Interrupt(2))
    torch.load(tmp_path / "run" / "checkpoint" / "last.ckpt", weights_only=True)
    assert train(tiny_config(), tmp_path / "run", resume=True).metrics["epochs"] == 2


def test_resuming_a_finished_run_just_loads_it(copied):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert train(tiny_config(), copied, resume=True).metrics["epochs"] == 2
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"there is no run to resume in .*nowhere; leave out resume=True"):
        train(tiny_config(), tmp_path / "nowhere", resume=True)


def test_run_killed_before_its_first_file_resumes_from_the_start(tmp_path):
    (tmp_path / ".config.json.abc.tmp").write_text("{")
    assert train(tiny_config(epochs=1), tmp_path, resume=True).metrics["epochs"] == 1
    assert not list(tmp_path.glob(".*"))


def test_resuming_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"config\.json is missing; give a run folder, or restore"):
        train(tiny_config(), tmp_path, resume=True)


def test_resuming_with_another_option_names_it(unfinished):
    with pytest.raises(RunError, match=r"was started with hidden_size=2, not 3; resume it with its own options"):
        train(tiny_config(hidden_size=3), unfinished, resume=True)


def test_resuming_after_the_data_changed_is_refused(tmp_path):
    def write(first):
        with open(tmp_path / "data.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([["y"], [first], *([math.sin(i / 3)] for i in range(60))])

    config = tiny_config(data=str(tmp_path / "data.csv"))
    write(0.5)
    with pytest.raises(ConnectionResetError):
        train(config, tmp_path / "run", progress=Stop(1))
    write(0.6)
    with pytest.raises(RunError, match=r"the data .*data\.csv' has changed since the run in .* was started"):
        train(config, tmp_path / "run", resume=True)


def test_unfinished_run_is_not_loaded_but_its_options_are_read(unfinished):
    with pytest.raises(RunError, match=r"is unfinished; finish it with resume=True"):
        load_run(unfinished)
    assert read_config(unfinished) == tiny_config()


def test_missing_folder(tmp_path):
    with pytest.raises(RunError, match=r"there is no run folder .*nowhere; train one first"):
        load_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_newer_version_is_refused(copied, name):
    edit(copied / name, lambda content: content.update(format_version=2))
    with pytest.raises(RunError, match=rf"{name} has format version 2, this version of qkan reads up to 1"):
        load_run(copied)


def test_config_without_version_is_refused(copied):
    edit(copied / "config.json", lambda content: content.pop("format_version"))
    with pytest.raises(RunError, match=r"config\.json has no format_version; .* is not a run folder"):
        load_run(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["config"].update(colour="red"), "cannot be used: unknown option 'colour'"),
        (lambda c: c["config"].update(epochs=-1), "cannot be used: epochs must be an integer between 1 and 100000"),
        (lambda c: c["scaler"].pop("scale"), "cannot be used: a scaler has the keys"),
        (lambda c: c.update(extra=1), "must hold exactly"),
        (lambda c: c.update(data=[]), "must hold exactly"),
    ],
)
def test_changed_config_is_refused(copied, change, message):
    edit(copied / "config.json", change)
    with pytest.raises(RunError, match=message):
        load_run(copied)


def test_values_that_would_be_taken_for_right_are_refused(copied):
    """One digit of a scaler, of an error of the validation part or of a metric is a wrong forecast or table."""
    edit(copied / "config.json", lambda content: content["scaler"].update(offset=[1.0]))
    with pytest.raises(RunError, match=r"config\.json says of options, data and scaler is not what was written"):
        load_run(copied)


@pytest.mark.parametrize("name", ["metrics.json", "validation.csv", "history.csv", "predictions.csv"])
def test_a_changed_digit_is_refused_where_the_file_is_read(copied, name):
    text = (copied / name).read_text()
    place = max(place for place, letter in enumerate(text) if letter in "12345678")
    (copied / name).write_text(text[:place] + "9" + text[place + 1 :])
    with pytest.raises(RunError, match=rf"{name} is not the file that the run wrote \(its sha256 differs\)"):
        getattr(load_run(copied), name.partition(".")[0])


@pytest.mark.parametrize("damage", ["truncated", "tampered"])
def test_damaged_weights_are_refused(copied, damage):
    path = copied / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[-8:]
    else:
        content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.safetensors is not the file that the run wrote \(its sha256 differs\)"):
        load_run(copied)


def test_missing_weights_are_refused(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"model\.safetensors is missing; give a run folder, or restore"):
        load_run(copied)


def test_weights_of_another_model_are_refused(copied):
    edit(copied / "config.json", lambda content: content["config"].update(hidden_size=3))
    with pytest.raises(RunError, match=r"the weights in .*model\.safetensors do not fit the model of config\.json"):
        load_run(copied)


def test_weights_that_are_no_safetensors_are_refused(copied):
    (copied / "model.safetensors").write_bytes(b"x")
    sums = {"model.safetensors": hashlib.sha256(b"x").hexdigest()}
    edit(copied / "manifest.json", lambda content: content["sha256"].update(sums))
    with pytest.raises(RunError, match="do not fit the model"):
        load_run(copied)


@pytest.mark.parametrize(
    "victim",
    ["config.json", "last.ckpt", "model.safetensors", "metrics_by_series.csv", "metrics.json", "validation.csv"],
)
def test_full_disk_is_reported_and_the_run_resumes_exactly(tmp_path, monkeypatch, finished_run, victim):
    replace = os.replace

    def full(source, target):
        if Path(target).name == victim:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=rf"cannot write .*{victim}: No space left on device"):
        train(tiny_config(), tmp_path / "run")
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not (tmp_path / "run" / "manifest.json").exists()
    train(tiny_config(), tmp_path / "run", resume=True)
    expected = (finished_run.path / "model.safetensors").read_bytes()
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == expected


def test_diverged_training_is_an_error_that_names_the_learning_rate(tmp_path):
    (tmp_path / "huge.csv").write_text("y\n" + "\n".join(str((-1) ** i * 3e19) for i in range(100)))
    config = tiny_config(data=str(tmp_path / "huge.csv"), scaler="none", lr=0.5)
    with pytest.raises(
        RunError,
        match=r"diverged: the loss of epoch 1 is not finite; use .* below lr=0.5 or another scaler than .none.",
    ):
        train(config, tmp_path / "run")


def test_a_plot_that_fails_is_a_warning_after_the_run_is_written(tmp_path, monkeypatch, caplog):
    def fails(*_, **__):
        raise ValueError("no such glyph")

    for name in ("save_loss_plot", "save_forecast_plot"):
        monkeypatch.setattr(f"qkan.forecasting.runs.plots.{name}", fails)
    run = train(tiny_config(epochs=1), tmp_path / "run")
    assert {path.name for path in run.path.iterdir()} == FILES - {"loss.png", "forecast.png"}
    assert load_run(run.path).metrics == run.metrics
    assert [record.getMessage() for record in caplog.records] == [
        f"the plot {run.path / name} could not be drawn (ValueError: no such glyph); everything else is written"
        for name in ("loss.png", "forecast.png")
    ]
