"""Files of torch.save, read as tensors and plain values: nothing in them is executed."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import torch

#: What the reader of torch raises for bytes that are no checkpoint; which, depends on where it stumbles.
DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    NotImplementedError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error, zlib.error,
)  # fmt: skip


def load_tensors(source: Path | IO[bytes]) -> Any:
    """What a file of torch.save holds, on the CPU, if it is tensors and plain values.

    Raises:
        Exception: one of :data:`DAMAGED`, for anything else.
    """
    return torch.load(source, map_location="cpu", weights_only=True)
