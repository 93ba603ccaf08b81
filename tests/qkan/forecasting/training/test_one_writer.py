"""Two processes never write one run folder: the second is told, and a killed one is no obstacle."""

import os
import shutil
import subprocess
import sys

import pytest
from tiny_runs import tiny_comparison, tiny_config

from qkan.forecasting import Forecaster, RunError, compare, load_run, train
from qkan.forecasting.io.files import only_writer

HOLD = """
import sys
from pathlib import Path
from qkan.forecasting.io.files import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process writes to, and that process."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.communicate()


def test_training_comparing_and_saving_are_told_who_writes_there(held, finished_run):
    folder, process = held
    forecaster = Forecaster.load(finished_run.path)
    forecaster._history = "epoch\n1\n"  # as if it had been fitted
    told = rf"process {process.pid} on .* is writing to '.*run' already \('.*\.lock'\); wait for it or choose another"
    for write in (
        lambda: train(tiny_config(), folder),
        lambda: train(tiny_config(), folder, overwrite=True),
        lambda: train(tiny_config(), folder, resume=True),
        lambda: compare(tiny_comparison(out=str(folder))),
        lambda: forecaster.save(folder),
    ):
        with pytest.raises(RunError, match=told):
            write()
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_killed_writer_is_no_obstacle(held):
    folder, process = held
    process.kill()
    process.wait()
    assert (folder / ".lock").exists()
    (folder / ".config.json.half.tmp").write_text("{")
    train(tiny_config(epochs=1), folder)
    assert (folder / "manifest.json").exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_second_writer_leaves_the_half_written_files_of_the_first(tmp_path):
    with only_writer(tmp_path):
        (tmp_path / ".config.json.half.tmp").write_text("{")
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .* is writing to"), only_writer(tmp_path):
            pass
        assert (tmp_path / ".config.json.half.tmp").exists()


def test_what_is_no_file_is_refused_before_the_training(finished_run, tmp_path):
    """Else the training would end with an error, and its result would be lost."""
    made = [lambda path: os.mkfifo(path), lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/null")]
    for number, make in enumerate(made):
        folder = tmp_path / str(number)
        shutil.copytree(finished_run.path, folder)
        (folder / "history.csv").unlink()
        make(folder / "history.csv")
        with pytest.raises(RunError, match=r"cannot write .*history\.csv: it is (no regular file|a folder).*; choose"):
            train(tiny_config(), folder, overwrite=True)
        assert (folder / "manifest.json").exists()


def test_links_in_a_run_folder_are_not_followed(finished_run, tmp_path):
    folder, victim, elsewhere = tmp_path / "run", tmp_path / "victim", tmp_path / "elsewhere"
    shutil.copytree(finished_run.path, folder)
    victim.write_text("mine")
    for name in ("history.csv", "model.safetensors", "manifest.json", "loss.png", "environment.json"):
        (folder / name).unlink()
        (folder / name).symlink_to(victim)
    train(tiny_config(epochs=1), folder, overwrite=True)
    assert victim.read_text() == "mine"
    assert load_run(folder).config.epochs == 1
    shutil.rmtree(folder / "checkpoint")
    elsewhere.mkdir()
    (elsewhere / "last.ckpt").write_text("mine")
    (folder / "checkpoint").symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"checkpoint is a link, and nothing is written through it; remove it, or"):
        train(tiny_config(epochs=1), folder, overwrite=True)
    assert (elsewhere / "last.ckpt").read_text() == "mine"
