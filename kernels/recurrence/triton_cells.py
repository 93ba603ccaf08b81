"""What a step of a recurrence does on the device; :mod:`qkan.kernels.recurrence.triton_kernels` strings it together.

Matrices are laid out in planes (waves in pairs, base, constant), gates, rows, columns, the last two padded with zeros
to whole tiles: WIDTH latents and HIDDEN units there. A tile of units has one accumulator a gate, so that all gates of a
unit meet in the same lane. GRU cells have three gates and hand the fourth accumulator through untouched.
"""

import triton
import triton.language as tl

from qkan.kernels.spectral.triton_basis import base, base_slope, dot, next_pair, seed, tanh


@triton.jit
def read(pointer, rows, live, start, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """A tile of rows that are WIDTH long, zero where they are not live and beyond WIDTH."""
    c = start + tl.arange(0, BLOCK)
    mask = live[:, None] & (c < WIDTH)[None, :]
    return tl.load(pointer + (rows[:, None] * WIDTH + c[None, :]), mask=mask, other=0.0)


@triton.jit
def write(pointer, tile, rows, live, start, WIDTH: tl.constexpr):
    """The counterpart of :func:`read`."""
    c = start + tl.arange(0, tile.shape[1])
    tl.store(pointer + (rows[:, None] * WIDTH + c[None, :]), tile, mask=live[:, None] & (c < WIDTH)[None, :])


@triton.jit
def hand_on(held, tile, pointer, rows, live, start, WIDTH: tl.constexpr, RESIDENT: tl.constexpr):
    """Update a state where it lives: the tile in registers, which is returned, or memory.

    The barrier keeps a thread that holds a copy of another's elements from reading them after they were overwritten.
    """
    if RESIDENT:
        return tl.where(live[:, None], tile, held)
    tl.debug_barrier()
    write(pointer, tile, rows, live, start, WIDTH)
    return held


@triton.jit
def corner(matrix, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of a matrix that is padded to whole tiles."""
    return tl.load(matrix + (tl.arange(0, ROWS)[:, None] * WIDTH + tl.arange(0, COLUMNS)[None, :]))


@triton.jit
def state_before(outputs, h_0, before, reached, b, live, start, OUT: tl.constexpr, BLOCK: tl.constexpr):
    """A tile of h in front of a step: outputs of the step before, where that had reached the sequence, else h_0."""
    began = b < reached
    return read(outputs, before + b, live & began, start, OUT, BLOCK) + read(h_0, b, live & ~began, start, OUT, BLOCK)


@triton.jit
def read_gates(pointer, rows, live, start, LSTM: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    """A tile of units of every gate; without a fourth one that of the third again."""
    GATES: tl.constexpr = 4 if LSTM else 3
    first = rows * GATES
    return (
        read(pointer, first, live, start, HIDDEN, BLOCK),
        read(pointer, first + 1, live, start, HIDDEN, BLOCK),
        read(pointer, first + 2, live, start, HIDDEN, BLOCK),
        read(pointer, first + GATES - 1, live, start, HIDDEN, BLOCK),
    )


@triton.jit
def write_gates(pointer, a0, a1, a2, a3, rows, live, start, LSTM: tl.constexpr, HIDDEN: tl.constexpr):
    """The counterpart of :func:`read_gates`."""
    GATES: tl.constexpr = 4 if LSTM else 3
    first = rows * GATES
    write(pointer, a0, first, live, start, HIDDEN)
    write(pointer, a1, first + 1, live, start, HIDDEN)
    write(pointer, a2, first + 2, live, start, HIDDEN)
    if LSTM:
        write(pointer, a3, first + 3, live, start, HIDDEN)


@triton.jit
def biases(bias, start, LSTM: tl.constexpr, UNITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """What the gates of a tile of units begin with, every row alike."""
    c = start + tl.arange(0, BLOCK)[None, :]
    zero = tl.zeros((ROWS, BLOCK), tl.float32)
    LAST: tl.constexpr = 3 if LSTM else 2
    return (
        zero + tl.load(bias + c),
        zero + tl.load(bias + UNITS + c),
        zero + tl.load(bias + 2 * UNITS + c),
        zero + tl.load(bias + LAST * UNITS + c),
    )


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def lstm_cell(a0, a1, a2, a3, c):
    """The gates i, f, g, o behind their activations, c' and o tanh(c')."""
    i, f, g, o = _sigmoid(a0), _sigmoid(a1), tanh(a2), _sigmoid(a3)
    c = f * c + i * g
    return i, f, g, o, c, o * tanh(c)


@triton.jit
def lstm_slopes(i, f, g, o, c, du, dc):
    """The gradients of the gates before their activations and of c, from those of o tanh(c') and c'."""
    tanh_c = tanh(f * c + i * g)
    dc += du * o * (1.0 - tanh_c * tanh_c)
    di = dc * g * i * (1.0 - i)
    df = dc * c * f * (1.0 - f)
    dg = dc * i * (1.0 - g * g)
    do = du * tanh_c * o * (1.0 - o)
    return di, df, dg, do, dc * f


@triton.jit
def gru_cell(a0, a1, a2, s0, s1, s2, h):
    """The gates r, q, n behind their activations and h', from both parts of the gates and h."""
    r, q = _sigmoid(a0 + s0), _sigmoid(a1 + s1)
    n = tanh(s2 + r * a2)
    return r, q, n, n + q * (h - n)


@triton.jit
def gru_slopes(r, q, n, a2, h, dh):
    """The gradients of the inputs' part of the gates from that of h'; the features' part has the last one times r."""
    dn = dh * (1.0 - q) * (1.0 - n * n)
    return dn * a2 * r * (1.0 - r), dh * (h - n) * q * (1.0 - q), dn


@triton.jit
def _activation(z, shape, pairs, radius, KIND: tl.constexpr, WAVES: tl.constexpr, WIDTH: tl.constexpr):
    """W_0 + sum_k W_k B_k(z), one sum a column of z; ``shape`` holds W_0 and the W_k in pairs, WIDTH apart."""
    c = tl.arange(0, z.shape[1])
    value = tl.zeros(z.shape, tl.float32) + tl.load(shape + c)[None, :]
    if WAVES:
        u, v, first, second = seed(z, radius, KIND)
        for _ in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            value += even * tl.load(shape + WIDTH + c)[None, :] + odd * tl.load(shape + 2 * WIDTH + c)[None, :]
            shape += 2 * WIDTH
    return value


@triton.jit
def _to_gates(
    feature,
    matrix,
    a0,
    a1,
    a2,
    a3,
    LSTM: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add a feature's part to all gates of a tile of units."""
    GATE: tl.constexpr = WIDTH * HIDDEN
    Z: tl.constexpr = feature.shape[1]
    H: tl.constexpr = a0.shape[1]
    a0 = dot(feature, corner(matrix, HIDDEN, Z, H), a0, OPERAND, PRECISION)
    a1 = dot(feature, corner(matrix + GATE, HIDDEN, Z, H), a1, OPERAND, PRECISION)
    a2 = dot(feature, corner(matrix + 2 * GATE, HIDDEN, Z, H), a2, OPERAND, PRECISION)
    if LSTM:
        a3 = dot(feature, corner(matrix + 3 * GATE, HIDDEN, Z, H), a3, OPERAND, PRECISION)
    return a0, a1, a2, a3


@triton.jit
def features_to_gates(
    z,
    matrix,
    shape,
    pairs,
    radius,
    a0,
    a1,
    a2,
    a3,
    LSTM: tl.constexpr,
    KIND: tl.constexpr,
    BASE: tl.constexpr,
    WAVES: tl.constexpr,
    SHAPED: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add to all gates of a tile of units what the features of a tile of z contribute."""
    PLANE: tl.constexpr = (4 if LSTM else 3) * WIDTH * HIDDEN
    if SHAPED:
        value = _activation(z, shape, pairs, radius, KIND, WAVES, WIDTH)
        a0, a1, a2, a3 = _to_gates(value, matrix, a0, a1, a2, a3, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
        matrix += PLANE
    elif WAVES:
        u, v, first, second = seed(z, radius, KIND)
        for _ in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            a0, a1, a2, a3 = _to_gates(even, matrix, a0, a1, a2, a3, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
            matrix += PLANE
            a0, a1, a2, a3 = _to_gates(odd, matrix, a0, a1, a2, a3, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
            matrix += PLANE
    if BASE != "none":
        a0, a1, a2, a3 = _to_gates(base(z, BASE), matrix, a0, a1, a2, a3, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
    return a0, a1, a2, a3


@triton.jit
def _from_gates(
    d0,
    d1,
    d2,
    d3,
    slopes,
    Z: tl.constexpr,
    LSTM: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of a feature, (BLOCK_B, Z), from those of all gates of a tile of units."""
    GATE: tl.constexpr = WIDTH * HIDDEN
    H: tl.constexpr = d0.shape[1]
    total = dot(d0, corner(slopes, WIDTH, H, Z), tl.zeros((d0.shape[0], Z), tl.float32), OPERAND, PRECISION)
    total = dot(d1, corner(slopes + GATE, WIDTH, H, Z), total, OPERAND, PRECISION)
    total = dot(d2, corner(slopes + 2 * GATE, WIDTH, H, Z), total, OPERAND, PRECISION)
    if LSTM:
        total = dot(d3, corner(slopes + 3 * GATE, WIDTH, H, Z), total, OPERAND, PRECISION)
    return total


@triton.jit
def features_from_gates(
    z,
    d0,
    d1,
    d2,
    d3,
    dz,
    slopes,
    shape,
    pairs,
    radius,
    LSTM: tl.constexpr,
    KIND: tl.constexpr,
    BASE: tl.constexpr,
    WAVES: tl.constexpr,
    SHAPED: tl.constexpr,
    CONSTANT: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add to the gradient of a tile of z what the gradients of the gates of a tile of units contribute."""
    PLANE: tl.constexpr = (4 if LSTM else 3) * WIDTH * HIDDEN
    Z: tl.constexpr = z.shape[1]
    if SHAPED:
        slope = _activation(z, shape, pairs, radius, KIND, WAVES, WIDTH)
        dz += slope * _from_gates(d0, d1, d2, d3, slopes, Z, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
        slopes += PLANE
    elif WAVES:
        u, v, first, second = seed(z, radius, KIND)
        for _ in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            dz += even * _from_gates(d0, d1, d2, d3, slopes, Z, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
            slopes += PLANE
            dz += odd * _from_gates(d0, d1, d2, d3, slopes, Z, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
            slopes += PLANE
    if BASE != "none":
        along = _from_gates(d0, d1, d2, d3, slopes, Z, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
        dz += base_slope(z, BASE) * along
        slopes += PLANE
    if CONSTANT:
        dz += _from_gates(d0, d1, d2, d3, slopes, Z, LSTM, WIDTH, HIDDEN, OPERAND, PRECISION)
    return dz
