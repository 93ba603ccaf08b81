"""Device code of base activations; importing it imports triton."""

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """tanh to 2e-7 of itself, in the instructions that every target and the interpreter have."""
    # A minimax fit of (tanh(x) / x - 1) / x^2 (relative error of tanh 1e-9) where the quotient below would cancel.
    z = x * x
    series = ((-0.0062742391 * z + 0.021071679) * z - 0.053852310) * z + 0.13332586
    small = x + x * z * (series * z - 0.33333318)
    decay = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - decay) / (1.0 + decay)
    return tl.where(z < 0.3025, small, tl.where(x < 0.0, -large, large))


@triton.jit
def base(x, BASE: tl.constexpr):
    """The base activation of a name of :data:`qkan.kernels.edges.activations.BASES`."""
    if BASE == "silu":
        return x / (1.0 + tl.exp(-x))
    if BASE == "gelu":
        return 0.5 * x * (1.0 + tl.erf(0.7071067811865476 * x))
    if BASE == "relu":
        return tl.where(x < 0.0, 0.0, x)
    if BASE == "tanh":
        return tanh(x)
    return x


@triton.jit
def base_slope(x, BASE: tl.constexpr):
    """d base / d x; that of relu is 0 at 0, as in PyTorch."""
    if BASE == "silu":
        sigmoid = 1.0 / (1.0 + tl.exp(-x))
        return sigmoid * (1.0 + x * (1.0 - sigmoid))
    if BASE == "gelu":
        return 0.5 * (1.0 + tl.erf(0.7071067811865476 * x)) + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    if BASE == "relu":
        return tl.where(x <= 0.0, 0.0, tl.where(x > 0.0, 1.0, x))
    if BASE == "tanh":
        y = tanh(x)
        return 1.0 - y * y
    return tl.full(x.shape, 1.0, tl.float32)
