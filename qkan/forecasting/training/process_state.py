"""What a training finds around it and leaves as it was: loggers, random numbers, threads, signals, processes.

This module imports lightning; import it inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from qkan._util.signals import ENDING, Terminated, children_leave_signals, leave_to_parent


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's hints about loggers, workers and devices, which say nothing about these small runs."""
    loggers = {name: logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            # Of a gradient of one column, whose strides may be written in two ways.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])


@contextlib.contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Give the training its own random state and leave the caller's as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextlib.contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Compute with one thread: small models gain nothing from more, and sums do not depend on the machine.

    If that is not ``wanted``, see only to it that the number of threads is as before in the end.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def children_end_with(trainer: pl.Trainer) -> Iterator[None]:
    """End the processes that Lightning started if the training fails here: they would wait for this one.

    They ignore Ctrl-C and SIGTERM, which often go to all of them: one that ended first would make Lightning kill this
    one, before it could say how to go on.
    """
    launcher = trainer.strategy.launcher
    before = {number: signal.getsignal(number) for number in ENDING}
    left = leave_to_parent()
    try:
        with children_leave_signals():
            yield
    except BaseException:
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)  # only the first process writes files
            for process in launcher.procs:
                process.wait()
            launcher.procs.clear()  # Lightning's observer of them would kill this process too
        raise
    finally:
        if left and threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def leave_signals(trainer: pl.Trainer) -> None:
    """Keep Lightning's hands off SIGTERM.

    Its handler ends the training after the batch as if it were complete, and the process with exit code 0. Without it,
    the handler of the caller's program counts, such as that of the command line; where there is none the process ends.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None


@contextlib.contextmanager
def keyboard_interrupts_pass() -> Iterator[None]:
    """Turn Lightning's answer to Ctrl-C (ignore further signals, exit the process) back into what was raised."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            said = "training was interrupted; resume it from its last checkpoint"
            if isinstance(error.__context__, Terminated):  # on the command line another one than Ctrl-C
                raise Terminated(said, error.__context__.number) from error
            raise KeyboardInterrupt(said) from error
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
