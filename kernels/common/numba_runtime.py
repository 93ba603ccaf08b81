"""Kernels that take their arguments from a frame, and how several threads run them.

A *frame* is an array of 64-bit integers: sizes, flags and, for every tensor, its address and length. To read addresses
costs a tenth of what it costs to hand twenty NumPy arrays to a compiled function, which for a small cell would be most
of its time; and a function of one address can be run by any pool of threads. Threads take the shards of a call from a
counter in the frame, so that it does not matter how many come, or when.

The pool is PyTorch's own. A second one would find its cores taken by the threads of the first, which spin for some
milliseconds after every parallel operation: measured so, two Python threads were no faster than one. Where PyTorch's
pool cannot be reached (it is OpenMP on Linux only), Python threads run the shards.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import carray, types

from qkan.kernels.common.numba_compile import callback, inlined, intrinsic, is_on_disk
from qkan.kernels.common.threads import run_shards

# Places in a frame: counters of shards and workers, shards in all; behind them the arguments.
_NEXT_SHARD, _NEXT_WORKER, SHARDS, ARGUMENTS = range(4)
#: A number of each dtype, for functions that are compiled for either.
SINGLE, DOUBLE = np.float32(1), np.float64(1)
#: An integer of the type of frames.
INTEGER = np.int64(1)
_UNBOUNDED = 2**40
_SIGNATURE = types.void(types.CPointer(types.int64))


@intrinsic
def pointer(typingctx, address, like):
    """A pointer to numbers of the type of ``like``."""
    signature = types.CPointer(like)(address, like)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, codegen


@intrinsic
def _next(typingctx, frame, place):
    """Add one to an integer of the frame and return what it was, whoever else does so at the same time."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        counter = builder.gep(data, [args[1]])
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(frame, types.intp), codegen


@inlined
def take(frame: Any, place: int, like: Any) -> Any:
    """The array whose address and length stand at ``place``, of numbers of the type of ``like``."""
    return carray(pointer(frame[place], like), frame[place + 1])


@inlined
def next_shard(frame: Any) -> int:
    """The number of a shard that nobody has taken yet, -1 if there is none."""
    shard: Any = _next(frame, _NEXT_SHARD)
    return shard if shard < frame[SHARDS] else -1


@inlined
def enrol(frame: Any) -> int:
    """The number of this worker, for scratch memory of its own."""
    return _next(frame, _NEXT_WORKER)


@inlined
def as_frame(address: Any) -> Any:
    """The frame at an address."""
    return carray(address, _UNBOUNDED)


class Kernel:
    """A function of a frame, compiled when it first runs with a dtype and kept on disk.

    Args:
        single, double: the function for float32 and for float64; each takes a pointer to a frame.
    """

    def __init__(self, single: Callable[[Any], None], double: Callable[[Any], None]) -> None:
        self._functions = {torch.float32: single, torch.float64: double}
        self._compiled: dict[torch.dtype, tuple[Callable[[int], None], int]] = {}
        self._kept: list[Any] = []

    def is_compiled(self, dtype: torch.dtype) -> bool:
        """Whether the first call with ``dtype`` will find machine code, in this process or on disk."""
        return dtype in self._compiled or is_on_disk(self._functions[dtype], _SIGNATURE)

    def __call__(self, dtype: torch.dtype, arguments: Sequence[int], shards: int = 1, workers: int = 1) -> None:
        """Run all shards, on up to so many threads, this one included."""
        self.run(dtype, array("q", (0, 0, shards, *arguments)), workers)

    def run(self, dtype: torch.dtype, frame: array[int], workers: int) -> None:
        """Run the shards of a whole frame, its first two integers 0 and the third the number of shards."""
        compiled = self._compiled.get(dtype)
        if compiled is None:
            compiled = self._compiled[dtype] = self._compile(dtype)
        call, code = compiled
        address = frame.buffer_info()[0]
        if workers == 1:
            call(address)
            return
        parallel = _parallel()
        if parallel is None:
            run_shards(lambda _: call(address), workers)
        else:
            parallel(code, address, workers, 0)

    def _compile(self, dtype: torch.dtype) -> tuple[Callable[[int], None], int]:
        made = callback(self._functions[dtype], _SIGNATURE)
        self._kept.append(made)
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address), made.address


@cache
def _parallel() -> Any:
    """The function of the OpenMP library that PyTorch uses which runs (function, data, threads, flags), or None."""
    if not sys.platform.startswith("linux") or not torch.backends.openmp.is_available():
        return None
    try:
        parallel = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError):  # linked in another way
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel
