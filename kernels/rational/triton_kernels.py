"""Device code of :mod:`qkan.kernels.rational.triton_gpu`; importing this module imports triton.

A program owns one tile of BLOCK elements of one group. x is (rows, groups, run), contiguous. Arguments that both
kernels share:

* ``numerator`` (groups, M + 1), ``denominator`` (groups, N): coefficients in float32, lowest powers first;
* ``total`` = rows times run, the elements of a group; ``stride`` = groups times run;
* SHORT, ``run`` where it is less than a tile, else 0; WIDE, whether offsets need 64 bits;
* TERMS, whether Q = 1 + sum |b_j| |x|^j, else 1 + |sum b_j x^j|;
* LIMIT: a tile with an |x| beyond it is computed in float64, PART elements at a time to save registers.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(groups, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Group of this program, number of its tile in the group, and the tile's first element."""
    program = tl.program_id(0)
    number = program // groups
    group = program - number * groups
    if WIDE:
        number = number.to(tl.int64)
    return group, number, number * BLOCK


@triton.jit
def _place(first, group, total, run, stride, SHORT: tl.constexpr, BLOCK: tl.constexpr):
    """Offsets of BLOCK elements of a group from its element ``first`` on, and which of them exist.

    Element e lies at (e // run) stride + group run + e mod run.
    """
    row = first // run
    column = first - row * run + tl.arange(0, BLOCK)  # the compiler would not see alignment through a remainder
    # Beyond the end of a run the other groups follow. A tile no longer than a run meets one end at most.
    jump = column // SHORT * (stride - run) if SHORT else tl.where(column >= run, stride - run, 0)
    return row * stride + group * run + column + jump, tl.arange(0, BLOCK) < total - first


@triton.jit
def _within(x, limit):
    """Whether no |x| in float32 is beyond a limit and none is NaN.

    Compared as integers, whose order is the same: registers would be kept for |x| otherwise.
    """
    return tl.max(x.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0).to(tl.float32, bitcast=True) <= limit


@triton.jit
def _b(denominator, j: tl.constexpr, TERMS: tl.constexpr):
    """b_j, or |b_j| where absolute terms are summed."""
    b = tl.load(denominator + (j - 1))
    return tl.abs(b) if TERMS else b


@triton.jit
def _value(x, numerator, denominator, M: tl.constexpr, N: tl.constexpr, TERMS: tl.constexpr):
    """P / Q in the dtype of x, by Horner's rule."""
    p = tl.full(x.shape, 0.0, x.dtype) + tl.load(numerator + M)
    for i in tl.static_range(M):
        p = p * x + tl.load(numerator + (M - 1 - i))
    u = tl.abs(x) if TERMS else x
    s = u * _b(denominator, N, TERMS)
    for j in tl.static_range(N - 1):
        s = (s + _b(denominator, N - 1 - j, TERMS)) * u
    return p / (1.0 + tl.abs(s))


@triton.jit
def _slopes(x, g, numerator, denominator, M: tl.constexpr, N: tl.constexpr, TERMS: tl.constexpr):
    """The gradient of x, that of P, g / Q, and minus that of S with Q = 1 + |S|, g / Q F sign(S).

    The slope of |.| at zero is 1.
    """
    p = tl.full(x.shape, 0.0, x.dtype) + tl.load(numerator + M)
    p_slope = tl.full(x.shape, 0.0, x.dtype)
    for i in tl.static_range(M):
        p_slope = p_slope * x + p
        p = p * x + tl.load(numerator + (M - 1 - i))
    u = tl.abs(x) if TERMS else x
    s = tl.full(x.shape, 0.0, x.dtype) + _b(denominator, N, TERMS)
    s_slope = tl.full(x.shape, 0.0, x.dtype)
    for j in tl.static_range(N):
        s_slope = s_slope * u + s
        s = s * u
        if j < N - 1:
            s += _b(denominator, N - 1 - j, TERMS)
    inverse = 1.0 / (1.0 + tl.abs(s))
    g *= inverse
    down = g * (p * inverse)
    if TERMS:
        return g * p_slope - tl.where(x < 0.0, -down, down) * s_slope, g, down
    down = tl.where(s < 0.0, -down, down)
    return g * p_slope - down * s_slope, g, down


@triton.jit
def forward_kernel(
    x, numerator, denominator, y, total, run, stride, groups, limit, M: tl.constexpr, N: tl.constexpr,
    TERMS: tl.constexpr, SHORT: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """y = F(x) of a tile."""
    group, _, first = _tile(groups, WIDE, BLOCK)
    numerator += group * (M + 1)
    denominator += group * N
    offsets, live = _place(first, group, total, run, stride, SHORT, BLOCK)
    of = tl.load(x + offsets, mask=live, other=0.0).to(tl.float32)
    if _within(of, limit):
        tl.store(y + offsets, _value(of, numerator, denominator, M, N, TERMS).to(y.dtype.element_ty), mask=live)
    else:
        for start in range(0, BLOCK, PART):
            places, there = _place(first + start, group, total, run, stride, SHORT, PART)
            wide = tl.load(x + places, mask=there, other=0.0).to(tl.float64)
            value = _value(wide, numerator, denominator, M, N, TERMS).to(tl.float32)
            tl.store(y + places, value.to(y.dtype.element_ty), mask=there)


@triton.jit
def _sums(x, up, down, denominator, M: tl.constexpr, N: tl.constexpr, TERMS: tl.constexpr, SUMS: tl.constexpr):
    """Gradients of a_0 .. a_M, b_1 .. b_N over all x, padded with zeros; ``up``, ``down`` of :func:`_slopes`."""
    place = tl.arange(0, SUMS)
    sums = tl.where(place == 0, tl.sum(up, 0), 0.0)
    power = x
    for k in tl.static_range(1, (M if M > N else N) + 1):  # max() gives a tensor before Triton 3.6
        if k > 1:
            power *= x
        if k <= M:
            sums = tl.where(place == k, tl.sum(up * power, 0), sums)
        if k <= N:
            summed = -tl.sum(down * (tl.abs(power) if TERMS else power), 0)
            if TERMS:
                summed = tl.where(tl.load(denominator + (k - 1)) < 0.0, -summed, summed)
            sums = tl.where(place == M + k, summed, sums)
    return sums


@triton.jit
def backward_kernel(
    x, grad, numerator, denominator, grad_x, partial, total, run, stride, groups, limit, M: tl.constexpr,
    N: tl.constexpr, TERMS: tl.constexpr, LEARNS: tl.constexpr, SHORT: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr, PART: tl.constexpr, SUMS: tl.constexpr,
):  # fmt: skip
    """The gradient of x and, with LEARNS, this tile's part of those of the coefficients.

    ``partial`` is (tiles, groups, M + 1 + N). A tile is summed over the elements of each lane, then over lanes by
    halves. SUMS is a power of two above M + N.
    """
    group, number, first = _tile(groups, WIDE, BLOCK)
    numerator += group * (M + 1)
    denominator += group * N
    partial += (number.to(tl.int64) * groups + group) * (M + 1 + N)
    offsets, live = _place(first, group, total, run, stride, SHORT, BLOCK)
    of = tl.load(x + offsets, mask=live, other=0.0).to(tl.float32)
    g = tl.load(grad + offsets, mask=live, other=0.0).to(tl.float32)
    sums = tl.zeros((SUMS,), tl.float32)
    if _within(of, limit):
        slope, up, down = _slopes(of, g, numerator, denominator, M, N, TERMS)
        tl.store(grad_x + offsets, slope.to(grad_x.dtype.element_ty), mask=live)
        if LEARNS:
            sums = _sums(of, up, down, denominator, M, N, TERMS, SUMS)
    else:
        total_sums = tl.zeros((SUMS,), tl.float64)
        for start in range(0, BLOCK, PART):
            places, there = _place(first + start, group, total, run, stride, SHORT, PART)
            wide = tl.load(x + places, mask=there, other=0.0).to(tl.float64)
            wide_g = tl.load(grad + places, mask=there, other=0.0).to(tl.float64)
            slope_part, up_part, down_part = _slopes(wide, wide_g, numerator, denominator, M, N, TERMS)
            tl.store(grad_x + places, slope_part.to(tl.float32).to(grad_x.dtype.element_ty), mask=there)
            if LEARNS:
                total_sums += _sums(wide, up_part, down_part, denominator, M, N, TERMS, SUMS)
        sums = total_sums.to(tl.float32)
    if LEARNS:
        place = tl.arange(0, SUMS)
        tl.store(partial + place, sums, mask=place < M + 1 + N)


@triton.jit(do_not_specialize=["tiles", "groups"])
def total_kernel(
    partial, of_numerator, of_denominator, tiles, groups, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr
):
    """The gradient of one coefficient of one group: its parts from all tiles, added up in float64."""
    group, place = tl.program_id(0) // (M + 1 + N), tl.program_id(0) % (M + 1 + N)
    stride = groups.to(tl.int64) * (M + 1 + N)
    partial += tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, tiles, BLOCK):
        tile = start + tl.arange(0, BLOCK)
        total += tl.load(partial + tile * stride, mask=tile < tiles, other=0.0).to(tl.float64)
    summed = tl.sum(total, 0).to(tl.float32)
    if place <= M:
        tl.store(of_numerator + group * (M + 1) + place, summed)
    else:
        tl.store(of_denominator + group * N + place - (M + 1), summed)
