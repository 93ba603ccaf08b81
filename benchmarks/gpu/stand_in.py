"""A device that is not there: launches of Triton kernels that count, or that build and load nothing.

Tensors are on the meta device, where PyTorch computes shapes only, so the largest sizes take no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations that start nothing on a device: they make views or memory.
FREE = frozenset(
    [
        "view",
        "t",
        "transpose",
        "expand",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
        "permute",
        "detach",
        "alias",
        "unbind",
        "split",
        "split_with_sizes",
        "_unsafe_view",
        "as_strided",
        "empty",
        "new_empty",
        "empty_like",
        "empty_strided",
        "new_empty_strided",
        "_reshape_alias",
        "unflatten",
        "chunk",
        "lift_fresh",
        "is_same_size",
        "promote_types",
    ]
)


#: Bytes of memory that the device has.
MEMORY = 2**36


class Launches(TorchDispatchMode):
    """Counts what starts something on a device, by name: operations of PyTorch, kernels of Triton behind a colon."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name not in FREE:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))

    @property
    def count(self) -> int:
        """All launches."""
        return sum(self.found.values())

    def __getitem__(self, kernel: Any) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            self.found[f"triton:{kernel.fn.__name__}"] += 1

        return launch


@contextmanager
def counting(read: float = 1.8) -> Iterator[Launches]:
    """Count what the code inside starts; kernels of Triton are taken for started.

    Args:
        read: what every number is that is read from the device: |x| up to 1.8 and sums of |w| up to 1.8 take 12
            Chebyshev terms.
    """
    from triton.runtime.jit import KernelInterface

    launches = Launches()

    def start(kernel: Any, grid: Any) -> Any:
        sizes = grid if isinstance(grid, tuple) else grid({})
        if not all(0 < size < 2**31 for size in sizes) or any(size >= 2**16 for size in sizes[1:]):
            raise ValueError(f"{kernel.fn.__name__} starts with grid {sizes}, which no device takes")
        return launches[kernel]

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(KernelInterface, "__getitem__", start))
        stack.enter_context(on_meta(read))
        stack.enter_context(launches)
        yield launches


@contextmanager
def on_meta(read: float = 1.8) -> Iterator[None]:
    """Let kernels of Triton take tensors of the meta device for those of a GPU."""
    from qkan.kernels.common import host_sync, triton_device

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(triton_device, "runs_kernels", lambda device: device.type == "meta"))
        stack.enter_context(mock.patch.object(host_sync, "values_of", lambda tensor: [read] * tensor.numel()))
        stack.enter_context(mock.patch.object(host_sync, "memory", return_value=MEMORY))
        yield


def training_step(module: torch.nn.Module, *shape: int) -> list[Any]:
    """Forward and all gradients of a module on the meta device, for inputs of a shape."""
    x = torch.empty(shape, device="meta", requires_grad=True)
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    wanted = [x, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    return [y, *torch.autograd.grad(y, wanted, torch.empty_like(y))]
