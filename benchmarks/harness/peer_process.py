"""A process that measures another package in its own environment. What goes wrong there is a sentence in the table."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

#: Where ``make bench-peers`` makes the environments.
FOLDER = Path(__file__).parents[2] / "build" / "peers"
WORKER = Path(__file__).with_name("peer_worker.py")
_START_SECONDS = 120.0  # for the imports of a fresh process


class PeerProcess:
    """A worker process in a peer's environment, started when it is first asked; a context manager that ends it.

    Args:
        python: the interpreter of the environment.
        log: file that takes what the process prints.
        worker: the script that it runs.
    """

    def __init__(self, python: Path, log: Path, worker: Path = WORKER) -> None:
        self.python, self.log, self.worker = python, log, worker
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if self._reader is not None:
            self._reader.join()  # it reads to the end of what the process printed
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that nobody read
                    pipe.close()

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and return the answer; a process that takes longer or dies answers with the reason."""
        allowed = seconds
        if self._process is None:
            self._start()
            allowed += _START_SECONDS
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError("the process has no standard input although it was opened with one")
        with contextlib.suppress(BrokenPipeError):  # it died: the empty answer below says so
            process.stdin.write(json.dumps(dict(request)) + "\n")
            process.stdin.flush()
        try:
            line = self._lines.get(timeout=allowed)
        except queue.Empty:
            self.close()
            return {"reason": f"too slow: no answer within {seconds:.0f} s"}
        if line:
            return json.loads(line)
        status = process.wait()
        self.close()
        words = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((text.strip() for text in reversed(words) if text.strip()), "it printed nothing")
        return {"reason": f"its process ended with status {status}: {last[:200]}"}

    def _start(self) -> None:
        self._lines = queue.Queue()
        with open(self.log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(self.python), "-I", str(self.worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                cwd=self.log.parent,
            )
        self._reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        self._reader.start()


def process_of(environment: str, folder: Path | None = None, worker: Path = WORKER) -> PeerProcess | None:
    """The process of an environment; None if it is not installed.

    Args:
        environment: named like its requirements in ``benchmarks/peers``.
        folder: of all environments, if not :data:`FOLDER`.
        worker: the script that the process runs.
    """
    home = (FOLDER if folder is None else folder) / environment
    return PeerProcess(home / "bin" / "python", home / "worker.log", worker) if (home / ".installed").exists() else None


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Hand on every line, and an empty one when there are no more."""
    if process.stdout is not None:
        for line in process.stdout:
            lines.put(line)
    lines.put("")
