"""The recurrence on the CPU in Numba kernels: a thread walks all time steps with its share of the batch.

There is no barrier and no call from Python inside a sequence: for some sequences of the batch, h, c and the scratch
memory of a step stay in the caches of one core, the matrix is packed once for the tiles of
:mod:`qkan.kernels.common.numba_matmul`, and the threads meet at the end. The tape is the only memory that grows with
time.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.tensors import address_of
from qkan.kernels.recurrence.types import (
    Engine,
    ForwardResult,
    Layout,
    RecurrenceGradients,
    Spec,
    Tape,
    Tensors,
    Weights,
    layout_of,
)
from qkan.kernels.spectral.basis import Basis, Operands
from qkan.kernels.spectral.numba_cpu import (
    ROWS,
    SHARD_WORK,
    addresses,
    kernel_params,
    matrix_gradients,
    num_frequencies,
    pack,
    padded,
    radius_of,
    size_of,
    transposed_weights,
)

Size = tuple[int, int, int]
#: Numbers of scratch memory that the sequences of one walk may need, about half of a core's second-level cache.
WORKSPACE_ELEMENTS = 2**17


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None if the engine can run, else the reason why it cannot."""
    steps: Tensor = tensors[0]
    if steps.device.type != "cpu":
        return f"its kernels run on the CPU, and the tensors are on {steps.device}"
    if steps.dtype not in (torch.float32, torch.float64):
        return f"its kernels take float32 and float64, not {steps.dtype}"
    if not spec.basis.fused:
        return f"its kernels make no features of kind {spec.basis.name!r}"
    if spec.matmul_dtype is not None:
        return f"its products are in the dtype of the states, and {spec.matmul_dtype} is asked for"
    return None


class _Front(NamedTuple):
    """What frames of calls of one size begin with.

    Attributes:
        integers: those of a frame in front of the addresses.
        each: sequences that walk at once.
        threads: that walk.
        workspace_size: numbers of workspace for a thread.
    """

    integers: tuple[int, ...]
    each: int
    threads: int
    workspace_size: int


@lru_cache(maxsize=1024)
def _front(
    basis: tuple[Literal["fourier", "chebyshev"], int, str | None],
    shapes: tuple[int, ...],
    flags: tuple[bool, ...],
    batch: int,
    steps: int,
    threads: int,
) -> _Front:
    """What a frame begins with.

    Args:
        basis: kind, size and base activation.
        shapes: H, P, Z, G, terms of the matrix, columns of that of the backward pass (0 forward), inputs in z.
        flags: gru, encoder, projection, a tape is kept, time runs from the last step, one activation per input.
        batch, steps: sequences and time steps.
        threads: that PyTorch has.
    """
    hidden, out, width, gates, terms, columns, inputs = shapes
    gru, encoded, projected, keep, reverse, has_activations = flags
    others = tuple(map(int, (gru, encoded, projected, hidden, out, keep, reverse, columns, inputs)))
    basis_of = Basis(basis[0], basis[1], base=basis[2])
    frequencies = num_frequencies(basis_of)
    if columns:
        workspace_size = padded(columns) + max(padded(out), padded(hidden)) + out + gates
        workspace_size += hidden + (frequencies + 2) * width + 2 * max(width, hidden)
        work = columns * gates * steps
    else:
        workspace_size = padded(gates) + padded(width) + padded(out) + out + hidden + (2 * frequencies + 5) * width
        work = terms * width * gates * steps
    threads = max(1, min(threads, batch, batch * work // SHARD_WORK))
    rounds = max(1, math.ceil(batch * workspace_size / (WORKSPACE_ELEMENTS * threads)))
    each = max(ROWS, padded(math.ceil(batch / (threads * rounds)), ROWS))
    threads = min(threads, max(1, math.ceil(batch / each)))
    integers = (*kernel_params(basis_of, has_activations, width, others), batch, gates, each, each * workspace_size)
    return _Front(integers, each, threads, each * workspace_size)


def _front_of(
    spec: Spec, layout: Layout, weights: Weights, size: Size, batch: int, states: tuple[int, int], *,
    keep: bool = False, back: bool = False,
) -> _Front:  # fmt: skip
    """What a frame begins with; ``size`` is that of the matrix, ``states`` are H and P."""
    basis, (terms, width, gates) = spec.basis, size
    shapes = (*states, width, gates, terms, terms * width if back else 0, spec.inputs)
    flags = (
        spec.cell == "gru", weights.encoder is not None, weights.projection is not None, keep, layout.reverse,
        weights.activation_coeffs is not None,
    )  # fmt: skip
    kind = (basis.kind, basis.size, basis.base)
    return _front(kind, shapes, flags, batch, len(layout.sizes), torch.get_num_threads())


def forward(
    spec: Spec,
    layout: Layout,
    steps: Tensor,
    weights: Weights,
    h_0: Tensor,
    c_0: Tensor | None,
    keep: bool,
    size: Size | None = None,
) -> ForwardResult:
    """As of :class:`qkan.kernels.recurrence.types.Engine`; with ``size`` the matrix, which has it, is in panels."""
    from qkan.kernels.recurrence import numba_kernels as jit

    (batch, out), hidden = h_0.shape, (h_0 if c_0 is None else c_0).shape[1]
    matrix, encoder, projection = weights.matrix, weights.encoder, weights.projection
    if size is None:
        terms, width, gates = size = size_of(matrix)
        matrix = pack(matrix, terms * width, gates)
    _, width, gates = size
    front = _front_of(spec, layout, weights, size, batch, (hidden, out), keep=keep)
    rows, kept = len(steps), len(steps) if keep else 0
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    outputs = steps.new_empty(rows, out)
    tape = Tape(
        steps.new_empty(kept, gates),
        steps.new_empty(kept, hidden),
        steps.new_empty(kept, width) if encoder is not None or spec.inputs else None,
    )
    others = (
        None if encoder is None else pack(encoder, out, width, transposed=True),
        None if projection is None else pack(projection, hidden, out, transposed=True),
    )
    arrays = (steps, weights.bias, weights.activation_coeffs, matrix, h, c, outputs, *tape, *others)
    _launch(jit.FORWARD, front, spec.basis.radius, layout, arrays, batch, steps.dtype)
    return ForwardResult(outputs, h, c, tape if keep else None)


def _launch(
    kernel: Any,
    front: _Front,
    radius: float,
    layout: Layout,
    arrays: tuple[Tensor | None, ...],
    batch: int,
    dtype: torch.dtype,
) -> None:
    """Run a kernel on all sequences."""
    workspace = torch.zeros(front.threads * front.workspace_size, dtype=dtype, device="cpu")
    given = (radius_of(radius, dtype), workspace, *layout.places, *arrays)  # held until the kernel is done
    kernel(dtype, (*front.integers, *addresses(*given)), math.ceil(batch / front.each), front.threads)


def backward(
    spec: Spec,
    layout: Layout,
    weights: Weights,
    tape: Tape,
    z: Tensor,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
    size: Size | None = None,
) -> RecurrenceGradients:
    """As of :class:`qkan.kernels.recurrence.types.Engine`.

    With ``size`` the matrix is the transpose of the weights of the features' derivative, which have it, in panels.
    """
    from qkan.kernels.recurrence import numba_kernels as jit

    (batch, out), hidden, width = grad_h.shape, tape.carry.shape[1], z.shape[1]
    matrix, encoder, projection, slopes = weights.matrix, weights.encoder, weights.projection, None
    if size is None:
        transposed, slopes = transposed_weights(spec.basis, matrix, weights.activation_coeffs)
        blocks, _, gates = size = size_of(transposed)
        matrix = pack(transposed.contiguous(), gates, blocks * width, transposed=True)
    front = _front_of(spec, layout, weights, size, batch, (hidden, out), keep=True, back=True)
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
    others = (
        None if encoder is None else pack(encoder, width, out),
        None if projection is None else pack(projection, out, hidden),
    )
    coeffs = weights.activation_coeffs
    of_coeffs = None if coeffs is None else z.new_zeros(math.ceil(batch / front.each), coeffs.numel())
    given = (slopes, matrix, tape.gates, tape.carry, z, grad_outputs)
    arrays = (*given, dh, dc, inner, steps, hiddens, of_coeffs, *others)
    _launch(jit.BACKWARD, front, spec.basis.radius, layout, arrays, batch, z.dtype)
    return RecurrenceGradients(
        inner, steps, hiddens, dh, dc, None if of_coeffs is None else of_coeffs.sum(0).view(-1, width)
    )


class Stepper:
    """One time step of an lstm at a time, everything that depends on the weights prepared: for streams.

    Args:
        operands: the gates as one map of [x, h], contiguous, float32 or float64.
        inputs: how many of its inputs are x.
    """

    def __init__(self, operands: Operands, inputs: int) -> None:
        self._spec = Spec("lstm", operands.basis, inputs=inputs)
        terms, width, gates = size = size_of(operands.matrix)
        packed = pack(operands.matrix.contiguous(), terms * width, gates)
        self._size, self._weights = size, Weights(packed, operands.bias, operands.activation_coeffs)
        self._frames: dict[int, tuple[Any, ...]] = {}

    def _frame(self, batch: int) -> tuple[Any, ...]:
        """What a frame holds around what changes from call to call, its shards, and its tensors.

        The tensors are kept with their addresses: the caches that they come from may forget them.
        """
        weights, layout = self._weights, layout_of((batch,))
        hidden = self._size[2] // 4
        front = _front_of(self._spec, layout, weights, self._size, batch, (hidden, hidden))
        radius, places = radius_of(self._spec.basis.radius, weights.matrix.dtype), layout.places
        given = addresses(weights.bias, weights.activation_coeffs, weights.matrix)
        shards = math.ceil(batch / front.each)
        return (*front.integers, *addresses(radius)), addresses(*places), given, shards, (radius, *places)

    def __call__(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """(h', c') from x (B, I), h and c (B, H), all on the CPU; not differentiable."""
        from qkan.kernels.recurrence import numba_kernels as jit

        batch = len(x)
        if batch not in self._frames:
            self._frames[batch] = self._frame(batch)
        front, places, given, shards, _ = self._frames[batch]
        # The states are clones, which the kernel moves on; its outputs, h once more, go behind the scratch memory.
        h, c, x = (
            h.clone(memory_format=torch.contiguous_format),
            c.clone(memory_format=torch.contiguous_format),
            x.contiguous(),
        )
        size = front[-3]
        workspace = x.new_zeros(size + h.numel())
        address, number = workspace.data_ptr(), workspace.element_size()
        states = (address_of(h), h.numel(), address_of(c), c.numel(), address + size * number, h.numel())
        tail = (address, size, *places, address_of(x), x.numel(), *given, *states, *(0,) * 10)
        jit.FORWARD(x.dtype, (*front, *tail), shards)
        return h, c


def features(spec: Spec, weights: Weights, z: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    return matrix_gradients(spec.basis, weights.matrix, weights.activation_coeffs, z, inner)


ENGINE = Engine("numba", unsupported_reason, forward, backward, features, takes_inputs=True)
