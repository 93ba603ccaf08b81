"""Standard output and error that cannot be written to: no reason to lose what a command computes."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Unbreakable(io.FileIO):
    """A descriptor that goes on as a null device once it cannot be written to.

    Attributes:
        failure: Why it cannot; ``None`` where it can, or where the reader of a pipe has merely gone away.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write; what cannot be written is dropped."""
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            return memoryview(data).nbytes


def _open_closed() -> None:
    """Take the places of standard streams that the caller has closed, or the next file to be opened would get one.

    What native code prints would then be written into that file. A write of ours fails, and is said at the end.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free
            if getattr(sys, name) is None:
                setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


class Streams:
    """Lets the command go on when nobody can read what it prints: ``qkan train ... | head -1`` trains to its end."""

    def __init__(self) -> None:
        self._raw: dict[str, _Unbreakable] = {}
        _open_closed()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # A console of Windows and streams that a program has replaced have other ways to fail.
            buffer = getattr(stream, "buffer", None)  # with PYTHONUNBUFFERED it is the file itself
            if isinstance(getattr(buffer, "raw", buffer), io.FileIO):
                stream.flush()
                raw = self._raw[name] = _Unbreakable(stream.fileno(), "w", closefd=False)
                setattr(sys, name, _like(stream, io.BufferedWriter(raw) if hasattr(buffer, "raw") else raw))

    def end(self) -> str | None:
        """Write what is left; return one line about output that was lost, or ``None``."""
        for name in self._raw:
            getattr(sys, name).flush()
        lost = self._raw["stdout"].failure if "stdout" in self._raw else None
        return None if lost is None else f"Error: cannot write to the standard output: {lost.strerror}"


def _like(stream: Any, buffer: Any) -> TextIO:
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
