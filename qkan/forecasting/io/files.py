"""Writing files so that a crash, a full disk or a second reader never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from qkan._util import files

_LOCK = ".lock"
_NO_FILE = (errno.EINVAL, errno.EISDIR)  # of what is there and must not be replaced


class RunError(ValueError):
    """A run folder cannot be read, written or continued; the message says why and what to do.

    Examples:
        >>> from qkan.forecasting import RunError, load_run
        >>> try:
        ...     load_run("runs/none")
        ... except RunError as error:
        ...     print(error)
        there is no run folder runs/none; train one first
    """


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """:func:`qkan._util.files.write_atomic` with a RunError.

    Args:
        path: The file to write; its folder must exist.
        write: Called with a binary file object.

    Raises:
        RunError: the operating system refused (no space left, no permission, ...), or the path is no file.
    """
    with _explained(path):
        files.write_atomic(path, write)


def write_output(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """:func:`qkan._util.files.write_output` with a RunError: for a path that the user named."""
    with _explained(path):
        files.write_output(path, write)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads has enough
        raise
    except OSError as error:
        if error.errno in _NO_FILE:
            raise RunError(f"cannot write {path}: {error.strerror}; choose another file") from error
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
        RunError: another process is writing to the folder, the folder cannot be made or written to, or something else
            than a file has the name of one.
    """
    make_folder(folder)
    with files.only_process(folder / _LOCK, f"writing to {str(folder)!r}", RunError):
        files.remove_leftovers(folder)
        _check_inner_files(folder)
        yield


def _check_inner_files(folder: Path) -> None:
    """Refuse a folder in which a pipe, a device or a folder bears a name as files have it, before anything is computed.

    Raises:
        RunError: there is one.
    """
    for path in folder.iterdir():
        if path.suffix or not path.is_dir():
            with _explained(path):
                files.check_replaceable(path)


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there.

    Raises:
        RunError: the operating system refused.
    """
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if made:
            files.sync_folder(folder.parent)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror or error}; choose another one") from error


def refuse_link(folder: Path) -> None:
    """Refuse a folder inside of one of ours that is a link, which may lead anywhere.

    Raises:
        RunError: it is one.
    """
    if folder.is_symlink():
        raise RunError(f"{folder} is a link, and nothing is written through it; remove it, or choose another folder")


def check_new_file(path: Path, overwrite: bool) -> None:
    """Refuse a file that must not be written, before anything is computed for it.

    A terminal, a pipe or ``/dev/null`` is written through, so there is nothing to overwrite.

    Raises:
        RunError: it is a folder or a device, or it exists and ``overwrite`` is false.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder; give the name of a file")
    if files.is_stream(path):
        return
    with _explained(path):
        files.check_replaceable(path)
    if os.path.lexists(path) and not overwrite:
        raise RunError(f"{path} exists already; choose another file, or replace it with overwrite=True")


def holds_nothing(folder: Path, *, but: str = _LOCK) -> bool:
    """Tell whether a folder holds no file but a lock, and one other."""
    return all(path.name in (_LOCK, but) for path in folder.iterdir())


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
