"""The recurrence on the CPU in Numba kernels: a thread walks all time steps with its share of the batch.

There is no barrier and no call from Python inside a sequence: for some sequences of the batch, h, c and the scratch
memory of a step stay in the caches of one core, the matrix is packed once for the tiles of
:mod:`qkan.kernels.numba_tiles`, and the threads meet at the end. The tape is the only memory that grows with time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.recurrence_types import Engine, Layout, Pulled, Ran, Spec, Tape, Weights
from qkan.kernels.threads import run_shards

#: Numbers of scratch memory that the sequences of one walk may need, about half of a core's second-level cache.
ROOM_ELEMENTS = 2**17
#: A walk of fewer multiply-adds than this is not worth waking another thread.
SHARD_WORK = 2**19


def why_not(spec: Spec, steps: Tensor, weights: Weights) -> str | None:
    """None if the engine can run, else the reason why it cannot."""
    if steps.device.type != "cpu":
        return f"its kernels run on the CPU, and the tensors are on {steps.device}"
    if steps.dtype not in (torch.float32, torch.float64):
        return f"its kernels take float32 and float64, not {steps.dtype}"
    if spec.low is not None:
        return f"its products are in the dtype of the states, and {spec.low} is asked for"
    return None


def _flat(tensor: Tensor | None, like: Tensor) -> Any:
    """The memory of a tensor as a flat NumPy array, an empty one for None."""
    if tensor is None:
        tensor = like.new_empty(0)
    return tensor.detach().reshape(-1).numpy()


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
        padded = (_padded(self.gates) + _padded(self.width) + _padded(self.out)) + self.out + self.hidden
        return padded + (self.waves + 4) * self.width

    def backward_room(self) -> int:
        """Numbers of scratch memory for one sequence on the way back."""
        padded = _padded(self.columns) + max(_padded(self.out), _padded(self.hidden)) + self.out + self.gates
        return padded + self.hidden + (self.waves + 2) * self.width + 2 * max(self.width, self.hidden)


def _padded(size: int) -> int:
    """Columns that a row of so many takes at most, whatever the width of a tile is."""
    return (size + 31) // 32 * 32


@lru_cache(maxsize=256)
def _integers(spec: Spec, sizes: _Sizes, shaped: bool, encoded: bool, projected: bool, keep: bool) -> Any:
    """The array ``how`` of the kernels."""
    from qkan.kernels import recurrence_numba_jit as jit

    bases = {None: jit.NONE, "silu": jit.SILU, "gelu": jit.GELU, "relu": jit.RELU, "tanh": jit.TANH}
    base = bases.get(spec.basis.base, jit.IDENTITY)
    kind = jit.FOURIER if spec.basis.kind == "fourier" else jit.CHEBYSHEV
    flags = (shaped, encoded, projected, sizes.hidden, sizes.out, sizes.width, keep)
    return torch.tensor([spec.cell == "gru", kind, spec.basis.size, base, *map(int, flags)]).numpy()


@lru_cache(maxsize=256)
def _places(layout: Layout) -> tuple[Any, Any]:
    """Sizes and offsets of the steps as arrays."""
    return torch.tensor(layout.sizes).numpy(), torch.tensor(layout.offsets).numpy()


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
    threads = _threads(batch * work, batch)
    rounds = math.ceil(batch * room / (ROOM_ELEMENTS * threads))
    each = math.ceil(batch / (threads * max(1, rounds)))
    each = (each + _ROWS - 1) // _ROWS * _ROWS
    starts = range(0, batch, each)
    threads = min(threads, len(starts))
    rooms = like.new_zeros(threads, each * room).numpy()

    def share(number: int) -> None:
        for first in starts[number::threads]:
            walk(number, first, min(first + each, batch), rooms[number])

    run_shards(share, threads)


def _threads(work: int, most: int) -> int:
    """How many threads so many multiply-adds deserve."""
    return max(1, min(torch.get_num_threads(), most, work // SHARD_WORK))


#: Sequences are shared out in multiples of a tile's rows.
_ROWS = 4


def _sizes_of(spec: Spec, weights: Weights, out: int, hidden: int, columns: int = 0) -> _Sizes:
    planes, width, gates = weights.matrix.shape
    waves = spec.basis.terms - (spec.basis.base is not None)
    return _Sizes(hidden, out, width, gates, planes, waves, columns)


def _present(weights: Weights) -> tuple[bool, bool, bool]:
    return weights.shape is not None, weights.encoder is not None, weights.projection is not None


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> Ran:
    """As of :class:`qkan.kernels.recurrence_types.Engine`."""
    from qkan.kernels import recurrence_numba_jit as jit

    out, hidden = h_0.shape[1], (h_0 if c_0 is None else c_0).shape[1]
    sizes, encoder, projection = _sizes_of(spec, weights, out, hidden), weights.encoder, weights.projection
    how = _integers(spec, sizes, *_present(weights), keep)
    rows, kept = len(steps), len(steps) if keep else 0
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    outputs = steps.new_empty(rows, out)
    tape = Tape(
        steps.new_empty(kept, sizes.gates),
        steps.new_empty(kept, hidden),
        steps.new_empty(kept, sizes.width) if encoder is not None else None,
    )
    depth = sizes.planes * sizes.width
    coded = 0 if encoder is None else out * _padded(sizes.width)
    packed = steps.new_empty(depth * _padded(sizes.gates) + coded + hidden * _padded(out)).numpy()
    flat = [_flat(tensor, steps) for tensor in (weights.matrix, encoder, projection)]
    jit.pack_all(*flat, how, sizes.gates, packed)
    given = (_flat(steps, steps), _flat(weights.bias, steps), _flat(weights.shape, steps), packed)
    results = [_flat(tensor, steps) for tensor in (h, c, outputs, *tape)]
    common = (how, steps.new_tensor(spec.basis.radius).numpy()[()], *_places(layout), layout.reverse)

    def walk(_: int, first: int, end: int, room: Any) -> None:
        jit.forward(*common, first, end, *given, *results, room)

    work = depth * sizes.gates * len(layout.sizes)
    _walk(len(h), sizes.forward_room(), work, steps, walk)
    return Ran(outputs, h, c, tape if keep else None)


def _turned(spec: Spec, weights: Weights) -> tuple[Tensor, Tensor | None]:
    """The matrix that pulls gradients of gates back to z, (blocks, Z, G), and weights of the slopes of activations."""
    basis, matrix = spec.basis, weights.matrix
    if weights.shape is None:
        slopes, constant = basis.differentiate(matrix)
        return (slopes if constant is None else torch.cat((constant.unsqueeze(0), slopes))), None
    slopes, constant = replace(basis, base=None).differentiate(weights.shape[1:])
    constant = torch.zeros_like(weights.shape[0]) if constant is None else constant
    return matrix, torch.cat((constant.unsqueeze(0), slopes))


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
    turned, slopes = _turned(spec, weights)
    columns = turned.shape[0] * turned.shape[1]
    sizes = _sizes_of(spec, weights, out, hidden, columns)
    how = _integers(spec, sizes, *_present(weights), True)
    dh, dc = grad_h.clone(), None if grad_c is None else grad_c.clone()
    inner = torch.empty_like(tape.gates)
    steps = inner
    if encoder is not None:
        steps = torch.empty_like(z)
    elif dc is None:
        steps = torch.empty_like(inner)
    hiddens = None if projection is None else torch.empty_like(grad_outputs)
    coded = 0 if encoder is None else sizes.width * _padded(out)
    packed = z.new_empty(sizes.gates * _padded(columns) + coded + out * _padded(hidden)).numpy()
    jit.pack_back(*(_flat(tensor, z) for tensor in (turned, encoder, projection)), how, sizes.gates, packed)
    given = [_flat(tensor, z) for tensor in (tape.gates, tape.carry, z, grad_outputs)]
    results = [_flat(tensor, z) for tensor in (dh, dc, inner, steps, hiddens)]
    common = (how, z.new_tensor(spec.basis.radius).numpy()[()], *_places(layout), layout.reverse)
    matrices = (sizes.gates, columns, _flat(slopes, z), packed)

    threads = torch.get_num_threads()
    of_shape = None if slopes is None else z.new_zeros(threads, (sizes.waves + 1) * sizes.width)
    shapes = [_flat(None, z)] * threads if of_shape is None else [part.numpy() for part in of_shape]

    def walk(number: int, first: int, end: int, room: Any) -> None:
        jit.backward(*common, first, end, *matrices, *given, *results, shapes[number], room)

    work = columns * sizes.gates * len(layout.sizes)
    _walk(len(dh), sizes.backward_room(), work, z, walk)
    shape = None if of_shape is None else of_shape.sum(0).view(-1, sizes.width)
    return Pulled(inner, steps, hiddens, dh, dc, shape)


def features(spec: Spec, weights: Weights, z: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """As of :class:`qkan.kernels.recurrence_types.Engine`."""
    from qkan.kernels import recurrence_numba_jit as jit

    planes, width, gates = weights.matrix.shape
    sizes = _sizes_of(spec, weights, width, width)
    how = _integers(spec, sizes, *_present(weights), True)
    rows, high, stride = len(z), (width + _ROWS - 1) // _ROWS * _ROWS, _padded(gates)
    threads = _threads(rows * planes * width * gates, max(1, (rows + jit.CHUNK - 1) // jit.CHUNK))
    each = (rows + threads - 1) // threads
    of_matrix = z.new_zeros(threads, planes, high, stride)
    of_bias = z.new_zeros(threads, gates)
    rooms = z.new_zeros(threads, jit.CHUNK * (stride + (sizes.waves + 4) * high)).numpy()
    radius = z.new_tensor(spec.basis.radius).numpy()[()]
    given = (gates, _flat(weights.shape, z), _flat(z, z), _flat(inner, z))

    def share(number: int) -> None:
        ends = number * each, min((number + 1) * each, rows)
        results = (_flat(of_matrix[number], z), _flat(of_bias[number], z))
        jit.feature_gradients(how, radius, *ends, *given, *results, rooms[number])

    run_shards(share, threads)
    return of_matrix.sum(0)[:, :width, :gates].contiguous(), of_bias.sum(0)


ENGINE = Engine("numba", why_not, forward, backward, features)
