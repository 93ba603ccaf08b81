"""Numba kernels of recurrences: a thread walks all time steps with some sequences of the batch.

Everything is in flat arrays of one dtype: PyTorch's memory, seen through NumPy. ``room`` is scratch memory of which
every walk takes what it needs, so that nothing is allocated inside. See :mod:`qkan.kernels.recurrence_numba` for what
the arguments hold and :mod:`qkan.kernels.recurrence_torch` for the mathematics.
"""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.numba_math import inlined, kernel, sigmoid, sincos_arrays, tanh
from qkan.kernels.numba_tiles import COLUMNS, ROWS, add_product, pack, padded, tile

# Places in ``how``, the integers that say which recurrence it is.
GRU, KIND, SIZE, BASE, SHAPED, ENCODED, PROJECTED, HIDDEN, OUT, WIDTH, KEEP = range(11)
# Numbers of feature kinds and base activations.
FOURIER, CHEBYSHEV = 0, 1
#: Rows whose features are multiplied with gradients at once.
CHUNK = 64
NONE, SILU, GELU, RELU, TANH, IDENTITY = range(6)


@inlined
def waves_of(how: Any) -> int:
    """Waves of the basis, without the base activation."""
    return 2 * how[SIZE] if how[KIND] == FOURIER else how[SIZE] - 1


@inlined
def waves(how: Any, radius: Any, z: Any, count: int, planes: Any, stride: int, spare: Any) -> None:
    """The waves of z[0:count], wave k at planes[k * stride]; ``spare`` takes 2 * count numbers."""
    size = how[SIZE]
    # Loops index slices from zero: an index that might be negative would keep LLVM from vectorising them.
    if how[KIND] == FOURIER:
        if size == 0:
            return
        first, below = planes[:count], planes[size * stride : size * stride + count]
        sincos_arrays(z[:count], below, first)
        for k in range(1, size):
            c, c_next = planes[(k - 1) * stride :], planes[k * stride :]
            s, s_next = planes[(size + k - 1) * stride :], planes[(size + k) * stride :]
            for j in range(count):
                c_next[j] = first[j] * c[j] - below[j] * s[j]
                s_next[j] = below[j] * c[j] + first[j] * s[j]
        return
    one, steps, tops = z.dtype.type(1), spare[:count], spare[count:]
    for j in range(count):
        x = z[j] / radius
        planes[j] = x
        steps[j] = abs(x) - one
        tops[j] = abs(x)
    for k in range(2, size):
        plane, odd = planes[(k - 1) * stride :], k % 2 == 1
        for j in range(count):
            x = planes[j]
            near = abs(x) - one
            step = (near + near) * tops[j] + steps[j]
            top = tops[j] + step
            steps[j] = step
            tops[j] = top
            plane[j] = -top if odd and x < 0 else top


@inlined
def base(which: int, z: Any, count: int, out: Any) -> None:
    """The base activation of z[0:count]."""
    one, half = z.dtype.type(1), z.dtype.type(0.5)
    root = z.dtype.type(math.sqrt(0.5))
    if which == SILU:
        for j in range(count):
            out[j] = z[j] * sigmoid(z[j])
    elif which == GELU:
        for j in range(count):
            out[j] = half * z[j] * (one + z.dtype.type(math.erf(z[j] * root)))
    elif which == RELU:
        for j in range(count):
            out[j] = z[j] * 0 if z[j] < 0 else z[j]
    elif which == TANH:
        for j in range(count):
            out[j] = tanh(z[j])
    else:
        out[:count] = z[:count]


@inlined
def base_slope(which: int, z: Any, count: int, out: Any) -> None:
    """The derivative of the base activation at z[0:count]."""
    one, half = z.dtype.type(1), z.dtype.type(0.5)
    root, norm = z.dtype.type(math.sqrt(0.5)), z.dtype.type(1 / math.sqrt(2 * math.pi))
    if which == SILU:
        for j in range(count):
            gate = sigmoid(z[j])
            out[j] = gate * (one + z[j] * (one - gate))
    elif which == GELU:
        for j in range(count):
            normal = norm * z.dtype.type(math.exp(-half * z[j] * z[j]))
            out[j] = half * (one + z.dtype.type(math.erf(z[j] * root))) + z[j] * normal
    elif which == RELU:
        for j in range(count):
            out[j] = one if z[j] > 0 else one - one
    elif which == TANH:
        for j in range(count):
            t = tanh(z[j])
            out[j] = one - t * t
    else:
        out[:count] = one


@inlined
def activation(shape: Any, planes: Any, stride: int, rows: int, width: int, out: Any) -> None:
    """out[r, i] = shape[0, i] + sum_k shape[k + 1, i] planes[k][r, i]."""
    for r in range(rows):
        row = out[r * width : (r + 1) * width]
        row[:] = shape[:width]
        for k in range(1, len(shape) // width):
            weights, plane = shape[k * width :], planes[(k - 1) * stride + r * width :]
            for i in range(width):
                row[i] += weights[i] * plane[i]


@inlined
def add_features(
    how: Any, radius: Any, z: Any, rows: int, shape: Any, packed: Any, planes: Any, stride: int, spare: Any, out: Any,
    out_stride: int,
) -> None:  # fmt: skip
    """Add features of z (rows, width) times the packed matrix to ``out``."""
    width, count = how[WIDTH], waves_of(how)
    waves(how, radius, z, rows * width, planes, stride, spare)
    total = count + (1 if how[BASE] != NONE else 0)
    if how[BASE] != NONE:
        base(how[BASE], z, rows * width, planes[count * stride :])
    if how[SHAPED]:
        activation(shape, planes, stride, rows, width, spare)
        total -= count
        add_product(spare, 0, rows, packed, (total + 1) * width, 0, width, out, out_stride)
        if how[BASE] != NONE:
            add_product(planes, count * stride, rows, packed, 2 * width, width, width, out, out_stride)
        return
    for k in range(total):
        add_product(planes, k * stride, rows, packed, total * width, k * width, width, out, out_stride)


@inlined
def lstm_step(how: Any, rows: int, gates: Any, stride: int, c: Any, unit: Any, kept_gates: Any, kept_c: Any) -> None:
    """From gates before their activations to ``unit`` = o tanh(c'); ``c`` moves on."""
    hidden, half = how[HIDDEN], c.dtype.type(0.5)
    total = 4 * hidden
    for r in range(rows):
        row = gates[r * stride : r * stride + total]
        for j in range(total):
            # sigmoid(x) = 1/2 + tanh(x / 2) / 2: one function for all gates is one loop.
            inner = j >= 2 * hidden and j < 3 * hidden
            y = tanh(row[j] if inner else half * row[j])
            row[j] = y if inner else half + half * y
        if how[KEEP]:
            kept_gates[r * total : (r + 1) * total] = row
        state = c[r * hidden : (r + 1) * hidden]
        f, g = row[hidden:], row[2 * hidden :]
        if how[KEEP]:
            kept_c[r * hidden : (r + 1) * hidden] = state
        for j in range(hidden):
            state[j] = f[j] * state[j] + row[j] * g[j]
    for j in range(rows * hidden):
        unit[j] = tanh(c[j])
    for r in range(rows):
        row, o = unit[r * hidden :], gates[r * stride + 3 * hidden :]
        for j in range(hidden):
            row[j] *= o[j]


@inlined
def gru_step(how: Any, rows: int, steps: Any, gates: Any, stride: int, h: Any, kept_gates: Any, kept_n: Any) -> None:
    """From the features' part of the gates to the new state, in place."""
    hidden, half = how[HIDDEN], h.dtype.type(0.5)
    for r in range(rows):
        row, state = gates[r * stride : r * stride + 3 * hidden], h[r * hidden : (r + 1) * hidden]
        given, q, n = steps[r * 3 * hidden :], row[hidden:], row[2 * hidden :]
        if how[KEEP]:
            kept_n[r * hidden : (r + 1) * hidden] = n
        for j in range(2 * hidden):
            row[j] = half + half * tanh(half * (row[j] + given[j]))
        candidate = given[2 * hidden :]
        for j in range(hidden):
            n[j] = tanh(candidate[j] + row[j] * n[j])
        if how[KEEP]:
            kept_gates[r * 3 * hidden : (r + 1) * 3 * hidden] = row
        for j in range(hidden):
            state[j] = n[j] + q[j] * (state[j] - n[j])


@kernel
def pack_all(matrix: Any, encoder: Any, projection: Any, how: Any, width: int, out: Any) -> None:
    """Pack the matrix (.., width), the encoder and the projection behind each other into ``out``."""
    at = 0
    depth = len(matrix) // width
    pack(matrix, depth, width, False, out)
    at += depth * padded(width, COLUMNS)
    if how[ENCODED]:  # (Z, P): from h to the latent
        pack(encoder, how[OUT], how[WIDTH], True, out[at:])
        at += how[OUT] * padded(how[WIDTH], COLUMNS)
    if how[PROJECTED]:  # (P, H): from the unit's output to h
        pack(projection, how[HIDDEN], how[OUT], True, out[at:])


@kernel
def forward(
    how: Any, radius: Any, sizes: Any, offsets: Any, reverse: bool, begin: int, end: int,
    steps: Any, bias: Any, shape: Any, packed: Any, h_n: Any, c_n: Any, outputs: Any,
    kept_gates: Any, kept_c: Any, kept_z: Any, room: Any,
) -> None:  # fmt: skip
    """Walk forward with the sequences begin .. end; everything but integers is a flat array."""
    hidden, out, width, total = how[HIDDEN], how[OUT], how[WIDTH], len(bias)
    most = padded(end - begin, ROWS)
    stride = padded(total, COLUMNS)
    plane = most * width
    count = waves_of(how) + (1 if how[BASE] != NONE else 0)
    depth = width * (count if not how[SHAPED] else (2 if how[BASE] != NONE else 1))
    encoder = packed[depth * stride :]
    projection = encoder[(out * padded(width, COLUMNS) if how[ENCODED] else 0) :]
    at = 0
    h = room[at : at + most * out]
    at += most * out
    gates = room[at : at + most * stride]
    at += most * stride
    planes = room[at : at + count * plane]
    at += count * plane
    spare = room[at : at + 2 * plane]
    at += 2 * plane
    unit = room[at : at + most * hidden]
    at += most * hidden
    z_stride = padded(width, COLUMNS)
    latent = room[at : at + most * z_stride]
    at += most * z_stride
    z = room[at : at + plane]
    at += plane
    p_stride = padded(out, COLUMNS)
    projected = room[at : at + most * p_stride]
    h[: (end - begin) * out] = h_n[begin * out : end * out]
    c = c_n[begin * hidden : end * hidden]
    for index in range(len(sizes)):
        t = len(sizes) - 1 - index if reverse else index
        rows = min(sizes[t], end) - begin
        if rows <= 0:
            continue
        row = offsets[t] + begin
        if how[ENCODED]:
            for r in range(rows):
                latent[r * z_stride : r * z_stride + width] = steps[(row + r) * width : (row + r + 1) * width]
            add_product(h, 0, rows, encoder, out, 0, out, latent, z_stride)
            for r in range(rows):
                z[r * width : (r + 1) * width] = latent[r * z_stride : r * z_stride + width]
            if how[KEEP]:
                kept_z[row * width : (row + rows) * width] = z[: rows * width]
        for r in range(rows):
            given, row_of = steps[(row + r) * total :], gates[r * stride : r * stride + total]
            if how[ENCODED] or how[GRU]:
                row_of[:] = bias
            else:
                for j in range(total):
                    row_of[j] = bias[j] + given[j]
        source = z if how[ENCODED] else h
        add_features(how, radius, source, rows, shape, packed, planes, plane, spare, gates, stride)
        kept = row if how[KEEP] else 0
        if how[GRU]:
            gru_step(
                how, rows, steps[row * total :], gates, stride, h, kept_gates[kept * total :], kept_c[kept * hidden :]
            )
        else:
            lstm_step(how, rows, gates, stride, c, unit, kept_gates[kept * total :], kept_c[kept * hidden :])
            if how[PROJECTED]:
                projected[: rows * p_stride] = 0
                add_product(unit, 0, rows, projection, hidden, 0, hidden, projected, p_stride)
                for r in range(rows):
                    h[r * out : (r + 1) * out] = projected[r * p_stride : r * p_stride + out]
            else:
                h[: rows * out] = unit[: rows * out]
        outputs[row * out : (row + rows) * out] = h[: rows * out]
    h_n[begin * out : end * out] = h[: (end - begin) * out]


@inlined
def lstm_slopes(how: Any, rows: int, gates: Any, kept_c: Any, du: Any, dc: Any, spare: Any, inner: Any) -> None:
    """From du, the gradient of o tanh(c'), and dc to the gradient of the gates in ``inner``; dc moves back."""
    hidden, one = how[HIDDEN], dc.dtype.type(1)
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
def gru_slopes(how: Any, rows: int, gates: Any, kept_n: Any, h: Any, dh: Any, inner: Any, given: Any) -> None:
    """From dh to the gradients of both parts of the gates; dh becomes what reaches h in front of the step directly."""
    hidden, one = how[HIDDEN], dh.dtype.type(1)
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
        into_given[: 2 * hidden] = into[: 2 * hidden]


@inlined
def pull(
    how: Any, radius: Any, z: Any, rows: int, slopes: Any, pulled: Any, stride: int, planes: Any, plane: int,
    spare: Any, out: Any, of_shape: Any,
) -> None:  # fmt: skip
    """out (rows, width) += the gradient of z from ``pulled``, the gradient of the gates times the turned matrix.

    Without shape, ``pulled`` holds a block of ``width`` columns for the constant function (of Chebyshev polynomials only)
    and every wave, whose weights the turned matrix has; with shape one block for the activation, whose slope
    ``slopes`` gives weights of. A last block is the base activation's. The gradient of the shape is added to
    ``of_shape`` on the way.
    """
    width, count = how[WIDTH], waves_of(how)
    waves(how, radius, z, rows * width, planes, plane, spare)
    if how[SHAPED]:
        for r in range(rows):
            part = pulled[r * stride :]
            for i in range(width):
                of_shape[i] += part[i]
            for k in range(count):
                into, wave = of_shape[(k + 1) * width :], planes[k * plane + r * width :]
                for i in range(width):
                    into[i] += part[i] * wave[i]
    if how[KIND] == CHEBYSHEV:
        count -= 1  # T_(K-1) is in no derivative
    if how[SHAPED]:
        activation(slopes, planes, plane, rows, width, spare)
    first = 1 if how[KIND] == CHEBYSHEV else 0
    blocks = 1 if how[SHAPED] else first + count
    for r in range(rows):
        row = out[r * width : (r + 1) * width]
        given = pulled[r * stride :]
        if how[SHAPED]:
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
    if how[BASE] != NONE:
        base_slope(how[BASE], z, rows * width, planes)
        for r in range(rows):
            row, part, slope = out[r * width :], pulled[r * stride + blocks * width :], planes[r * width :]
            for i in range(width):
                row[i] += part[i] * slope[i]


@kernel
def pack_back(turned: Any, encoder: Any, projection: Any, how: Any, depth: int, out: Any) -> None:
    """Pack the turned matrix (.., depth), transposed, the encoder and the projection behind each other."""
    width = len(turned) // depth
    pack(turned, depth, width, True, out)
    at = depth * padded(width, COLUMNS)
    if how[ENCODED]:  # (Z, P): from the latent to h
        pack(encoder, how[WIDTH], how[OUT], False, out[at:])
        at += how[WIDTH] * padded(how[OUT], COLUMNS)
    if how[PROJECTED]:  # (P, H): from h to the unit's output
        pack(projection, how[OUT], how[HIDDEN], False, out[at:])


@kernel
def backward(
    how: Any, radius: Any, sizes: Any, offsets: Any, reverse: bool, begin: int, end: int,
    total: int, columns: int, slopes: Any, packed: Any, gates: Any, kept_c: Any, z: Any, grad_outputs: Any,
    dh: Any, dc: Any, inner: Any, given: Any, hiddens: Any, of_shape: Any, room: Any,
) -> None:  # fmt: skip
    """Walk back with the sequences begin .. end; ``total`` gates, ``columns`` of the turned matrix."""
    hidden, out, width = how[HIDDEN], how[OUT], how[WIDTH]
    most = padded(end - begin, ROWS)
    stride, plane = padded(columns, COLUMNS), most * width
    encoder = packed[total * stride :]
    z_stride, u_stride = padded(out, COLUMNS), padded(hidden, COLUMNS)
    projection = encoder[(width * z_stride if how[ENCODED] else 0) :]
    at = 0
    up = room[at : at + most * out]
    at += most * out
    da = room[at : at + most * total]
    at += most * total
    pulled = room[at : at + most * stride]
    at += most * stride
    planes = room[at : at + (waves_of(how) + 1) * plane]
    at += (waves_of(how) + 1) * plane
    spare = room[at : at + 2 * most * max(width, hidden)]
    at += 2 * most * max(width, hidden)
    du = room[at : at + most * hidden]
    at += most * hidden
    dz = room[at : at + plane]
    at += plane
    wide = room[at : at + most * max(z_stride, u_stride)]
    up[: (end - begin) * out] = dh[begin * out : end * out]
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
        du[: rows * hidden] = 0
        if how[PROJECTED]:
            hiddens[row * out : (row + rows) * out] = up[: rows * out]
            wide[: rows * u_stride] = 0
            add_product(up, 0, rows, projection, out, 0, out, wide, u_stride)
            for r in range(rows):
                du[r * hidden : (r + 1) * hidden] = wide[r * u_stride : r * u_stride + hidden]
        elif not how[GRU]:
            du[: rows * hidden] = up[: rows * out]
        if how[GRU]:
            gru_slopes(how, rows, gates[row * total :], kept_c[row * hidden :], source, up, da, given[row * total :])
        else:
            lstm_slopes(how, rows, gates[row * total :], kept_c[row * hidden :], du, state, spare, da)
        inner[row * total : (row + rows) * total] = da[: rows * total]
        pulled[: rows * stride] = 0
        add_product(da, 0, rows, packed, total, 0, total, pulled, stride)
        if not how[GRU]:
            up[: rows * out] = 0
        if not how[ENCODED]:
            pull(how, radius, source, rows, slopes, pulled, stride, planes, plane, spare, up, of_shape)
            continue
        dz[: rows * width] = 0
        pull(how, radius, source, rows, slopes, pulled, stride, planes, plane, spare, dz, of_shape)
        given[row * width : (row + rows) * width] = dz[: rows * width]
        wide[: rows * z_stride] = 0
        add_product(dz, 0, rows, encoder, width, 0, width, wide, z_stride)
        for r in range(rows):
            up[r * out : (r + 1) * out] = wide[r * z_stride : r * z_stride + out]
    dh[begin * out : end * out] = up[: (end - begin) * out]


@inlined
def add_turned(left: Any, width: int, packed: Any, rows: int, out: Any, stride: int) -> None:
    """out[i, :] += sum_r left[i * CHUNK + r] times row r of the packed matrix (rows, ..)."""
    for column in range(0, stride, COLUMNS):
        for i in range(0, width, ROWS):
            tile(left, i * CHUNK, CHUNK, packed, column * rows, rows, out, i * stride + column, stride)


@kernel
def feature_gradients(
    how: Any, radius: Any, begin: int, end: int, total: int, shape: Any, z: Any, inner: Any, of_matrix: Any,
    of_bias: Any, room: Any,
) -> None:  # fmt: skip
    """Add what the rows begin .. end contribute to the gradients of the matrix and of the bias.

    ``of_matrix`` has rows of padded(total, COLUMNS) numbers and padded(width, ROWS) rows a plane. Features are made of
    z transposed, for CHUNK rows at a time, so that their product with the gradients is one of tiles.
    """
    width, count, stride = how[WIDTH], waves_of(how), padded(total, COLUMNS)
    high = padded(width, ROWS)
    plane = high * CHUNK
    at = 0
    turned = room[:plane]
    at += plane
    planes = room[at : at + (count + 1) * plane]
    at += (count + 1) * plane
    spare = room[at : at + 2 * plane]
    at += 2 * plane
    packed = room[at : at + CHUNK * stride]
    for first in range(begin, end, CHUNK):
        rows = min(CHUNK, end - first)
        for r in range(rows):
            row = z[(first + r) * width : (first + r + 1) * width]
            for i in range(width):
                turned[i * CHUNK + r] = row[i]
        arriving = inner[first * total : (first + rows) * total]
        for r in range(rows):
            row = arriving[r * total : (r + 1) * total]
            for j in range(total):
                of_bias[j] += row[j]
        pack(arriving, rows, total, False, packed)
        waves(how, radius, turned, plane, planes, plane, spare)
        done = 0
        if how[SHAPED]:
            for i in range(width):
                row = spare[i * CHUNK : (i + 1) * CHUNK]
                row[:] = shape[i]
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
        if how[BASE] != NONE:
            base(how[BASE], turned, plane, planes)
            add_turned(planes, width, packed, rows, of_matrix[done * high * stride :], stride)
