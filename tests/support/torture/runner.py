"""Run cases in two processes, so that one that crashes or hangs is a finding and not the end."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

SECONDS = 240
WORKERS = 2


class Hang(BaseException):
    """A case took too long; no Exception, so that no handler can swallow it."""


def work(jobs: list[tuple[str, int]], told: Connection) -> None:
    """Do jobs, telling of the start and the end of each."""

    def late(*arguments: object) -> None:
        raise Hang(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    for kind, index in jobs:
        told.send(("start", kind, index))
        try:
            signal.alarm(SECONDS)
            with tempfile.TemporaryDirectory() as folder:
                what, ended = importlib.import_module(f"torture.{kind}").run(index, Path(folder))
            told.send(("right" if ended == "right" else "refused", what, ended))
        except BaseException as error:
            told.send(("wrong", type(error).__name__, str(error)))
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            signal.alarm(0)


def outcomes(jobs: list[tuple[str, int]]) -> Iterator[tuple[str, int, str, str]]:
    """Kind, index, outcome and words of every job, as they end."""
    context = multiprocessing.get_context("spawn")
    shares = [jobs[worker::WORKERS] for worker in range(WORKERS)]
    running: dict[Connection, dict[str, Any]] = {}

    def start(left: list[tuple[str, int]]) -> None:
        if left:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(left, theirs))
            process.start()
            theirs.close()
            running[ours] = {"process": process, "left": left, "since": time.monotonic()}

    for share in shares:
        start(share)
    while running:
        ready = wait(list(running), timeout=5)
        for connection in list(running):
            state = running[connection]
            if connection in ready:
                try:
                    word, *rest = connection.recv()
                except EOFError:
                    state["process"].join()
                    word, rest = "gone", ["", f"exit code {state['process'].exitcode}"]
            elif time.monotonic() - state["since"] > 2 * SECONDS:
                state["process"].kill()
                word, rest = "gone", ["", "hangs in machine code"]
            else:
                continue
            state["since"] = time.monotonic()
            if word == "start":
                continue
            if state["left"]:
                kind, index = state["left"][0]
                state["left"] = state["left"][1:]
                yield kind, index, "wrong" if word == "gone" else word, " | ".join(rest)
            if word == "gone":
                del running[connection]
                start(state["left"])
            elif not state["left"]:
                state["process"].join()
                del running[connection]
