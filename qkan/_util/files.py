"""Files that appear whole or not at all, and a lock that one process holds at a time."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import json
import os
import secrets
import socket
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of a disk without locks, such as some network disks
_LONGEST_NAME = 200  # bytes of a name that its temporary file bears: file systems allow 255 in all
_PATIENCE = 0.1  # seconds: longer than a holder takes between removing its lock file and giving the lock back


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a new file beside ``path``, then put it in the place of ``path`` in one step.

    Whatever happens, ``path`` holds either its old content or all of the new, and no temporary file stays behind
    (unless the process is killed: see :func:`remove_leftovers`). An existing file keeps its permissions, a new one has
    those that the umask allows. Links are not followed: the new file is never an existing one or a link, because its
    name is made up and must be free, and a link at ``path`` is replaced, not what it points to.

    Args:
        path: the file to write; its folder must exist.
        write: called with a binary file object.

    Raises:
        OSError: the operating system refused (no space left, no permission, ...), or ``path`` cannot be replaced; see
            :func:`check_replaceable`.
    """
    check_replaceable(path)
    temporary = path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(8)}.tmp")
    file = temporary.open("xb")
    try:
        with file:
            with contextlib.suppress(FileNotFoundError):
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode):
                    temporary.chmod(facts.st_mode & 0o777)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new_files(folder: Path, contents: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write files of a folder, which is made if it is missing, each as of :func:`write_atomic`, in that order.

    Raises:
        FileExistsError: one of them exists and must not be replaced; nothing is written then.
        OSError: as of :func:`write_atomic`.
    """
    there = [name for name in contents if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise FileExistsError(f"{folder / there[0]} exists; give another folder, or overwrite=True to replace it")
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path, content: bytes) -> None:
        write_atomic(path, lambda file: file.write(content))

    for name, content in contents.items():
        write(folder / name, content)


def write_output(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write what a user named: a file as of :func:`write_atomic`, or through a terminal, a pipe or ``/dev/null``.

    Only for a path that the user gave: what a folder from elsewhere holds may be a pipe that nobody reads.

    Args:
        path: where to write; its folder must exist.
        write: called with a binary file object.

    Raises:
        OSError: as of :func:`write_atomic`.
    """
    if not is_stream(path):
        write_atomic(path, write)
        return
    content = io.BytesIO()  # whole before the first byte goes out; some writers go back in their files
    write(content)
    with os.fdopen(os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0)), "wb") as file:
        file.write(content.getvalue())


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 130) -> None:
    """Write a figure where a user wants it, in the format that the ending names, PNG by default.

    Raises:
        OSError: as of :func:`write_atomic`.
        ValueError: Matplotlib knows no such format.
    """
    from qkan._util.drawing import write_figure

    path = Path(path)
    form = path.suffix[1:] or "png"
    if not path.suffix and not is_stream(path):
        path = path.with_name(f"{path.name}.png")
    write_output(path, lambda file: write_figure(figure, file, format=form, dpi=dpi))


def is_stream(path: Path) -> bool:
    """Whether writing to ``path`` goes through it and replaces nothing: a terminal, a pipe, ``/dev/null``."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def check_replaceable(path: Path) -> None:
    """Refuse a path that a new file must not take the place of.

    Raises:
        OSError: there is something else than a file or a link to a file, or a link of the system such as
            ``/dev/stdout``.
    """
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            folder = os.path.realpath(path.parent)
            if folder.startswith(("/proc/", "/dev/")) or folder == "/dev":
                raise OSError(errno.EINVAL, f"it is a link of the system, to {os.path.realpath(path)!r}", str(path))
            facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):  # nothing there, or a link to nothing
        return
    if stat.S_ISDIR(facts.st_mode):
        raise OSError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file, but a device, a pipe or a socket", str(path))


def _shortened(name: str) -> str:
    return os.fsencode(name)[:_LONGEST_NAME].decode(errors="ignore")


def sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX lets a folder be opened for that, and some folders may not be read."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of disks that do not sync folders
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove temporary files that killed writers left in a folder: of the file called ``name``, or of all."""
    for leftover in folder.glob(f".{'*' if name is None else glob.escape(_shortened(name)) + '.*'}.tmp"):
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
