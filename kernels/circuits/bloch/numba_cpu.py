"""The fused kernel of circuits on CPUs: what it takes, and how a call is cut into shards."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch.bytecode import program
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.common.tensors import address_of, has_memory, in_memory
from qkan.kernels.common.threads import run_shards

#: Samples from which on they are the better lanes, if there are several inputs: 1.7 times faster at 256, 1.6 times
#: slower at 64, because what is the same for all lanes is copied to each.
SAMPLE_LANES = 128
#: Evaluations of one repetition that are worth a shard of their own: a tenth of a millisecond at least.
SHARD_ROTATIONS = 2**15
#: Most shards of a call. It bounds the copies of gradients that shards add to, and does not depend on the threads, so
#: that neither do the bits of a result.
MAX_SHARDS = 16

_PLAIN, _DTYPES = (Tensor, Parameter), (torch.float32, torch.float64)


def numba_supported(*tensors: Tensor | None, dtype: torch.dtype | None = None) -> bool:
    """Whether CPU kernels take such tensors: plain ones in float32 or float64 on the CPU, and nobody is tracing
    or differentiates forward.

    With ``dtype`` all must have that one.

    Raises:
        ValueError: a tensor whose memory has been taken away.
    """
    if torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None or tracing():
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    for t in tensors:
        if t is None:
            continue
        if type(t) not in _PLAIN or not t.is_cpu or t.dtype not in _DTYPES or (dtype is not None and t.dtype != dtype):
            return False
        if not has_memory(t):
            return False
    return True


def _kernel() -> Any:
    try:
        from qkan.kernels.circuits.bloch import numba_kernels as bloch_numba_jit
    except ImportError as error:
        raise ImportError(
            f"backend 'bloch' runs compiled kernels on CPUs and needs numba, which does not import here ({error}); "
            "install it with: pip install 'numba>=0.61'"
        ) from error
    return bloch_numba_jit


@cache
def _empty(dtype: torch.dtype, columns: int) -> tuple[Any, Any]:
    """An empty matrix, and parameters that are not there."""
    numbers = [torch.empty((0,) * dims, dtype=dtype, device="cpu").numpy() for dims in (1, 2)]
    theta = torch.empty((1, 0, columns), dtype=dtype, device="cpu").numpy()
    return numbers[1], _kernel().Parameters(theta, numbers[1], numbers[1], numbers[0])


class _Memory:
    """A contiguous tensor as NumPy finds the memory of others; it lives as long as the array.

    ``Tensor.numpy`` would keep the storage from ever changing its size, which FSDP does with that of parameters.
    """

    def __init__(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        self._tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f4" if tensor.dtype == torch.float32 else "<f8",
            "data": (address_of(tensor), False),
        }


def _array(tensor: Tensor, *shape: int) -> Any:
    """The numbers of a tensor as a contiguous array of that shape.

    Raises:
        ValueError: a tensor of another size; kernels would use memory of others.
    """
    tensor = tensor.detach().contiguous()
    if tensor.numel() != math.prod(shape):
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} does not fit: circuits need {shape}")
    return tensor.view(shape).numpy() if tensor.numel() == 0 else _kernel().from_memory(_Memory(tensor, shape))


class Case:
    """One call, ready for the kernel; arguments are those of :func:`qkan.kernels.circuits.bloch.pytorch.circuits`."""

    def __init__(
        self, x: Tensor, theta: Tensor, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None, *,
        ansatz: Ansatz, reps: int, readout: str, reduce: bool,
    ) -> None:  # fmt: skip
        self.like, self.shapes, self.reduce, self.reps = theta, (x, theta, weight, bias, edge_weight), reduce, reps
        outputs, inputs = theta.shape[-4:-2]
        self.edges, self.samples = outputs * inputs, x.shape[0]
        self.outputs, self.inputs = outputs, inputs
        self.per_sample = theta.dim() == 5 and theta.shape[0] != 1
        self.readout = readout
        self.program = program(ansatz, reps, weight is not None, bias is not None)
        self.columns = ansatz.rows(reps) * ansatz.angles  # what the program reads, whatever theta holds
        self.empty, self.absent = _empty(theta.dtype, self.columns)
        self.x = _array(in_memory(x).double(), self.samples, self.inputs)
        self.parameters = self._laid_out(theta, weight, bias, edge_weight)

    def _laid_out(
        self, theta: Tensor | None, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None
    ) -> Any:
        sets, per_edge = self.samples if self.per_sample else 1, (self.edges, self.reps)
        return _kernel().Parameters(
            self.absent.theta if theta is None else _array(theta, sets, self.edges, self.columns),
            self.absent.weight if weight is None else _array(weight, *per_edge),
            self.absent.bias if bias is None else _array(bias, *per_edge),
            self.absent.edge_weight if edge_weight is None else _array(edge_weight, self.edges),
        )

    def _shards(self) -> tuple[int, bool]:
        """How many, and whether they cut the outputs (or the samples)."""
        count = max(1, min(MAX_SHARDS, self.samples * self.edges * self.reps // SHARD_ROTATIONS))
        cut_outputs = self.outputs >= count or self.outputs >= self.samples
        return max(1, min(count, self.outputs if cut_outputs else self.samples)), cut_outputs

    def _call(self, shard: int, count: int, cut_outputs: bool) -> Any:
        part = [(shard + end) * (self.outputs if cut_outputs else self.samples) // count for end in (0, 1)]
        outputs = part if cut_outputs else (0, self.outputs)
        samples = (0, self.samples) if cut_outputs else part
        flags = (self.reduce, self.readout == "amplitude", self.per_sample)
        return _kernel().Call(self.inputs, *flags, max(1, self.edges), 1, *outputs, *samples)

    def _run(self) -> Any:
        """The kernel with the better lanes: samples, if they are many or of few edges."""
        by_samples = not self.per_sample and self.samples >= (SAMPLE_LANES if self.inputs > 1 else self.outputs)
        return _kernel().run_by_samples if by_samples else _kernel().run_by_edges

    def values(self) -> Tensor:
        """(samples, outputs) if summed over inputs, else (samples, edges)."""
        out = self.like.new_zeros(self.samples, self.outputs if self.reduce else self.edges)
        target, run = out.numpy(), self._run()
        count, cut_outputs = self._shards()

        def shard(index: int) -> None:
            call = self._call(index, count, cut_outputs)
            run(target, self.empty, self.empty, self.absent, self.x, self.parameters, self.program, call)

        run_shards(shard, count)
        return out

    def gradients(self, grad: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
        """d loss / d x, theta, weight, bias and edge_weight, laid out as :meth:`values`; None where not needed."""
        count, cut_outputs = self._shards()
        # Shards add to copies of what they share; the copies are summed in their order, so the bits do not depend on
        # which thread was first.
        shared = [cut_outputs, not cut_outputs and not self.per_sample, *(not cut_outputs,) * 3]
        totals = [
            self.like.new_zeros(count if several else 1, *tensor.shape) if need and tensor is not None else None
            for tensor, need, several in zip(self.shapes, needs, shared, strict=True)
        ]
        run = self._run()
        upstream = _array(grad, self.samples, self.outputs if self.reduce else self.edges)

        def shard(index: int) -> None:
            parts = [
                None if total is None else total[index if several else 0]
                for total, several in zip(totals, shared, strict=True)
            ]
            dx = self.empty if parts[0] is None else _array(parts[0], self.samples, self.inputs)
            call = self._call(index, count, cut_outputs)
            run(self.empty, upstream, dx, self._laid_out(*parts[1:]), self.x, self.parameters, self.program, call)

        if self.samples:
            run_shards(shard, count)
        sums = [None if total is None else total[0] if total.shape[0] == 1 else total.sum(0) for total in totals]
        x = self.shapes[0]
        return (None if sums[0] is None else sums[0].to(x.dtype)), *sums[1:]
