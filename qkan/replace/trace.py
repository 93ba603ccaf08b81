"""What a module does with one input: which of its children run, in which order, on what.

The forward pass of a module cannot be read from its children alone (two linear maps may be an MLP, an MLP with a
residual connection, or the ends of an attention), so the search for MLP blocks runs it once on made-up numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qkan._util.train_mode import modes_kept


@dataclass(frozen=True)
class Call:
    """One call of a child: the child, its first input and its output, as they were then."""

    child: nn.Module
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class Trace:
    """The calls of a module's direct children in the order in which they ended, its first input and its output."""

    calls: tuple[Call, ...]
    input: Tensor
    output: Tensor

    def of(self, child: nn.Module) -> Call | None:
        """The only call of a child; None if there is none or more than one."""
        found = [call for call in self.calls if call.child is child]
        return found[0] if len(found) == 1 else None


def same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold equal values; on the meta device, which holds none, equal shapes."""
    return a is b or (a.shape == b.shape and (a.is_meta or torch.equal(a, b)))


class _Copies:
    """Copies of tensors, one of each until it is changed in place, as ``y += x`` does: then it is another one."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, tensor: Tensor) -> Tensor:
        version = 0 if tensor.is_inference() else tensor._version
        key = id(tensor), version
        if key not in self._made:
            self._made[key] = tensor, tensor.clone()  # the tensor is kept, so that no other one takes its id
        return self._made[key][1]


def numbers(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Fixed numbers in [-1, 1] of the dtype and device of ``like``; no random stream is touched."""
    return torch.arange(math.prod(shape), device=like.device).mul(0.7).add(0.3).sin().to(like.dtype).reshape(shape)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a module and all within, without gradients; then every mode as it was."""
    with modes_kept(module), torch.no_grad():
        for each in module.modules():
            each.training = False
        yield


def trace(module: nn.Module, *inputs: Tensor) -> Trace | None:
    """Run a module in eval mode; None if it cannot be run on these inputs, or gives something else than a tensor."""
    calls: list[Call] = []
    reading: list[Tensor | None] = []  # what children that have not ended yet were given
    as_it_is = _Copies()
    begun = as_it_is(inputs[0])

    def begin(child: nn.Module, given: tuple[object, ...]) -> None:
        reading.append(as_it_is(given[0]) if given and isinstance(given[0], Tensor) else None)

    def end(child: nn.Module, given: tuple[object, ...], output: object) -> None:
        read = reading.pop()
        if read is not None and isinstance(output, Tensor):
            calls.append(Call(child, read, as_it_is(output)))

    children = list(module.children())
    hooks = [child.register_forward_pre_hook(begin) for child in children]
    hooks += [child.register_forward_hook(end) for child in children]
    try:
        with evaluating(module):
            output = module(*inputs)
    except Exception:  # noqa: BLE001  (a module that fails on such an input is not what is searched for, whatever fails)
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(tuple(calls), begun, as_it_is(output)) if isinstance(output, Tensor) else None


def trace_tokens(module: nn.Module, features: int, like: Tensor) -> Trace | None:
    """The trace of a module that maps every row of (..., features) on its own; None if it does not.

    Args:
        module: what to run.
        features: last size of its input.
        like: of its dtype and on its device.
    """
    for shape in ((1, 3, features), (3, features)):  # a batch norm takes rows only
        # The middle row: what comes before and what comes after it must not count.
        whole = _trace_alone(module, numbers(shape, like), (..., slice(1, 2), slice(None)))
        if whole is not None and whole.output.shape[:-1] == shape[:-1]:
            return whole
    return None


def trace_pixels(module: nn.Module, features: int, like: Tensor) -> Trace | None:
    """The trace of a module that maps every pixel of (batch, features, height, width) on its own; None if it does not.

    Args:
        module: what to run.
        features: channels of its input.
        like: of its dtype and on its device.
    """
    shape = (1, features, 3, 3)
    whole = _trace_alone(module, numbers(shape, like), (..., slice(1, 2), slice(1, 2)))
    return whole if whole is not None and whole.output.shape[2:] == shape[2:] else None


def _trace_alone(module: nn.Module, x: Tensor, place: tuple[Any, ...]) -> Trace | None:
    """The trace of a module that maps what is at a place of ``x`` as it does without all else; None if it does not."""
    whole, alone = trace(module, x), trace(module, x[place])
    if whole is None or alone is None or whole.output.dim() != x.dim():
        return None
    a, b = whole.output[place], alone.output
    if a.shape != b.shape:
        return None
    slack = 100 * torch.finfo(a.dtype).eps
    equal = a.is_meta or torch.allclose(a, b, rtol=slack, atol=slack * float(a.abs().max().clamp_min(1e-30)))
    return whole if equal else None
