"""Files that appear whole or not at all, and a lock that one process holds at a time."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import socket
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a disk without locks, such as some network disks
_PATIENCE = 0.1  # seconds: longer than a holder takes between removing its lock file and giving the lock back


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a new file beside ``path``, then put it in the place of ``path`` in one step.

    Whatever happens, ``path`` holds either its old content or all of the new, and no temporary file stays behind
    (unless the process is killed: see :func:`remove_leftovers`). An existing file keeps its permissions, a new one has
    those that the umask allows. The new file is never an existing one or a link: its name is made up and must be free.

    Args:
        path: the file to write; its folder must exist.
        write: called with a binary file object.

    Raises:
        OSError: the operating system refused (no space left, no permission, ...).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    file = temporary.open("xb")
    try:
        with file:
            if path.exists():
                temporary.chmod(path.stat().st_mode & 0o777)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX lets a folder be opened for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove temporary files that killed writers left in a folder: of the file called ``name``, or of all."""
    for leftover in folder.glob(f".{'*' if name is None else glob.escape(name) + '.*'}.tmp"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def only_process(lock: Path, doing: str, error: type[Exception]) -> Iterator[None]:
    """Hold the lock file ``lock``, which names this process, until the end of the block; then remove it.

    The operating system gives the lock back when its process ends, however it ends. So a file that a killed process
    left behind is no obstacle. Where the disk has no such locks, a warning says so and the block runs all the same.

    Args:
        lock: path of the lock file; its folder must exist. A link, a device and the like are refused.
        doing: what the holder does, for the message to a second process.
        error: what to raise.

    Raises:
        error: another process holds the lock, or the file cannot be written.
    """
    import filelock

    held = filelock.FileLock(lock, timeout=_PATIENCE, poll_interval=0.02, fallback_to_soft=False, on_acquired=_sign)
    try:
        os.stat(lock.parent)  # filelock would make it
        held.acquire()
    except filelock.Timeout:
        raise error(
            f"{_holder(lock)} is {doing} already ({str(lock)!r}); wait for it or choose another place"
        ) from None
    except OSError as reason:
        if reason.errno not in _NO_LOCKS:
            raise error(
                f"cannot write {str(lock)!r}: {reason.strerror}; allow writing there or choose another place"
            ) from reason
        warnings.warn(
            f"cannot lock {str(lock)!r} ({reason.strerror}): see to it that no second process writes there",
            stacklevel=4,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)  # while it is held: who opened it meanwhile finds that it has no name any more
        held.release()


def _sign(handle: int) -> None:
    """Write into an open lock file whose it is."""
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:  # two names: writing would change another file
        raise OSError(errno.EEXIST, "it is no lock file")
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())


def _holder(lock: Path) -> str:
    try:
        facts = json.loads(lock.read_bytes()[:1000])
        return f"process {facts['pid']} on {facts['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # on Windows a locked file cannot be read
        return "another process"
