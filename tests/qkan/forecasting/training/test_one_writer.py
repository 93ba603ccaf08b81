"""Two processes never write one run folder: the second is told, and a killed one is no obstacle."""

import os
import subprocess
import sys

import pytest
from tiny_runs import tiny_comparison, tiny_config

from qkan.forecasting import Forecaster, RunError, compare, train
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
