"""Whole-sequence recurrences: a walk over time with a backward pass of its own, on the engine that fits the device.

Engines (see :mod:`qkan.kernels.recurrence.types` for what they compute):

* ``triton``: CUDA and ROCm kernels in which a block walks all steps with its share of the batch.
* ``numba``: CPU kernels in which a thread walks all steps with its share of the batch.
* ``torch``: one product a step and a hand-written backward through time; every device and dtype.
* ``reference``: plain differentiable operations, step by step; what the others are compared with.

All keep only what :class:`~qkan.kernels.recurrence.types.Tape` holds. Gradients of parameters are formed here, as one
product over all steps. Second derivatives and vmap go through the reference; a compiler sees one opaque operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from qkan.kernels.common.tensors import check_readable, in_memory, without_autocast
from qkan.kernels.common.triton_device import falling_back
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.recurrence import numba_cpu as recurrence_numba
from qkan.kernels.recurrence import pytorch as recurrence_torch
from qkan.kernels.recurrence import reference as recurrence_reference
from qkan.kernels.recurrence import triton_gpu as recurrence_triton
from qkan.kernels.recurrence.custom_op import Passes, operation
from qkan.kernels.recurrence.types import GATES, Engine, Layout, Spec, Tape, Tensors, Weights
from qkan.kernels.registry import Registry
from qkan.kernels.spectral.matmul import activation_functions, matrix_gradient

#: What runs a whole sequence, in the order in which ``auto`` asks.
ENGINES = Registry("this recurrence", (recurrence_numba.ENGINE, recurrence_triton.ENGINE, recurrence_torch.ENGINE))
#: The Triton kernels as ``auto`` takes them.
_GUARDED = falling_back(recurrence_triton.ENGINE, recurrence_torch.ENGINE)
#: steps, the fields of Weights, h_0, c_0.
_INPUTS = 1 + len(Weights._fields) + 2

Gradients = tuple[Tensor | None, ...]


def run(
    spec: Spec,
    layout: Layout,
    steps: Tensor,
    weights: Weights,
    h_0: Tensor,
    c_0: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Walk a recurrence over time.

    Args:
        spec: which.
        layout: of the rows.
        steps: (rows, G), what the inputs contribute to the gates, or (rows, Z) to the latent, or the inputs themselves,
            (rows, I), where ``spec`` says so; float32 or float64.
        weights: parameters, in the dtype of ``steps``.
        h_0: (B, P), B at least ``layout.sizes[0]``.
        c_0: (B, H) for lstm, None for gru.
        backend: a name of :data:`ENGINES`.

    Returns:
        h behind every step (rows, P); the final h (B, P) and c (B, H), None for gru: of every sequence behind its last
        step, or the initial one if it has none.

    Raises:
        ValueError: an unknown backend, or one asked for by name that cannot run; the message says why. Tensors of
            several devices.
    """
    check_readable(steps, *weights, h_0, c_0)
    steps, weights, h_0, c_0 = _alike(steps, weights, h_0, c_0)
    if backend == "reference" or forward_ad._current_level >= 0:  # only plain operations can differentiate forward
        return recurrence_reference.run(spec, layout, steps, weights, h_0, c_0)
    chosen = ENGINES.choose(backend, spec, (steps, *weights))
    if backend == "auto" and chosen is recurrence_triton.ENGINE:
        chosen = _GUARDED
    if spec.inputs and not chosen.takes_inputs:
        spec, steps, weights = recurrence_reference.without_inputs(spec, steps, weights)
    tensors = (steps, *weights, h_0, c_0)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    # Other kinds of tensors (fake ones) have no memory that kernels could read.
    if torch.compiler.is_compiling() or type(steps) not in (Tensor, Parameter):
        outputs, h_n, c_n = _OPERATION(spec, layout, chosen, keep, tensors)
        return outputs, h_n, c_n
    _check_sizes(spec, layout, steps, weights, h_0, c_0)
    whole = [_contiguous(t) for t in tensors]
    if not torch._C._are_functorch_transforms_active():
        return _PlainRecurrence.apply(spec, layout, chosen, keep, *whole)
    outputs, h_n, c_n, *_ = _Recurrence.apply(spec, layout, chosen, keep, *whole)
    return outputs, h_n, c_n


def _alike(
    steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None
) -> tuple[Tensor, Weights, Tensor, Tensor | None]:
    """All tensors in the widest of their dtypes, which differ under autocast: kernels read memory as it stands.

    Raises:
        ValueError: they are on several devices.
    """
    given = [tensor for tensor in (*weights, h_0, c_0) if tensor is not None]
    dtype = steps.dtype
    for tensor in given:
        if tensor.device != steps.device:
            raise ValueError(
                f"a recurrence needs tensors of one device, got one on {tensor.device} beside one on {steps.device}; "
                "move one of them with .to()"
            )
        if tensor.dtype != dtype:
            dtype = torch.promote_types(dtype, tensor.dtype)
    if steps.dtype == dtype and all(tensor.dtype == dtype for tensor in given):
        return steps, weights, h_0, c_0
    matrix, bias, *optional = weights
    same = Weights(
        matrix.to(dtype), bias.to(dtype), *(None if tensor is None else tensor.to(dtype) for tensor in optional)
    )
    return steps.to(dtype), same, h_0.to(dtype), None if c_0 is None else c_0.to(dtype)


def _check_sizes(spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None) -> None:
    """Check that all tensors are of one recurrence: kernels find numbers by the sizes of others.

    Raises:
        ValueError: one of another size.
    """
    encoder, projection, coeffs = weights.encoder, weights.projection, weights.activation_coeffs
    (batch, out), rows, gates = h_0.shape, layout.offsets[-1], weights.bias.numel()
    hidden = gates // GATES[spec.cell]
    width = spec.inputs + out if encoder is None else encoder.shape[0]
    columns = spec.inputs or (gates if encoder is None else width)
    expected = (
        ("steps", steps, (rows, columns)),
        ("matrix", weights.matrix, (weights.matrix.shape[0], width, hidden * GATES[spec.cell])),
        ("activation_coeffs", coeffs, () if coeffs is None else (len(coeffs), width)),
        ("encoder", encoder, (width, out)),
        ("projection", projection, (out, hidden)),
        ("c_0", c_0, (batch, hidden)),
        ("h_0", h_0, (batch, hidden if projection is None else out)),
    )
    for name, tensor, size in expected:
        if tensor is not None and tensor.shape != size:
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} must be {size} in this recurrence")
    if batch < layout.sizes[0]:
        raise ValueError(f"{batch} initial states are fewer than the {layout.sizes[0]} sequences")


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else in_memory(tensor)


def _forward(spec: Spec, layout: Layout, engine: Engine, keep: bool, tensors: Tensors):
    steps, *fields, h_0, c_0 = tensors
    ran = engine.forward(spec, layout, steps, Weights(*fields), h_0, c_0, keep)
    tape = (None, None, None) if ran.tape is None else ran.tape
    return ran.outputs, ran.h_n, ran.c_n, *tape


def _gradients(
    spec: Spec,
    layout: Layout,
    engine: Engine,
    grads: Tensors,
    kept: Tensors,
    tensors: Tensors,
    needs: Sequence[bool],
) -> Gradients:
    """Gradients of all inputs from those of the results and what the forward pass kept: outputs and tape."""
    _, *fields, h_0, _ = tensors
    weights, (outputs, *tape_fields) = Weights(*fields), kept
    tape = Tape(*tape_fields)
    arriving: list[Any] = [_contiguous(grad) for grad in (*grads, None)[:3]]
    before = layout.previous(outputs, h_0) if tape.latent is None or needs[4] else None
    z: Any = before if tape.latent is None else tape.latent
    found = engine.backward(spec, layout, weights, tape, z, *arriving)
    of_matrix: Tensor | None
    of_bias: Tensor | None
    if engine.features is not None and (needs[1] or needs[2]):
        of_matrix, of_bias = engine.features(spec, weights, z, found.inner)
    else:
        of_matrix = _matrix_gradient(spec, weights, z, found.inner) if needs[1] else None
        of_bias = found.inner.sum(0) if needs[2] else None
    of_coeffs = found.activation_coeffs
    if of_coeffs is None and weights.activation_coeffs is not None and needs[3]:
        of_coeffs = _coeffs_gradient(spec, weights, weights.activation_coeffs, z, found.inner)
    of_encoder = found.steps.mT @ before if weights.encoder is not None and before is not None else None
    of_projection = None if found.hidden is None or not needs[5] else found.hidden.mT @ tape.units()
    return (
        found.steps if needs[0] else None,
        of_matrix if needs[1] else None,
        of_bias if needs[2] else None,
        of_coeffs if needs[3] else None,
        of_encoder,
        of_projection,
        found.h_0 if needs[6] else None,
        found.c_0 if needs[7] else None,
    )


def _matrix_gradient(spec: Spec, weights: Weights, z: Tensor, inner: Tensor) -> Tensor:
    """The gradient of the matrix, as one product over the rows of all steps."""
    if weights.activation_coeffs is None:
        return matrix_gradient(z, weights.matrix, inner, spec.basis, matmul_dtype=spec.matmul_dtype)
    return torch.stack(
        [function.mT @ inner for function in activation_functions(z, spec.basis, weights.activation_coeffs)]
    )


def _coeffs_gradient(spec: Spec, weights: Weights, coeffs: Tensor, z: Tensor, inner: Tensor) -> Tensor:
    """The gradient of the activations' coefficients, as one product over the rows of all steps."""
    grad, basis = inner @ weights.matrix[0].mT, replace(spec.basis, base=None)
    coeffs = coeffs[1:].unsqueeze(-1)
    return torch.cat((grad.sum(0, keepdim=True), matrix_gradient(z, coeffs, grad, basis, diagonal=True).squeeze(-1)))


def _reference_gradients(
    spec: Spec,
    layout: Layout,
    grads: Tensors,
    tensors: Tensors,
    needs: Sequence[bool],
) -> Gradients:
    """As :func:`_gradients`, differentiable, from the inputs alone."""

    def results(steps: Tensor, *others: Any) -> tuple[Tensor, ...]:
        *fields, h_0, c_0 = others
        found = recurrence_reference.run(spec, layout, steps, Weights(*fields), h_0, c_0)
        return tuple(tensor for tensor in found if tensor is not None)

    return tuple(vjp_needed(results, tensors, needs, tuple(grads)))


def _over_batch(info: Any, in_dims: Sequence[Any], function: Callable[..., Any], tensors: Tensors):
    """``function`` of those tensors that are there, under vmap."""
    there = [index for index, tensor in enumerate(tensors) if tensor is not None]

    def call(*values: Tensor) -> Any:
        filled = list(tensors)
        for index, value in zip(there, values, strict=True):
            filled[index] = value
        return function(filled)

    dims = tuple(in_dims[index] for index in there)
    return torch.vmap(call, dims, randomness=info.randomness)(*(tensors[index] for index in there))


def _arriving(ctx: Any, grads: Tensors) -> tuple[list[Tensor], Any, Any, tuple[bool, ...]]:
    """What a backward pass gets: gradients of all results (zeros for None), what was kept, the inputs, their needs."""
    saved = ctx.saved_tensors  # read once: under checkpointing a second reading is an error
    check_readable(*saved)
    tensors, kept = saved[:_INPUTS], saved[_INPUTS:]
    zeros: dict[torch.Size, Tensor] = {}  # one for all of a shape: engines only read them
    for grad, shape in zip(grads, ctx.shapes, strict=False):
        if grad is None and shape not in zeros:
            zeros[shape] = kept[0].new_zeros(shape)
    filled = [zeros[s] if g is None else g for g, s in zip(grads, ctx.shapes, strict=False)]
    return filled, kept, tensors, tuple(ctx.needs_input_grad[4:])


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(spec: Spec, layout: Layout, engine: Engine, keep: bool, *tensors: Tensor | None):
        return _forward(spec, layout, engine, keep, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.spec, ctx.layout, ctx.engine, _, *tensors = inputs
        outputs, _, _, *tape = output
        ctx.mark_non_differentiable(*(kept for kept in tape if kept is not None))
        ctx.set_materialize_grads(False)
        ctx.shapes = [result.shape for result in output[:3] if result is not None]
        ctx.save_for_backward(*tensors, outputs, *tape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        given, kept, tensors, needs = _arriving(ctx, grads)
        if stand_for_batch(*given):
            return *[None] * 4, *_reference_gradients(ctx.spec, ctx.layout, given, tensors, needs)
        found = _Gradients.apply(ctx.spec, ctx.layout, ctx.engine, needs, len(given), *given, *kept, *tensors)
        return *[None] * 4, *found

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], spec: Spec, layout: Layout, engine: Engine, keep: bool, *tensors):
        gru = tensors[-1] is None

        def function(filled: Tensors):
            steps, *fields, h_0, c_0 = filled
            found = recurrence_reference.run(spec, layout, steps, Weights(*fields), h_0, c_0)
            return found[:2] if gru else found

        found = _over_batch(info, in_dims[4:], function, tensors)
        return (*found, *[None] * (6 - len(found))), (*[0] * len(found), *[None] * (6 - len(found)))


class _PlainRecurrence(torch.autograd.Function):
    """:class:`_Recurrence` where no transform of torch.func is at work.

    A context in ``forward`` keeps PyTorch from binding a signature at every call, which takes longer than a small cell.
    """

    @staticmethod
    def forward(ctx: Any, spec: Spec, layout: Layout, engine: Engine, keep: bool, *tensors: Tensor | None):
        outputs, h_n, c_n, *tape = _forward(spec, layout, engine, keep, tensors)
        ctx.spec, ctx.layout, ctx.engine = spec, layout, engine
        ctx.set_materialize_grads(False)
        ctx.shapes = [result.shape for result in (outputs, h_n, c_n) if result is not None]
        ctx.save_for_backward(*tensors, outputs, *tape)
        return outputs, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or stand_for_batch(*grads):
            return _Recurrence.backward(ctx, *grads)
        given, kept, tensors, needs = _arriving(ctx, grads)
        with without_autocast(tensors[0].device):
            return *[None] * 4, *_gradients(ctx.spec, ctx.layout, ctx.engine, given, kept, tensors, needs)


class _Gradients(torch.autograd.Function):
    """Gradients of :class:`_Recurrence` in all inputs; those not needed are None."""

    @staticmethod
    def forward(spec: Spec, layout: Layout, engine: Engine, needs: tuple[bool, ...], results: int, *tensors):
        grads, kept, inputs = tensors[:results], tensors[results : results + 4], tensors[results + 4 :]
        with without_autocast(inputs[0].device):
            if kept[1] is None:  # the forward pass ran under vmap and kept nothing
                return _reference_gradients(spec, layout, grads, inputs, needs)
            return _gradients(spec, layout, engine, grads, kept, inputs, needs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.spec, ctx.layout, _, ctx.needs, ctx.results, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        results, saved = ctx.results, ctx.saved_tensors
        check_readable(*saved)
        inputs = saved[results + 4 :]
        there = [index for index, tensor in enumerate(inputs) if tensor is not None]

        def needed(*values: Tensor) -> tuple[Tensor, ...]:
            filled = list(inputs)
            for index, value in zip(there, values[results:], strict=True):
                filled[index] = value
            found = _reference_gradients(ctx.spec, ctx.layout, values[:results], filled, ctx.needs)
            return tuple(gradient for gradient in found if gradient is not None)

        values = (*saved[:results], *(inputs[index] for index in there))
        found, vjp = torch.func.vjp(needed, *values)[:2]
        upstream = [grad for grad, need in zip(grads, ctx.needs, strict=True) if need]
        filled = tuple(torch.zeros_like(f) if u is None else u for f, u in zip(found, upstream, strict=True))
        gradients = vjp(filled)
        of_inputs: list[Tensor | None] = [None] * len(inputs)
        for index, gradient in zip(there, gradients[results:], strict=True):
            of_inputs[index] = gradient
        return *[None] * 5, *gradients[:results], *[None] * 4, *of_inputs

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], spec: Spec, layout: Layout, engine: Engine, needs, results, *tensors):
        chosen = [*range(results), *range(results + 4, len(tensors))]  # not what was kept

        def function(filled: Tensors):
            found = _reference_gradients(spec, layout, filled[:results], filled[results:], needs)
            return tuple(gradient for gradient in found if gradient is not None)

        dims = in_dims[5:]
        found = iter(_over_batch(info, [dims[k] for k in chosen], function, [tensors[k] for k in chosen]))
        return tuple(next(found) if need else None for need in needs), tuple(0 if need else None for need in needs)


_OPERATION = operation(Passes({engine.name: engine for engine in (*ENGINES.engines, _GUARDED)}, _forward, _gradients))
