"""The framework behind an adapter, with one sentence where it is not there or too old."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version


def require(package: str, oldest: str, extra: str) -> None:
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
        reason = f"{package} is not installed, and this needs it: pip install 'qkan-seq[{extra}]'"
        raise ModuleNotFoundError(reason, name=package) from None
    if _release(found) < _release(oldest):
        raise ImportError(
            f"{package} {found} is installed, but this needs {oldest} or newer: "
            f"pip install --upgrade 'qkan-seq[{extra}]'",
            name=package,
        )


def _release(text: str) -> tuple[int, int]:
    """Major and minor number at the start of a version."""
    major, minor = (re.match(r"(\d+)(?:\.(\d+))?", text) or re.match("()()", text)).groups()  # type: ignore[union-attr]
    return int(major or 0), int(minor or 0)
