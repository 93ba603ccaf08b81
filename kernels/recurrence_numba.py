"""The recurrence on the CPU in Numba kernels: a thread walks all time steps with its share of the batch.

There is no barrier and no call from Python inside a sequence: for some sequences of the batch, h, c and the scratch
memory of a step stay in the caches of one core, the matrix is packed once for the tiles of
:mod:`qkan.kernels.numba_tiles`, and the threads meet at the end. The tape is the only memory that grows with time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.features_numba import (
    ROWS,
    flat,
    integers,
    matrix_gradients,
    padded,
    radius_of,
    threads_for,
    turned,
    waves_of,
)
from qkan.kernels.recurrence_types import Engine, Layout, Pulled, Ran, Spec, Tape, Weights
from qkan.kernels.threads import run_shards

#: Numbers of scratch memory that the sequences of one walk may need, about half of a core's second-level cache.
ROOM_ELEMENTS = 2**17


def why_not(spec: Spec, steps: Tensor, weights: Weights) -> str | None:
    """None if the engine can run, else the reason why it cannot."""
    if steps.device.type != "cpu":
        return f"its kernels run on the CPU, and the tensors are on {steps.device}"
    if steps.dtype not in (torch.float32, torch.float64):
        return f"its kernels take float32 and float64, not {steps.dtype}"
    if spec.low is not None:
        return f"its products are in the dtype of the states, and {spec.low} is asked for"
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
        return rows + (self.waves + 4) * self.width

    def backward_room(self) -> int:
        """Numbers of scratch memory for one sequence on the way back."""
        rows = padded(self.columns) + max(padded(self.out), padded(self.hidden)) + self.out + self.gates
        return rows + self.hidden + (self.waves + 2) * self.width + 2 * max(self.width, self.hidden)


@lru_cache(maxsize=256)
def _places(layout: Layout) -> tuple[Any, Any]:
    """Sizes and offsets of the steps as arrays."""
    return tuple(torch.tensor(places, device="cpu").numpy() for places in (layout.sizes, layout.offsets))  # type: ignore[return-value]


def _walk(batch: int, room: int, work: int, like: Tensor, walk: Callable[[int, int, int, Any], None]) -> None:
    """Share out the sequences to threads, each of which walks with as many at once as fit a core's cache.

    Args:
        batch: sequences.
        room: numbers of scratch memory for one.
        work: multiply-adds of one over all steps.
        like: has the dtype of the scratch memory.
        walk: walks with the sequences first .. end in (number of the thread, first, end, scratch memory).
    """
    if batch == 0:
        return
    threads = threads_for(batch * work, batch)
    rounds = math.ceil(batch * room / (ROOM_ELEMENTS * threads))
    each = math.ceil(batch / (threads * max(1, rounds)))
    each = padded(each, ROWS)
    starts = range(0, batch, each)
    threads = min(threads, len(starts))
    rooms = like.new_zeros(threads, each * room).numpy()

    def share(number: int) -> None:
        for first in starts[number::threads]:
            walk(number, first, min(first + each, batch), rooms[number])

    run_shards(share, threads)


def _sizes_of(spec: Spec, weights: Weights, out: int, hidden: int, columns: int = 0) -> _Sizes:
    planes, width, gates = weights.matrix.shape
    return _Sizes(hidden, out, width, gates, planes, waves_of(spec.basis), columns)


def _how(spec: Spec, weights: Weights, sizes: _Sizes, keep: bool) -> Any:
    """The array ``how`` of the kernels."""
    there = (weights.encoder is not None, weights.projection is not None)
    others = (spec.cell == "gru", *there, sizes.hidden, sizes.out, keep)
    return integers(spec.basis, weights.shape is not None, sizes.width, *others)


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> Ran:
    """As of :class:`qkan.kernels.recurrence_types.Engine`."""
    from qkan.kernels import recurrence_numba_jit as jit

    out, hidden = h_0.shape[1], (h_0 if c_0 is None else c_0).shape[1]
    sizes, encoder, projection = _sizes_of(spec, weights, out, hidden), weights.encoder, weights.projection
    how = _how(spec, weights, sizes, keep)
    rows, kept = len(steps), len(steps) if keep else 0
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    outputs = steps.new_empty(rows, out)
    tape = Tape(
        steps.new_empty(kept, sizes.gates),
        steps.new_empty(kept, hidden),
        steps.new_empty(kept, sizes.width) if encoder is not None else None,
    )
    depth = sizes.planes * sizes.width
    coded = 0 if encoder is None else out * padded(sizes.width)
    packed = steps.new_empty(depth * padded(sizes.gates) + coded + hidden * padded(out)).numpy()
    matrices = [flat(tensor, steps) for tensor in (weights.matrix, encoder, projection)]
    jit.pack_all(*matrices, how, sizes.gates, packed)
    given = (flat(steps, steps), flat(weights.bias, steps), flat(weights.shape, steps), packed)
    results = [flat(tensor, steps) for tensor in (h, c, outputs, *tape)]
    common = (how, radius_of(spec.basis, steps.dtype), *_places(layout), layout.reverse)

    def walk(_: int, first: int, end: int, room: Any) -> None:
        jit.forward(*common, first, end, *given, *results, room)

    work = depth * sizes.gates * len(layout.sizes)
    _walk(len(h), sizes.forward_room(), work, steps, walk)
    return Ran(outputs, h, c, tape if keep else None)


def backward(
    spec: Spec,
    layout: Layout,
    weights: Weights,
    tape: Tape,
    z: Tensor,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
) -> Pulled:
    """As of :class:`qkan.kernels.recurrence_types.Engine`."""
    from qkan.kernels import recurrence_numba_jit as jit

    out, hidden = grad_h.shape[1], tape.carry.shape[1]
    encoder, projection = weights.encoder, weights.projection
    pulling, slopes = turned(spec.basis, weights.matrix, weights.shape)
    columns = pulling.shape[0] * pulling.shape[1]
    sizes = _sizes_of(spec, weights, out, hidden, columns)
    how = _how(spec, weights, sizes, True)
    dh, dc = grad_h.clone(), None if grad_c is None else grad_c.clone()
    inner = torch.empty_like(tape.gates)
    steps = inner
    if encoder is not None:
        steps = torch.empty_like(z)
    elif dc is None:
        steps = torch.empty_like(inner)
    hiddens = None if projection is None else torch.empty_like(grad_outputs)
    coded = 0 if encoder is None else sizes.width * padded(out)
    packed = z.new_empty(sizes.gates * padded(columns) + coded + out * padded(hidden)).numpy()
    jit.pack_back(
        *(flat(tensor, z) for tensor in (pulling.contiguous(), encoder, projection)), how, sizes.gates, packed
    )
    given = [flat(tensor, z) for tensor in (tape.gates, tape.carry, z, grad_outputs)]
    results = [flat(tensor, z) for tensor in (dh, dc, inner, steps, hiddens)]
    common = (how, radius_of(spec.basis, z.dtype), *_places(layout), layout.reverse)
    matrices = (sizes.gates, columns, flat(slopes, z), packed)
    of_shape = z.new_zeros(torch.get_num_threads(), 0 if slopes is None else (sizes.waves + 1) * sizes.width)
    shapes = of_shape.numpy()

    def walk(number: int, first: int, end: int, room: Any) -> None:
        jit.backward(*common, first, end, *matrices, *given, *results, shapes[number], room)

    work = columns * sizes.gates * len(layout.sizes)
    _walk(len(dh), sizes.backward_room(), work, z, walk)
    shape = None if slopes is None else of_shape.sum(0).view(-1, sizes.width)
    return Pulled(inner, steps, hiddens, dh, dc, shape)


def features(spec: Spec, weights: Weights, z: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """As of :class:`qkan.kernels.recurrence_types.Engine`."""
    return matrix_gradients(spec.basis, weights.matrix, weights.shape, z, inner)


ENGINE = Engine("numba", why_not, forward, backward, features)
