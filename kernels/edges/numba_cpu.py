"""Layers whose edges are sums of functions with free coefficients on the CPU: frames of the Numba kernels.

Nothing but arguments is kept for the backward pass, which makes features again. Frames are made once for layers of a
size and copied, with the addresses of a call filled in, as in :mod:`qkan.kernels.spectral.whole_layer`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.tensors import address_of

#: Multiply-adds that are worth another thread, and most threads, so that the size of scratch memory is bounded.
SHARD_WORK, MOST_THREADS = 2**19, 64
#: Numbers of copies of gradients that threads may have together, and coefficients of a layer that is small.
MOST_COPIED, SMALL_LAYER = 2**20, 2**13


class Edges(NamedTuple):
    """Which functions the edges of a layer are sums of.

    Attributes:
        kind: of :data:`qkan.kernels.edges.families.FAMILIES`.
        size, order, radius: of the family.
        base: the name of a base activation that edges have beside them, or None.
    """

    kind: str
    size: int
    order: int
    radius: float
    base: str | None


@lru_cache(maxsize=256)
def edge_kernels(edges: Edges, functions: int, inputs: int, outputs: int, dtype: torch.dtype) -> EdgeKernels:
    """The kernels of layers of a size with so many functions an edge."""
    return EdgeKernels(edges, functions, inputs, outputs, dtype)


class EdgeKernels:
    """Forward and backward pass of layers of one kind and size; tensors are contiguous and of one dtype."""

    def __init__(self, edges: Edges, functions: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
        from qkan.kernels.edges import numba_kernels as jit
        from qkan.kernels.edges.numba_activations import BASE_NUMBERS
        from qkan.kernels.edges.numba_families import FAMILY_NUMBERS

        def padded(size: int, unit: int) -> int:
            return -(-size // unit) * unit

        self.inputs, self.outputs, self.dtype, self.jit = inputs, outputs, dtype, jit
        self.terms = functions + (edges.base is not None)
        lanes, spare = jit.LANES, jit.ROWS - 1
        self.depth, block = inputs * self.terms, min(inputs, jit.BLOCK) * self.terms + spare
        #: Numbers of a row of gradients, of those of all rows, and of coefficients in two layouts.
        self.stride = padded(outputs, lanes)
        self.gradients = padded(self.depth, jit.ROWS) * self.stride
        self.laid_out = (padded(outputs, jit.ROWS) * self.depth, (self.depth + spare) * outputs)
        #: Panels that the backward pass has at once: two where that saves more time than memory.
        self.panels = 2 if self.depth * outputs > SMALL_LAYER else 1
        both = self.panels * lanes
        #: Whether no tile of coefficients reaches into those of others.
        self.whole_tiles = inputs % jit.ROWS == 0 and outputs % lanes == 0
        self.rooms = (
            (inputs + padded(outputs, jit.ROWS) + block) * lanes,
            inputs * both + both * self.stride + (inputs + min(inputs, jit.BLOCK)) * lanes + block * both,
        )
        family = (FAMILY_NUMBERS[edges.kind], edges.order, edges.size, BASE_NUMBERS[edges.base])
        code, whole = ("f", "i") if dtype == torch.float32 else ("d", "q")
        (self._radius,) = struct.unpack(whole, struct.pack(code, edges.radius))  # its bits, at the end of a frame
        sizes = (*family, self.terms, inputs, outputs, 0, 0, 0, 0, 0, 0, self.panels)
        self._frame = array("q", (0, 0, 1, *sizes, *(0, 0) * (2 + len(jit.ARRAYS)), self._radius))

    def _new_frame(self, rows: int, shards: int, tensors: Sequence[Tensor | None]) -> array[int]:
        """A frame for ``rows`` samples with tensors, in the order in which the kernel takes them."""
        jit, frame = self.jit, self._frame[:]
        frame[2], frame[jit.COUNT] = shards, rows
        frame[jit.RADIUS], frame[jit.RADIUS + 1] = frame.buffer_info()[0] + 8 * (len(frame) - 1), 1
        place = jit.ARRAYS[0]
        for tensor in tensors:
            if tensor is not None:
                frame[place], frame[place + 1] = address_of(tensor), tensor.numel()
            place += 2
        return frame

    def _threads(self, rows: int, unit: int) -> int:
        work = rows * self.depth * self.outputs // SHARD_WORK
        return max(1, min(torch.get_num_threads(), MOST_THREADS, -(-rows // unit), work))

    def _lay_out(self, coefficients: Tensor, base_weight: Tensor | None, *, by_rows: bool) -> Tensor:
        jit = self.jit
        out = coefficients.new_empty(self.laid_out[by_rows])
        frame = self._new_frame(0, 1, (coefficients, base_weight, out))
        frame[jit.BY_ROWS] = by_rows
        frame[jit.BASE_O], frame[jit.BASE_I] = (0, 0) if base_weight is None else base_weight.stride()
        jit.LAY_OUT.run(self.dtype, frame, 1)
        return out

    def forward(self, x: Tensor, coefficients: Tensor, base_weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Outputs (samples, outputs).

        Args:
            x: (samples, inputs).
            coefficients: (functions, inputs, outputs).
            base_weight: (outputs, inputs), with any strides, or None.
            bias: (outputs,) or None.
        """
        jit, rows = self.jit, x.shape[0]
        left = self._lay_out(coefficients, base_weight, by_rows=False)
        threads = self._threads(rows, jit.LANES)
        out, workspace = x.new_empty(rows, self.outputs), x.new_empty(threads * self.rooms[0])
        frame = self._new_frame(rows, threads, (x, bias, left, out))
        frame[jit.ROOM_SIZE], frame[jit.ROOM], frame[jit.ROOM + 1] = self.rooms[0], workspace.data_ptr(), len(workspace)
        jit.FORWARD.run(self.dtype, frame, threads)
        return out

    def backward(
        self,
        x: Tensor,
        tensors: tuple[Tensor, Tensor | None, Tensor | None],
        grad: Tensor,
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of x and of the three tensors of :meth:`forward`, None where ``needs`` says so."""
        jit, rows = self.jit, x.shape[0]
        threads = self._threads(rows, self.panels * jit.LANES)
        blocks = -(-self.inputs // jit.BLOCK)
        # Threads that share samples have copies of the gradients of coefficients; those that share inputs have none.
        by_inputs = (threads <= blocks and self.whole_tiles) or threads * self.gradients > MOST_COPIED
        threads = min(threads, blocks) if by_inputs else threads
        direct = self.whole_tiles and (by_inputs or threads == 1)
        of_x = torch.empty_like(x) if needs[0] else None
        run = self._direct if direct else self._copied
        workspace = x.new_empty(threads * self.rooms[1])

        def frame_of(*arrays: Tensor | None) -> array[int]:
            frame = self._new_frame(rows, threads, arrays)
            frame[jit.ROOM_SIZE], frame[jit.ROOM] = self.rooms[1], workspace.data_ptr()
            frame[jit.ROOM + 1], frame[jit.BY_ROWS], frame[jit.DIRECT] = len(workspace), by_inputs, direct
            return frame

        found = run(x, tensors, grad, of_x, needs, threads, 1 if by_inputs else threads, frame_of)
        return [of_x, *(f if need else None for f, need in zip(found, needs[1:], strict=True))]

    def _direct(self, x, tensors, grad, of_x, needs, threads, copied, frame_of) -> list[Tensor | None]:
        """Gradients where PyTorch wants them."""
        coefficients, base_weight, bias = tensors
        of_coefficients = torch.zeros_like(coefficients) if needs[1] or needs[2] else None
        of_bias = None if bias is None or not needs[3] else torch.zeros_like(bias)
        left_base = of_base = None
        if base_weight is not None:
            left_base = base_weight.mT.contiguous() if needs[0] else None
            of_base = x.new_zeros(self.inputs, self.outputs) if of_coefficients is not None else None
        frame = frame_of(x, grad, coefficients, of_x, of_coefficients, of_bias, left_base, of_base)
        self.jit.BACKWARD.run(self.dtype, frame, threads)
        if of_base is not None and base_weight is not None:
            of_base = torch.empty_like(base_weight).copy_(of_base.mT)
        return [of_coefficients, of_base, of_bias]

    def _copied(self, x, tensors, grad, of_x, needs, threads, copied, frame_of) -> list[Tensor | None]:
        """Gradients in whole tiles, of every thread, then added up."""
        jit, (coefficients, base_weight, _) = self.jit, tensors
        need_matrix = needs[1] or needs[2]
        left = self._lay_out(coefficients, base_weight, by_rows=True) if needs[0] else None
        copies = x.new_zeros(copied * self.gradients) if need_matrix else None
        biases = x.new_zeros(copied * self.outputs) if needs[3] else None
        jit.BACKWARD.run(self.dtype, frame_of(x, grad, left, of_x, copies, biases, None, None), threads)
        wanted = (need_matrix, need_matrix, needs[3])
        found = [torch.empty_like(t) if t is not None and w else None for t, w in zip(tensors, wanted, strict=True)]
        if need_matrix or needs[3]:
            frame = self._new_frame(copied, 1, (copies, biases, *found))
            frame[jit.BASE_O], frame[jit.BASE_I] = (0, 0) if found[1] is None else found[1].stride()
            jit.COLLECT.run(self.dtype, frame, 1)
        return found
