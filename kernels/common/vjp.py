"""Gradients by differentiating a formula: for second derivatives and transforms, which kernels lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.common.tensors import without_autocast

_is_batched = torch._C._functorch.is_legacy_batchedtensor


def vjp_needed(
    function: Callable[..., Any], tensors: Sequence[Tensor | None], needs: Sequence[bool], upstream: Any
) -> list[Tensor | None]:
    """Differentiable gradients of ``function(*tensors)`` in those tensors that need one, None for the others.

    Args:
        function: of all the tensors; gives what ``upstream`` has gradients of.
        tensors: its arguments, None for missing ones.
        needs: which gradients are wanted.
        upstream: gradients of what the function gives, a tensor or a tuple of them.
    """
    wanted = [index for index, need in enumerate(needs) if need]

    def of_wanted(*values: Tensor) -> Any:
        filled = list(tensors)
        for index, value in zip(wanted, values, strict=True):
            filled[index] = value
        return function(*filled)

    given, upstreams = [tensors[index] for index in wanted], upstream if isinstance(upstream, tuple) else (upstream,)
    with without_autocast(upstreams[0].device):
        if stand_for_batch(*upstreams):
            found: Any = _by_autograd(of_wanted, given, upstream)
        else:
            found = torch.func.vjp(of_wanted, *given)[1](upstream)
    gradients = iter(found)
    return [next(gradients) if need else None for need in needs]


def stand_for_batch(*gradients: Tensor | None) -> bool:
    """Whether one of them stands for many, as with ``is_grads_batched`` of torch.autograd.grad.

    These are no tensors of torch.func: they have no address, nothing can be added to others in place, and transforms of
    torch.func do not take them.
    """
    return not torch.compiler.is_compiling() and any(grad is not None and _is_batched(grad) for grad in gradients)


def _by_autograd(function: Callable[..., Any], tensors: Sequence[Tensor | None], upstream: Any) -> list[Tensor]:
    """Gradients of ``function(*tensors)``, from the graph of it."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        # Others than the tensors themselves, of which one may have been made of another.
        inputs = [
            tensor.view_as(tensor) if create and tensor.requires_grad else tensor.detach().requires_grad_()
            for tensor in tensors
            if tensor is not None
        ]
        results = function(*inputs)
    found = torch.autograd.grad(results, inputs, upstream, create_graph=create, allow_unused=True)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, found, strict=True)]
