"""The recurrence as one operation that a compiler does not look into, with its gradients as another.

``torch.compile`` and CUDA graphs meet a whole sequence as a node with known shapes: no step is traced, and nothing in
it waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from qkan.kernels.common.tensors import check_readable
from qkan.kernels.recurrence.types import GATES, Engine, Layout, Spec, Weights
from qkan.kernels.spectral.basis import Basis

_LOW = {"": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Passes:
    """What the operations run.

    Attributes:
        engines: by name.
        forward: (spec, layout, engine, keep, tensors) to outputs, h_n, c_n and the fields of a tape, None for what
            there is not.
        gradients: (spec, layout, engine, grads, kept, tensors, needs) to the gradients of all tensors.
    """

    engines: dict[str, Engine]
    forward: Callable[..., Sequence[Tensor | None]]
    gradients: Callable[..., Sequence[Tensor | None]]


def _described(spec: Spec, layout: Layout, engine: Engine) -> tuple[Any, ...]:
    """Spec, layout and engine as arguments of the operations."""
    basis, matmul_dtype = spec.basis, next(name for name, dtype in _LOW.items() if dtype == spec.matmul_dtype)
    what = (spec.cell, basis.kind, basis.size, float(basis.radius), basis.base or "", matmul_dtype, spec.inputs)
    return *what, list(layout.sizes), layout.reverse, engine.name


def _understood(passes: Passes, *described: Any) -> tuple[Spec, Layout, Engine]:
    cell, kind, size, radius, base, matmul_dtype, inputs, sizes, reverse, engine = described
    basis = Basis(kind, size, radius, base or None)
    return Spec(cell, basis, _LOW[matmul_dtype], inputs), Layout(tuple(sizes), reverse), passes.engines[engine]


def _prepare(passes: Passes, arguments: Sequence[Any]) -> None:
    """Let the engine put its constants on the device outside of what is traced, where all sizes are known."""
    spec, layout, engine = _understood(passes, *arguments[:10])
    if engine.prepare is not None and all(type(size) is int for size in layout.sizes):
        with _disable_current_modes():
            engine.prepare(spec, layout, Weights(*arguments[12:17]), arguments[11].device)


def _filled(found: Sequence[Tensor | None], like: Tensor) -> list[Tensor]:
    """Operations return tensors: an empty one for None, and none that is another's memory."""
    seen: set[int] = set()
    results = []
    for tensor in found:
        tensor = like.new_empty(0) if tensor is None else tensor.contiguous()
        tensor = tensor.clone() if tensor.data_ptr() in seen and tensor.numel() else tensor
        seen.add(tensor.data_ptr())
        results.append(tensor)
    return results


def operation(passes: Passes) -> Callable[..., tuple[Tensor, Tensor, Tensor | None]]:
    """Define the operations and return a function with the arguments of :attr:`Passes.forward`."""

    @torch.library.custom_op("qkan::recurrence", mutates_args=())
    def forward(
        cell: str, kind: str, size: int, radius: float, base: str, matmul_dtype: str, inputs: int, sizes: Sequence[int],
        reverse: bool, engine: str, keep: bool, steps: Tensor, matrix: Tensor, bias: Tensor, coeffs: Tensor | None,
        encoder: Tensor | None, projection: Tensor | None, h_0: Tensor, c_0: Tensor | None,
    ) -> list[Tensor]:  # fmt: skip
        kernel_params = _understood(
            passes, cell, kind, size, radius, base, matmul_dtype, inputs, sizes, reverse, engine
        )
        tensors = (steps, matrix, bias, coeffs, encoder, projection, h_0, c_0)
        contiguous = tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)
        return _filled(passes.forward(*kernel_params, keep, contiguous), steps)

    @forward.register_fake
    def _(*arguments: Any) -> list[Tensor]:
        cell, keep, steps, matrix = arguments[0], arguments[10], arguments[11], arguments[12]
        _prepare(passes, arguments)
        encoder, h_0, c_0 = arguments[15], arguments[17], arguments[18]
        rows, gates = steps.shape[0], matrix.shape[2]
        kept: list[tuple[int, ...]] = [(0,), (0,), (0,)]
        if keep:
            width = matrix.shape[1] if encoder is not None or arguments[6] else 0
            kept = [(rows, gates), (rows, gates // GATES[cell]), (rows, width) if width else (0,)]
        shapes = [(rows, h_0.shape[1]), h_0.shape, (0,) if c_0 is None else c_0.shape, *kept]
        return [steps.new_empty(size) for size in shapes]

    @torch.library.custom_op("qkan::recurrence_gradients", mutates_args=())
    def gradients(
        cell: str, kind: str, size: int, radius: float, base: str, matmul_dtype: str, inputs: int, sizes: Sequence[int],
        reverse: bool, engine: str, needs: Sequence[bool], grads: Sequence[Tensor], kept: Sequence[Tensor],
        steps: Tensor, matrix: Tensor, bias: Tensor, coeffs: Tensor | None, encoder: Tensor | None,
        projection: Tensor | None,
        h_0: Tensor, c_0: Tensor | None,
    ) -> list[Tensor]:  # fmt: skip
        kernel_params = _understood(
            passes, cell, kind, size, radius, base, matmul_dtype, inputs, sizes, reverse, engine
        )
        tensors = (steps, matrix, bias, coeffs, encoder, projection, h_0, c_0)
        contiguous = tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)
        tape = (*kept[:3], kept[3] if encoder is not None or inputs else None)
        found = passes.gradients(*kernel_params, [grad.contiguous() for grad in grads], tape, contiguous, tuple(needs))
        return _filled(found, steps)

    @gradients.register_fake
    def _(*arguments: Any) -> list[Tensor]:
        needs, tensors = arguments[10], arguments[13:]
        like = tensors[0]
        return [
            tensor.new_empty(tensor.shape) if need and tensor is not None else like.new_empty(0)
            for need, tensor in zip(needs, tensors, strict=True)
        ]

    def setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
        ctx.described, tensors = inputs[:10], inputs[11:]
        outputs, _, _, *tape = output
        ctx.shapes = [result.shape for result in output[: 2 if tensors[-1] is None else 3]]
        ctx.save_for_backward(*tensors, outputs, *tape)

    def backward(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # read once: under checkpointing a second reading is an error
        check_readable(*saved)
        tensors, kept = saved[:8], saved[8:]
        filled = [
            kept[0].new_zeros(shape) if grad is None else grad for grad, shape in zip(grads, ctx.shapes, strict=False)
        ]
        needs = [tensor is not None and need for tensor, need in zip(tensors, ctx.needs_input_grad[11:], strict=True)]
        found = gradients(*ctx.described, needs, filled, list(kept), *tensors)
        return *[None] * 11, *(grad if need else None for grad, need in zip(found, needs, strict=True))

    forward.register_autograd(backward, setup_context=setup)

    def call(spec: Spec, layout: Layout, engine: Engine, keep: bool, tensors: Sequence[Tensor | None]):
        outputs, h_n, c_n, *_ = forward(*_described(spec, layout, engine), keep, *tensors)
        return outputs, h_n, None if tensors[-1] is None else c_n

    return call
