"""The recurrence on the CPU in Numba kernels: a thread walks all time steps with its share of the batch.

There is no barrier and no call from Python inside a sequence: for some sequences of the batch, h, c and the scratch
memory of a step stay in the caches of one core, the matrix is packed once for the tiles of
:mod:`qkan.kernels.common.numba_matmul`, and the threads meet at the end. The tape is the only memory that grows with
time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.recurrence.types import (
    Engine,
    ForwardResult,
    Layout,
    RecurrenceGradients,
    Spec,
    Tape,
    Tensors,
    Weights,
)
from qkan.kernels.spectral.numba_cpu import (
    ROWS,
    addresses,
    kernel_params,
    matrix_gradients,
    num_frequencies,
    pack,
    padded,
    radius_of,
    threads_for,
    transposed_weights,
)
from qkan.kernels.spectral.operands import Operands

#: Numbers of scratch memory that the sequences of one walk may need, about half of a core's second-level cache.
ROOM_ELEMENTS = 2**17


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the engine can run, else the reason why it cannot."""
    steps: Tensor = tensors[0]
    if steps.device.type != "cpu":
        return f"its kernels run on the CPU, and the tensors are on {steps.device}"
    if steps.dtype not in (torch.float32, torch.float64):
        return f"its kernels take float32 and float64, not {steps.dtype}"
    if spec.matmul_dtype is not None:
        return f"its products are in the dtype of the states, and {spec.matmul_dtype} is asked for"
    return None


@dataclass(frozen=True)
class _Sizes:
    """Sizes of a recurrence.

    Attributes:
        hidden, out, width, gates: H, P, Z and G.
        planes: of the matrix.
        waves: of the basis, without the base activation.
        columns: of the matrix of the backward pass.
    """

    hidden: int
    out: int
    width: int
    gates: int
    planes: int
    waves: int
    columns: int

    def forward_room(self) -> int:
        """Numbers of scratch memory for one sequence."""
        rows = padded(self.gates) + padded(self.width) + padded(self.out) + self.out + self.hidden
        return rows + (2 * self.waves + 5) * self.width

    def backward_room(self) -> int:
        """Numbers of scratch memory for one sequence on the way back."""
        rows = padded(self.columns) + max(padded(self.out), padded(self.hidden)) + self.out + self.gates
        return rows + self.hidden + (self.waves + 2) * self.width + 2 * max(self.width, self.hidden)


@lru_cache(maxsize=256)
def _places(layout: Layout) -> tuple[Tensor, Tensor]:
    """Sizes and offsets of the steps."""
    return torch.tensor(layout.sizes, device="cpu"), torch.tensor(layout.offsets, device="cpu")


def _shards(batch: int, workspace: int, work: int) -> tuple[int, int]:
    """How many sequences to walk with at once, and how many threads to walk.

    Args:
        batch: sequences.
        workspace: numbers of scratch memory for one; as many walk at once as fit a core's cache.
        work: multiply-adds of one over all steps.
    """
    threads = threads_for(batch * work, max(1, batch))
    rounds = max(1, math.ceil(batch * workspace / (ROOM_ELEMENTS * threads)))
    each = max(ROWS, padded(math.ceil(batch / (threads * rounds)), ROWS))
    return each, min(threads, max(1, math.ceil(batch / each)))


def _sizes_of(spec: Spec, weights: Weights, out: int, hidden: int, columns: int = 0) -> _Sizes:
    planes, width, gates = weights.matrix.shape
    return _Sizes(hidden, out, width, gates, planes, num_frequencies(spec.basis), columns)


def _how(spec: Spec, layout: Layout, weights: Weights, sizes: _Sizes, keep: bool) -> tuple[int, ...]:
    """The integers ``kernel_params`` of the kernels."""
    there = (weights.encoder is not None, weights.projection is not None)
    others = (spec.cell == "gru", *there, sizes.hidden, sizes.out, keep, layout.reverse, sizes.columns, spec.inputs)
    return kernel_params(spec.basis, weights.activation_coeffs is not None, sizes.width, tuple(map(int, others)))


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> ForwardResult:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    from qkan.kernels.recurrence import numba_kernels as jit

    out, hidden = h_0.shape[1], (h_0 if c_0 is None else c_0).shape[1]
    sizes, encoder, projection = _sizes_of(spec, weights, out, hidden), weights.encoder, weights.projection
    rows, kept, batch = len(steps), len(steps) if keep else 0, len(h_0)
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    outputs = steps.new_empty(rows, out)
    tape = Tape(
        steps.new_empty(kept, sizes.gates),
        steps.new_empty(kept, hidden),
        steps.new_empty(kept, sizes.width) if encoder is not None or spec.inputs else None,
    )
    depth = sizes.planes * sizes.width
    packed = (
        pack(weights.matrix, depth, sizes.gates),
        None if encoder is None else pack(encoder, out, sizes.width, transposed=True),
        None if projection is None else pack(projection, hidden, out, transposed=True),
    )
    each, threads = _shards(batch, sizes.forward_room(), depth * sizes.gates * len(layout.sizes))
    workspace = steps.new_zeros(threads, each * sizes.forward_room())
    arrays = (steps, weights.bias, weights.activation_coeffs, packed[0], h, c, outputs, *tape, *packed[1:])
    _launch(
        jit.FORWARD, spec, layout, _how(spec, layout, weights, sizes, keep), sizes.gates, each, batch, workspace, arrays
    )
    return ForwardResult(outputs, h, c, tape if keep else None)


def _launch(
    kernel: Any,
    spec: Spec,
    layout: Layout,
    integers: tuple[int, ...],
    gates: int,
    each: int,
    batch: int,
    workspace: Tensor,
    arrays: tuple[Tensor | None, ...],
) -> None:
    """Run a kernel on all sequences, ``each`` at a time, on as many threads as ``workspace`` has rows."""
    given = (
        radius_of(spec.basis, workspace.dtype),
        workspace,
        *_places(layout),
        *arrays,
    )  # held until the kernel is done
    numbers = (*integers, batch, gates, each, workspace.shape[1], *addresses(*given))
    kernel(workspace.dtype, numbers, math.ceil(batch / each), workspace.shape[0])


def backward(
    spec: Spec,
    layout: Layout,
    weights: Weights,
    tape: Tape,
    z: Tensor,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
) -> RecurrenceGradients:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    from qkan.kernels.recurrence import numba_kernels as jit

    batch, out, hidden = *grad_h.shape, tape.carry.shape[1]
    encoder, projection = weights.encoder, weights.projection
    pulling, slopes = transposed_weights(spec.basis, weights.matrix, weights.activation_coeffs)
    columns = pulling.shape[0] * pulling.shape[1]
    sizes = _sizes_of(spec, weights, out, hidden, columns)
    dh, dc = grad_h.clone(), None if grad_c is None else grad_c.clone()
    inner = torch.empty_like(tape.gates)
    steps = inner
    if encoder is not None:
        steps = torch.empty_like(z)
    elif dc is None:
        steps = torch.empty_like(inner)
    elif spec.inputs:
        steps = z.new_empty(len(z), spec.inputs)
    hiddens = None if projection is None else torch.empty_like(grad_outputs)
    packed = (
        pack(pulling.contiguous(), sizes.gates, columns, transposed=True),
        None if encoder is None else pack(encoder, sizes.width, out),
        None if projection is None else pack(projection, out, hidden),
    )
    each, threads = _shards(batch, sizes.backward_room(), columns * sizes.gates * len(layout.sizes))
    workspace = z.new_zeros(threads, each * sizes.backward_room())
    shards = math.ceil(batch / each)
    of_shape = None if slopes is None else z.new_zeros(shards, (sizes.waves + 1) * sizes.width)
    given = (slopes, packed[0], tape.gates, tape.carry, z, grad_outputs)
    arrays = (*given, dh, dc, inner, steps, hiddens, of_shape, *packed[1:])
    _launch(
        jit.BACKWARD,
        spec,
        layout,
        _how(spec, layout, weights, sizes, True),
        sizes.gates,
        each,
        batch,
        workspace,
        arrays,
    )
    shape = None if of_shape is None else of_shape.sum(0).view(-1, sizes.width)
    return RecurrenceGradients(inner, steps, hiddens, dh, dc, shape)


class Stepper:
    """One time step of an lstm at a time, everything that depends on the weights prepared: for streams.

    Args:
        operands: the gates as one map of [x, h], contiguous, float32 or float64.
        inputs: how many of its inputs are x.
    """

    def __init__(self, operands: Operands, inputs: int) -> None:
        self._spec = Spec("lstm", operands.basis, inputs=inputs)
        self._weights = Weights(operands.matrix, operands.bias, operands.activation_coeffs)
        hidden = operands.bias.shape[0] // 4
        self._sizes = _sizes_of(self._spec, self._weights, hidden, hidden)
        self._packed = pack(operands.matrix.contiguous(), self._sizes.planes * self._sizes.width, self._sizes.gates)
        self._frames: dict[int, tuple[Any, ...]] = {}

    def _frame(self, batch: int) -> tuple[Any, ...]:
        """What a frame holds around what changes from call to call, how many sequences walk at once, and its tensors.

        The tensors are kept with their addresses: the caches that they come from may forget them.
        """
        sizes, weights, dtype = self._sizes, self._weights, self._packed.dtype
        layout = Layout((batch,))
        each, _ = _shards(batch, sizes.forward_room(), 1)
        integers = _how(self._spec, layout, weights, sizes, False)
        front = (*integers, batch, sizes.gates, each, each * sizes.forward_room())
        radius, places = radius_of(self._spec.basis, dtype), _places(layout)
        given = addresses(weights.bias, weights.activation_coeffs, self._packed)
        return (*front, *addresses(radius)), addresses(*places), given, each, (radius, *places)

    def __call__(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """(h', c') from x (B, I), h and c (B, H), all on the CPU; not differentiable."""
        from qkan.kernels.recurrence import numba_kernels as jit

        batch = len(x)
        if batch not in self._frames:
            self._frames[batch] = self._frame(batch)
        front, places, given, each, _ = self._frames[batch]
        # The states are clones, which the kernel moves on; its outputs, h once more, go behind the scratch memory.
        h, c, x = (
            h.clone(memory_format=torch.contiguous_format),
            c.clone(memory_format=torch.contiguous_format),
            x.contiguous(),
        )
        size = front[-3]
        workspace = x.new_zeros(size + h.numel())
        address, number = workspace.data_ptr(), workspace.element_size()
        states = (h.data_ptr(), h.numel(), c.data_ptr(), c.numel(), address + size * number, h.numel())
        tail = (address, size, *places, x.data_ptr(), x.numel(), *given, *states, *(0,) * 10)
        jit.FORWARD(x.dtype, (*front, *tail), math.ceil(batch / each))
        return h, c


def features(spec: Spec, weights: Weights, z: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    return matrix_gradients(spec.basis, weights.matrix, weights.activation_coeffs, z, inner)


ENGINE = Engine("numba", unsupported_reason, forward, backward, features, takes_inputs=True)
