"""The devices that Triton kernels run on; imports without Triton."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch


def lanes(device: torch.device) -> int:
    """Lanes of a warp: 32, or 64 on AMD's data-centre chips."""
    if device.type != "cuda":
        return 32
    return _device_lanes(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=64)
def _device_lanes(index: int) -> int:
    from triton.runtime import driver

    with torch.cuda.device(index):
        return driver.active.get_current_target().warp_size


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, wherever the tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def register_bound(registers: int, lanes: int) -> dict[str, int]:
    """The option that gives a lane so many registers: without it NVIDIA's assembler aims at more programs a
    multiprocessor and spills for that. AMD's compiler knows no such option, whatever the lanes of a warp.
    """
    return {} if lanes == 64 or torch.version.hip else {"maxnreg": registers}
