"""Downloading the daily Milan files from a Dataverse server: each is verified, and complete or absent.

The API is Dataverse's: `/api/datasets/:persistentId/versions/:latest-published/files` lists the files of a dataset with
their numbers, sizes and MD5 sums, `/api/access/datafile/NUMBER` gives one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from qkan._util.files import only_process, remove_leftovers, write_atomic
from qkan.datasets.errors import DataError
from qkan.datasets.milan.grid import DOI

BASE_URL = "https://dataverse.harvard.edu"
ATTEMPTS = 5
"""So often is a URL asked for before it is given up."""

PAUSE = 1.0
"""Seconds before the second attempt; every further pause is twice as long."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers after which trying again may help
_CHUNK = 1 << 16
_LARGEST_JSON = 20_000_000
_WRONG = "its MD5 sum was another"
_TIMEOUT = (10.0, 60.0)  # seconds to connect and between two pieces of an answer
_PATIENCE = 120.0  # seconds that an answer may take in all, beside those of its size at the slowest rate
_SLOWEST = 20_000  # bytes a second
_MOST_REDIRECTS = 5
_HERE = ("127.0.0.1", "::1", "localhost")  # what stays on this machine needs no encryption
_LIST = f"/api/datasets/:persistentId/versions/:latest-published/files?persistentId=doi:{DOI}"
_DAILY = re.compile(r"sms-call-internet-mi-(\d{4}-\d\d-\d\d)\.(txt|tsv|csv)(\.gz|\.bz2|\.xz)?")
_MD5 = re.compile(r"[0-9a-f]{32}")
_T = TypeVar("_T")


class _Failure(Exception):  # noqa: N818
    """An attempt failed in a way that may pass; the message completes "it cannot be had: "."""


class FetchProgress(Protocol):
    """Told how a download goes on."""

    def start(self, files: int, size: int) -> None:
        """So many files of so many bytes in all are wanted."""

    def at(self, name: str, done: int) -> None:
        """So many bytes of the file are on disk."""

    def complete(self, name: str, fetched: bool) -> None:
        """The file is there and verified; ``fetched`` says whether it was downloaded now."""


@dataclass(frozen=True)
class RemoteFile:
    """A daily file on the server: its name, day, address, size in bytes and MD5 sum (hex)."""

    name: str
    day: dt.date
    url: str
    size: int
    md5: str


def fetch_milan(
    folder: str | Path,
    days: Sequence[dt.date] | None = None,
    *,
    base_url: str = BASE_URL,
    progress: FetchProgress | None = None,
) -> list[Path]:
    """Download daily files; their paths, by day. Files that exist are verified and kept.

    A file gets its name only when it is complete and its MD5 sum is that of the server's list. So after an interruption
    the next call goes on with the missing files.

    Args:
        folder: where to put the files; it is made if its parent exists.
        days: days to get; None gets all that the server lists.
        base_url: address of the Dataverse server, https (on this machine http as well).
        progress: told about bytes and files.

    Raises:
        DataError: the server cannot be reached or answers with something else than was asked for, a day is not in its
            list, a name in the list is unsafe, a checksum differs, a file of the same name but with other content is
            there, or the disk is full or not writable.

    Examples:
        >>> import datetime as dt
        >>> from qkan.datasets.milan import fetch_milan
        >>> files = fetch_milan("milan", [dt.date(2013, 11, 4)])  # doctest: +SKIP
    """
    base_url = _checked_url(base_url)
    target = Path(folder)
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {str(target)!r}: {error.strerror}; choose another --out") from error
    with only_process(target / ".fetch.lock", f"downloading to {str(target)!r}", DataError):
        files = list_files(base_url, days)
        _check_room(target, files)
        if progress is not None:
            progress.start(len(files), sum(file.size for file in files))
        return [_fetch(file, target, progress) for file in files]


def list_files(base_url: str, days: Sequence[dt.date] | None = None) -> list[RemoteFile]:
    """The files of the given days, or all daily files that the server lists, by day.

    Raises:
        DataError: see `fetch_milan`.
    """
    url = base_url + _LIST
    answer = _ask(url, _json)
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{url} answered without a list of files; check --base-url, it must be a Dataverse server")
    files: dict[dt.date, RemoteFile] = {}
    for entry in entries:
        file = _remote_file(entry, base_url)
        if file is None:
            continue
        if file.day in files:
            raise DataError(f"{url} lists {file.day} twice ({files[file.day].name!r}, {file.name!r}); check --base-url")
        files[file.day] = file
    if not files:
        raise DataError(f"{url} lists no daily file of the Milan grid among {len(entries)}; check --base-url")
    listed = sorted(files)
    for day in days or ():
        if day not in files:
            raise DataError(f"{base_url} has no file of {day}; it has {len(files)} days, {listed[0]} to {listed[-1]}")
    return [files[day] for day in (listed if days is None else days)]


def _remote_file(entry: Any, base_url: str) -> RemoteFile | None:
    """A daily file of the list, or None for another file of the dataset."""
    facts = entry.get("dataFile") if isinstance(entry, dict) else None
    if not isinstance(facts, dict):
        raise DataError(f"{base_url} lists a file without 'dataFile'; check --base-url, it must be a Dataverse server")
    # Dataverse may have made a table of a text file: then the file as it was uploaded has a name and a size of its own.
    original = "originalFileFormat" in facts
    name = facts.get("originalFileName") if original else entry.get("label", facts.get("filename"))
    if not isinstance(name, str) or re.search(r'[\\/:*?"<>|\x00-\x1f]', name) or name.startswith("."):
        raise DataError(
            f"{base_url} lists a file with the unsafe name {name!r}, which could lead out of the folder; do not use "
            "this server"
        )
    match = _DAILY.fullmatch(name)
    if match is None:
        return None
    checksum = facts.get("checksum")
    md5 = checksum.get("value") if isinstance(checksum, dict) and checksum.get("type") == "MD5" else facts.get("md5")
    size = facts.get("originalFileSize" if original else "filesize")
    number = facts.get("id")
    whole = all(isinstance(value, int) and not isinstance(value, bool) and value >= 1 for value in (size, number))
    if not whole or not isinstance(md5, str) or _MD5.fullmatch(md5.lower()) is None:
        raise DataError(
            f"{base_url} lists {name!r} with id {number!r}, size {size!r} and MD5 sum {md5!r}; two whole numbers and "
            "32 hexadecimal digits are needed to check it, so check --base-url"
        )
    try:
        day = dt.date.fromisoformat(match[1])
    except ValueError as error:
        raise DataError(f"{base_url} lists {name!r}, whose date does not exist; check --base-url") from error
    url = f"{base_url}/api/access/datafile/{number}{'?format=original' if original else ''}"
    return RemoteFile(name, day, url, int(size or 0), md5.lower())


def _check_room(folder: Path, files: list[RemoteFile]) -> None:
    wanted = sum(file.size for file in files if not (folder / file.name).exists())
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"the files need {wanted / 1e9:.1f} GB more, but {str(folder)!r} has {free / 1e9:.1f} GB free; make room, "
            "choose another --out, or fewer --days"
        )


def _fetch(file: RemoteFile, folder: Path, progress: FetchProgress | None) -> Path:
    """Download one file and verify it, or verify the one that exists; its path."""
    path = folder / file.name
    exists = path.exists()
    if exists:
        if not path.is_file() or not _has_md5(path, file.md5):
            raise DataError(
                f"{str(path)!r} is there but is not the server's {file.name!r} (MD5 {file.md5}); move it away or "
                "choose another --out"
            )
        if progress is not None:
            progress.at(file.name, file.size)
    else:
        remove_leftovers(folder, file.name)
        try:
            _ask(
                file.url,
                lambda response, failure: write_atomic(path, lambda out: _copy(file, response, failure, out, progress)),
            )
        except OSError as error:
            raise DataError(
                f"cannot write in {str(folder)!r}: {error.strerror or error}; make room or allow writing there, then "
                "repeat the command"
            ) from error
    if progress is not None:
        progress.complete(file.name, not exists)
    return path


def _has_md5(path: Path, md5: str) -> bool:
    import pooch

    try:
        return pooch.file_hash(path, alg="md5") == md5
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}; allow reading it or move it away") from error


def _copy(file: RemoteFile, response: Any, failure: str, out: IO[bytes], progress: FetchProgress | None) -> None:
    """Copy an answer to disk if it is what the list says of the file; ``failure`` is why the last attempt failed."""
    if "html" in response.headers.get("Content-Type", "").lower():
        raise DataError(
            f"{file.url} answered with a web page instead of the file; open it in a browser, it may ask for consent, "
            "or check --base-url"
        )
    done, digest = 0, hashlib.md5(usedforsecurity=False)
    for piece in _pieces(response, file.size):
        done += len(piece)
        if done > file.size:
            raise _Failure(f"it sent more than the {file.size:,} bytes that its list announces")
        out.write(piece)
        digest.update(piece)
        if progress is not None:
            progress.at(file.name, done)
    if done < file.size:
        raise _Failure(f"the answer ended after {done:,} of {file.size:,} bytes")
    if digest.hexdigest() != file.md5 and failure == _WRONG:
        raise DataError(
            f"{file.url} was downloaded 2 times, and each time its MD5 sum was not {file.md5}, as the server's list "
            f"says of {file.name!r}; nothing was kept, so try again later or check --base-url"
        )
    if digest.hexdigest() != file.md5:
        raise _Failure(_WRONG)


def _ask(url: str, use: Callable[[Any, str], _T]) -> _T:
    """What ``use`` makes of the answer to a GET, its body unread, and of why the attempt before failed.

    Raises:
        DataError: the server cannot be reached, or its answer is an error.
    """
    import requests
    import urllib3

    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with _in_time(lambda: _get(url)) as response:
                code, told = response.status_code, f"answered {response.status_code} {response.reason}"
                if code == 200:
                    return use(response, failure)
                if code not in _PASSING:
                    fix = {401: "it asks for a login", 403: "it refuses access"}.get(code, "check --base-url")
                    raise DataError(f"{url} {told}; {fix}")
                failure = f"it {told}"
        except _Failure as error:
            failure = str(error)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            late = "timed out" in str(error).lower()
            failure = "it did not answer in time" if late else "the connection failed or broke off"
    raise DataError(
        f"{url} cannot be had after {ATTEMPTS} attempts: {failure}; check the connection and repeat the command"
    )


def _get(url: str) -> Any:
    """The answer to a GET, its body unread; of redirects, none to an unencrypted place is followed.

    Raises:
        DataError: there is one, or they do not end.
    """
    import requests

    # "identity": the sizes and sums of the list are those of the files as they are.
    headers, place = {"Accept-Encoding": "identity"}, url
    for _ in range(_MOST_REDIRECTS + 1):
        response = requests.get(place, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False)
        if not response.is_redirect:
            return response
        place = urljoin(place, response.headers["Location"])
        response.close()
        if not _is_safe(place):
            raise DataError(
                f"{url} redirects to {urlsplit(place).scheme}://{urlsplit(place).hostname}, which is not encrypted, so "
                "anybody on the way could change the data; check --base-url"
            )
    raise DataError(f"{url} redirects more than {_MOST_REDIRECTS} times; check --base-url")


def _in_time(get: Callable[[], Any]) -> Any:
    """What ``get`` returns or raises, within :data:`_PATIENCE`; a server may send headers a byte at a time.

    Raises:
        _Failure: it took longer.
    """
    found: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def work() -> None:
        try:
            found.put((get(), None))
        except BaseException as error:  # noqa: BLE001 - raised below
            found.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        answer, error = found.get(timeout=_PATIENCE)
    except queue.Empty:
        raise _Failure("it did not answer in time") from None
    if error is not None:
        raise error
    return answer


def _pieces(response: Any, size: int) -> Iterator[bytes]:
    """The body of an answer as it comes in.

    Raises:
        DataError: it takes longer than ``size`` bytes at the slowest rate; then another attempt is no better.
    """
    url, seconds = response.url, _PATIENCE + size / _SLOWEST
    end = time.monotonic() + seconds
    while piece := response.raw.read1(_CHUNK, decode_content=True):
        yield piece
        if time.monotonic() > end:
            raise DataError(
                f"{url} was still sending after {seconds:,.0f} seconds, slower than {_SLOWEST:,} bytes a second; "
                "try again later, or over a faster connection"
            )


def _json(response: Any, _failure: str) -> Any:
    url = response.url
    raw = b""
    for piece in _pieces(response, _LARGEST_JSON):
        raw += piece
        if len(raw) > _LARGEST_JSON:
            raise DataError(f"{url} answered with more than {_LARGEST_JSON:,} bytes; check --base-url")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{url} answered with no JSON; check --base-url, it must be a Dataverse server") from error


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        safe = _is_safe(url)
        _ = parts.port  # raises if it is none
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", url):
        raise DataError(f"base URL {url!r} is no address of a server; write it as {BASE_URL}")
    if not safe:
        raise DataError(
            f"base URL {url!r} is not encrypted, so anybody on the way could change the data; write it with https"
        )
    return url.rstrip("/")


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
