"""Inference and training steps of small models as CUDA graphs: one launch where a module starts dozens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Step = Callable[..., Any]
#: Runs in front of a capture: constants reach the device, kernels are built, the allocator finds its sizes.
WARM_UPS = 3
#: Largest difference of a captured module from the module itself, over the largest output or 1: other kernels may run
#: in a graph, where nothing can be read back.
TOLERANCE = 1e-3


def graphed(
    module_or_step: Step, example: Tensor | tuple[Tensor, ...], *, modules: tuple[nn.Module, ...] = ()
) -> Graphed:
    """A module's inference, or a training step, captured as a CUDA graph.

    Small models spend their time starting kernels; a graph starts all of them at once. What is captured is fixed: the
    shapes, the branches taken, the addresses of all tensors. Parameters that are updated in place, as optimizers and
    ``load_state_dict`` do, are seen by the next call; a change that a graph would not see raises an error.

    A module runs without gradients, in the mode (training or eval) that it has, and its first result is compared with
    that of the module. A training step is any function of tensors that ends with ``optimizer.step()``, with an
    optimizer made with ``capturable=True`` where it has that option and ``zero_grad(set_to_none=False)``; it is run
    four times with the example, on the way to its capture, so parameters move as in four steps.

    Args:
        module_or_step: a module, or a function of as many tensors as ``example`` has.
        example: a tensor, or a tuple of the arguments, on a CUDA device. Later calls have the same shapes and dtypes.
        modules: those that a step trains, to watch for changes that a graph would not see.

    Returns:
        a function of such tensors. It returns what the module or step returned, copied.

    Raises:
        TypeError: neither a module nor a function; an example that holds something else than tensors.
        ValueError: an example that is not on a CUDA device; a module whose graph computes something else than itself.
    """
    if not callable(module_or_step):
        raise TypeError(f"graphed needs a module or a function of tensors, got {type(module_or_step).__name__}")
    given = example if isinstance(example, tuple) else (example,)
    for tensor in given:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"example must be a tensor or a tuple of tensors, and holds a {type(tensor).__name__}")
        _check_device(tensor.device)
    watched = (module_or_step, *modules) if isinstance(module_or_step, nn.Module) else modules
    return Graphed(module_or_step, given, watched)


class Graphed:
    """What :func:`graphed` returns.

    Args:
        step: what is captured.
        example: its arguments.
        modules: what is watched.
    """

    def __init__(self, step: Step, example: tuple[Tensor, ...], modules: tuple[nn.Module, ...]) -> None:
        self._inputs = tuple(tensor.detach().clone() for tensor in example)
        self._modules = modules
        inference = isinstance(step, nn.Module)

        def run() -> Any:
            with torch.set_grad_enabled(not inference):
                return step(*self._inputs)

        expected = run() if inference else None
        self._outputs, self._replay = _captured(run, self._inputs[0].device)
        self._known = dict(_fixed(modules))
        if inference:
            self._replay()
            _check_equal(self._outputs, expected)

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the graph.

        Args:
            inputs: tensors like those of the example.

        Returns:
            what was captured, copied.

        Raises:
            ValueError: other inputs than the example's, or modules that have changed where the graph cannot see it.
        """
        if len(inputs) != len(self._inputs):
            raise ValueError(f"this graph was captured with {len(self._inputs)} tensors, got {len(inputs)}")
        for place, (given, kept) in enumerate(zip(inputs, self._inputs, strict=True)):
            if given.shape != kept.shape or given.dtype != kept.dtype or given.device != kept.device:
                raise ValueError(
                    f"input {place} is {_described(given)}, but this graph was captured with {_described(kept)}; call "
                    "qkan.graphed again with an example of the new size"
                )
        self._check_modules()
        for given, kept in zip(inputs, self._inputs, strict=True):
            kept.copy_(given)
        self._replay()
        return _copied(self._outputs)

    def _check_modules(self) -> None:
        now = dict(_fixed(self._modules))
        if now != self._known:
            name = next(n for n in (*now, *self._known) if now.get(n) != self._known.get(n))
            raise ValueError(
                f"{name} has changed since the capture (moved to other memory, added, removed, another mode or need of "
                "a gradient), which a graph cannot see; call qkan.graphed again"
            )


def _check_device(device: torch.device) -> None:
    if device.type != "cuda":
        raise ValueError(
            f"graphed captures CUDA graphs, which need tensors on a CUDA device, not on {device.type!r}; move the "
            "module and the example there, or call the module itself"
        )


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}"


def _fixed(modules: tuple[nn.Module, ...]) -> Iterator[tuple[str, Any]]:
    """What a graph has taken for fixed, by name: addresses of parameters and buffers, modes."""
    for place, module in enumerate(modules):
        prefix = "" if len(modules) == 1 else f"modules[{place}]."
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield prefix + name, (tensor.data_ptr(), tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
        for name, part in module.named_modules():
            yield f"the mode of {prefix}{name or 'the module'}", part.training


def _captured(run: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
    """Results that stay where they are, and what computes them anew."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = run()
    return outputs, graph.replay


def _tensors(results: Any) -> list[Tensor]:
    if isinstance(results, Tensor):
        return [results]
    return [tensor for part in results for tensor in _tensors(part)] if isinstance(results, tuple | list) else []


def _copied(results: Any) -> Any:
    if isinstance(results, Tensor):
        return results.clone()
    return type(results)(_copied(part) for part in results) if isinstance(results, tuple | list) else results


def _check_equal(found: Any, expected: Any) -> None:
    for value, truth in zip(_tensors(found), _tensors(expected), strict=True):
        scale = max(1.0, float(truth.detach().abs().max())) if truth.numel() else 1.0
        error = float((value.detach() - truth.detach()).abs().max()) / scale if truth.numel() else 0.0
        if not error <= TOLERANCE:
            raise ValueError(
                f"the graph of this module differs from the module by {error:.3g} of the largest output, and "
                f"{TOLERANCE:.3g} is allowed; a module that draws random numbers or reads values back (dropout in "
                "training mode, loops that depend on data) cannot be captured: call .eval(), or the module itself"
            )
