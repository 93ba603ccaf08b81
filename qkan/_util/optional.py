"""The optional packages, imported where they are needed, with one sentence where they are not there."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

INSTALL = "pip install 'qkan-seq[pennylane]'"


def require_pennylane() -> ModuleType:
    """The package ``pennylane``.

    Raises:
        ModuleNotFoundError: it is not installed; the message gives the command that installs it.
    """
    reason = unsupported_reason()
    if reason is not None:
        raise ModuleNotFoundError(reason, name="pennylane")
    return import_module("pennylane")


def unsupported_reason() -> str | None:
    """Why PennyLane cannot run here, or None if it can, found without importing it."""
    if find_spec("pennylane") is None:
        return f"PennyLane is not installed, and this needs it: {INSTALL}"
    return None
