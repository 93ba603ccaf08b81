"""Ctrl-C and SIGTERM, sent as real signals to real processes, and output that nobody reads."""

import errno
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from warm_processes import WarmProcess

from qkan.forecasting import load_run
from qkan.forecasting.training.checkpoints import read_checkpoint

# These models are too small for more than one thread, which would wait for the tests that run beside.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TRAIN = ["qkan.cli", "train", "lstm"]
SMALL = ["--data", "damped-shm", "--cell", "lstm", "--window", "4", "--lbfgs-steps", "0"]
LONG = [*SMALL, "--epochs", "80", "--patience", "80", "--batch-size", "64"]


def interrupt_after(marker: bytes, process: WarmProcess, output: int, number: int = signal.SIGINT) -> bytes:
    """Send Ctrl-C, or another signal, once ``marker`` matches; return all that was printed to ``output``."""
    seen = b""
    while not re.search(marker, seen):
        part = os.read(output, 65536)
        assert part, seen.decode()
        seen += part
    process.send_signal(number)
    process.wait(60)
    return seen


def test_interrupt_takes_the_bar_down_and_names_the_command_that_goes_on(tmp_path: Path, qkan) -> None:
    out = tmp_path / "my run"
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120"}
    with WarmProcess([*TRAIN, *LONG, "--out", out], stdout=theirs, environment=environment) as process:
        os.close(theirs)
        interrupt_after(rb"\d\d/80  loss ", process, ours)
        rest = drain(ours)
        errors = process.stderr.read().decode()
    assert process.returncode == 130
    assert errors == f"\nInterrupted. Go on with: qkan train lstm --out '{out}' --resume\n"
    assert b"\x1b[?25h" in rest, "the cursor was not shown again"

    resumed = qkan("train", "lstm", "--out", out, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "resuming after epoch " in resumed.stdout
    assert list(load_run(out).history["epoch"]) == list(range(1, 81))


def drain(terminal: int) -> bytes:
    """Return what is left to read of a terminal that nobody writes to any more."""
    left = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # Linux reports the end of a terminal so
                raise
            part = b""
        if not part:
            os.close(terminal)
            return left
        left += part


def test_interrupt_before_training_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qkan.forecasting.runs.run.train", interrupted)
    done = qkan("train", "lstm", *LONG, "--out", tmp_path / "run")
    assert (done.exit_code, done.stderr) == (130, "\nInterrupted. Nothing was trained yet.\n")


def test_interrupted_comparison_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qkan.forecasting.comparison.comparison.compare", interrupted)
    done = qkan("compare", "lstm", "--data", "damped-shm", "--out", tmp_path)
    assert (done.exit_code, done.stderr) == (
        130,
        f"\nInterrupted. The finished runs are in {tmp_path}: the same command goes on there.\n",
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_and_sighup_end_as_ctrl_c_does(number: int, code: int, tmp_path: Path) -> None:
    """The latter is what a terminal sends that is closed."""
    out = tmp_path / "run"
    with WarmProcess([*TRAIN, *LONG, "--out", out], environment=ENVIRONMENT) as process:
        assert process.stdout is not None
        interrupt_after(rb"epoch 1\d/80", process, process.stdout.fileno(), number)
        errors = process.stderr.read().decode()
    assert process.returncode == code
    assert errors == f"\nInterrupted. Go on with: qkan train lstm --out {out} --resume\n"
    assert not (out / "manifest.json").exists(), "a training that was cut off is no finished run"
    assert "state_dict" in read_checkpoint(out / "checkpoint" / "last.ckpt"), "the checkpoint is whole"


def test_nohup_trains_on(tmp_path: Path) -> None:
    short = [*TRAIN, *SMALL, "--epochs", "2", "--out", tmp_path]
    with WarmProcess(short, environment=ENVIRONMENT, ignored=[signal.SIGHUP]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
        process.wait(60)
    assert process.returncode == 0


def test_sigterm_to_a_training_of_two_processes(tmp_path: Path) -> None:
    """Sent to the whole group, as ``timeout``, Slurm and terminals do."""
    command = [*TRAIN, *LONG, "--devices", "2", "--out", tmp_path / "run"]
    with WarmProcess(command, environment=ENVIRONMENT, new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"epoch 1") and b"/80" in line:
                break
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        errors = process.stderr.read().decode()  # ends only when the other process has ended too
    assert process.returncode == 143
    assert errors == f"\nInterrupted. Go on with: qkan train lstm --out {tmp_path / 'run'} --resume\n"


def test_a_reader_that_goes_away_does_not_stop_a_training(tmp_path: Path) -> None:
    command = [*TRAIN, *SMALL, "--epochs", "3", "--out", tmp_path]
    with WarmProcess(command, environment=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(60)
    assert (process.returncode, errors) == (0, b"")
    assert len(load_run(tmp_path).history) == 3


def test_errors_that_no_pipe_holds_keep_nobody_waiting() -> None:
    """That of the test itself: what reads one pipe to its end must not wait for who fills the other."""
    command = ["timeit", "-n", "1", "-r", "1", "import sys; sys.stderr.write('x' * 200_000)"]
    with WarmProcess(command, environment=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"1 loop")
        assert len(process.stderr.read()) == 200_000
        process.wait(60)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_no_disk_takes_is_one_line(unbuffered: str) -> None:
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "qkan.cli", "data", "list"]
        done = subprocess.run(command, stdout=full, stderr=PIPE, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr == b"Error: cannot write to the standard output: No space left on device\n"


def test_a_standard_output_that_is_closed_is_nobody_elses_file(tmp_path: Path) -> None:
    """The next file to be opened would get its number, and what native code prints would go there."""
    command = shlex.join([sys.executable, "-m", "qkan.cli", "data", "list"])
    done = subprocess.run(["sh", "-c", f"exec {command} >&-"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert done.stderr == "Error: cannot write to the standard output: Bad file descriptor\n"
    code = "import os; from qkan.cli.streams import Streams; Streams(); print(open(os.devnull).fileno() > 2)"
    script = shlex.join([sys.executable, "-c", code])
    done = subprocess.run(["sh", "-c", f"exec {script} <&- 2>&-"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "True\n"
