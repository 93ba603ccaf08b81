"""Machine code of Numba kernels on disk: kept in a folder of this user alone, and loaded only as it was written.

Numba keeps machine code as pickles, and to read a pickle is to run what it says. So the folder must belong to this user
and be closed to others, as must what leads to it, and so must every file in it. Each file begins with a checksum of the
rest: one that is empty, cut short or changed is removed, and the kernel is compiled again. Nothing about the disk stops
a computation: without a folder, or with a full disk, every process compiles its kernels itself.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
import secrets
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import config as numba_config
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.serialize import dumps

_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # they may write
#: A link is not followed, a pipe not waited for.
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"))
_SUM = hashlib.sha256().digest_size
_SLOW = "so kernels are compiled in every process, which takes up to a minute"

#: Files with constants that are compiled into kernels, beside those of kernels.
CONSTANTS = ("circuits/bloch/bytecode.py", "rational/types.py")


def sources(kernels: Path) -> list[Path]:
    """The files of which machine code is made: those with ``numba`` in their name, and those of their constants."""
    return [*sorted(kernels.rglob("*numba*.py")), *(kernels / name for name in CONSTANTS)]


#: Characters of the reasons why there is no folder, which name its path.
_LONGEST = 240


def sources_digest(kernels: Path) -> str:
    """Sixteen hexadecimal digits that change with every one of the :func:`sources`."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources(kernels))).hexdigest()[:16]


def cache_folder() -> str | None:
    """A folder for machine code of the present sources; None, with a warning, if there is none.

    It is beside the sources or in the user's cache, or where NUMBA_CACHE_DIR says. Numba looks at the file of a kernel
    alone to tell whether its machine code is out of date, but kernels are made of functions and constants of several
    files, and an upgrade may leave some as they are. So the folder is named after a digest of all of them.
    """
    return _folder(str(getattr(numba_config, "CACHE_DIR", "") or ""))


@cache
def _folder(given: str) -> str | None:
    here = Path(__file__).parents[1]
    name = f"numba-{sources_digest(here)}"
    places: list[tuple[Path, Path | None]]
    if given:
        places = [(Path(given).absolute() / name, None)]
    else:
        # Whoever may write where the sources are needs no pickle: what leads there is not looked at.
        places = [(here / "__pycache__" / name, here), *((base / "qkan" / name, None) for base in _user_caches())]
    reasons = []
    for folder, trusted in places:
        reason = _make_private(folder, trusted)
        if reason is None:
            return str(folder)
        reasons.append(reason)
    warnings.warn(
        f"machine code cannot be kept ({'; '.join(reasons)[:_LONGEST] or 'there is no home folder'}), {_SLOW}; set "
        f"{'NUMBA_CACHE_DIR' if given else 'XDG_CACHE_HOME'} to a folder that is yours alone",
        stacklevel=2,
    )
    return None


def _user_caches() -> list[Path]:
    """The folder for caches of this user; none without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return [Path(given)]
    try:
        return [Path.home() / ".cache"]
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return []


def _make_private(folder: Path, trusted: Path | None) -> str | None:
    """Make a folder that this user alone can open; the reason if it cannot be used.

    Args:
        folder: the folder.
        trusted: a folder above it; it and what leads to it are not looked at. None looks at all.
    """
    folder = Path(os.path.realpath(folder.parent)) / folder.name
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not os.path.lexists(path)]):
            with suppress(FileExistsError):  # of another process
                missing.mkdir(0o755 if missing.name == "__pycache__" else 0o700)
        if os.name != "posix":
            return None if os.access(folder, os.W_OK) else f"{str(folder)!r} cannot be written"
        return _unsafe_reason(folder, None if trusted is None else Path(os.path.realpath(trusted)))
    except OSError as error:
        return f"{str(folder)!r}: {error.strerror}"


def _unsafe_reason(folder: Path, trusted: Path | None) -> str | None:
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        return f"{str(folder)!r} is no folder"
    if facts.st_uid != os.geteuid():
        return f"{str(folder)!r} belongs to another user"
    if facts.st_mode & _OTHERS:
        return f"others can write in {str(folder)!r}"
    owners = {0, os.geteuid()} | ({trusted.stat().st_uid} if trusted is not None else set())
    for parent in folder.parents:
        if parent == trusted:
            break
        above = parent.stat()
        if above.st_uid not in owners:
            return f"{str(parent)!r}, which leads to {str(folder)!r}, belongs to another user"
        if above.st_mode & _OTHERS and not above.st_mode & stat.S_ISVTX and not _only_ours(above):
            return f"others can write in {str(parent)!r}, which leads to {str(folder)!r}"
    if not os.access(folder, os.W_OK):
        return f"{str(folder)!r} cannot be written"
    if facts.st_mode & 0o077:
        folder.chmod(0o700)
    return None


def _only_ours(facts: os.stat_result) -> bool:
    """Whether the group that may write is one of this user alone, as many systems make for every user."""
    if facts.st_mode & stat.S_IWOTH:
        return False
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(facts.st_gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


class _Files(IndexDataCacheFile):
    """The files of one function. Those that are damaged or of another user count as absent, and are removed."""

    def load(self, key: Any) -> Any:
        """What was saved under ``key``, or None."""
        name = self._load_index().get(key)
        content = None if name is None else self._read(self._data_path(name))
        if content is None:
            return None
        written_for, data = pickle.loads(content)
        # A crash may leave an index beside the file of an older one.
        return data if written_for == (self._version, self._source_stamp, key) else None

    def save(self, key: Any, data: Any) -> None:
        """Keep ``data`` under ``key``."""
        names = self._load_index()
        if key not in names:
            taken = set(names.values())
            names[key] = next(name for name in map(self._data_name, range(1, len(taken) + 2)) if name not in taken)
        self._write(self._data_path(names[key]), dumps(((self._version, self._source_stamp, key), data)))
        self._save_index(names)

    def _load_index(self) -> dict[Any, str]:
        content = self._read(self._index_path)
        if content is None:
            return {}
        version, rest = pickle.loads(content)
        if version != self._version:  # the rest may need classes of that version
            return {}
        stamp, names = pickle.loads(rest)
        return names if stamp == self._source_stamp else {}

    def _save_index(self, names: dict[Any, str]) -> None:
        self._write(self._index_path, dumps((self._version, dumps((self._source_stamp, names)))))

    def _read(self, path: str) -> bytes | None:
        """What was written to a file; None if it is absent, of another user, or not as it was written."""
        try:
            file = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError:  # a link, or not to be read
            self._remove(path)
            return None
        with open(file, "rb") as opened:
            facts = os.fstat(file)
            ours = os.name != "posix" or (facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS)
            content = opened.read() if ours and stat.S_ISREG(facts.st_mode) else b""
        if len(content) > _SUM and hmac.compare_digest(content[:_SUM], hashlib.sha256(content[_SUM:]).digest()):
            return content[_SUM:]
        self._remove(path)
        return None

    def _remove(self, path: str) -> None:
        with suppress(OSError):
            os.unlink(path)
        _say_once("damaged", f"machine code in {path!r} is damaged or of another user; it is removed and made again")

    def _write(self, path: str, content: bytes) -> None:
        temporary = f"{path}.{secrets.token_hex(8)}.tmp"
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise


class KernelCache(FunctionCache):
    """Numba's cache of the machine code of one function, with :class:`_Files`.

    Raises:
        OSError: there is no place for it.
    """

    def __init__(self, function: Callable[..., Any], folder: str) -> None:
        settings: Any = numba_config
        before, settings.CACHE_DIR = settings.CACHE_DIR, folder
        try:
            super().__init__(function)
        except RuntimeError as error:  # Numba found no place
            raise OSError(str(error)) from error
        finally:
            settings.CACHE_DIR = before
        if not Path(self.cache_path).is_relative_to(folder):
            raise OSError(f"{folder!r} cannot be written")
        base, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self.cache_path, base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code; a full disk is no reason to stop."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say_not_kept(self.cache_path, error)


def cache_of(function: Callable[..., Any]) -> KernelCache | None:
    """Where machine code of ``function`` is kept, or None."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        return KernelCache(function, folder)
    except OSError as error:
        _say_not_kept(folder, error)
        return None


_said: set[str] = set()


def _say_not_kept(folder: str, error: OSError) -> None:
    _say_once("not kept", f"machine code cannot be kept in {folder!r} ({error.strerror or error}), {_SLOW}")


def _say_once(kind: str, text: str) -> None:
    if kind not in _said:
        _said.add(kind)
        warnings.warn(text, stacklevel=3)
