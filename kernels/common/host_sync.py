"""Reading values back from tensors, where that is possible, and how much memory a device has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

_key_included = torch._C._dispatch_tls_is_dispatch_key_included
#: Included while make_fx traces in front of autograd, where no mode is on the usual stack.
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


def tracing() -> bool:
    """Whether PyTorch records the operations it runs, to run them on other inputs: torch.jit.trace, the exporters that
    are built on it, and make_fx.

    Nobody then sees what a kernel writes, or what Python makes of a value, so that both would be taken for constants.
    """
    if torch.compiler.is_compiling():
        return False
    if torch.jit.is_tracing() or _key_included(_PRE_DISPATCH):
        return True
    if _get_current_dispatch_mode() is None:
        return False
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


def transformed() -> bool:
    """Whether a transform of torch.func or forward derivatives are at work, which few kernels have rules for."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def plain_needed() -> bool:
    """Whether only plain operations will do: under a tracer, or where derivatives are taken forward."""
    return forward_ad._current_level >= 0 or tracing()


#: Depth of :func:`as_in_a_graph`, for all threads: backward passes have some of their own.
_rehearsals = 0


@contextmanager
def as_in_a_graph() -> Iterator[None]:
    """Take the ways that a capture will take, where nothing is read back, so that what they need is on the device."""
    global _rehearsals
    _rehearsals += 1
    try:
        yield
    finally:
        _rehearsals -= 1


def cannot_sync(x: Tensor) -> bool:
    """Whether no value can be read back: under a compiler or tracer, or while a CUDA graph is captured."""
    if torch.compiler.is_compiling() or _rehearsals or tracing():
        return True
    return x.device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def exporting() -> bool:
    """Whether the code is followed by a tracer or by torch.export, in releases that tell; in others by any compiler."""
    if not torch.compiler.is_compiling():
        return tracing()
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


#: Up to so many sums of |w_l| are read as they are, and their largest found here: that saves a GPU two launches.
MOST_READ = 512


def values_of(tensor: Tensor) -> list[float]:
    """The numbers of a small tensor, in one copy; the device has to have made them."""
    numbers: list[float] = tensor.tolist()
    return numbers


def largest(x: Tensor, *, finite: bool = True) -> float | None:
    """The largest (``finite``) |x|, or None where it cannot be read: in a CUDA graph, without data.

    Under vmap it is the largest of the whole batch.
    """
    if cannot_sync(x):
        return None
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    if x.numel() == 0:
        return 0.0
    try:
        low, high = values_of(torch.stack(x.detach().aminmax()))
        if finite and not math.isfinite(low + high):
            low, high = 0.0, float(x.detach().abs().nan_to_num(0.0, 0.0, 0.0).max())
    except RuntimeError:  # a tensor that stands for others (tracing, the meta device) has no value to read
        return None
    return max(-low, high)


def bounds(x: Tensor, weight: Tensor) -> tuple[float, float] | None:
    """The largest |x| and the largest sum of |w_l|, read in one copy; None where they cannot be read or are not finite.

    Args:
        x: any shape.
        weight: (..., reps).
    """
    if cannot_sync(x) or transformed() or 0 in (x.numel(), weight.numel()):
        return None
    norm, x, weight = torch.linalg.vector_norm, x.detach(), weight.detach()
    try:
        if weight.shape[:-1].numel() <= MOST_READ and x.dtype == weight.dtype and x.is_floating_point():
            sizes = x.new_empty(1 + weight.shape[:-1].numel())
            norm(x, math.inf, out=sizes[0])
            norm(weight, 1, -1, out=sizes[1:].view(weight.shape[:-1]))
        else:
            sizes = torch.stack((norm(x, math.inf), norm(weight, 1, -1).amax()))
        reach, *widths = values_of(sizes)
    except RuntimeError:  # as in :func:`largest`
        return None
    return (reach, max(widths)) if math.isfinite(reach + sum(widths)) else None


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
