"""Numba code of features: made, multiplied with a matrix, and pulled back, for some rows at a time.

Everything is in flat arrays of one dtype. ``kernel_params`` holds integers that say what to compute, ``workspace`` is
scratch memory of which a kernel takes what it needs, so that nothing is allocated inside. See
:mod:`qkan.kernels.spectral.numba_cpu` for what the arguments hold and :mod:`qkan.kernels.spectral.basis` for the
functions.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_matmul import COLUMNS, ROWS, add_product, pack, padded, tile
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
from qkan.kernels.spectral.numba_basis import (
    BASE,
    CHEBYSHEV,
    HOW_SIZE,
    KIND,
    SHAPED,
    WIDTH,
    activation,
    num_frequencies,
    waves,
)

#: Up to so many inputs the planes of a row stand side by side in a product.
NARROW = 16
#: Rows whose features are multiplied with gradients at once.
CHUNK = 64


@inlined
def add_features(
    kernel_params: Any, radius: Any, z: Any, rows: int, shape: Any, packed: Any, planes: Any, stride: int, spare: Any,
    joined: Any, out: Any, out_stride: int,
) -> None:  # fmt: skip
    """Add features of z (rows, width) times the packed matrix to ``out``; ``joined`` takes as much as ``planes``."""
    width, count = kernel_params[WIDTH], num_frequencies(kernel_params)
    waves(kernel_params, radius, z, rows * width, planes, stride, spare)
    if kernel_params[BASE] != NONE:
        base(kernel_params[BASE], z, rows * width, planes[count * stride :])
    add_products(kernel_params, count, rows, shape, packed, planes, stride, spare, joined, out, out_stride)


@inlined
def add_products(
    kernel_params: Any, count: int, rows: int, shape: Any, packed: Any, planes: Any, stride: int, spare: Any,
    joined: Any, out: Any, out_stride: int,
) -> None:  # fmt: skip
    """Add ``count`` functions and the base activation, which are in ``planes``, times the packed matrix to ``out``."""
    width = kernel_params[WIDTH]
    total = count + (1 if kernel_params[BASE] != NONE else 0)
    if kernel_params[SHAPED]:
        activation(shape, planes, stride, rows, width, spare)
        total -= count
        add_product(spare, 0, rows, packed, (total + 1) * width, 0, width, out, out_stride)
        if kernel_params[BASE] != NONE:
            add_product(planes, count * stride, rows, packed, 2 * width, width, width, out, out_stride)
        return
    if width > NARROW:
        for k in range(total):
            add_product(planes, k * stride, rows, packed, total * width, k * width, width, out, out_stride)
        return
    # So few inputs would leave a tile little to add up: all planes side by side are one product.
    for k in range(total):
        copy_rows(planes[k * stride :], width, joined[k * width :], total * width, rows, width)
    add_product(joined, 0, rows, packed, total * width, 0, total * width, out, out_stride)


@inlined
def pull(
    kernel_params: Any, radius: Any, z: Any, rows: int, slopes: Any, pulled: Any, stride: int, planes: Any, plane: int,
    spare: Any, out: Any, of_shape: Any,
) -> None:  # fmt: skip
    """out (rows, width) += the gradient of z from ``pulled``, the gradient of the gates times the turned matrix.

    Without shape, ``pulled`` holds a block of ``width`` columns for the constant function (of Chebyshev polynomials
    only) and every wave, whose weights the turned matrix has; with shape one block for the activation, whose slope
    ``slopes`` gives weights of. A last block is the base activation's. The gradient of the shape is added to
    ``of_shape`` on the way.
    """
    width, count = kernel_params[WIDTH], num_frequencies(kernel_params)
    waves(kernel_params, radius, z, rows * width, planes, plane, spare)
    if kernel_params[SHAPED]:
        for r in range(rows):
            part = pulled[r * stride :]
            for i in range(width):
                of_shape[i] += part[i]
            for k in range(count):
                into, wave = of_shape[(k + 1) * width :], planes[k * plane + r * width :]
                for i in range(width):
                    into[i] += part[i] * wave[i]
    if kernel_params[KIND] == CHEBYSHEV:
        count -= 1  # T_(K-1) is in no derivative
    if kernel_params[SHAPED]:
        activation(slopes, planes, plane, rows, width, spare)
    first = 1 if kernel_params[KIND] == CHEBYSHEV else 0
    blocks = 1 if kernel_params[SHAPED] else first + count
    for r in range(rows):
        row = out[r * width : (r + 1) * width]
        given = pulled[r * stride :]
        if kernel_params[SHAPED]:
            slope = spare[r * width :]
            for i in range(width):
                row[i] += given[i] * slope[i]
        else:
            for i in range(first * width):
                row[i] += given[i]
            for k in range(count):
                part, wave = given[(first + k) * width :], planes[k * plane + r * width :]
                for i in range(width):
                    row[i] += part[i] * wave[i]
    if kernel_params[BASE] != NONE:
        base_slope(kernel_params[BASE], z, rows * width, planes)
        for r in range(rows):
            row, part, slope = out[r * width :], pulled[r * stride + blocks * width :], planes[r * width :]
            for i in range(width):
                row[i] += part[i] * slope[i]


@inlined
def add_turned(left: Any, width: int, packed: Any, rows: int, out: Any, stride: int) -> None:
    """out[i, :] += sum_r left[i * CHUNK + r] times row r of the packed matrix (rows, ..)."""
    for column in range(0, stride, COLUMNS):
        for i in range(0, width, ROWS):
            tile(left, i * CHUNK, CHUNK, packed, column * rows, rows, out, i * stride + column, stride)


@inlined
def feature_gradients(
    kernel_params: Any, radius: Any, begin: int, end: int, total: int, shape: Any, z: Any, inner: Any, of_matrix: Any,
    of_bias: Any, workspace: Any,
) -> None:  # fmt: skip
    """Add what the rows begin .. end contribute to the gradients of the matrix and of the bias.

    ``of_matrix`` has rows of padded(total, COLUMNS) numbers and padded(width, ROWS) rows a plane. Features are made of
    z transposed, for CHUNK rows at a time, so that their product with the gradients is one of tiles.
    """
    width, count, stride = kernel_params[WIDTH], num_frequencies(kernel_params), padded(total, COLUMNS)
    high = padded(width, ROWS)
    plane = high * CHUNK
    at = 0
    transposed_weights = workspace[:plane]
    at += plane
    planes = workspace[at : at + (count + 1) * plane]
    at += (count + 1) * plane
    spare = workspace[at : at + 2 * plane]
    at += 2 * plane
    packed = workspace[at : at + CHUNK * stride]
    for first in range(begin, end, CHUNK):
        rows = min(CHUNK, end - first)
        for r in range(rows):
            row = z[(first + r) * width : (first + r + 1) * width]
            for i in range(width):
                transposed_weights[i * CHUNK + r] = row[i]
        arriving = inner[first * total : (first + rows) * total]
        for r in range(rows):
            row = arriving[r * total : (r + 1) * total]
            for j in range(total):
                of_bias[j] += row[j]
        pack(arriving, rows, total, False, packed)
        waves(kernel_params, radius, transposed_weights, plane, planes, plane, spare)
        done = 0
        if kernel_params[SHAPED]:
            for i in range(width):
                row = spare[i * CHUNK : (i + 1) * CHUNK]
                fill(row, CHUNK, shape[i])
                for k in range(count):
                    weight, wave = shape[(k + 1) * width + i], planes[k * plane + i * CHUNK :]
                    for r in range(CHUNK):
                        row[r] += weight * wave[r]
            add_turned(spare, width, packed, rows, of_matrix, stride)
            done = 1
        else:
            for k in range(count):
                add_turned(planes[k * plane :], width, packed, rows, of_matrix[k * high * stride :], stride)
            done = count
        if kernel_params[BASE] != NONE:
            base(kernel_params[BASE], transposed_weights, plane, planes)
            add_turned(planes, width, packed, rows, of_matrix[done * high * stride :], stride)


@inlined
def products(
    kernel_params: Any, radius: Any, begin: int, end: int, total: int, x: Any, bias: Any, shape: Any, packed: Any, out:
    Any,
    workspace: Any,
) -> None:  # fmt: skip
    """Features of the rows begin .. end of x (rows, width) times the packed matrix, plus bias, to out (rows, total).

    ``bias`` may have several rows, which are summed.
    """
    width, stride = kernel_params[WIDTH], padded(total, COLUMNS)
    plane = CHUNK * width
    at = 0
    sums = workspace[: CHUNK * stride]
    at += CHUNK * stride
    planes = workspace[at : at + (num_frequencies(kernel_params) + 1) * plane]
    at += (num_frequencies(kernel_params) + 1) * plane
    spare = workspace[at : at + 2 * plane]
    joined = workspace[at + 2 * plane :]
    for first in range(begin, end, CHUNK):
        rows = min(CHUNK, end - first)
        copy_rows(bias, 0, sums, stride, rows, total)
        for k in range(1, len(bias) // total):
            row = bias[k * total :]
            for j in range(total):
                sums[j] += row[j]
        if len(bias) > total:
            copy_rows(sums, 0, sums[stride:], stride, rows - 1, total)
        source = x[first * width : (first + rows) * width]
        add_features(kernel_params, radius, source, rows, shape, packed, planes, plane, spare, joined, sums, stride)
        copy_rows(sums, stride, out[first * total :], total, rows, total)


@inlined
def input_gradients(
    kernel_params: Any, radius: Any, begin: int, end: int, total: int, columns: int, slopes: Any, packed: Any, x: Any,
    grad: Any,
    dx: Any, of_shape: Any, workspace: Any,
) -> None:  # fmt: skip
    """dx (rows, width) of the rows begin .. end, zeros before, from grad (rows, total) and the turned matrix."""
    width, stride, one = kernel_params[WIDTH], padded(columns, COLUMNS), x.dtype.type(1)
    plane = CHUNK * width
    at = 0
    given = workspace[: CHUNK * total]
    at += CHUNK * total
    pulled = workspace[at : at + CHUNK * stride]
    at += CHUNK * stride
    planes = workspace[at : at + (num_frequencies(kernel_params) + 1) * plane]
    at += (num_frequencies(kernel_params) + 1) * plane
    spare = workspace[at : at + 2 * plane]
    for first in range(begin, end, CHUNK):
        rows = min(CHUNK, end - first)
        copy_rows(grad[first * total :], 0, given, 0, 1, rows * total)
        fill(pulled, rows * stride, one - one)
        add_product(given, 0, rows, packed, total, 0, total, pulled, stride)
        source, target = x[first * width : (first + rows) * width], dx[first * width : (first + rows) * width]
        pull(kernel_params, radius, source, rows, slopes, pulled, stride, planes, plane, spare, target, of_shape)


# What kernels take from a frame: ``kernel_params`` with the places above and those of recurrences, then integers, then
# arrays.
HOW = ARGUMENTS
COUNT, TOTAL, OTHER, ROOM_SIZE = range(HOW + HOW_SIZE, HOW + HOW_SIZE + 4)
RADIUS, ROOM, *ARRAYS = range(HOW + HOW_SIZE + 4, HOW + HOW_SIZE + 44, 2)
_0, _1, _2, _3, _4, _5, _6 = ARRAYS[:7]


@inlined
def scratch(frame: Any, one: Any) -> Any:
    """Scratch memory for this worker alone."""
    size, worker = frame[ROOM_SIZE], enrol(frame)
    return take(frame, ROOM, one)[worker * size : (worker + 1) * size]


@inlined
def rows_of(frame: Any, shard: int) -> tuple[int, int]:
    """First and last row of a shard, of COUNT rows in all."""
    return frame[COUNT] * shard // frame[SHARDS], frame[COUNT] * (shard + 1) // frame[SHARDS]


@inlined
def _pack(frame: Any, one: Any) -> None:
    pack(take(frame, _0, one), frame[COUNT], frame[TOTAL], frame[OTHER] != 0, take(frame, _1, one))


@inlined
def _products(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)[0]
    x, bias, shape = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    packed, out = take(frame, _3, one), take(frame, _4, one)
    shard = next_shard(frame)
    while shard >= 0:
        begin, end = rows_of(frame, shard)
        products(frame[HOW:], radius, begin, end, frame[TOTAL], x, bias, shape, packed, out, workspace)
        shard = next_shard(frame)


@inlined
def _matrix_gradients(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)[0]
    shape, x, grad = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    of_matrix, of_bias, total = take(frame, _3, one), take(frame, _4, one), frame[TOTAL]
    size = len(of_matrix) // frame[SHARDS]
    shard = next_shard(frame)
    while shard >= 0:
        begin, end = rows_of(frame, shard)
        into, into_bias = of_matrix[shard * size :], of_bias[shard * total : (shard + 1) * total]
        feature_gradients(frame[HOW:], radius, begin, end, total, shape, x, grad, into, into_bias, workspace)
        shard = next_shard(frame)


@inlined
def _input_gradients(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)[0]
    slopes, packed, x = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    grad, dx, of_shape = take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    size = len(of_shape) // frame[SHARDS]
    shard = next_shard(frame)
    while shard >= 0:
        begin, end = rows_of(frame, shard)
        into = of_shape[shard * size : (shard + 1) * size]
        sizes = (frame[TOTAL], frame[OTHER])
        input_gradients(
            frame[HOW:], radius, begin, end, sizes[0], sizes[1], slopes, packed, x, grad, dx, into, workspace
        )
        shard = next_shard(frame)


def _pack_single(frame: Any) -> None:
    _pack(as_frame(frame), SINGLE)


def _pack_double(frame: Any) -> None:
    _pack(as_frame(frame), DOUBLE)


def _products_single(frame: Any) -> None:
    _products(as_frame(frame), SINGLE)


def _products_double(frame: Any) -> None:
    _products(as_frame(frame), DOUBLE)


def _matrix_gradients_single(frame: Any) -> None:
    _matrix_gradients(as_frame(frame), SINGLE)


def _matrix_gradients_double(frame: Any) -> None:
    _matrix_gradients(as_frame(frame), DOUBLE)


def _input_gradients_single(frame: Any) -> None:
    _input_gradients(as_frame(frame), SINGLE)


def _input_gradients_double(frame: Any) -> None:
    _input_gradients(as_frame(frame), DOUBLE)


#: Matrix (COUNT, TOTAL), transposed if OTHER, to panels: matrix, out.
PACK = Kernel(_pack_single, _pack_double)
#: COUNT rows, TOTAL outputs: x, bias, shape, packed matrix, out.
PRODUCTS = Kernel(_products_single, _products_double)
#: COUNT rows, TOTAL outputs: shape, x, upstream gradient; gradients of matrix and bias of every shard, zeros before.
MATRIX_GRADIENTS = Kernel(_matrix_gradients_single, _matrix_gradients_double)
#: COUNT rows, TOTAL outputs, OTHER columns: slopes, packed matrix, x, upstream gradient; gradients of x, zeros before,
#: and of the shape, of every shard, zeros before.
INPUT_GRADIENTS = Kernel(_input_gradients_single, _input_gradients_double)
