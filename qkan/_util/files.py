"""Writing a file so that a crash, a full disk or a second reader never meets half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


def write_in_one_step(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in the place of ``path`` in one step.

    Whatever happens, ``path`` holds either its old content or all of the new, and no temporary file stays behind
    (unless the process is killed: then one named ``.NAME.*.tmp`` may stay).

    Args:
        path: the file to write; its folder must exist.
        write: called with a binary file object.

    Raises:
        OSError: the operating system refused (no space left, no permission, ...).
    """
    with _temporary_beside(path) as temporary:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[str]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        # mkstemp makes private files; what is written is as readable as the user's umask allows.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        yield name
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX lets a folder be opened for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
