"""Small helpers for tensors that several kernels share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from qkan.kernels.common import host_sync

MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)

_PLAIN = (Tensor, Parameter)

#: Numbers (4 bytes in single precision) that one piece of work keeps on a CPU: so many as its caches hold; half and
#: twice as many are no faster on two cores (docs/decisions.md). Tests put smaller numbers in.
PIECE_ELEMENTS = {"cpu": 2**20}
#: On other devices: enough to fill them, and up to this share of their memory, as every piece costs launches.
LEAST_PIECE_ELEMENTS, PIECE_SHARE = 2**24, 32


def piece_elements(device: torch.device) -> int:
    """How many numbers one piece of work may keep at once on ``device``."""
    if device.type in PIECE_ELEMENTS:
        return PIECE_ELEMENTS[device.type]
    return max(LEAST_PIECE_ELEMENTS, (host_sync.memory(device) or 0) // (4 * PIECE_SHARE))


def has_memory(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor stand at its address as they are.

    They do not in sparse tensors, in those that stand for a batch, in zeros that nobody wrote down, and in views that
    are yet to be negated; PyTorch's own operations take all of these.

    Raises:
        ValueError: a tensor whose memory has been taken away, or some of it. PyTorch's own operations would crash.
    """
    try:
        size = tensor.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):
        return False
    # The address alone does not tell: that of a view behind the start of a storage is its distance from it.
    if size < (tensor.storage_offset() + tensor.numel()) * tensor.itemsize and size < _reach(tensor):
        if tensor.is_meta or tensor._is_zerotensor() or torch._is_functional_tensor(tensor):
            return False
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} has no memory: its storage has been resized to {size} bytes; "
            "give it memory again, or load its values, before it is used"
        )
    return not tensor.is_neg() and (tensor.data_ptr() != 0 or tensor.is_meta or not tensor.numel())


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is no subclass, which stands for something else, and :func:`has_memory`."""
    return type(tensor) in _PLAIN and has_memory(tensor)


def _reach(tensor: Tensor) -> int:
    """How many bytes of its storage a tensor needs."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int((tensor.storage_offset() + last + 1) * tensor.itemsize)


def check_readable(*tensors: Tensor | None) -> None:
    """Check tensors that operations of PyTorch or a kernel are about to read, as those that a backward pass saved.

    Raises:
        ValueError: as of :func:`has_memory`.
    """
    if torch.compiler.is_compiling():
        return
    for tensor in tensors:
        if tensor is not None and type(tensor) in _PLAIN:
            has_memory(tensor)


def address_of(tensor: Tensor) -> int:
    """The address of a tensor's numbers, for a kernel that trusts it.

    Raises:
        ValueError: its memory has been taken away, maybe since the kernel was chosen, as between forward and backward.
    """
    address = tensor.data_ptr()
    if address == 0 and tensor.numel():
        has_memory(tensor)
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} has no memory; clone it before it is used")
    return address


def in_memory(tensor: Tensor) -> Tensor:
    """The tensor contiguous, its numbers at its address; copied where they are not.

    Raises:
        ValueError: as of :func:`has_memory`.
    """
    if has_memory(tensor):
        return tensor.contiguous()
    return tensor.clone(memory_format=torch.contiguous_format)


def fix_gradient_strides(tensor: MaybeTensor) -> MaybeTensor:
    """The same tensor, whose gradient gets its strides.

    A gradient may have any stride along a dimension of size 1. DistributedDataParallel wants those of the parameter.
    """
    if tensor is None or not tensor.requires_grad or 1 not in tensor.shape:
        return tensor
    return tensor.flatten().view(tensor.shape)


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """No autocast on ``device``, if it has one at all (the meta device has none)."""
    known = torch.amp.is_autocast_available(device.type)
    on = torch.compiler.is_compiling() or (known and torch.is_autocast_enabled(device.type))
    return torch.autocast(device.type, enabled=False) if known and on else nullcontext()


def full_matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` with all the digits of its dtype, also where PyTorch may multiply in TF32 or bfloat16.

    ``torch.set_float32_matmul_precision("high")`` and older switches say that about every product in single precision.
    """
    kind = a.device.type
    known = kind == "cpu" and not torch.compiler.is_compiling()  # a compiler cannot read the setting
    may_round = kind in ("cpu", "cuda") and not (known and torch.get_float32_matmul_precision() == "highest")
    if a.dtype != torch.float32 or not may_round:
        return a @ b
    return (a.double() @ b.double()).to(a.dtype)


def autocast_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """The dtype of a matrix product with parameters of ``dtype``, if it is narrower than that of the features."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return dtype if dtype.itemsize < torch.float32.itemsize else None
