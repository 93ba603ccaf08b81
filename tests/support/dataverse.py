"""A Dataverse server of a few files on 127.0.0.1, in a thread, that misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIST = "/api/datasets/:persistentId/versions/:latest-published/files?persistentId=doi:10.7910/DVN/EGZHFV"


class Dataverse:
    """Serves files by number, 1, 2, ...; a context manager.

    Attributes:
        url: the address of the server.
        entries: what it lists; tests change it.
        asked: pairs of path and Range header, in order.
        trouble: called with the handler and the path before the right answer is given; returns True if it answered.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.contents = list(files.values())
        self.entries = [entry(number, name, data) for number, (name, data) in enumerate(files.items(), 1)]
        self.asked: list[tuple[str, str | None]] = []
        self.trouble: Callable[[Handler, str], bool] = lambda _handler, _path: False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.dataverse = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Dataverse:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def entry(number: int, name: str, data: bytes) -> dict:
    """How the API lists a file."""
    md5 = hashlib.md5(data).hexdigest()
    facts = {"id": number, "filename": name, "filesize": len(data), "md5": md5, "contentType": "text/plain"}
    return {"label": name, "restricted": False, "dataFile": facts | {"checksum": {"type": "MD5", "value": md5}}}


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        house = self.server.dataverse
        house.asked.append((self.path, self.headers.get("Range")))
        self.close_connection = True
        if house.trouble(self, self.path):
            return
        if self.path == LIST:
            self.answer(json.dumps({"status": "OK", "data": house.entries}).encode(), kind="application/json")
            return
        data = house.contents[int(re.match(r"/api/access/datafile/(\d+)", self.path)[1]) - 1]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if start is None:
            self.answer(data)
        elif int(start[1]) >= len(data):
            self.answer(b"", code=416)
        else:
            first = int(start[1])
            where = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self.answer(data[first:], code=206, headers={"Content-Range": where})

    def answer(
        self,
        body: bytes,
        *,
        code: int = 200,
        kind: str = "text/plain",
        headers: dict[str, str] | None = None,
        sent: int | None = None,
        length: bool = True,
    ) -> None:
        """Answer, or only begin to: ``sent`` bytes of the body, then the connection ends."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        if length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *_words: object) -> None:
        """Stay silent."""
