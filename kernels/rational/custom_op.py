"""The activation as one operation that a compiler does not look into, with its gradients as another.

A compiler could fuse the formula with its neighbours. It would then choose how gradients of coefficients are summed,
and the numbers of a compiled model would differ from those of the same model in eager mode, by more than rounding of
the last digit. Memory decides the time of either, and matrix products, the usual neighbours, do not fuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.common.tensors import check_readable
from qkan.kernels.rational.types import Engine, Spec


def operation(engines: dict[str, Engine]) -> Callable[[Spec, Engine, Tensor, Tensor, Tensor], Tensor]:
    """Define the operations; a function of spec, engine and what the engine's ``forward`` takes.

    Args:
        engines: by name.
    """

    @torch.library.custom_op("qkan::rational", mutates_args=())
    def forward(
        groups: int, order: Sequence[int], form: str, engine: str, x: Tensor, numerator: Tensor, denominator: Tensor
    ) -> Tensor:
        spec = _understood(groups, order, form)
        return engines[engine].forward(spec, x.contiguous(), numerator.contiguous(), denominator.contiguous())

    @forward.register_fake
    def _(groups, order, form, engine, x, numerator, denominator):
        return x.new_empty(x.shape)

    @torch.library.custom_op("qkan::rational_gradients", mutates_args=())
    def gradients(
        groups: int, order: Sequence[int], form: str, engine: str, coefficients: bool, x: Tensor, numerator: Tensor,
        denominator: Tensor, grad: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        spec = _understood(groups, order, form)
        x, a, b, grad = (tensor.contiguous() for tensor in (x, numerator, denominator, grad))
        found = engines[engine].backward(spec, x, a, b, grad, coefficients)
        return [x.new_empty(0) if tensor is None else tensor.contiguous() for tensor in found]

    @gradients.register_fake
    def _(groups, order, form, engine, coefficients, x, numerator, denominator, grad):
        sizes = (numerator.shape, denominator.shape) if coefficients else ((0,), (0,))
        return [x.new_empty(x.shape), numerator.new_empty(sizes[0]), denominator.new_empty(sizes[1])]

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.described = inputs[:4]
        ctx.save_for_backward(*inputs[4:])

    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        needs = ctx.needs_input_grad[4:]
        wanted = needs[1] or needs[2]
        saved = ctx.saved_tensors
        check_readable(*saved)
        found = gradients(*ctx.described, wanted, *saved, grad)
        return *[None] * 4, *(tensor if need else None for tensor, need in zip(found, needs, strict=True))

    forward.register_autograd(backward, setup_context=setup)

    def call(spec: Spec, engine: Engine, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        return forward(spec.groups, list(spec.order), spec.denominator, engine.name, x, numerator, denominator)

    return call


def _understood(groups: int, order: Sequence[int], form: str) -> Spec:
    m, n = order
    return Spec(groups, (m, n), form)
