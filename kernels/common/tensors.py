"""Small helpers for tensors that several kernels share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

#: Numbers (4 bytes in single precision) that one piece of work keeps, by device type: on a CPU so many as its caches
#: hold; half and twice as many are no faster on two cores (docs/decisions.md). Tests put smaller numbers in.
PIECE_ELEMENTS = {"cpu": 2**20}
#: On every other device: enough to fill it, and little of its memory.
OTHER_PIECE_ELEMENTS = 2**24


def piece_elements(device: torch.device) -> int:
    """How many numbers one piece of work may keep at once on ``device``."""
    return PIECE_ELEMENTS.get(device.type, OTHER_PIECE_ELEMENTS)


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """No autocast on ``device``, if it has one at all (the meta device has none)."""
    known = torch.amp.is_autocast_available(device.type)
    on = torch.compiler.is_compiling() or (known and torch.is_autocast_enabled(device.type))
    return torch.autocast(device.type, enabled=False) if known and on else nullcontext()


def autocast_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """The dtype of a matrix product with parameters of ``dtype``, if it is narrower than that of the features."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return dtype if dtype.itemsize < torch.float32.itemsize else None
