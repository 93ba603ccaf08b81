"""Device code of :mod:`qkan.kernels.spectral_triton`; importing this module imports triton.

The terms come in pairs, so that one loop serves both bases: (cos kx, sin kx) or (T_(2k-1), T_2k). A tile of inputs
holds two constants and two carried values per element and goes from pair to pair in registers (:func:`_next_pair`).
Arguments that all kernels share: ``pairs`` of terms; ``waves``, the terms without the base; ``step`` from a pair's
first term to that of the next pair and ``partner`` to its second; ``plane``, inputs times outputs.

Largest error of a term in float32, in units of 2^-23, against extended precision, 600,000 x in [-A, A], many near +-A:

| T_k for k =                                     | 8   | 32  | 64   | 127  |
|-------------------------------------------------|-----|-----|------|------|
| T_(k+1) = 2 x T_k - T_(k-1), A = 1              | 5.9 | 56  | 149  | 373  |
| the same, A = 2.7                               | 20  | 280 | 1077 | 4070 |
| doubling T_(i+j) = 2 T_i T_j - T_(i-j), A = 2.7 | 20  | 303 | 1074 | 3881 |
| cos(k acos(x / A)), A = 2.7                     | 26  | 262 | 1001 | 3892 |
| differences (used here), A = 1                  | 3.9 | 11  | 22   | 40   |
| differences (used here), A = 2.7                | 6.0 | 21  | 42   | 82   |

Rounding x / A alone costs k^2 / 2 units at the ends of the domain. The differences T_k - T_(k-1) only need
u = |x| / A - 1 = (|x| - A) / A, whose numerator is exact near the ends (Reinsch's remedy for Clenshaw's sum), and odd
terms take the sign of x. Fourier terms go up by rotations: 4.2 units at k = 8, 13 at k = 32, for |x| up to 1e5.
"""

import triton
import triton.language as tl


@triton.jit
def _cosine_sine(x):
    """cos x and sin x to 1e-7 for every finite float32, without branches: Payne and Hanek's reduction in integers.

    |x| = m 2^e with a whole m < 2^24, so the bits of 1 / (2 pi) above 2^-e only add whole turns, and 64 bits below
    suffice to know the turn to 2^-40. Libraries reach for memory here, which costs registers in every kernel.
    """
    bits = tl.abs(x).to(tl.uint32, bitcast=True)
    mantissa = ((bits & 0x7FFFFF) | 0x800000).to(tl.uint64)
    # Twice 64 bits of 1 / (2 pi), so that the wanted ones begin ``shift`` bits into them; tiny x have no bits there.
    place = tl.maximum((bits >> 23).to(tl.int32) - 86, 0)
    shift = (place & 63).to(tl.uint64)
    high = tl.where(place < 64, 0, tl.where(place < 128, 0x28BE60DB9391054A, 0x7F09D5F47D4D3770)).to(tl.uint64)
    low = tl.where(place < 64, 0x28BE60DB9391054A, tl.where(place < 128, 0x7F09D5F47D4D3770, 0x36D8A5664F10E410))
    low = low.to(tl.uint64)
    window = (high << shift) | ((low >> 1) >> (63 - shift))
    turn = ((mantissa * window) >> 32).to(tl.uint32)
    quarter = (turn + 0x20000000) >> 30
    rest = (turn - (quarter << 30)).to(tl.int32, bitcast=True).to(tl.float32) * 2.3283064365386963e-10
    # Minimax in z = rest^2, |rest| <= 1 / 8: errors 2e-9 and 6e-11.
    z = rest * rest
    sine = (((-75.23991891 * z + 81.588121236) * z - 41.3416280205) * z + 6.28318522031) * rest
    cosine = (((59.2458650968 * z - 85.443739127) * z + 64.9393264515) * z - 19.7392086936) * z + 1.0
    swap = (quarter & 1) != 0
    first = tl.where(swap, sine, cosine)
    second = tl.where(swap, cosine, sine)
    # x - x is zero, or NaN if x is not finite.
    nothing = x - x
    first = tl.where(((quarter + 1) & 2) != 0, -first, first) + nothing
    second = tl.where((quarter & 2) != 0, -second, second) + nothing
    return first, tl.where(x < 0.0, -second, second)


@triton.jit
def _seed(x, radius, KIND: tl.constexpr):
    """Two constants and the two carried values before the first pair."""
    if KIND == "fourier":
        u, v = _cosine_sine(x)
        first = tl.full(x.shape, 1.0, tl.float32)
        second = tl.full(x.shape, 0.0, tl.float32)
    else:
        # Rounded division: u must vanish at |x| = radius, and be as exact as the subtraction everywhere.
        half = tl.div_rn(tl.abs(x) - radius, radius)
        u = 2.0 * half
        v = tl.where(x < 0.0, -1.0, 1.0)
        first = tl.full(x.shape, 1.0, tl.float32)
        second = -half
    return u, v, first, second


@triton.jit
def _next_pair(u, v, first, second, KIND: tl.constexpr):
    """The carried values of the next pair of terms and the pair itself."""
    if KIND == "fourier":
        cosine = first * u - second * v
        sine = second * u + first * v
        return cosine, sine, cosine, sine
    # first is T_(2k-2) of |x| / A, second its difference to the term before.
    difference = second + u * first
    odd = first + difference
    difference = difference + u * odd
    even = odd + difference
    return even, difference, odd * v, even


@triton.jit
def _tanh(x):
    """tanh to 2e-7 of itself, in the instructions that every target and the interpreter have."""
    # A minimax fit of (tanh(x) / x - 1) / x^2 (relative error of tanh 1e-9) where the quotient below would cancel.
    z = x * x
    series = ((-0.0062742391 * z + 0.021071679) * z - 0.053852310) * z + 0.13332586
    small = x + x * z * (series * z - 0.33333318)
    decay = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - decay) / (1.0 + decay)
    return tl.where(z < 0.3025, small, tl.where(x < 0.0, -large, large))


@triton.jit
def _base(x, BASE: tl.constexpr):
    if BASE == "silu":
        return x / (1.0 + tl.exp(-x))
    if BASE == "gelu":
        return 0.5 * x * (1.0 + tl.erf(0.7071067811865476 * x))
    if BASE == "relu":
        return tl.where(x < 0.0, 0.0, x)
    if BASE == "tanh":
        return _tanh(x)
    return x


@triton.jit
def _base_slope(x, BASE: tl.constexpr):
    """d base / d x; that of relu is 0 at 0, as in PyTorch."""
    if BASE == "silu":
        sigmoid = 1.0 / (1.0 + tl.exp(-x))
        return sigmoid * (1.0 + x * (1.0 - sigmoid))
    if BASE == "gelu":
        return 0.5 * (1.0 + tl.erf(0.7071067811865476 * x)) + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    if BASE == "relu":
        return tl.where(x <= 0.0, 0.0, tl.where(x > 0.0, 1.0, x))
    if BASE == "tanh":
        y = _tanh(x)
        return 1.0 - y * y
    return tl.full(x.shape, 1.0, tl.float32)


@triton.jit
def _dot(a, b, acc, OPERAND: tl.constexpr, PRECISION: tl.constexpr):
    """acc + a b, with a and b rounded to OPERAND."""
    if PRECISION != "interpreted":
        return tl.dot(a.to(OPERAND), b.to(OPERAND), acc, input_precision=PRECISION)
    # The interpreter cuts off where devices round to nearest, and cannot multiply bfloat16; products are exact anyway.
    if OPERAND is tl.bfloat16:
        bits = a.to(tl.float32).to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        a = bits.to(tl.float32, bitcast=True)
    return tl.dot(a.to(tl.float32), b.to(tl.float32), acc)


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
        u, v, first, second = _seed(tile, radius, KIND)
        for pair in range(pairs):
            first, second, even, odd = _next_pair(u, v, first, second, KIND)
            term = pair * step
            weights = _load(matrix + term * plane, left, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = _dot(even, weights, acc, OPERAND, PRECISION)
            term += partner
            # A last term without partner meets zeros.
            bound = tl.where(term < waves, left, 0)
            weights = _load(matrix + term * plane, bound, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = _dot(odd, weights, acc, OPERAND, PRECISION)
        if BASE != "none":
            weights = _load(matrix + waves * plane, left, columns, outputs, 1, BLOCK_I, BLOCK_O)
            acc = _dot(_base(tile, BASE), weights, acc, OPERAND, PRECISION)
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
    u, v, first0, second0 = _seed(tile, radius, KIND)
    zero = tl.zeros((BLOCK_B, BLOCK_I), tl.float32)
    acc = zero
    for start in range(0, outputs, BLOCK_O):
        left = outputs - start
        upstream = _load(g, rows, left, g_row, g_column, BLOCK_B, BLOCK_O)
        first, second = first0, second0
        if HAS_SLOPE0:
            weights = _load(slope0 + column.to(tl.int64) * outputs + start, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc = _dot(upstream, weights, acc, OPERAND, PRECISION)
        for pair in range(pairs):
            first, second, even, odd = _next_pair(u, v, first, second, KIND)
            term = pair * step
            weights = _load(slopes + term * plane, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += even * _dot(upstream, weights, zero, OPERAND, PRECISION)
            term += partner
            bound = tl.where(term < waves, left, 0)
            weights = _load(slopes + term * plane, bound, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += odd * _dot(upstream, weights, zero, OPERAND, PRECISION)
        if BASE != "none":
            weights = _load(slopes + waves * plane, left, columns, 1, outputs, BLOCK_O, BLOCK_I)
            acc += _base_slope(tile, BASE) * _dot(upstream, weights, zero, OPERAND, PRECISION)
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
            u, v, first, second = _seed(tile, radius, KIND)
            for _ in range(pair):
                first, second, even, odd = _next_pair(u, v, first, second, KIND)
            first, second, even, odd = _next_pair(u, v, first, second, KIND)
            acc0 = _dot(even, upstream, acc0, OPERAND, PRECISION)
            acc1 = _dot(odd, upstream, acc1, OPERAND, PRECISION)
            first, second, even, odd = _next_pair(u, v, first, second, KIND)
            acc2 = _dot(even, upstream, acc2, OPERAND, PRECISION)
            acc3 = _dot(odd, upstream, acc3, OPERAND, PRECISION)
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
                acc0 = _dot(_base(tile, BASE), upstream, acc0, OPERAND, PRECISION)
                x += BLOCK_B * x_row
                g += BLOCK_B * g_row
            _store(partials + waves * plane, acc0, rows, columns, outputs, BLOCK_I, BLOCK_O)
