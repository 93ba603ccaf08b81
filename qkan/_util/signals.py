"""SIGTERM, which ``timeout``, ``docker stop`` and Slurm send, ends a command as Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_PARENT = "QKAN_STARTED_BY"  # environment variable: the process that will end this one


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def terminations_interrupt() -> None:
    """Make SIGTERM raise :class:`Terminated` in the main thread, unless the process handles it already.

    Only the first one counts: ``timeout`` sends a second one while the first is being answered. A process that was
    started under :func:`children_leave_signals` ignores it, and Ctrl-C.
    """
    if leave_to_parent():
        return
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


@contextlib.contextmanager
def children_leave_signals() -> Iterator[None]:
    """Let the processes that are started meanwhile know that this one ends them."""
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def leave_to_parent() -> bool:
    """Ignore Ctrl-C and SIGTERM, and return true, if the parent started this process to end it by itself."""
    started = os.environ.get(_PARENT) == str(os.getppid())
    if started and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return started


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated("the process was asked to end (SIGTERM)")
