"""Commands as real processes that start at once: a server has imported what training needs, and forks each of them.

Signals, process groups, exit codes, standard streams and what is left on disk are those of a process of its own. What a
test says of starting an interpreter (variables that only Python reads, closed streams, imports) needs ``subprocess``.
"""

from __future__ import annotations

import atexit
import multiprocessing.forkserver
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from qkan.forecasting.executors.processes import TRAINING_MODULES


def warm_context() -> BaseContext:
    """The server of the worker processes of comparisons: a test run starts one of them in each of its processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(TRAINING_MODULES))
    return context


def start_servers_without(variable: str) -> None:
    """Let this process start its server in an environment without a variable, whichever test or comparison needs it.

    What the server imports is imported for all processes that come from it.
    """
    server = multiprocessing.forkserver._forkserver
    start = server.ensure_running

    def ensure_running() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(variable, raising=False)
            start()

    server.ensure_running = ensure_running


class WarmProcess:
    """``python -m MODULE ARGUMENTS``, with as much of :class:`subprocess.Popen` as tests need.

    Args:
        command: Name of the module and its arguments.
        stdout: A descriptor to write to; by default a pipe, whose other end is ``self.stdout``. Errors are read as they
            come, so that a process that writes many of them is never kept waiting: ``self.stderr.read()`` has them all.
        environment: All variables; by default those of this process.
        folder: Working directory; by default that of this process.
        new_session: Whether the process leads a session and a group of its own.
        ignored: Signals that it ignores from the start, as under ``nohup``.
    """

    stdout: BinaryIO | None = None

    def __init__(
        self,
        command: Sequence[str | Path],
        stdout: int | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        new_session: bool = False,
        ignored: Sequence[signal.Signals] = (),
    ) -> None:
        with ExitStack() as ours:

            def pipe() -> tuple[BinaryIO, int]:
                reading, writing = os.pipe()
                ours.callback(os.close, writing)  # the process has a copy
                return open(reading, "rb"), writing

            if stdout is None:
                self.stdout, stdout = pipe()
            errors, stderr = pipe()
            self.stderr = _ReadToItsEnd(errors)
            self._process = warm_context().Process(
                target=_run,
                args=([str(word) for word in command], _Stream(stdout), _Stream(stderr)),
                kwargs={
                    "environment": dict(os.environ if environment is None else environment),
                    "folder": str(folder or Path.cwd()),
                    "new_session": new_session,
                    "ignored": ignored,
                },
            )
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._process.kill()
        self.wait(60)
        if self.stdout is not None:
            self.stdout.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; ``None`` while the process runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> None:
        """Wait for the end of the process, at most ``timeout`` seconds."""
        self._process.join(timeout)
        assert not self._process.is_alive(), f"the process still runs after {timeout} s"


class _ReadToItsEnd:
    """A pipe that a thread empties: it holds 64 kB, and who writes more waits for a reader."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._empty, args=[pipe], daemon=True)
        self._thread.start()

    def _empty(self, pipe: BinaryIO) -> None:
        with pipe:
            self._parts.append(pipe.read())

    def read(self) -> bytes:
        """Wait until no process holds the other end any more, and return all that was written."""
        self._thread.join()
        return b"".join(self._parts)


class _Stream:
    """A descriptor that is sent along with a process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple:
        return _received, (multiprocessing.reduction.DupFd(self.number),)


def _received(sent: multiprocessing.reduction.DupFd) -> int:
    return sent.detach()


def _run(
    command: list[str],
    stdout: int,
    stderr: int,
    *,
    environment: dict[str, str],
    folder: str,
    new_session: bool,
    ignored: Sequence[signal.Signals],
) -> None:
    """Become the process: the target of the server's forks."""
    if new_session:
        os.setsid()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    for number, name, received in ((1, "stdout", stdout), (2, "stderr", stderr)):
        os.dup2(received, number)
        os.close(received)
        # As Python opens them.
        line_by_line = name == "stderr" or os.isatty(number)
        errors = "backslashreplace" if name == "stderr" else None
        setattr(sys, name, open(number, "w", 1 if line_by_line else -1, errors=errors, closefd=False))  # noqa: SIM115
    sys.argv = list(command)
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
