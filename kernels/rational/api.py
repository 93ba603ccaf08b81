"""Group-rational activations with a backward pass of its own, on the backend that fits the device.

Backends (see :mod:`qkan.kernels.rational.types` for what they compute):

* ``numba``: CPU kernels that compute everything of an element in registers.
* ``triton``: CUDA and ROCm kernels that do the same and sum coefficients' gradients in a fixed order; on a CPU they are
  interpreted, slowly, and only if asked for by name.
* ``torch``: plain PyTorch in blocks with a hand-written backward pass; every device and dtype.
* ``reference``: the formula in differentiable operations; what the others are compared with.

A backend reads x and the upstream gradient once and keeps nothing but x. Second derivatives and transforms of
torch.func go through the formula; a compiler sees one opaque operation, exporters and tracers the formula.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qkan.kernels.common.host_sync import exporting, plain_needed, tracing
from qkan.kernels.common.tensors import check_readable, in_memory
from qkan.kernels.common.triton_device import falling_back
from qkan.kernels.common.vjp import stand_for_batch
from qkan.kernels.rational import numba_cpu, pytorch, triton_gpu
from qkan.kernels.rational.custom_op import operation
from qkan.kernels.rational.types import Engine, Spec, compute_dtype
from qkan.kernels.registry import Registry

#: ``auto`` asks them in this order.
BACKENDS = Registry("this activation", (numba_cpu.ENGINE, triton_gpu.ENGINE, pytorch.ENGINE))
#: The Triton kernels as ``auto`` takes them.
_GUARDED = falling_back(triton_gpu.ENGINE, pytorch.ENGINE)
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def group_rational(
    x: Tensor, numerator: Tensor, denominator: Tensor, spec: Spec, *, dim: int = -1, backend: str = "auto"
) -> Tensor:
    """F(x) of every element, with the coefficients of its channel's group.

    Args:
        x: any shape with ``channels`` at ``dim``, a multiple of ``spec.groups``; float64, float32, bfloat16 or float16.
            Any strides: a dense tensor (contiguous, channels_last, transposed) is not copied.
        numerator: (groups, m + 1), or (1, m + 1) shared by all groups.
        denominator: (groups, n), or (1, n).
        spec: the form.
        dim: of the channels.
        backend: one of ``BACKENDS.names``.

    Returns:
        the shape, dtype and strides of x. Float64 is computed in float64, everything else in float32 (beyond
        |x| = 4096 in float64), whatever the dtype of the coefficients.

    Raises:
        ValueError: shapes or devices that do not fit, an unknown backend, or one that cannot run; the message says why.
        TypeError: dtypes that are no real floating-point numbers.
    """
    BACKENDS.check(backend)
    dim = _check(x, numerator, denominator, spec, dim)
    check_readable(x, numerator, denominator)
    dense, order = _dense(x, dim)
    at = order.index(dim)
    shape = dense.shape
    rows = dense.flatten(0, at - 1) if at else dense.unsqueeze(0)  # Size.numel would fix a symbol
    blocked = rows.reshape(rows.shape[0], spec.groups, shape[at] // spec.groups * shape[at + 1 :].numel())
    dtype = compute_dtype(x.dtype)
    a, b = (c.to(dtype).expand(spec.groups, -1).contiguous() for c in (numerator, denominator))
    y = _run(spec, backend, blocked, a, b).view(shape)
    if order == list(range(x.dim())):
        return y
    return y.permute([order.index(k) for k in range(x.dim())])


def _check(x: Tensor, numerator: Tensor, denominator: Tensor, spec: Spec, dim: int) -> int:
    """``dim`` counted from the front, if everything fits."""
    for name, tensor in (("x", x), ("numerator", numerator), ("denominator", denominator)):
        if tensor.dtype not in _DTYPES:
            known = ", ".join(str(dtype) for dtype in _DTYPES)
            raise TypeError(f"{name} has dtype {tensor.dtype}, but must have one of {known}; convert it with .float()")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, but x is on {x.device}; move one of them with .to()")
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim {dim} is outside the {x.dim()} dimensions of x {tuple(x.shape)}")
    channels, groups, (m, n) = x.shape[dim], spec.groups, spec.order
    if channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} groups; choose a divisor of {channels}")
    for name, tensor, size in (("numerator", numerator, m + 1), ("denominator", denominator, n)):
        if tuple(tensor.shape) not in ((1, size), (groups, size)):
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)} does not fit {groups} groups and order ({m}, {n}); "
                f"it must be ({groups}, {size}) or (1, {size})"
            )
    return dim % x.dim()


def _dense(x: Tensor, dim: int) -> tuple[Tensor, list[int]]:
    """x with its dimensions in the order of memory, contiguous, and that order."""
    order = list(range(x.dim()))
    if x.is_contiguous():
        return x, order
    if torch.compiler.is_compiling() or tracing():  # strides may be symbols, which cannot be sorted
        by_stride = [*order[:dim], *order[dim + 1 :], dim]
    else:
        strides = x.stride()
        by_stride = sorted(order, key=lambda k: -strides[k])
    turned = x.permute(by_stride)
    return (turned, by_stride) if turned.is_contiguous() else (x.contiguous(), order)


def _run(spec: Spec, backend: str, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    transformed = torch._C._are_functorch_transforms_active() or exporting() or plain_needed()
    if backend == "reference" or transformed or x.numel() == 0:
        return pytorch.value(spec, x, a, b)
    engine = BACKENDS.choose(backend, spec, (x, a, b))
    if backend == "auto" and engine is triton_gpu.ENGINE:
        engine = _GUARDED
    if torch.compiler.is_compiling():
        return _OPERATION(spec, engine, x, a, b)
    return _Rational.apply(spec, engine, *(in_memory(tensor) for tensor in (x, a, b)))


class _Rational(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: Spec, engine: Engine, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.spec, ctx.engine = spec, engine
        ctx.save_for_backward(x, a, b)
        return engine.forward(spec, x, a, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, a, b = ctx.saved_tensors
        check_readable(x, a, b)
        wanted = ctx.needs_input_grad[3] or ctx.needs_input_grad[4]
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or stand_for_batch(grad):
            return None, None, *pytorch.gradients(ctx.spec, x, a, b, grad.contiguous(), wanted)
        return None, None, *ctx.engine.backward(ctx.spec, x, a, b, in_memory(grad), wanted)


_OPERATION = operation({engine.name: engine for engine in (*BACKENDS.engines, _GUARDED)})
