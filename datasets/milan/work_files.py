"""Files that appear whole or not at all, and a lock that one process holds at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from qkan.datasets.series import DataError


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, kept: str = "nothing was changed") -> None:
    """Let ``write`` fill a file beside ``path`` and put it in the place of ``path`` in one step.

    Modules of qkan have `qkan.forecasting.io.files.write_atomic` for this; data sets cannot import it.

    Args:
        path: the file to write; its folder must exist.
        write: called with a binary file object.
        kept: what a message says of everything else if this fails.

    Raises:
        DataError: the operating system refused (no space left, no permission ...).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r}: {error.strerror or error}; {kept}: make room or allow writing there, then "
            "repeat the command"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def only_process(lock: Path, doing: str) -> Iterator[None]:
    """Hold the lock file ``lock``, which names this process, until the end of the block; then remove it.

    The operating system gives the lock back when its process ends, however it ends. So a file that a killed process
    left behind is no obstacle. Where the system (Windows) or the disk has no such locks, a warning says so and the
    block runs all the same.

    Args:
        lock: path of the lock file; its folder must exist.
        doing: what the holder does, for the message to a second process.

    Raises:
        DataError: another process holds the lock, or the file cannot be written.
    """
    handle = _open_locked(lock, doing)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)
        os.close(handle)


def _open_locked(lock: Path, doing: str) -> int:
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DataError(
                f"cannot write {str(lock)!r}: {error.strerror}; allow writing there or choose another place"
            ) from error
        try:
            _lock(handle)
        except BlockingIOError:
            holder = os.pread(handle, 1000, 0).decode(errors="replace")
            os.close(handle)
            raise DataError(
                f"{_told(holder)} is {doing} already ({str(lock)!r}); wait for it or choose another place"
            ) from None
        except (OSError, ModuleNotFoundError) as error:
            reason = getattr(error, "strerror", None) or "this system has no such locks"
            warnings.warn(
                f"cannot lock {str(lock)!r} ({reason}): see to it that no second process writes there", stacklevel=5
            )
            return handle
        # Its last holder may have removed the file between the two calls; then this lock is one on nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        os.close(handle)


def _lock(handle: int) -> None:
    import fcntl  # POSIX only

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _told(holder: str) -> str:
    try:
        facts = json.loads(holder)
        return f"process {facts['pid']} on {facts['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
