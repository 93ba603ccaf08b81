"""The optional packages, asked for where they are needed, with one sentence where one is missing or too old."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType


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
    return None if find_spec("pennylane") is not None else _not_installed("PennyLane", "pennylane")


def require_release(package: str, oldest: str, extra: str) -> None:
    """Check that ``package`` is installed in the release ``oldest`` or a newer one, without importing it.

    Args:
        package: name of the distribution.
        oldest: release as ``"major.minor"``.
        extra: the extra of qkan-seq that installs it.

    Raises:
        ModuleNotFoundError: it is not installed; the message gives the command that installs it.
        ImportError: its release is older.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        raise ModuleNotFoundError(_not_installed(package, extra), name=package) from None
    if _release(found) < _release(oldest):
        raise ImportError(
            f"{package} {found} is installed, but this needs {oldest} or newer: "
            f"pip install --upgrade 'qkan-seq[{extra}]'",
            name=package,
        )


def _not_installed(package: str, extra: str) -> str:
    return f"{package} is not installed, and this needs it: pip install 'qkan-seq[{extra}]'"


def _release(text: str) -> list[int]:
    """The numbers at the start of a version, major and minor: "4.0rc1" is [4, 0], "4" is [4, 0]."""
    parts = [re.sub(r"\D.*", "", part) for part in f"{text}.0".split(".")[:2]]
    return [int(part or 0) for part in parts]
