"""Device code of basis functions (:mod:`qkan.kernels.spectral.basis`) that Triton kernels share; importing it imports
triton.

The terms come in pairs, so that one loop serves both bases: (cos kx, sin kx) or (T_(2k-1), T_2k). A tile of inputs
holds two constants and two carried values per element and goes from pair to pair in registers (:func:`next_pair`).

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
def cosine_sine(x):
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
def seed(x, radius, KIND: tl.constexpr):
    """Two constants and the two carried values before the first pair."""
    if KIND == "fourier":
        u, v = cosine_sine(x)
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
def next_pair(u, v, first, second, KIND: tl.constexpr):
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
def pairs_of(functions, KIND: tl.constexpr):
    """How many pairs hold all functions, how far apart the first terms of two pairs are, and the terms of a pair."""
    if KIND == "fourier":
        return functions // 2, 1, functions // 2
    return (functions + 1) // 2, 2, 1


@triton.jit
def seed_slopes(first, radius):
    """The slopes of the carried values before the first pair."""
    return tl.zeros_like(first), tl.zeros_like(first) - 1.0 / radius


@triton.jit
def next_slopes(u, v, first, second, first_slope, second_slope, number, radius, KIND: tl.constexpr):
    """Derivatives of what :func:`next_pair` gives of the same values, with respect to x.

    ``first_slope`` and ``second_slope`` are those of the carried values with respect to |x|; ``number`` counts pairs
    from 1.
    """
    if KIND == "fourier":
        cosine = first * u - second * v
        sine = second * u + first * v
        return first_slope, second_slope, -number * sine, number * cosine
    twice = 2.0 / radius
    difference = second + u * first
    slope = second_slope + twice * first + u * first_slope
    odd_slope = first_slope + slope
    slope = slope + twice * (first + difference) + u * odd_slope
    even_slope = odd_slope + slope
    return even_slope, slope, odd_slope, even_slope * v


@triton.jit
def dot(a, b, acc, OPERAND: tl.constexpr, PRECISION: tl.constexpr):
    """acc + a b, with a and b rounded to OPERAND."""
    if PRECISION != "interpreted":
        return tl.dot(a.to(OPERAND), b.to(OPERAND), acc, input_precision=PRECISION)
    # The interpreter cuts off where devices round to nearest, and cannot multiply bfloat16; products are exact anyway.
    if OPERAND is tl.bfloat16:
        bits = a.to(tl.float32).to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        a = bits.to(tl.float32, bitcast=True)
    elif OPERAND is tl.float16:
        a = a.to(tl.float16)
    return tl.dot(a.to(tl.float32), b.to(tl.float32), acc)
