"""Quantum-inspired sequence models for PyTorch.

Public names are loaded on first use, so that ``qkan --help`` and the other commands that need no tensors do not
pay for importing torch.
"""

from importlib import import_module
from typing import Any

from qkan._conflict import check_no_conflict

check_no_conflict()

from qkan._version import __version__  # noqa: E402  (the check must come before anything else of the package)

_EXPORTS: dict[str, str] = {}  # public name -> the module that defines it

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
