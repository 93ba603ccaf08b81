"""Warnings of this package as plain lines, for who runs a command and knows of no source files."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any


def print_own_warnings(echo: Callable[[str], object]) -> None:
    """Let warnings of this package be said once each, in a line of their own; those of others stay as they are.

    Undone by the end of a ``warnings.catch_warnings()`` around the call.

    Args:
        echo: called with ``Note: ...`` for what was decided about data, and with ``Warning: ...`` for the rest.
    """
    said: set[str] = set()
    other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not _warned_here():
            other(message, category, *place, **more)
        elif str(message) not in said:
            said.add(str(message))
            kind = "Note" if category.__name__ == "DataNotice" else "Warning"  # the class itself would import pandas
            echo(f"{kind}: {message}")

    warnings.showwarning = show


def _warned_here() -> bool:
    """Whether a file of this package called ``warnings.warn``; the place that a warning names is often its caller's."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") == "warnings":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "qkan"
