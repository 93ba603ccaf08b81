"""Downloading the daily Milan files from a Dataverse server: resumed, verified, complete or not there.

The API is Dataverse's: `/api/datasets/:persistentId/versions/:latest-published/files` lists the files of a dataset with
their numbers, sizes and MD5 sums, `/api/access/datafile/NUMBER` gives one.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from qkan._util.files import only_process
from qkan.datasets.milan.grid import DOI
from qkan.datasets.milan.http_files import Retries, download, get_json, wait_before
from qkan.datasets.series import DataError

BASE_URL = "https://dataverse.harvard.edu"
_LIST = f"/api/datasets/:persistentId/versions/:latest-published/files?persistentId=doi:{DOI}"
_DAILY = re.compile(r"sms-call-internet-mi-(\d{4}-\d\d-\d\d)\.(txt|tsv|csv)(\.gz|\.bz2|\.xz)?")
_MD5 = re.compile(r"[0-9a-f]{32}")
_CHECKSUM_ATTEMPTS = 2


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
    retries: Retries | None = None,
    progress: FetchProgress | None = None,
) -> list[Path]:
    """Download daily files; their paths, by day. What is there already is verified and kept.

    A file gets its name only when it is complete and its MD5 sum is that of the server's list. What an interrupted
    download got stays in a hidden `.part` file, and the next call goes on from there.

    Args:
        folder: where to put the files; it is made if its parent exists.
        days: days to get; None gets all that the server lists.
        base_url: address of the Dataverse server, http or https.
        retries: how often and how soon to try again after a failure that may pass.
        progress: told about bytes and files.

    Raises:
        DataError: the server cannot be reached or answers with something else than was asked for, a day is not in its
            list, a name in the list is unsafe, a checksum differs, a file of the same name but with other content is
            there, or the disk is full or not writable.
    """
    base_url = _checked_url(base_url)
    retries = retries or Retries()
    target = Path(folder)
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {str(target)!r}: {error.strerror}; choose another --out") from error
    with only_process(target / ".fetch.lock", f"downloading to {str(target)!r}", DataError):
        files = choose_files(list_files(base_url, retries), days, base_url)
        _check_room(target, files)
        if progress is not None:
            progress.start(len(files), sum(file.size for file in files))
        return [_fetch(file, target, retries, progress) for file in files]


def list_files(base_url: str, retries: Retries) -> list[RemoteFile]:
    """The daily files that the server lists, by day.

    Raises:
        DataError: see `fetch_milan`.
    """
    url = base_url + _LIST
    answer = get_json(url, retries)
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
    return [files[day] for day in sorted(files)]


def choose_files(files: list[RemoteFile], days: Sequence[dt.date] | None, base_url: str) -> list[RemoteFile]:
    """The files of the given days, or all.

    Raises:
        DataError: a day has no file.
    """
    by_day = {file.day: file for file in files}
    for day in days or ():
        if day not in by_day:
            raise DataError(
                f"{base_url} has no file of {day}; it has {len(files)} days, {files[0].day} to {files[-1].day}"
            )
    return files if days is None else [by_day[day] for day in days]


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


def _fetch(file: RemoteFile, folder: Path, retries: Retries, progress: FetchProgress | None) -> Path:
    """Download one file and verify it; its path."""
    path = folder / file.name
    if path.exists():
        if not path.is_file() or not _has_md5(path, file.md5):
            raise DataError(
                f"{str(path)!r} is there but is not the server's {file.name!r} (MD5 {file.md5}); move it away or "
                "choose another --out"
            )
        if progress is not None:
            progress.at(file.name, file.size)
            progress.complete(file.name, False)
        return path
    part = _part(file, folder)

    def at(done: int) -> None:
        if progress is not None:
            progress.at(file.name, done)

    for attempt in range(_CHECKSUM_ATTEMPTS):
        wait_before(attempt, retries)
        try:
            download(file.url, part, file.size, retries, at)
            if _has_md5(part, file.md5):
                os.replace(part, path)
                break
            part.unlink()
        except OSError as error:
            raise DataError(
                f"cannot write in {str(folder)!r}: {error.strerror or error}; make room or allow writing there, then "
                "repeat the command"
            ) from error
    else:
        raise DataError(
            f"{file.url} was downloaded {_CHECKSUM_ATTEMPTS} times, and each time its MD5 sum was not {file.md5}, as "
            f"the server's list says of {file.name!r}; nothing was kept, so try again later or check --base-url"
        )
    if progress is not None:
        progress.complete(file.name, True)
    return path


def _part(file: RemoteFile, folder: Path) -> Path:
    """Where an incomplete download is kept: hidden, and another one if the server has another file of that name."""
    return folder / f".{file.name}.{file.md5[:12]}.part"


def _has_md5(path: Path, md5: str) -> bool:
    import pooch

    try:
        return pooch.file_hash(path, alg="md5") == md5
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}; allow reading it or move it away") from error


def _check_room(folder: Path, files: list[RemoteFile]) -> None:
    parts = {path: path.stat().st_size for path in folder.glob(".*.part")}
    left = [file for file in files if not (folder / file.name).exists()]
    wanted = sum(file.size - min(file.size, parts.get(_part(file, folder), 0)) for file in left)
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"the files need {wanted / 1e9:.1f} GB more, but {str(folder)!r} has {free / 1e9:.1f} GB free; make room, "
            "choose another --out, or fewer --days"
        )


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port  # raises if it is none
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", url):
        raise DataError(f"base URL {url!r} is no address of a server; write it as {BASE_URL}")
    return url.rstrip("/")
