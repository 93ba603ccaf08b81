"""Reading values back from tensors, where that is possible, and how much memory a device has."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor


def cannot_sync(x: Tensor) -> bool:
    """Whether no value can be read back: under a compiler, or while a CUDA graph is captured."""
    return torch.compiler.is_compiling() or (x.device.type == "cuda" and torch.cuda.is_current_stream_capturing())


def exporting() -> bool:
    """Whether torch.export follows the code, in releases that tell; in others, whether any compiler does."""
    return torch.compiler.is_compiling() and getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


def largest(x: Tensor, *, finite: bool = True) -> float | None:
    """The largest (``finite``) |x|, or None where it cannot be read: in a CUDA graph, under vmap, without data."""
    if cannot_sync(x):
        return None
    if x.numel() == 0:
        return 0.0
    try:
        low, high = (float(end) for end in x.detach().aminmax())
        if finite and not math.isfinite(low + high):
            low, high = 0.0, float(x.detach().abs().nan_to_num(0.0, 0.0, 0.0).max())
    except RuntimeError:  # a tensor that stands for others (vmap, tracing, the meta device) has no value to read
        return None
    return max(-low, high)


def memory(device: torch.device) -> int | None:
    """Bytes of memory that a device has, or None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "cpu" and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def gibibytes(size: int) -> str:
    """A number of bytes in words: ``"12.3 GiB"``."""
    return f"{size / 2**30:,.1f} GiB"
