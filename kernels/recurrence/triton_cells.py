"""What a step of a recurrence does on the device; :mod:`qkan.kernels.recurrence.triton_kernels` strings it together.

The matrix is (terms, latents, gates, units), back in time (terms, gates, units, latents), with units and latents padded
with zeros to whole tiles, UNITS and LATENTS: masks of it would hold registers. Other tensors are masked where they end.
A tile of units has one accumulator a gate, so that all gates of a unit meet in the same lane. GRU cells have three
gates and hand the fourth accumulator through untouched.
"""

import triton
import triton.language as tl

from qkan.kernels.edges.triton_activations import base, base_slope, tanh
from qkan.kernels.spectral.triton_basis import dot, next_pair, next_slopes, pairs_of, seed, seed_slopes


@triton.jit
def steps_of(plan, count, BLOCK_B: tl.constexpr):
    """How many steps this program walks: none where the first step has none of its sequences."""
    program = tl.program_id(0)
    return tl.load(plan + 2 * count + program, mask=program * BLOCK_B < tl.load(plan + count), other=0)


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
def copy(target, source, rows, live, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Copy whole rows, which this program's threads see from then on."""
    for start in range(0, WIDTH, BLOCK):
        write(target, read(source, rows, live, start, WIDTH, BLOCK), rows, live, start, WIDTH)
    tl.debug_barrier()


@triton.jit
def corner(
    matrix, row, column, height, WIDTH: tl.constexpr, ROW: tl.constexpr, COLUMN: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """ROWS x COLUMNS of a matrix, zero beyond ``height`` and WIDTH; its rows lie ROW numbers apart."""
    r, c = row + tl.arange(0, ROWS)[:, None], column + tl.arange(0, COLUMNS)[None, :]
    return tl.load(matrix + r * ROW + c * COLUMN, mask=(r < height) & (c < WIDTH), other=0.0)


@triton.jit
def _whole(matrix, ROW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of a matrix that is padded to whole tiles; its rows lie ROW numbers apart."""
    return tl.load(matrix + tl.arange(0, ROWS)[:, None] * ROW + tl.arange(0, COLUMNS)[None, :])


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
def _row(pointer, start, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """A tile (1, BLOCK) of a row; beyond its end the last number again, which the matrix's zeros meet."""
    return tl.load(pointer + tl.minimum(start + tl.arange(0, BLOCK), WIDTH - 1))[None, :]


@triton.jit
def biases(bias, start, LSTM: tl.constexpr, HIDDEN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """What the gates of a tile of units begin with, every row alike."""
    zero = tl.zeros((ROWS, BLOCK), tl.float32)
    LAST: tl.constexpr = 3 if LSTM else 2
    return (
        zero + _row(bias, start, HIDDEN, BLOCK),
        zero + _row(bias + HIDDEN, start, HIDDEN, BLOCK),
        zero + _row(bias + 2 * HIDDEN, start, HIDDEN, BLOCK),
        zero + _row(bias + LAST * HIDDEN, start, HIDDEN, BLOCK),
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
def _activation(z, shape, z0, functions, radius, KIND: tl.constexpr, WAVES: tl.constexpr, WIDTH: tl.constexpr):
    """W_0 + sum_k W_k B_k(z), one sum a column of z, and its slope; ``shape`` is (1 + functions, WIDTH)."""
    Z: tl.constexpr = z.shape[1]
    value, slope = tl.zeros_like(z) + _row(shape, z0, WIDTH, Z), tl.zeros_like(z)
    if WAVES:
        pairs, step, partner = pairs_of(functions, KIND)
        u, v, first, second = seed(z, radius, KIND)
        first_slope, second_slope = seed_slopes(first, radius)
        shape += WIDTH
        for pair in range(pairs):
            first_slope, second_slope, even_slope, odd_slope = next_slopes(
                u, v, first, second, first_slope, second_slope, pair + 1, radius, KIND
            )
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            weight = _row(shape + pair * step * WIDTH, z0, WIDTH, Z)
            value, slope = value + weight * even, slope + weight * even_slope
            here, last = _partner(shape, pair * step + partner, functions, WIDTH, 1.0)
            weight = _row(here, z0, WIDTH, Z) * last
            value, slope = value + weight * odd, slope + weight * odd_slope
    return value, slope


@triton.jit
def _to_gates(
    feature, matrix, a0, a1, a2, a3, LSTM: tl.constexpr, UNITS: tl.constexpr, OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a feature's part to all gates of a tile of units; ``matrix`` is that of its term."""
    ROW: tl.constexpr = (4 if LSTM else 3) * UNITS
    Z: tl.constexpr = feature.shape[1]
    H: tl.constexpr = a0.shape[1]
    a0 = dot(feature, _whole(matrix, ROW, Z, H), a0, OPERAND, PRECISION)
    a1 = dot(feature, _whole(matrix + UNITS, ROW, Z, H), a1, OPERAND, PRECISION)
    a2 = dot(feature, _whole(matrix + 2 * UNITS, ROW, Z, H), a2, OPERAND, PRECISION)
    if LSTM:
        a3 = dot(feature, _whole(matrix + 3 * UNITS, ROW, Z, H), a3, OPERAND, PRECISION)
    return a0, a1, a2, a3


@triton.jit
def features_to_gates(
    z, matrix, shape, z0, u0, functions, radius, a0, a1, a2, a3, LSTM: tl.constexpr, KIND: tl.constexpr,
    BASE: tl.constexpr, WAVES: tl.constexpr, SHAPED: tl.constexpr, WIDTH: tl.constexpr, UNITS: tl.constexpr,
    LATENTS: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to all gates of a tile of units what the features of a tile of z contribute."""
    TERM: tl.constexpr = LATENTS * (4 if LSTM else 3) * UNITS
    last = 1 if SHAPED else functions
    matrix += z0 * ((4 if LSTM else 3) * UNITS) + u0
    if SHAPED:
        value, _ = _activation(z, shape, z0, functions, radius, KIND, WAVES, WIDTH)
        a0, a1, a2, a3 = _to_gates(
            value, matrix, a0, a1, a2, a3, LSTM, UNITS, OPERAND, PRECISION
        )  # fmt: skip
    elif WAVES:
        pairs, step, partner = pairs_of(functions, KIND)
        u, v, first, second = seed(z, radius, KIND)
        for pair in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            here = matrix + pair * step * TERM
            a0, a1, a2, a3 = _to_gates(
                even, here, a0, a1, a2, a3, LSTM, UNITS, OPERAND, PRECISION
            )  # fmt: skip
            here, odd = _partner(matrix, pair * step + partner, functions, TERM, odd)
            a0, a1, a2, a3 = _to_gates(
                odd, here, a0, a1, a2, a3, LSTM, UNITS, OPERAND, PRECISION
            )  # fmt: skip
    if BASE != "none":
        a0, a1, a2, a3 = _to_gates(
            base(z, BASE), matrix + last * TERM, a0, a1, a2, a3, LSTM, UNITS, OPERAND, PRECISION
        )  # fmt: skip
    return a0, a1, a2, a3


@triton.jit
def _partner(matrix, term, functions, TERM: tl.constexpr, value):
    """Where the weights of a pair's second term are, and its value; of a last one that there is not: zero, somewhere.

    Masks would say so, too, but hold registers.
    """
    return matrix + tl.minimum(term, functions - 1) * TERM, tl.where(term < functions, value, 0.0)


@triton.jit
def _from_gates(
    d0, d1, d2, d3, matrix, Z: tl.constexpr, LSTM: tl.constexpr, UNITS: tl.constexpr, LATENTS: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of a feature, (BLOCK_B, Z), from those of all gates of a tile of units."""
    GATE: tl.constexpr = UNITS * LATENTS
    H: tl.constexpr = d0.shape[1]
    total = tl.zeros((d0.shape[0], Z), tl.float32)
    total = dot(d0, _whole(matrix, LATENTS, H, Z), total, OPERAND, PRECISION)
    total = dot(d1, _whole(matrix + GATE, LATENTS, H, Z), total, OPERAND, PRECISION)
    total = dot(d2, _whole(matrix + 2 * GATE, LATENTS, H, Z), total, OPERAND, PRECISION)
    if LSTM:
        total = dot(d3, _whole(matrix + 3 * GATE, LATENTS, H, Z), total, OPERAND, PRECISION)
    return total


@triton.jit
def features_from_gates(
    z, d0, d1, d2, d3, dz, matrix, shape, z0, u0, functions, radius, LSTM: tl.constexpr, KIND: tl.constexpr,
    BASE: tl.constexpr, WAVES: tl.constexpr, SHAPED: tl.constexpr, WIDTH: tl.constexpr, UNITS: tl.constexpr,
    LATENTS: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to the gradient of a tile of z what the gradients of the gates of a tile of units contribute."""
    Z: tl.constexpr = z.shape[1]
    TERM: tl.constexpr = LATENTS * (4 if LSTM else 3) * UNITS
    last = 1 if SHAPED else functions
    matrix += u0 * LATENTS + z0
    if SHAPED:
        _, slope = _activation(z, shape, z0, functions, radius, KIND, WAVES, WIDTH)
        dz += slope * _from_gates(d0, d1, d2, d3, matrix, Z, LSTM, UNITS, LATENTS, OPERAND, PRECISION)
        tl.debug_barrier()  # or the next tiles would wait in registers
    elif WAVES:
        pairs, step, partner = pairs_of(functions, KIND)
        u, v, first, second = seed(z, radius, KIND)
        first_slope, second_slope = seed_slopes(first, radius)
        for pair in range(pairs):
            first_slope, second_slope, even, odd = next_slopes(
                u, v, first, second, first_slope, second_slope, pair + 1, radius, KIND
            )
            first, second, _, _ = next_pair(u, v, first, second, KIND)
            here = matrix + pair * step * TERM
            dz += even * _from_gates(d0, d1, d2, d3, here, Z, LSTM, UNITS, LATENTS, OPERAND, PRECISION)
            here, odd = _partner(matrix, pair * step + partner, functions, TERM, odd)
            dz += odd * _from_gates(d0, d1, d2, d3, here, Z, LSTM, UNITS, LATENTS, OPERAND, PRECISION)
    if BASE != "none":
        here = matrix + last * TERM
        along = _from_gates(d0, d1, d2, d3, here, Z, LSTM, UNITS, LATENTS, OPERAND, PRECISION)
        dz += base_slope(z, BASE) * along
    return dz
