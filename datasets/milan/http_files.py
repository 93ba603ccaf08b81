"""Getting files over HTTP from servers that fail now and then: try again, go on where it stopped, believe nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkan.datasets.series import DataError

_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers after which trying again may help
_CHUNK = 1 << 14  # so many bytes at most are lost when a connection breaks
_LARGEST_JSON = 20_000_000
_TIMEOUT = (10.0, 60.0)  # seconds to connect and between two pieces of an answer


@dataclass(frozen=True)
class Retries:
    """How to go on after a failure that may pass.

    Args:
        attempts: how often to try in a row without getting a single byte further, at least 1.
        pause: seconds before the second attempt; every further pause is twice as long, 60 s at most.

    Raises:
        DataError: a number is out of its range.
    """

    attempts: int = 5
    pause: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.pause <= 60:
            raise DataError(f"{self} must have at least 1 attempt and a pause of 0 to 60 seconds")


class _Failure(Exception):  # noqa: N818
    """An attempt failed in a way that may pass."""


def wait_before(attempt: int, retries: Retries) -> None:
    """Pause before the attempt of this number; none before the first, which is 0."""
    if attempt:
        time.sleep(min(60.0, retries.pause * 2.0 ** (attempt - 1)))


def get_json(url: str, retries: Retries) -> Any:
    """The JSON value at a URL.

    Raises:
        DataError: it cannot be had, or is no JSON.
    """
    failure = ""
    for attempt in range(retries.attempts):
        wait_before(attempt, retries)
        try:
            return _json_once(url)
        except _Failure as error:
            failure = str(error)
    raise DataError(_given_up(url, failure, retries))


def _json_once(url: str) -> Any:
    import requests

    try:
        with _ask(url, {}) as response:
            raw = b""
            for piece in response.iter_content(_CHUNK):
                raw += piece
                if len(raw) > _LARGEST_JSON:
                    raise DataError(f"{url} answered with more than {_LARGEST_JSON:,} bytes; check --base-url")
    except requests.RequestException as error:
        raise _Failure(_reason(error)) from error
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{url} answered with no JSON; check --base-url, it must be a Dataverse server") from error


def download(url: str, part: Path, size: int, retries: Retries, at: Callable[[int], None]) -> None:
    """Get the file at a URL into ``part``, going on after what ``part`` holds already.

    Args:
        url: its address.
        part: where it is written; an incomplete one stays when this fails.
        size: bytes of the whole file, at least 1.
        retries: how often to try again; the count starts anew whenever an attempt came further than all before.
        at: called with the number of bytes on disk.

    Raises:
        DataError: the server does not give the file.
        OSError: ``part`` cannot be written.
    """
    fruitless, furthest, failure = 0, _size(part), ""
    while _size(part) != size:
        if fruitless == retries.attempts:
            raise DataError(_given_up(url, failure, retries) + f" ({_size(part):,} of {size:,} bytes are kept)")
        wait_before(fruitless, retries)
        try:
            _append(url, part, size, at)
            failure = f"the answer ended after {_size(part):,} of {size:,} bytes"
        except _Failure as error:
            failure = str(error)
        fruitless = 0 if _size(part) > furthest else fruitless + 1
        furthest = max(furthest, _size(part))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(url: str, part: Path, size: int, at: Callable[[int], None]) -> None:
    """Ask once for the bytes that are missing in ``part`` and append what comes."""
    import requests

    done = _size(part)
    if done > size:
        part.unlink()
        done = 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        with _ask(url, headers) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Failure(f"it refused to go on after {done:,} of {size:,} bytes")
            if "html" in response.headers.get("Content-Type", "").lower():
                raise DataError(
                    f"{url} answered with a web page instead of the file; open it in a browser, it may ask for "
                    "consent, or check --base-url"
                )
            if done and response.status_code == 206 and _range_start(response) != done:
                part.unlink()
                raise _Failure(f"it sent other bytes than those after {done:,}")
            # A server that knows no ranges sends all from the start: what is on disk already is skipped.
            written = done if response.status_code == 206 else 0
            with part.open("ab") as file:
                for piece in response.iter_content(_CHUNK):
                    new = piece[max(0, done - written) :]
                    written += len(piece)
                    if written > size:
                        break
                    file.write(new)
                    at(max(written, done))
            if written > size:
                part.unlink()
                raise _Failure(f"it sent more than the {size:,} bytes that its list announces")
    except requests.RequestException as error:
        raise _Failure(_reason(error)) from error


def _range_start(response: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _ask(url: str, headers: dict[str, str]) -> Any:
    """The open answer to a GET, its body unread; any answer that cannot be the right one is an error."""
    import requests

    # "identity": a compressed answer could not be resumed by its bytes.
    response = requests.get(url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=_TIMEOUT)
    code = response.status_code
    if code in (200, 206, 416):
        return response
    response.close()
    if code in _PASSING:
        raise _Failure(f"it answered {code} {response.reason}")
    fix = {401: "it asks for a login", 403: "it refuses access"}.get(code, "check --base-url")
    raise DataError(f"{url} answered {code} {response.reason}; {fix}")


def _reason(error: Exception) -> str:
    return "it did not answer in time" if "timed out" in str(error).lower() else "the connection failed or broke off"


def _given_up(url: str, failure: str, retries: Retries) -> str:
    times = "1 attempt" if retries.attempts == 1 else f"{retries.attempts} attempts"
    return f"{url} cannot be had after {times}: {failure}; check the connection and repeat the command"
