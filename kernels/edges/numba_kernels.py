"""Numba code of layers whose edges are sums of functions with free coefficients: forward, backward, and their layouts.

Samples lie side by side in all scratch memory, LANES of them in a *panel*, so that every loop runs over samples of one
function, whatever the sizes of the layer, and a panel of features is what a tile of a product reads as its right side.

Inputs come in blocks of BLOCK. A *row* is one function of one input, the base activation being the last function; rows
are ordered by block, then function, then input. Features of a block are made for a panel, multiplied and forgotten; the
backward pass makes them again.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_matmul import COLUMNS, ROWS, pack, padded, tile
from qkan.kernels.common.numba_runtime import (
    ARGUMENTS,
    DOUBLE,
    SHARDS,
    SINGLE,
    Kernel,
    as_frame,
    enrol,
    next_shard,
    take,
)
from qkan.kernels.edges.numba_activations import NONE, base, base_slope, copy_rows, fill
from qkan.kernels.edges.numba_families import add_slopes, rate_of, start_of, values

#: Samples of a panel, inputs of a block.
LANES, BLOCK = COLUMNS, 16

# A frame: integers, then pairs of addresses and lengths. TERMS counts the base activation. BY_ROWS: in what layout
# coefficients are wanted, and whether shards of the backward pass are some inputs of all samples, or some samples.
# DIRECT: whether the backward pass has coefficients and their gradients as PyTorch has them, those of the base apart.
INTEGERS = range(ARGUMENTS, ARGUMENTS + 14)
FAMILY, ORDER, SIZE, BASE, TERMS, INPUTS, OUTPUTS, COUNT, ROOM_SIZE, BASE_O, BASE_I, BY_ROWS, DIRECT, PANELS = INTEGERS
RADIUS, ROOM, *ARRAYS = range(ARGUMENTS + 14, ARGUMENTS + 34, 2)
_0, _1, _2, _3, _4, _5, _6, _7 = ARRAYS


@inlined
def features(frame: Any, radius: Any, z: Any, first: int, inputs: int, lanes: int, out: Any) -> None:
    """Functions of a block of ``inputs`` inputs, z (inputs, lanes), to out (rows, lanes)."""
    family, order, size = frame[FAMILY], frame[ORDER], frame[SIZE]
    count, functions = inputs * lanes, frame[TERMS] - (1 if frame[BASE] != NONE else 0)
    given, rate = z[first * lanes : first * lanes + count], rate_of(family, order, size, radius)
    for which in range(functions):
        values(family, order, rate, start_of(family, order, size, which, radius), given, count, out[which * count :])
    if frame[BASE] != NONE:
        base(frame[BASE], given, count, out[functions * count :])


@inlined
def transpose_in(source: Any, width: int, begin: int, rows: int, low: int, high: int, lanes: int, out: Any) -> None:
    """out[low:high] (.., lanes) = these columns of rows begin .. begin + rows of source (.., width).

    The last row comes again where they end.
    """
    for r in range(lanes):
        row = source[(begin + min(r, rows - 1)) * width :]
        for i in range(low, high):
            out[i * lanes + r] = row[i]


@inlined
def add_block(
    left: Any, left_at: int, stride: int, rows: int, right: Any, depth: int, out: Any, out_at: int, out_stride: int
) -> None:
    """out[r, :] += left[r, :] times a panel of ``depth`` rows, for rows 0 .. padded(rows)."""
    for row in range(0, rows, ROWS):
        tile(left, left_at + row * stride, stride, right, 0, depth, out, out_at + row * out_stride, out_stride)


@inlined
def row_of(frame: Any, block: int, inputs: int, which: int) -> int:
    """The row of a function of the first of ``inputs`` inputs of a block."""
    return block * frame[TERMS] + which * inputs


@inlined
def _lay_out(frame: Any, one: Any) -> None:
    """Coefficients (terms, inputs, outputs) and base weights to (outputs, rows) or, BY_ROWS, (rows, outputs)."""
    coefficients, weights, out = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    inputs, outputs, terms = frame[INPUTS], frame[OUTPUTS], frame[TERMS]
    depth, functions = inputs * terms, terms - (1 if frame[BASE] != NONE else 0)
    for first in range(0, inputs, BLOCK):
        width = min(BLOCK, inputs - first)
        for which in range(terms):
            row = row_of(frame, first, width, which)
            if which == functions:
                for i in range(width):
                    for o in range(outputs):
                        weight = weights[o * frame[BASE_O] + (first + i) * frame[BASE_I]]
                        out[(row + i) * outputs + o if frame[BY_ROWS] else o * depth + row + i] = weight
                continue
            source = coefficients[(which * inputs + first) * outputs :]
            if frame[BY_ROWS]:
                copy_rows(source, 0, out[row * outputs :], 0, 1, width * outputs)
                continue
            for i in range(width):
                for o in range(outputs):
                    out[o * depth + row + i] = source[i * outputs + o]


@inlined
def shard_of(frame: Any, shard: int, unit: int) -> Any:
    """First and last sample of a shard, whole units of them."""
    units = (frame[COUNT] + unit - 1) // unit
    return units * shard // frame[SHARDS] * unit, min(frame[COUNT], units * (shard + 1) // frame[SHARDS] * unit)


@inlined
def scratch(frame: Any, one: Any) -> Any:
    """Scratch memory for this worker alone."""
    size, worker = frame[ROOM_SIZE], enrol(frame)
    return take(frame, ROOM, one)[worker * size : (worker + 1) * size]


@inlined
def _forward(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)
    x, bias, left, out = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one), take(frame, _3, one)
    inputs, outputs, terms = frame[INPUTS], frame[OUTPUTS], frame[TERMS]
    depth, high = inputs * terms, padded(outputs, ROWS)
    z, sums = workspace[: inputs * LANES], workspace[inputs * LANES : (inputs + high) * LANES]
    made = workspace[(inputs + high) * LANES :]
    shard = next_shard(frame)
    while shard >= 0:
        begin, end = shard_of(frame, shard, LANES)
        for sample in range(begin, end, LANES):
            rows = min(LANES, end - sample)
            transpose_in(x, inputs, sample, rows, 0, inputs, LANES, z)
            for o in range(outputs):
                fill(sums[o * LANES :], LANES, bias[o] if len(bias) else one - one)
            for first in range(0, inputs, BLOCK):
                width = min(BLOCK, inputs - first)
                features(frame, radius, z, first, width, LANES, made)
                add_block(left, first * terms, depth, outputs, made, width * terms, sums, 0, LANES)
            for r in range(rows):
                row = out[(sample + r) * outputs :]
                for o in range(outputs):
                    row[o] = sums[o * LANES + r]
        shard = next_shard(frame)


@inlined
def _input_gradients(
    frame: Any, radius: Any, low: int, high: int, z: Any, given: Any, left: Any, left_base: Any, pulled: Any, sums: Any,
    slopes: Any,
) -> None:  # fmt: skip
    """sums[low:high] (.., LANES) = gradients of these inputs z of a panel from those of outputs, given (.., LANES)."""
    family, order, size, zero = frame[FAMILY], frame[ORDER], frame[SIZE], radius[0] - radius[0]
    inputs, outputs, terms = frame[INPUTS], frame[OUTPUTS], frame[TERMS]
    functions, rate = terms - (1 if frame[BASE] != NONE else 0), rate_of(family, order, size, radius)
    fill(sums[low * LANES :], (high - low) * LANES, zero)
    for first in range(low, high, BLOCK):
        width = min(BLOCK, high - first)
        count = width * LANES
        fill(pulled, terms * count, zero)
        if frame[DIRECT]:
            for which in range(functions):
                at = (which * inputs + first) * outputs
                add_block(left, at, outputs, width, given, outputs, pulled, which * count, LANES)
            if frame[BASE] != NONE:
                add_block(left_base, first * outputs, outputs, width, given, outputs, pulled, functions * count, LANES)
        else:
            add_block(left, first * terms * outputs, outputs, width * terms, given, outputs, pulled, 0, LANES)
        here, total = z[first * LANES : first * LANES + count], sums[first * LANES : first * LANES + count]
        for which in range(functions):
            start = start_of(family, order, size, which, radius)
            add_slopes(family, order, rate, start, here, count, pulled[which * count :], total)
        if frame[BASE] != NONE:
            base_slope(frame[BASE], here, count, slopes)
            part = pulled[functions * count :]
            for j in range(count):
                total[j] += part[j] * slopes[j]


@inlined
def _matrix_gradients(
    frame: Any, radius: Any, low: int, high: int, z: Any, rows: int, packed: Any, made: Any, into: Any, into_base: Any,
    stride: int,
) -> None:  # fmt: skip
    """Rows of inputs low .. high of into (rows, stride) += features of z (inputs, samples) times packed gradients."""
    inputs, outputs, terms, lanes = frame[INPUTS], frame[OUTPUTS], frame[TERMS], frame[PANELS] * LANES
    functions = terms - (1 if frame[BASE] != NONE else 0)
    for first in range(low, high, BLOCK):
        width = min(BLOCK, high - first)
        features(frame, radius, z, first, width, lanes, made)
        parts, count = (terms, width) if frame[DIRECT] else (1, width * terms)
        for part in range(parts):
            at = (part * inputs + first) * stride if frame[DIRECT] else first * terms * stride
            of_base = frame[DIRECT] and part == functions
            for column in range(0, outputs, LANES):
                for row in range(0, count, ROWS):
                    source, place = (part * width + row) * lanes, row * stride + column
                    if of_base:
                        place += first * stride
                        tile(made, source, lanes, packed, column * rows, rows, into_base, place, stride)
                    else:
                        tile(made, source, lanes, packed, column * rows, rows, into, at + place, stride)


@inlined
def _backward(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)
    x, grad, left = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    dx, of_matrix, of_bias = take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    left_base, of_base = take(frame, _6, one), take(frame, _7, one)
    inputs, outputs, lanes = frame[INPUTS], frame[OUTPUTS], frame[PANELS] * LANES
    stride, at = padded(outputs, LANES), 0
    z = workspace[: inputs * lanes]
    at += inputs * lanes
    given = workspace[at : at + lanes * stride]
    at += lanes * stride
    sums = workspace[at : at + inputs * LANES]
    at += inputs * LANES
    slopes, made = workspace[at:], workspace[at + min(inputs, BLOCK) * LANES :]
    shards, by_inputs = frame[SHARDS], frame[BY_ROWS]
    size, blocks = len(of_matrix) // (1 if by_inputs else shards), (inputs + BLOCK - 1) // BLOCK
    shard = next_shard(frame)
    while shard >= 0:
        begin, end, low, high, copy = 0, frame[COUNT], 0, inputs, shard
        if by_inputs:
            low, high, copy = blocks * shard // shards * BLOCK, blocks * (shard + 1) // shards * BLOCK, 0
            high = min(high, inputs)
        else:
            begin, end = shard_of(frame, shard, lanes)
        into, into_bias = of_matrix[copy * size : (copy + 1) * size], of_bias[copy * outputs :]
        for sample in range(begin, end, lanes):
            rows = min(lanes, end - sample)
            if len(of_bias) and low == 0:
                for r in range(rows):
                    row = grad[(sample + r) * outputs : (sample + r + 1) * outputs]
                    for o in range(outputs):
                        into_bias[o] += row[o]
            if len(of_matrix):
                transpose_in(x, inputs, sample, rows, low, high, lanes, z)
                pack(grad[sample * outputs :], rows, outputs, False, given)
                _matrix_gradients(frame, radius, low, high, z, rows, given, made, into, of_base, stride)
            if len(dx):
                for panel in range(sample, sample + rows, LANES):
                    some = min(LANES, sample + rows - panel)
                    transpose_in(x, inputs, panel, some, low, high, LANES, z)
                    transpose_in(grad, outputs, panel, some, 0, outputs, LANES, given)
                    _input_gradients(frame, radius, low, high, z, given, left, left_base, made, sums, slopes)
                    for r in range(some):
                        row = dx[(panel + r) * inputs :]
                        for i in range(low, high):
                            row[i] = sums[i * LANES + r]
        shard = next_shard(frame)


@inlined
def _collect(frame: Any, one: Any) -> None:
    """Sums over shards, of rows to coefficients (terms, inputs, outputs) and base weights, and of biases."""
    copies, biases = take(frame, _0, one), take(frame, _1, one)
    coefficients, weights, bias = take(frame, _2, one), take(frame, _3, one), take(frame, _4, one)
    inputs, outputs, terms = frame[INPUTS], frame[OUTPUTS], frame[TERMS]
    stride, functions = padded(outputs, LANES), terms - (1 if frame[BASE] != NONE else 0)
    size = len(copies) // frame[COUNT]
    if len(bias):
        for o in range(outputs):
            bias[o] = biases[o]
            for shard in range(1, frame[COUNT]):
                bias[o] += biases[shard * outputs + o]
    for shard in range(1, frame[COUNT] if len(copies) else 1):
        more, total = copies[shard * size : (shard + 1) * size], copies[:size]
        for j in range(size):
            total[j] += more[j]
    for first in range(0, inputs if len(copies) else 0, BLOCK):
        width = min(BLOCK, inputs - first)
        for which in range(terms):
            source = copies[row_of(frame, first, width, which) * stride :]
            if which < functions:
                target = coefficients[(which * inputs + first) * outputs :]
                copy_rows(source, stride, target, outputs, width, outputs)
            elif len(weights):
                for i in range(width):
                    for o in range(outputs):
                        weights[o * frame[BASE_O] + (first + i) * frame[BASE_I]] = source[i * stride + o]


def _lay_out_single(frame: Any) -> None:
    _lay_out(as_frame(frame), SINGLE)


def _lay_out_double(frame: Any) -> None:
    _lay_out(as_frame(frame), DOUBLE)


def _forward_single(frame: Any) -> None:
    _forward(as_frame(frame), SINGLE)


def _forward_double(frame: Any) -> None:
    _forward(as_frame(frame), DOUBLE)


def _backward_single(frame: Any) -> None:
    _backward(as_frame(frame), SINGLE)


def _backward_double(frame: Any) -> None:
    _backward(as_frame(frame), DOUBLE)


def _collect_single(frame: Any) -> None:
    _collect(as_frame(frame), SINGLE)


def _collect_double(frame: Any) -> None:
    _collect(as_frame(frame), DOUBLE)


#: Coefficients, base weights; what they are laid out in.
LAY_OUT = Kernel(_lay_out_single, _lay_out_double)
#: x, bias, coefficients (outputs, rows); outputs.
FORWARD = Kernel(_forward_single, _forward_double)
#: x, upstream gradient, coefficients (rows, outputs); gradients of x, and of rows and bias of every shard, zeros
#: before; DIRECT, base weights (inputs, outputs) and their gradient, zeros before. Those of no length are not made.
BACKWARD = Kernel(_backward_single, _backward_double)
#: Gradients of rows and bias of COUNT shards; of coefficients, base weights and bias.
COLLECT = Kernel(_collect_single, _collect_double)
