"""Writing files so that a crash, a full disk or a second reader never meets half of one."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from qkan._util import files

_LOCK = ".lock"


class RunError(ValueError):
    """A run folder cannot be read, written or continued; the message says why and what to do."""


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """:func:`qkan._util.files.write_atomic` with a RunError.

    Args:
        path: The file to write; its folder must exist.
        write: Called with a binary file object.

    Raises:
        RunError: the operating system refused (no space left, no permission, ...).
    """
    try:
        files.write_atomic(path, write)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; nothing was lost: "
            "make room or allow writing there, then repeat or resume"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see :func:`write_atomic`."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: object) -> None:
    """Write a JSON-able value atomically, indented for readers; see :func:`write_atomic`."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file of a run folder.

    Raises:
        RunError: the file is missing, unreadable, or no regular file.
    """
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path} is missing; give a run folder, or restore the file") from None
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot read {path}: {reason}; restore the file, or train again in another folder") from error
    # A run folder from elsewhere may hold a link to an endless device, or a pipe that never begins.
    raise RunError(f"{path} is no regular file; restore it, or train again in another folder")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of a run folder holds.

    Raises:
        RunError: the file is missing, unreadable or no JSON object.
    """
    try:
        value = json.loads(read_bytes(path).decode())
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of too many digits; nested too deep
        if isinstance(error, RunError):
            raise
        raise RunError(f"cannot read {path}: {error}; restore the file, or train again in another folder") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} must hold a JSON object, got {type(value).__name__}; restore the file or train again")
    return value


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make a folder and be the only process that writes to it, until the end of the block.

    What a killed process left there, half-written files and its lock, is removed.

    Raises:
        RunError: another process is writing to the folder, or the folder cannot be made or written to.
    """
    make_folder(folder)
    with files.only_process(folder / _LOCK, f"writing to {str(folder)!r}", RunError):
        files.remove_leftovers(folder)
        yield


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there.

    Raises:
        RunError: the operating system refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror or error}; choose another one") from error


def check_new_file(path: Path, overwrite: bool) -> None:
    """Refuse a file that must not be written, before anything is computed for it.

    Raises:
        RunError: it is a folder, or it exists and ``overwrite`` is false.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise RunError(f"{path} exists already; choose another file, or replace it with overwrite=True (--overwrite)")


def holds_nothing(folder: Path) -> bool:
    """Tell whether a folder holds no file but a lock."""
    return all(path.name == _LOCK for path in folder.iterdir())


def check_version(path: Path, found: int, newest: int) -> None:
    """Refuse what a newer version of this package wrote.

    Raises:
        RunError: ``found``, the format version in ``path``, is above ``newest``.
    """
    if found > newest:
        raise RunError(
            f"{path} has format version {found}, this version of qkan reads up to {newest}; "
            "update qkan (pip install --upgrade qkan-seq)"
        )
