"""Files of torch.save, read as tensors and plain values: nothing in them is executed."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import torch

#: What the reader of torch raises for bytes that are no checkpoint; which, depends on where it stumbles.
DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    NotImplementedError, OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_tensors(source: Path | IO[bytes]) -> Any:
    """What a file of torch.save holds, on the CPU, if it is tensors and plain values.

    The sums in the archive are compared, which torch does not do.

    Raises:
        Exception: one of :data:`DAMAGED`, for anything else.
    """
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            if (part := archive.testzip()) is not None:
                raise ValueError(f"the part {part!r} is damaged")
    if not isinstance(source, Path):
        source.seek(0)
    return torch.load(source, map_location="cpu", weights_only=True)
