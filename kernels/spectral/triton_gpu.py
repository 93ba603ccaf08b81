"""The matrix product of the spectral route on GPUs, its features made in registers and never written to memory.

An expansion is y[b, o] = const[o] + sum over terms t and inputs i of F_t(x[b, i]) M[t, i, o], the terms in this order:

* ``"fourier"`` of size R: cos x, cos 2x, ..., cos Rx, sin x, ..., sin Rx;
* ``"chebyshev"`` of size K: T_1(x / A), ..., T_(K-1)(x / A); T_0 is part of the constant;
* then base(x), if there is a base.

The derivative of a term is a combination of the same terms, so the gradient of x is
dx[b, i] = sum_t S_t(x[b, i]) (sum_o g[b, o] M'[t, i, o]) + sum_o g[b, o] M'_0[i, o], where S_t is F_t but base'(x) for
the base. Three kernels compute y, dx and dM (:mod:`qkan.kernels.spectral.triton_kernels`). Runs repeat bit for bit:
what several programs contribute to dM is summed in a fixed order, without atomics.

Precision. Features are made in float32 whatever the dtype of x and under autocast, and sums are accumulated in float32.
The numbers that are multiplied are float32 for float32 inputs (on NVIDIA's tensor cores three TF32 products, which is
about as accurate) and TF32, rounded to nearest, for float16: as many digits with the range of float32, so gradients do
not overflow. For bfloat16 features, M, M' and g are rounded to bfloat16: the error of y, root mean square, is 2.2e-3 of
y's own with normal M and 1,280 terms times inputs of either kind, and 2.8e-3 once y itself is rounded (float32: 1.3e-7
and, for Chebyshev terms up to T_11, 2.6e-7).
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.host_sync import tracing
from qkan.kernels.common.triton_device import device_problem, launching

#: What is named where a kernel cannot be built.
FAMILY = "kernels of expansions"
KINDS = ("fourier", "chebyshev")
BASES = ("silu", "gelu", "relu", "tanh", "identity")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: Samples, inputs and outputs of a tile at most, by kernel and by the dtype of x: large enough for tensor cores, small
#: enough to compile without register spills for compute capabilities 8.0 and 9.0 and for gfx942.
TILES = {
    ("forward", torch.float32): (64, 16, 64),
    ("forward", torch.bfloat16): (64, 32, 64),
    ("forward", torch.float16): (64, 16, 32),
    ("input_gradient", torch.float32): (64, 16, 32),
    ("input_gradient", torch.bfloat16): (64, 32, 32),
    ("input_gradient", torch.float16): (64, 16, 32),
    ("matrix_gradient", torch.float32): (32, 32, 64),
    ("matrix_gradient", torch.bfloat16): (32, 32, 64),
    ("matrix_gradient", torch.float16): (32, 32, 32),
}
#: How every kernel is compiled.
OPTIONS = {"num_warps": 4, "num_stages": 3}
#: Pairs of terms whose matrix gradient one program computes, two accumulators each.
PAIRS = 2
#: Programs of the matrix gradient to start if there is that much work: two for each that 132 multiprocessors can hold.
PROGRAMS = 512
#: Fewest samples of a split: fewer would not pay for writing and reading the partial sums.
MIN_SHARE = 256
#: Strides above this are laid out anew: offsets inside a tile have 32 bits.
MAX_STRIDE = 2**24


def unsupported_reason(x: Tensor) -> str | None:
    """None if the kernels can run on ``x``, else the reason why not and what would help."""
    if torch.compiler.is_compiling() or tracing():
        return "a compiler cannot trace the launch of its kernels; compile backend 'spectral' instead, which it fuses"
    if find_spec("triton") is None:
        return "Triton is not installed; pip install triton, or use another backend"
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        return f"the Triton kernels compute in {names}, not {x.dtype}; convert the inputs, or use another backend"
    if x.device.type != "cuda" and not (x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return (
            f"the Triton kernels need a CUDA or ROCm device, not {x.device.type}; move the module and its inputs "
            "there, use another backend, or set TRITON_INTERPRET=1 before Python starts to interpret them slowly"
        )
    return device_problem(x.device, FAMILY)


def spectral_sum(
    x: Tensor,
    matrix: Tensor,
    const: Tensor | None,
    *,
    kind: str,
    size: int,
    radius: float = 1.0,
    base: str | None = None,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """Features of x times a matrix.

    Args:
        x: (samples, inputs), any strides, on a device that :func:`unsupported_reason` accepts. Computed in float32.
        matrix: M, (terms, inputs, outputs), any floating dtype.
        const: (outputs,), or None for zeros.
        kind, size: the terms, see the head of this module.
        radius: A, > 0, rounded to float32; only for ``"chebyshev"``. Beyond it terms grow without bound.
        base: one of :data:`BASES`, or None for no base.
        matmul_dtype: bfloat16 or float16, to multiply as for inputs of that dtype; None as for that of x.

    Returns:
        (samples, outputs) in the dtype of x.

    Raises:
        ValueError: the kernels cannot run on x, or sizes or names are wrong.
    """
    pairs, functions = _check(x, matrix, kind, size, radius, base)
    samples, inputs = x.shape
    terms, _, outputs = matrix.shape
    _check_shape("const", const, (outputs,))
    if 0 in (samples, inputs, outputs, terms):
        y = x.new_zeros((samples, outputs))
        return y if const is None else y + const.to(y.dtype)
    product = matmul_dtype or x.dtype
    x, matrix = _narrow(x), matrix.to(_operand(product)).contiguous()
    y = torch.empty((samples, outputs), dtype=x.dtype, device=x.device)
    block_b, block_i, block_o = tile("forward", product, inputs, outputs)
    with launching(FAMILY, x.device):
        _device_code().forward_kernel[(-(-samples // block_b), -(-outputs // block_o))](
            x,
            matrix,
            y if const is None else const.contiguous(),
            y,
            samples,
            inputs,
            outputs,
            pairs,
            functions,
            *_term_steps(kind, size),
            inputs * outputs,
            *x.stride(),
            float(radius),
            HAS_CONST=const is not None,
            **_constants(kind, base, x.device, product, (block_b, block_i, block_o)),
        )
    return y


def spectral_gradients(
    g: Tensor,
    x: Tensor,
    slopes: Tensor | None,
    slope0: Tensor | None,
    *,
    kind: str,
    size: int,
    radius: float = 1.0,
    base: str | None = None,
    matmul_dtype: torch.dtype | None = None,
    needs: tuple[bool, bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of :func:`spectral_sum` with respect to x and the matrix; that of const is ``g.sum(0)``.

    Args:
        g: gradient of y, (samples, outputs), any strides and floating dtype.
        x, kind, size, radius, base, matmul_dtype: as in :func:`spectral_sum`.
        slopes: M', (terms, inputs, outputs); may be None where no gradient of x is needed.
        slope0: M'_0, (inputs, outputs), or None for zeros.
        needs: whether to compute the gradient of x, and that of the matrix.

    Returns:
        dx (samples, inputs) in the dtype of x, and dM (terms, inputs, outputs) in float32; None where not needed.

    Raises:
        ValueError: as in :func:`spectral_sum`, or the gradient of x is needed without ``slopes``.
    """
    need_x, need_matrix = needs
    if need_x and slopes is None:
        raise ValueError("slopes is None, but the gradient of x is needed; pass the matrix of slopes")
    pairs, functions = _check(x, slopes if need_x else None, kind, size, radius, base)
    if g.dim() != 2 or g.shape[0] != x.shape[0]:
        raise ValueError(f"g has shape {tuple(g.shape)}; it must be ({x.shape[0]}, outputs) like the output")
    terms = functions + (base is not None)
    _check_shape("slopes", slopes, (terms, x.shape[1], g.shape[1]))
    _check_shape("slope0", slope0, (x.shape[1], g.shape[1]))
    g, x = _narrow(g.to(x.dtype)), _narrow(x)
    steps = (pairs, functions, *_term_steps(kind, size))
    options = _Options(kind, float(radius), base, matmul_dtype or x.dtype)
    dx = dmatrix = None
    with launching(FAMILY, x.device):
        if need_x and slopes is not None:
            dx = _input_gradient(g, x, slopes, slope0, steps, options)
        if need_matrix:
            dmatrix = _matrix_gradient(g, x, terms, steps, options)
    return dx, dmatrix


class _Options(NamedTuple):
    """Kind, radius and base of the terms, and the dtype that products are rounded for."""

    kind: str
    radius: float
    base: str | None
    product: torch.dtype


def _input_gradient(
    g: Tensor,
    x: Tensor,
    slopes: Tensor,
    slope0: Tensor | None,
    steps: tuple[int, ...],
    options: _Options,
) -> Tensor:
    (samples, inputs), outputs = x.shape, g.shape[1]
    if 0 in (samples, inputs, outputs) or (slopes.shape[0] == 0 and slope0 is None):
        return torch.zeros_like(x)
    operand = _operand(options.product)
    slopes = slopes.to(operand).contiguous()
    dx = torch.empty((samples, inputs), dtype=x.dtype, device=x.device)
    blocks = tile("input_gradient", options.product, inputs, outputs)
    _device_code().input_gradient_kernel[(-(-samples // blocks[0]), -(-inputs // blocks[1]))](
        g,
        x,
        slopes,
        slopes if slope0 is None else slope0.to(operand).contiguous(),
        dx,
        samples,
        inputs,
        outputs,
        *steps,
        inputs * outputs,
        *g.stride(),
        *x.stride(),
        options.radius,
        HAS_SLOPE0=slope0 is not None,
        **_constants(options.kind, options.base, x.device, options.product, blocks),
    )
    return dx


def _matrix_gradient(g: Tensor, x: Tensor, terms: int, steps: tuple[int, ...], options: _Options) -> Tensor:
    (samples, inputs), outputs = x.shape, g.shape[1]
    if 0 in (samples, inputs, outputs, terms):
        return x.new_zeros((terms, inputs, outputs), dtype=torch.float32)
    blocks = tile("matrix_gradient", options.product, inputs, outputs)
    groups = -(-steps[0] // PAIRS) + (options.base is not None)
    tiles = -(-inputs // blocks[1]) * -(-outputs // blocks[2])
    splits, share = split(samples, tiles * groups, blocks[0])
    partials = torch.empty((splits, terms, inputs, outputs), dtype=torch.float32, device=x.device)
    _device_code().matrix_gradient_kernel[(tiles, groups, splits)](
        g,
        x,
        partials,
        samples,
        inputs,
        outputs,
        terms,
        share,
        *steps,
        inputs * outputs,
        *g.stride(),
        *x.stride(),
        options.radius,
        **_constants(options.kind, options.base, x.device, options.product, blocks),
    )
    return partials[0] if splits == 1 else partials.sum(0)


def tile(kernel: str, dtype: torch.dtype, inputs: int, outputs: int) -> tuple[int, int, int]:
    """Samples, inputs and outputs of a tile; tensor cores want 16 at least, even where the layer has fewer."""
    block_b, block_i, block_o = TILES[kernel, dtype]
    fitting = [max(16, 1 << (extent - 1).bit_length()) for extent in (inputs, outputs)]
    return block_b, min(block_i, fitting[0]), min(block_o, fitting[1])


def split(samples: int, programs: int, block_b: int) -> tuple[int, int]:
    """Cut the batch into (splits, samples of a split) for the matrix gradient, which has ``programs`` tiles."""
    wanted = max(1, min(-(-samples // MIN_SHARE), -(-PROGRAMS // programs)))
    share = -(-samples // (wanted * block_b)) * block_b
    return -(-samples // share), share


def _check(x: Tensor, matrix: Tensor | None, kind: str, size: int, radius: float, base: str | None) -> tuple[int, int]:
    """Pairs of terms, and terms that are not the base."""
    reason = unsupported_reason(x)
    if reason is not None:
        raise ValueError(reason)
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; use one of {', '.join(KINDS)}")
    if base is not None and base not in BASES:
        raise ValueError(f"unknown base {base!r}; use one of {', '.join(BASES)}, or None")
    if size < 1:
        raise ValueError(f"size {size} must be at least 1")
    if not radius > 0:
        raise ValueError(f"radius {radius} must be positive")
    functions = 2 * size if kind == "fourier" else size - 1
    terms = functions + (base is not None)
    if x.dim() != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; it must be (samples, inputs)")
    if matrix is not None and (matrix.dim() != 3 or matrix.shape[:2] != (terms, x.shape[1])):
        raise ValueError(
            f"the matrix has shape {tuple(matrix.shape)}; {kind} of size {size} with base {base} needs "
            f"({terms}, {x.shape[1]}, outputs)"
        )
    return (functions + 1) // 2, functions


def _check_shape(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    """Kernels would read beyond the end of a smaller tensor."""
    if tensor is not None and tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; with these inputs and outputs it must be {shape}")


def _term_steps(kind: str, size: int) -> tuple[int, int]:
    """From the first term of a pair to that of the next pair, and to its partner."""
    return (1, size) if kind == "fourier" else (2, 1)


def _operand(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the numbers that are multiplied."""
    return torch.bfloat16 if dtype == torch.bfloat16 else torch.float32


def _narrow(tensor: Tensor) -> Tensor:
    return tensor if max(tensor.stride()) <= MAX_STRIDE else tensor.contiguous()


def _device_code() -> Any:
    """Imported late, because importing triton takes a while and is not possible everywhere."""
    from qkan.kernels.spectral import triton_kernels as spectral_triton_jit

    return spectral_triton_jit


def precision(dtype: torch.dtype, capability: tuple[int, int] | None) -> str:
    """How float32 numbers are multiplied for inputs of ``dtype``; ``capability`` is None but on NVIDIA's devices."""
    if capability is None or capability < (8, 0) or dtype == torch.bfloat16:
        return "ieee"
    return "tf32x3" if dtype == torch.float32 else "tf32"


@lru_cache(maxsize=64)
def _capability(device: torch.device) -> tuple[int, int] | None:
    return None if torch.version.hip else torch.cuda.get_device_capability(device)


def _constants(
    kind: str, base: str | None, device: torch.device, product: torch.dtype, blocks: tuple[int, int, int]
) -> dict[str, Any]:
    """What is constant when a kernel is compiled."""
    from triton import language as tl

    return {
        "KIND": kind,
        "BASE": base or "none",
        "OPERAND": tl.bfloat16 if _operand(product) == torch.bfloat16 else tl.float32,
        "PRECISION": precision(product, _capability(device)) if device.type == "cuda" else "interpreted",
        "BLOCK_B": blocks[0],
        "BLOCK_I": blocks[1],
        "BLOCK_O": blocks[2],
        **OPTIONS,
    }
