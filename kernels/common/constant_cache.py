"""Small constant tensors (nodes, transforms), made once per size, dtype and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkan.kernels.common.host_sync import tracing

_KNOWN: dict[tuple[Any, ...], tuple[Tensor, ...]] = {}
_MOST_KNOWN = 64
_CAPTURED: dict[int, Tensor] = {}


def counted(first: int, end: int, like: Tensor | None = None) -> Tensor:
    """first, ..., end - 1 as ``like``; without it in double precision on the CPU, whatever the default device."""
    if like is not None:
        return torch.arange(first, end, dtype=like.dtype, device=like.device)
    return torch.arange(first, end, dtype=torch.float64, device="cpu")


def constants(rule: Callable[[int], tuple[Tensor, ...]], size: int, like: Tensor) -> tuple[Tensor, ...]:
    """The rule's tensors, which it makes in double precision on the CPU, in the dtype and on the device of ``like``."""
    key = (rule, size, like.dtype, like.device)
    # A compiler folds constants by itself, and what a tracing mode or a transform of torch.func makes of them (fake
    # tensors, wrapped ones) must not outlive it.
    plain = not torch.compiler.is_compiling() and not tracing() and type(like) in (Tensor, nn.Parameter)
    if plain and key in _KNOWN:
        keep_while_used(*_KNOWN[key])
        return _KNOWN[key]
    if plain:
        before_copying(like.device)
    with torch.inference_mode(False), torch.no_grad():
        made = tuple(tensor.to(like.device, like.dtype) for tensor in rule(size))
    if plain and all(type(tensor) is Tensor and not _of_a_transform(tensor) for tensor in made):
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = made
    return made


def before_copying(device: torch.device) -> None:
    """Check that constants can be copied to a device now.

    Raises:
        ValueError: a CUDA graph is being captured.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise ValueError(
            f"constants are not on {device} yet, and a CUDA graph that is being captured cannot copy them there; run "
            "the module once with tensors of these shapes before the capture, or capture it with qkan.graphed"
        )


_of_a_transform = torch._C._functorch.is_functorch_wrapped_tensor


def keep_while_used(*tensors: Tensor) -> None:
    """Keep the memory of cached constants of a device from whoever comes next, when the cache forgets them.

    A CUDA graph that is being captured knows their addresses: they are kept for ever. Work on another stream than the
    one that they were made on may not have begun: the allocator waits for it.
    """
    if not tensors or tensors[0].device.type != "cuda":
        return
    if torch.cuda.is_current_stream_capturing():
        _CAPTURED.update({id(tensor): tensor for tensor in tensors})
        return
    stream = torch.cuda.current_stream(tensors[0].device)
    for tensor in tensors:
        tensor.record_stream(stream)


def exact_like(tensor: Tensor) -> Tensor:
    """An empty tensor on the same device, in double precision where there is one."""
    return tensor.new_empty(0, dtype=tensor.dtype if tensor.device.type == "mps" else torch.float64)
