"""Trainings that are killed or stopped at random moments, and resumed: the end is that of an undisturbed one."""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from tiny_runs import train_in_child
from warm_processes import warm_context

from torture import examples

COUNT = 30

RESULTS = ("model.safetensors", "history.csv", "predictions.csv", "validation.csv")
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
_ERRORS = "errors.txt"


def command_in_child(out: str, resume: bool, errors: str) -> None:
    """Train by the command line; the target of processes that are asked to end."""
    import torch

    from qkan.cli.main import main

    torch.set_num_threads(1)
    for number, name in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sizes = ["--cell", "lstm", "--hidden-size", "2", "--window", "4", "--batch-size", "8", "--device", "cpu"]
    options = ["--data", "damped-shm", *sizes, "--epochs", "25", "--lr", "0.03"]
    sys.argv = ["qkan", "train", "lstm", "--out", out, *(["--resume"] if resume else options)]
    main()


def _start(number: int, out: Path) -> BaseProcess:
    if number == signal.SIGKILL:
        process = warm_context().Process(target=train_in_child, args=(str(out), out.exists()))
    else:
        arguments = (str(out), (out / "config.json").exists(), str(out.parent / _ERRORS))
        process = warm_context().Process(target=command_in_child, args=arguments)
    process.start()
    return process


@functools.cache
def _undisturbed(number: int) -> tuple[dict[str, bytes], float]:
    """Results of a training that is left alone, and how long it takes."""
    for _ in ("first", "timed"):  # the first one waits for the imports
        out = examples.empty_folder() / "run"
        began = time.monotonic()
        process = _start(number, out)
        process.join()
        assert process.exitcode == 0, process.exitcode
    return {name: (out / name).read_bytes() for name in RESULTS}, time.monotonic() - began


def run(index: int, folder: Path) -> tuple[str, str]:
    dice = random.Random(f"kills {index}")
    number = list(SIGNALS)[index % len(SIGNALS)]
    right, duration = _undisturbed(number)
    out, moment = folder / "run", dice.random()
    process = _start(number, out)
    process.join(timeout=moment * duration)
    assert process.pid is not None
    what = f"signal {number} after {moment * duration:.2f} s"
    if process.is_alive():
        os.kill(process.pid, number)
        process.join()
        # In the first moments nothing answers signals yet, and there is no run; in the last ones the work is done.
        early = not (out / "config.json").exists() and process.exitcode in (-number, 1)
        done = (out / "manifest.json").exists() and process.exitcode == 0
        assert process.exitcode == SIGNALS[number] or early or done, f"{what}: exit code {process.exitcode}"
        if number != signal.SIGKILL and not early and not done:
            said = (folder / _ERRORS).read_text()
            assert said.startswith("\nInterrupted."), f"{what}: {said}"
            assert len(said.splitlines()) == 2, f"{what}: {said}"
        what = f"{what}, exit code {process.exitcode}"
    process = _start(number, out)
    process.join()
    assert process.exitcode == 0, f"{what}: resuming ends with {process.exitcode}"
    for name, content in right.items():
        assert (out / name).read_bytes() == content, f"{what}: {name} differs"
    assert not list(out.rglob("*.tmp")), f"{what}: a temporary file is left"
    return what, "right"
