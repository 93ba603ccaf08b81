"""Small helpers for tensors that several kernels share."""

from __future__ import annotations

import torch

#: Numbers (4 bytes in single precision) that one piece of work keeps, by device type: on a CPU so many as its caches
#: hold; half and twice as many are no faster on two cores (docs/decisions.md). Tests put smaller numbers in.
PIECE_ELEMENTS = {"cpu": 2**20}
#: On every other device: enough to fill it, and little of its memory.
OTHER_PIECE_ELEMENTS = 2**24


def piece_elements(device: torch.device) -> int:
    """How many numbers one piece of work may keep at once on ``device``."""
    return PIECE_ELEMENTS.get(device.type, OTHER_PIECE_ELEMENTS)
