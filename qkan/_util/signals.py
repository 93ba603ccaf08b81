"""SIGTERM, which ``timeout``, ``docker stop`` and Slurm send, and SIGHUP, of a terminal that goes, end a command as
Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: Signals that ask a process to end; Windows has the first only.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_PARENT = "QKAN_STARTED_BY"  # environment variable: the process that will end this one


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal, whose ``number`` is kept."""

    def __init__(self, said: str, number: int = signal.SIGTERM) -> None:
        super().__init__(said)
        self.number = number


def terminations_interrupt() -> None:
    """Make SIGTERM and SIGHUP raise :class:`Terminated` in the main thread, unless the process handles them already,
    as one under ``nohup`` does.

    Only the first one counts: ``timeout`` sends a second one while the first is being answered. A process that was
    started under :func:`children_leave_signals` ignores them, and Ctrl-C.
    """
    if leave_to_parent():
        return
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _terminate)


@contextlib.contextmanager
def children_leave_signals() -> Iterator[None]:
    """Let the processes that are started meanwhile know that this one ends them."""
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def leave_to_parent() -> bool:
    """Ignore Ctrl-C and what asks to end, and return true, if the parent started this process to end it by itself."""
    started = os.environ.get(_PARENT) == str(os.getppid())
    if started and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *ENDING):
            signal.signal(number, signal.SIG_IGN)
    return started


def _terminate(number: int, frame: FrameType | None) -> None:
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)
    raise Terminated(f"the process was asked to end ({signal.Signals(number).name})", number)
