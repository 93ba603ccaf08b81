"""Other people's packages: an environment of its own for each, and a process in it that measures.

An environment is made once, by venv and pip, and is found again by the next run. Whatever goes wrong is a sentence in
the table, never an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

#: Where environments are made, below the working folder.
FOLDER = Path("build") / "peers"
WORKER = Path(__file__).with_name("peer_worker.py")
_START_SECONDS = 120.0  # for the imports of a fresh process


@dataclass(frozen=True)
class Peer:
    """A package to measure against.

    Attributes:
        name: names its folder.
        requirements: what pip installs, with versions; torch comes by itself, in our version.
        build_tools: what its build needs besides torch, if it has to be built; else empty.
    """

    name: str
    requirements: tuple[str, ...]
    build_tools: tuple[str, ...] = ()


class PeerError(Exception):
    """A peer cannot run; the message says why."""


def prepare(peer: Peer, torch_version: str, say: Callable[[str], None], folder: Path | None = None) -> Path:
    """Make the environment of a peer, unless it is there, and return its interpreter.

    Args:
        peer: the package.
        torch_version: of this process; a local part such as ``+cpu`` is left to the index.
        say: told what takes long.
        folder: where the environments are; default :data:`FOLDER`.

    Raises:
        PeerError: it cannot be installed.
    """
    home = ((FOLDER if folder is None else folder) / peer.name).absolute()
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    torch_pin = f"torch=={torch_version.partition('+')[0]}"
    wanted = {"requirements": [*peer.requirements, torch_pin], "python": sys.version}
    marker = home / "installed.json"  # written last, so that an installation that broke off is done again
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted:
        return python
    say(f"installing {peer.name} with {torch_pin} into {home} (once)")
    _run([sys.executable, "-m", "venv", "--clear", str(home)], peer)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if peer.build_tools:  # built with the torch that it will run with, not with a second one
        _run([*pip, torch_pin, *peer.build_tools], peer)
        pip.append("--no-build-isolation")
    _run([*pip, *peer.requirements, torch_pin], peer)
    marker.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def _run(command: list[str], peer: Peer) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"{peer.name} cannot be installed: {error}") from error
    if done.returncode == 0:
        return
    text = done.stderr + done.stdout
    for requirement in peer.requirements:
        if f"No matching distribution found for {requirement}" in text:
            raise PeerError(f"{requirement} is not on the package index")
    errors = [line for line in text.splitlines() if line.strip().lower().startswith("error")] or text.splitlines()
    raise PeerError(f"{peer.name} cannot be installed: {errors[-1].strip()[:200] if errors else 'no message'}")


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


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Hand on every line, and an empty one when there are no more."""
    if process.stdout is not None:
        for line in process.stdout:
            lines.put(line)
    lines.put("")
