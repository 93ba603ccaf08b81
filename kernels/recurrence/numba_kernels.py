"""Numba kernels of recurrences: a thread walks all time steps with some sequences of the batch.

Everything is in flat arrays of one dtype: PyTorch's memory, seen through NumPy. ``workspace`` is scratch memory of
which every walk takes what it needs, so that nothing is allocated inside. See :mod:`qkan.kernels.recurrence.numba_cpu`
for what the arguments hold and :mod:`qkan.kernels.recurrence.pytorch` for the mathematics.
"""

from __future__ import annotations

from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_math import tanh
from qkan.kernels.common.numba_matmul import COLUMNS, ROWS, add_product, padded
from qkan.kernels.common.numba_runtime import DOUBLE, SHARDS, SINGLE, Kernel, as_frame, next_shard, take
from qkan.kernels.edges.numba_activations import NONE, copy_rows, fill
from qkan.kernels.spectral.numba_basis import BASE, HOW_SIZE, WIDTH, num_frequencies
from qkan.kernels.spectral.numba_kernels import (
    ARRAYS,
    COUNT,
    HOW,
    OTHER,
    RADIUS,
    TOTAL,
    add_features,
    pull,
    scratch,
)

# Places in ``kernel_params`` behind those of the features: the cell, what there is, sizes H and P, whether to keep a
# tape, whether time runs from the last step, columns of the matrix of the backward pass, and inputs that z begins with.
GRU, ENCODED, PROJECTED, HIDDEN, OUT, KEEP, REVERSE, COLUMNS_BACK, INPUTS = range(5, HOW_SIZE)


@inlined
def lstm_step(
    kernel_params: Any, rows: int, gates: Any, stride: int, c: Any, unit: Any, kept_gates: Any, kept_c: Any
) -> None:
    """From gates before their activations to ``unit`` = o tanh(c'); ``c`` moves on."""
    hidden, half = kernel_params[HIDDEN], c.dtype.type(0.5)
    total = 4 * hidden
    for r in range(rows):
        row = gates[r * stride : r * stride + total]
        for j in range(total):
            # sigmoid(x) = 1/2 + tanh(x / 2) / 2: one function for all gates is one loop.
            inner = j >= 2 * hidden and j < 3 * hidden
            y = tanh(row[j] if inner else half * row[j])
            row[j] = y if inner else half + half * y
        state = c[r * hidden :]
        f, g = row[hidden:], row[2 * hidden :]
        if kernel_params[KEEP]:
            copy_rows(row, 0, kept_gates[r * total :], 0, 1, total)
            copy_rows(state, 0, kept_c[r * hidden :], 0, 1, hidden)
        for j in range(hidden):
            state[j] = f[j] * state[j] + row[j] * g[j]
    for j in range(rows * hidden):
        unit[j] = tanh(c[j])
    for r in range(rows):
        row, o = unit[r * hidden :], gates[r * stride + 3 * hidden :]
        for j in range(hidden):
            row[j] *= o[j]


@inlined
def gru_step(
    kernel_params: Any, rows: int, steps: Any, gates: Any, stride: int, h: Any, kept_gates: Any, kept_n: Any
) -> None:
    """From the features' part of the gates to the new state, in place."""
    hidden, half = kernel_params[HIDDEN], h.dtype.type(0.5)
    for r in range(rows):
        row, state = gates[r * stride : r * stride + 3 * hidden], h[r * hidden : (r + 1) * hidden]
        given, q, n = steps[r * 3 * hidden :], row[hidden:], row[2 * hidden :]
        if kernel_params[KEEP]:
            copy_rows(n, 0, kept_n[r * hidden :], 0, 1, hidden)
        for j in range(2 * hidden):
            row[j] = half + half * tanh(half * (row[j] + given[j]))
        candidate = given[2 * hidden :]
        for j in range(hidden):
            n[j] = tanh(candidate[j] + row[j] * n[j])
        if kernel_params[KEEP]:
            copy_rows(row, 0, kept_gates[r * 3 * hidden :], 0, 1, 3 * hidden)
        for j in range(hidden):
            state[j] = n[j] + q[j] * (state[j] - n[j])


@inlined
def forward(
    kernel_params: Any, radius: Any, sizes: Any, offsets: Any, reverse: bool, begin: int, end: int,
    steps: Any, bias: Any, shape: Any, packed: Any, encoder: Any, projection: Any, h_n: Any, c_n: Any, outputs: Any,
    kept_gates: Any, kept_c: Any, kept_z: Any, workspace: Any,
) -> None:  # fmt: skip
    """Walk forward with the sequences begin .. end; everything but integers is a flat array."""
    hidden, out, width, total = kernel_params[HIDDEN], kernel_params[OUT], kernel_params[WIDTH], len(bias)
    most = padded(end - begin, ROWS)
    stride = padded(total, COLUMNS)
    plane = most * width
    count = num_frequencies(kernel_params) + (1 if kernel_params[BASE] != NONE else 0)
    at = 0
    h = workspace[at : at + most * out]
    at += most * out
    gates = workspace[at : at + most * stride]
    at += most * stride
    planes = workspace[at : at + count * plane]
    at += count * plane
    spare = workspace[at : at + 2 * plane]
    at += 2 * plane
    unit = workspace[at : at + most * hidden]
    at += most * hidden
    z_stride = padded(width, COLUMNS)
    latent = workspace[at : at + most * z_stride]
    at += most * z_stride
    z = workspace[at : at + plane]
    at += plane
    p_stride = padded(out, COLUMNS)
    projected = workspace[at : at + most * p_stride]
    joined = workspace[at + most * p_stride :]
    zero = h_n.dtype.type(0)
    copy_rows(h_n[begin * out :], 0, h, 0, 1, (end - begin) * out)
    c = c_n[begin * hidden : end * hidden]
    for index in range(len(sizes)):
        t = len(sizes) - 1 - index if reverse else index
        rows = min(sizes[t], end) - begin
        if rows <= 0:
            continue
        row = offsets[t] + begin
        if kernel_params[ENCODED]:
            copy_rows(steps[row * width :], width, latent, z_stride, rows, width)
            add_product(h, 0, rows, encoder, out, 0, out, latent, z_stride)
            copy_rows(latent, z_stride, z, width, rows, width)
            if kernel_params[KEEP]:
                copy_rows(z, 0, kept_z[row * width :], 0, 1, rows * width)
        if kernel_params[INPUTS]:
            copy_rows(
                steps[row * kernel_params[INPUTS] :], kernel_params[INPUTS], z, width, rows, kernel_params[INPUTS]
            )
            copy_rows(h, out, z[kernel_params[INPUTS] :], width, rows, out)
            if kernel_params[KEEP]:
                copy_rows(z, 0, kept_z[row * width :], 0, 1, rows * width)
        if kernel_params[ENCODED] or kernel_params[GRU] or kernel_params[INPUTS]:
            copy_rows(bias, 0, gates, stride, rows, total)
        else:
            for r in range(rows):
                given, row_of = steps[(row + r) * total :], gates[r * stride :]
                for j in range(total):
                    row_of[j] = bias[j] + given[j]
        source = z if kernel_params[ENCODED] or kernel_params[INPUTS] else h
        add_features(kernel_params, radius, source, rows, shape, packed, planes, plane, spare, joined, gates, stride)
        kept = row if kernel_params[KEEP] else 0
        if kernel_params[GRU]:
            gru_step(
                kernel_params,
                rows,
                steps[row * total :],
                gates,
                stride,
                h,
                kept_gates[kept * total :],
                kept_c[kept * hidden :],
            )
        else:
            lstm_step(kernel_params, rows, gates, stride, c, unit, kept_gates[kept * total :], kept_c[kept * hidden :])
            if kernel_params[PROJECTED]:
                fill(projected, rows * p_stride, zero)
                add_product(unit, 0, rows, projection, hidden, 0, hidden, projected, p_stride)
                copy_rows(projected, p_stride, h, out, rows, out)
            else:
                copy_rows(unit, 0, h, 0, 1, rows * out)
        copy_rows(h, 0, outputs[row * out :], 0, 1, rows * out)
    copy_rows(h, 0, h_n[begin * out :], 0, 1, (end - begin) * out)


@inlined
def lstm_slopes(
    kernel_params: Any, rows: int, gates: Any, kept_c: Any, du: Any, dc: Any, spare: Any, inner: Any
) -> None:
    """From du, the gradient of o tanh(c'), and dc to the gradient of the gates in ``inner``; dc moves back."""
    hidden, one = kernel_params[HIDDEN], dc.dtype.type(1)
    for r in range(rows):
        i, c = gates[r * 4 * hidden :], kept_c[r * hidden :]
        f, g, out = i[hidden:], i[2 * hidden :], spare[r * hidden :]
        for j in range(hidden):
            out[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(rows * hidden):
        spare[j] = tanh(spare[j])
    for r in range(rows):
        i, c, t = gates[r * 4 * hidden :], kept_c[r * hidden :], spare[r * hidden :]
        f, g, o = i[hidden:], i[2 * hidden :], i[3 * hidden :]
        into, up, state = inner[r * 4 * hidden :], du[r * hidden :], dc[r * hidden :]
        into_f, into_g, into_o = into[hidden:], into[2 * hidden :], into[3 * hidden :]
        for j in range(hidden):
            into_o[j] = up[j] * t[j] * o[j] * (one - o[j])
            state[j] += up[j] * o[j] * (one - t[j] * t[j])
        for j in range(hidden):
            into[j] = state[j] * g[j] * i[j] * (one - i[j])
            into_g[j] = state[j] * i[j] * (one - g[j] * g[j])
        for j in range(hidden):
            into_f[j] = state[j] * c[j] * f[j] * (one - f[j])
            state[j] *= f[j]


@inlined
def gru_slopes(kernel_params: Any, rows: int, gates: Any, kept_n: Any, h: Any, dh: Any, inner: Any, given: Any) -> None:
    """From dh to the gradients of both parts of the gates; dh becomes what reaches h in front of the step directly."""
    hidden, one = kernel_params[HIDDEN], dh.dtype.type(1)
    for r in range(rows):
        g, a, before, up = gates[r * 3 * hidden :], kept_n[r * hidden :], h[r * hidden :], dh[r * hidden :]
        q, n, into, into_given = g[hidden:], g[2 * hidden :], inner[r * 3 * hidden :], given[r * 3 * hidden :]
        into_q, into_n, given_n = into[hidden:], into[2 * hidden :], into_given[2 * hidden :]
        for j in range(hidden):
            slope = up[j] * (one - q[j]) * (one - n[j] * n[j])
            given_n[j] = slope
            into_n[j] = slope * g[j]
            into[j] = slope * a[j] * g[j] * (one - g[j])
        for j in range(hidden):
            into_q[j] = up[j] * (before[j] - n[j]) * q[j] * (one - q[j])
            up[j] *= q[j]
        copy_rows(into, 0, into_given, 0, 1, 2 * hidden)


@inlined
def backward(
    kernel_params: Any, radius: Any, sizes: Any, offsets: Any, reverse: bool, begin: int, end: int,
    total: int, columns: int, slopes: Any, packed: Any, encoder: Any, projection: Any, gates: Any, kept_c: Any, z: Any,
    grad_outputs: Any,
    dh: Any, dc: Any, inner: Any, given: Any, hiddens: Any, of_shape: Any, workspace: Any,
) -> None:  # fmt: skip
    """Walk back with the sequences begin .. end; ``total`` gates, ``columns`` of the turned matrix."""
    hidden, out, width = kernel_params[HIDDEN], kernel_params[OUT], kernel_params[WIDTH]
    most = padded(end - begin, ROWS)
    stride, plane = padded(columns, COLUMNS), most * width
    z_stride, u_stride = padded(out, COLUMNS), padded(hidden, COLUMNS)
    at = 0
    up = workspace[at : at + most * out]
    at += most * out
    da = workspace[at : at + most * total]
    at += most * total
    pulled = workspace[at : at + most * stride]
    at += most * stride
    planes = workspace[at : at + (num_frequencies(kernel_params) + 1) * plane]
    at += (num_frequencies(kernel_params) + 1) * plane
    spare = workspace[at : at + 2 * most * max(width, hidden)]
    at += 2 * most * max(width, hidden)
    du = workspace[at : at + most * hidden]
    at += most * hidden
    dz = workspace[at : at + plane]
    at += plane
    wide = workspace[at : at + most * max(z_stride, u_stride)]
    zero = dh.dtype.type(0)
    copy_rows(dh[begin * out :], 0, up, 0, 1, (end - begin) * out)
    state = dc[begin * hidden : end * hidden]
    for index in range(len(sizes)):
        t = index if reverse else len(sizes) - 1 - index
        rows = min(sizes[t], end) - begin
        if rows <= 0:
            continue
        row = offsets[t] + begin
        source = z[row * width : (row + rows) * width]
        arriving = grad_outputs[row * out : (row + rows) * out]
        for j in range(rows * out):
            up[j] += arriving[j]
        if kernel_params[PROJECTED]:
            copy_rows(up, 0, hiddens[row * out :], 0, 1, rows * out)
            fill(wide, rows * u_stride, zero)
            add_product(up, 0, rows, projection, out, 0, out, wide, u_stride)
            copy_rows(wide, u_stride, du, hidden, rows, hidden)
        elif not kernel_params[GRU]:
            copy_rows(up, 0, du, 0, 1, rows * out)
        if kernel_params[GRU]:
            gru_slopes(
                kernel_params, rows, gates[row * total :], kept_c[row * hidden :], source, up, da, given[row * total :]
            )
        else:
            lstm_slopes(kernel_params, rows, gates[row * total :], kept_c[row * hidden :], du, state, spare, da)
        copy_rows(da, 0, inner[row * total :], 0, 1, rows * total)
        fill(pulled, rows * stride, zero)
        add_product(da, 0, rows, packed, total, 0, total, pulled, stride)
        if not kernel_params[GRU]:
            fill(up, rows * out, zero)
        if not kernel_params[ENCODED] and not kernel_params[INPUTS]:
            pull(kernel_params, radius, source, rows, slopes, pulled, stride, planes, plane, spare, up, of_shape)
            continue
        fill(dz, rows * width, zero)
        pull(kernel_params, radius, source, rows, slopes, pulled, stride, planes, plane, spare, dz, of_shape)
        if kernel_params[INPUTS]:
            copy_rows(
                dz, width, given[row * kernel_params[INPUTS] :], kernel_params[INPUTS], rows, kernel_params[INPUTS]
            )
            copy_rows(dz[kernel_params[INPUTS] :], width, up, out, rows, out)
            continue
        copy_rows(dz, 0, given[row * width :], 0, 1, rows * width)
        fill(wide, rows * z_stride, zero)
        add_product(dz, 0, rows, encoder, width, 0, width, wide, z_stride)
        copy_rows(wide, z_stride, up, out, rows, out)
    copy_rows(up, 0, dh[begin * out :], 0, 1, (end - begin) * out)


# Arrays in a frame: sizes and offsets of the steps (of 64-bit integers), then those of each kernel. COUNT is the batch,
# OTHER the sequences of a shard.
_SIZES, _OFFSETS, *_ARRAYS = ARRAYS
_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13 = _ARRAYS[:14]


@inlined
def _forward(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)[0]
    sizes, offsets = take(frame, _SIZES, frame[0]), take(frame, _OFFSETS, frame[0])
    steps, bias, shape = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    packed, h_n, c_n = take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    outputs, gates = take(frame, _6, one), take(frame, _7, one)
    kept_c, kept_z = take(frame, _8, one), take(frame, _9, one)
    encoder, projection = take(frame, _10, one), take(frame, _11, one)
    shard = next_shard(frame)
    while shard >= 0:
        begin = shard * frame[OTHER]
        end = min(begin + frame[OTHER], frame[COUNT])
        forward(
            frame[HOW:], radius, sizes, offsets, frame[HOW + REVERSE] != 0, begin, end, steps, bias, shape, packed,
            encoder, projection, h_n, c_n, outputs, gates, kept_c, kept_z, workspace,
        )  # fmt: skip
        shard = next_shard(frame)


@inlined
def _backward(frame: Any, one: Any) -> None:
    workspace, radius = scratch(frame, one), take(frame, RADIUS, one)[0]
    sizes, offsets = take(frame, _SIZES, frame[0]), take(frame, _OFFSETS, frame[0])
    slopes, packed, gates = take(frame, _0, one), take(frame, _1, one), take(frame, _2, one)
    kept_c, z, grad_outputs = take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    dh, dc, inner = take(frame, _6, one), take(frame, _7, one), take(frame, _8, one)
    given, hiddens, of_shape = take(frame, _9, one), take(frame, _10, one), take(frame, _11, one)
    encoder, projection = take(frame, _12, one), take(frame, _13, one)
    columns, total = frame[HOW + COLUMNS_BACK], frame[TOTAL]
    size = len(of_shape) // frame[SHARDS]
    shard = next_shard(frame)
    while shard >= 0:
        begin = shard * frame[OTHER]
        end = min(begin + frame[OTHER], frame[COUNT])
        backward(
            frame[HOW:], radius, sizes, offsets, frame[HOW + REVERSE] != 0, begin, end, total, columns, slopes, packed,
            encoder, projection, gates, kept_c, z, grad_outputs, dh, dc, inner, given, hiddens,
            of_shape[shard * size : (shard + 1) * size], workspace,
        )  # fmt: skip
        shard = next_shard(frame)


def _forward_single(frame: Any) -> None:
    _forward(as_frame(frame), SINGLE)


def _forward_double(frame: Any) -> None:
    _forward(as_frame(frame), DOUBLE)


def _backward_single(frame: Any) -> None:
    _backward(as_frame(frame), SINGLE)


def _backward_double(frame: Any) -> None:
    _backward(as_frame(frame), DOUBLE)


#: Arrays: steps, bias, shape, packed matrix; h_n, c_n (the initial states before), outputs; tape: gates, carry, latent;
#: packed encoder and projection.
FORWARD = Kernel(_forward_single, _forward_double)
#: Arrays: slopes, packed matrix, tape: gates, carry; z, upstream gradient; gradients: h_0, c_0 (those of the final
#: states before), inner, steps, hidden, and shape of every shard (zeros before); packed encoder and projection.
BACKWARD = Kernel(_backward_single, _backward_double)
