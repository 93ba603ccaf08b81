"""Device code of :mod:`qkan.kernels.spectral.triton_gpu`; importing this module imports triton.

The terms come in pairs, so that one loop serves both bases: (cos kx, sin kx) or (T_(2k-1), T_2k). A tile of inputs
holds two constants and two carried values per element and goes from pair to pair in registers (:func:`next_pair`).
Arguments that all kernels share: ``pairs`` of terms; ``waves``, the terms without the base; ``step`` from a pair's
first term to that of the next pair and ``partner`` to its second; ``plane``, inputs times outputs.
"""

import triton
import triton.language as tl

from qkan.kernels.spectral.triton_basis import base, base_slope, dot, next_pair, seed


@triton.jit
def _load(corner, rows, columns, row_stride, column_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile that starts at ``corner``, zero from its row ``rows`` and its column ``columns`` on."""
    r = tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    return tl.load(corner + (r * row_stride + c * column_stride), mask=(r < rows) & (c < columns), other=0.0)


@triton.jit
def _store(corner, tile, rows, columns, row_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    tl.store(corner + (r * row_stride + c), tile.to(corner.dtype.element_ty), mask=(r < rows) & (c < columns))


@triton.jit
def forward_kernel(
    x,
    matrix,
    const,
    y,
    samples,
    inputs,
    outputs,
    pairs,
    waves,
    step,
    partner,
    plane,
    x_row,
    x_column,
    radius,
    KIND: tl.constexpr,
    BASE: tl.constexpr,
    HAS_CONST: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """y for a tile of samples and outputs: every chunk of inputs is loaded once, its terms meet their planes of M."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_B
    column = tl.program_id(1) * BLOCK_O
    rows, columns = samples - row, outputs - column
    x += row * x_row
    matrix += column
    plane = tl.cast(plane, tl.int64)
    acc = tl.zeros((BLOCK_B, BLOCK_O), tl.float32)
    for start in range(0, inputs, BLOCK_I):
        left = inputs - start
        tile = _load(x, rows, left, x_row, x_column, BLOCK_B, BLOCK_I).to(tl.float32)
        u, v, first, second = seed(tile, radius, KIND)
        for pair in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            term = pair * step
            weights = _load(matrix + term * plane, left, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = dot(even, weights, acc, OPERAND, PRECISION)
            term += partner
            # A last term without partner meets zeros.
            bound = tl.where(term < waves, left, 0)
            weights = _load(matrix + term * plane, bound, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = dot(odd, weights, acc, OPERAND, PRECISION)
        if BASE != "none":
            weights = _load(matrix + waves * plane, left, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = dot(base(tile, BASE), weights, acc, OPERAND, PRECISION)
        x += BLOCK_I * x_column
        matrix += BLOCK_I * outputs
    if HAS_CONST:
        c = tl.arange(0, BLOCK_O)
        acc += tl.load(const + column + c, mask=c < columns, other=0.0).to(tl.float32)[None, :]
    _store(y + row * outputs + column, acc, rows, columns, outputs, BLOCK_B, BLOCK_O)


@triton.jit
def input_gradient_kernel(
    g,
    x,
    slopes,
    slope0,
    dx,
    samples,
    inputs,
    outputs,
    pairs,
    waves,
    step,
    partner,
    plane,
    g_row,
    g_column,
    x_row,
    x_column,
    radius,
    KIND: tl.constexpr,
    BASE: tl.constexpr,
    HAS_SLOPE0: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """dx for a tile of samples and inputs: chunks of g meet planes of M', the products meet the terms."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_B
    column = tl.program_id(1) * BLOCK_I
    rows, columns = samples - row, inputs - column
    x += row * x_row + column.to(tl.int64) * x_column
    tile = _load(x, rows, columns, x_row, x_column, BLOCK_B, BLOCK_I).to(tl.float32)
    g += row * g_row
    slopes += column.to(tl.int64) * outputs
    plane = tl.cast(plane, tl.int64)
    u, v, first0, second0 = seed(tile, radius, KIND)
    zero = tl.zeros((BLOCK_B, BLOCK_I), tl.float32)
    acc = zero
    for start in range(0, outputs, BLOCK_O):
        left = outputs - start
        upstream = _load(g, rows, left, g_row, g_column, BLOCK_B, BLOCK_O)
        first, second = first0, second0
        if HAS_SLOPE0:
            weights = _load(slope0 + column.to(tl.int64) * outputs + start, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc = dot(upstream, weights, acc, OPERAND, PRECISION)
        for pair in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            term = pair * step
            weights = _load(slopes + term * plane, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += even * dot(upstream, weights, zero, OPERAND, PRECISION)
            term += partner
            bound = tl.where(term < waves, left, 0)
            weights = _load(slopes + term * plane, bound, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += odd * dot(upstream, weights, zero, OPERAND, PRECISION)
        if BASE != "none":
            weights = _load(slopes + waves * plane, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += base_slope(tile, BASE) * dot(upstream, weights, zero, OPERAND, PRECISION)
        g += BLOCK_O * g_column
        slopes += BLOCK_O
    _store(dx + row * inputs + column, acc, rows, columns, inputs, BLOCK_B, BLOCK_I)


@triton.jit
def matrix_gradient_kernel(
    g,
    x,
    partials,
    samples,
    inputs,
    outputs,
    terms,
    share,
    pairs,
    waves,
    step,
    partner,
    plane,
    g_row,
    g_column,
    x_row,
    x_column,
    radius,
    KIND: tl.constexpr,
    BASE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """One split's share of dM for a tile of inputs and outputs and two pairs of terms, or the base.

    Programs are (tile, group of terms, split). Every group goes up to its first pair anew, which is cheap beside the
    products that follow.
    """
    tiles = tl.cdiv(outputs, BLOCK_O)
    row = tl.program_id(0) // tiles * BLOCK_I
    column = tl.program_id(0) % tiles * BLOCK_O
    rows, columns = inputs - row, outputs - column
    begin = tl.program_id(2).to(tl.int64) * share
    left = tl.minimum(share, samples - begin).to(tl.int32)
    pair = 2 * tl.program_id(1)
    plane = tl.cast(plane, tl.int64)
    partials += tl.program_id(2) * (terms * plane) + row.to(tl.int64) * outputs + column
    x += begin * x_row + row.to(tl.int64) * x_column
    g += begin * g_row + column * g_column
    acc0 = tl.zeros((BLOCK_I, BLOCK_O), tl.float32)
    if pair < pairs:
        acc1 = acc0
        acc2 = acc0
        acc3 = acc0
        for start in range(0, left, BLOCK_B):
            tile = _load(x, rows, left - start, x_column, x_row, BLOCK_I, BLOCK_B).to(tl.float32)
            upstream = _load(g, left - start, columns, g_row, g_column, BLOCK_B, BLOCK_O)
            u, v, first, second = seed(tile, radius, KIND)
            for _ in range(pair):
                first, second, even, odd = next_pair(u, v, first, second, KIND)
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            acc0 = dot(even, upstream, acc0, OPERAND, PRECISION)
            acc1 = dot(odd, upstream, acc1, OPERAND, PRECISION)
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            acc2 = dot(even, upstream, acc2, OPERAND, PRECISION)
            acc3 = dot(odd, upstream, acc3, OPERAND, PRECISION)
            x += BLOCK_B * x_row
            g += BLOCK_B * g_row
        term = pair * step
        _store(partials + term * plane, acc0, rows, columns, outputs, BLOCK_I, BLOCK_O)
        bound = tl.where(term + partner < waves, rows, 0)
        _store(partials + (term + partner) * plane, acc1, bound, columns, outputs, BLOCK_I, BLOCK_O)
        rows = tl.where(pair + 1 < pairs, rows, 0)
        term += step
        _store(partials + term * plane, acc2, rows, columns, outputs, BLOCK_I, BLOCK_O)
        bound = tl.where(term + partner < waves, rows, 0)
        _store(partials + (term + partner) * plane, acc3, bound, columns, outputs, BLOCK_I, BLOCK_O)
    else:
        if BASE != "none":
            for start in range(0, left, BLOCK_B):
                tile = _load(x, rows, left - start, x_column, x_row, BLOCK_I, BLOCK_B).to(tl.float32)
                upstream = _load(g, left - start, columns, g_row, g_column, BLOCK_B, BLOCK_O)
                acc0 = dot(base(tile, BASE), upstream, acc0, OPERAND, PRECISION)
                x += BLOCK_B * x_row
                g += BLOCK_B * g_row
            _store(partials + waves * plane, acc0, rows, columns, outputs, BLOCK_I, BLOCK_O)
