"""Gradients by differentiating a formula: for second derivatives and transforms, which kernels lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


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

    gradients = iter(torch.func.vjp(of_wanted, *(tensors[index] for index in wanted))[1](upstream))
    return [next(gradients) if need else None for need in needs]
