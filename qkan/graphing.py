"""Inference and training steps of small models as CUDA graphs: one launch where a module starts dozens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils._pytree import tree_leaves, tree_map_only

from qkan.kernels.common.host_sync import as_in_a_graph

Step = Callable[..., Any]
#: Runs in front of a capture, as in it: constants reach the device, kernels are built, the allocator finds its sizes.
WARM_UPS = 3
#: Largest difference of a captured module from the module itself, over the largest output or 1: other kernels may run
#: in a graph, where nothing can be read back.
TOLERANCE = 1e-3


def graphed(
    module_or_step: Step, example: Tensor | tuple[Tensor, ...], *, modules: tuple[nn.Module, ...] = ()
) -> Graphed:
    """A module's inference, or a training step, captured as a CUDA graph.

    Small models spend their time starting kernels; a graph starts all of them at once. What is captured is fixed: the
    shapes, the branches taken, the addresses of all tensors, the precision: switches for TF32 and an autocast around
    later calls change nothing. Parameters that are updated in place, as optimizers and ``load_state_dict`` do, are seen
    by the next call; a change that a graph would not see raises an error, also one of an optimizer that steps in it:
    its ``load_state_dict``, which makes new tensors, or another learning rate, unless that is a tensor. A graph has one
    place for inputs and results: a call on another stream has to wait for the one before.

    A module runs without gradients, in the mode (training or eval) that it has, and its first result is compared with
    that of the module. A training step is any function of tensors that ends with ``optimizer.step()``, with an
    optimizer made with ``capturable=True`` where it has that option and ``zero_grad(set_to_none=False)``; it is run
    three times with the example in front of its capture, so parameters move as in three steps.

    Args:
        module_or_step: a module, or a function of as many tensors as ``example`` has.
        example: a tensor, or a tuple of the arguments, on a CUDA device. Later calls have the same shapes and dtypes.
            A step sees tensors that need a gradient where those of the example do.
        modules: those that a step trains, to watch for changes that a graph would not see.

    Returns:
        a function of such tensors. It returns what the module or step returned, with copies of its tensors.

    Raises:
        TypeError: neither a module nor a function; an example that holds something else than tensors; ``modules`` that
            are no tuple of modules; results that are no tensors in tuples, lists and dicts.
        ValueError: an example without tensors or not on a CUDA device; what cannot be captured; a module whose graph
            computes something else than itself.

    Examples:
        >>> import torch
        >>> import qkan
        >>> model = qkan.QKAN([4, 8, 2])
        >>> if torch.cuda.is_available():
        ...     fast = qkan.graphed(model.cuda().eval(), torch.rand(32, 4, device="cuda"))
    """
    if not callable(module_or_step):
        raise TypeError(
            f"graphed needs a module or a function of tensors, got {type(module_or_step).__name__}; pass one"
        )
    if not isinstance(modules, tuple) or not all(isinstance(module, nn.Module) for module in modules):
        raise TypeError(f"modules must be a tuple of modules, as (model,), got {type(modules).__name__}")
    given = example if isinstance(example, tuple) else (example,)
    if not given:
        raise ValueError("example must hold at least one tensor, got an empty tuple; give the step's input as one")
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
        inference = isinstance(step, nn.Module)
        with torch.inference_mode(False):  # what it makes could be written to inside of it alone
            self._inputs = tuple(t.detach().clone().requires_grad_(t.requires_grad and not inference) for t in example)
        self._modules = modules

        def run() -> Any:
            with torch.set_grad_enabled(not inference), _casts_anew():
                return step(*self._inputs)

        expected = run() if inference else None
        with _optimizers_that_step() as self._optimizers:
            self._outputs, self._replay = captured(run, self._inputs[0].device)
        _check_results(self._outputs)
        # A graph knows addresses alone. What the step holds, as the state of its optimizer, and the gradients that it
        # has written to must stay where they are, whoever else forgets them.
        self._kept = run, [p.grad for module in modules for p in module.parameters()]
        self._known = self._fixed()
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
            ValueError: other inputs than the example's, or modules or optimizers that have changed where the graph
                cannot see it.
        """
        if len(inputs) != len(self._inputs):
            raise ValueError(
                f"this graph was captured with {len(self._inputs)} tensors, got {len(inputs)}; give as many"
            )
        for place, (given, kept) in enumerate(zip(inputs, self._inputs, strict=True)):
            if given.shape != kept.shape or given.dtype != kept.dtype or given.device != kept.device:
                raise ValueError(
                    f"input {place} is {_described(given)}, but this graph was captured with {_described(kept)}; call "
                    "qkan.graphed again with an example of the new size"
                )
        self._check_unchanged()
        with torch.no_grad():  # autograd would note every copy, and refuse one to a tensor that needs a gradient
            for given, kept in zip(inputs, self._inputs, strict=True):
                kept.copy_(given)
        self._replay()
        return _copied(self._outputs)

    def _fixed(self) -> dict[str, Any]:
        return dict((*_fixed_in_modules(self._modules), *_fixed_in_optimizers(self._optimizers)))

    def _check_unchanged(self) -> None:
        now = self._fixed()
        if now != self._known:
            name = next(n for n in (*now, *self._known) if now.get(n) != self._known.get(n))
            raise ValueError(
                f"{name} has changed since the capture (moved to other memory, added, replaced, removed, another mode, "
                "value or need of a gradient), which a graph cannot see; call qkan.graphed again"
            )


@contextmanager
def _optimizers_that_step() -> Iterator[list[Optimizer]]:
    """The optimizers that take steps inside."""
    found: list[Optimizer] = []

    def note(optimizer: Optimizer, *given: Any) -> None:
        if all(known is not optimizer for known in found):
            found.append(optimizer)

    hook = register_optimizer_step_post_hook(note)
    try:
        yield found
    finally:
        hook.remove()


def _check_device(device: torch.device) -> None:
    if device.type != "cuda":
        raise ValueError(
            f"graphed captures CUDA graphs, which need tensors on a CUDA device, not on {device.type!r}; move the "
            "module and the example there, or call the module itself"
        )


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}"


def _fixed_in_modules(modules: tuple[nn.Module, ...]) -> Iterator[tuple[str, Any]]:
    """What a graph has taken for fixed, by name: addresses of parameters and buffers, parts and their modes."""
    for place, module in enumerate(modules):
        prefix = "" if len(modules) == 1 else f"modules[{place}]."
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield prefix + name, (tensor.data_ptr(), tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
        for name, part in module.named_modules():
            yield f"the mode of {prefix}{name or 'the module'}", part.training
            yield prefix + (name or "the module"), part


def _fixed_in_optimizers(optimizers: Sequence[Optimizer]) -> Iterator[tuple[str, Any]]:
    """The same of optimizers: what groups of parameters have beside these, and addresses of the state."""
    for place, optimizer in enumerate(optimizers):
        owner = f"{type(optimizer).__name__}" + (f" {place}" if place else "")
        for number, group in enumerate(optimizer.param_groups):
            for key, value in group.items():
                if key != "params":
                    yield f"{key} of {owner} (group {number})", _address_or_value(value)
            for index, parameter in enumerate(group["params"]):
                for key, value in optimizer.state.get(parameter, {}).items():
                    yield f"{key} of {owner} (group {number}, parameter {index})", _address_or_value(value)


def _address_or_value(value: Any) -> Any:
    return value.data_ptr() if isinstance(value, Tensor) else value


@contextmanager
def _casts_anew() -> Iterator[None]:
    """Let an autocast around the call keep no rounded parameters: a graph would take them for constants."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def captured(run: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
    """Results that stay where they are, and what computes them anew."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), as_in_a_graph():
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = run()
        except (RuntimeError, ValueError) as error:  # the runs in front of it went well
            # Ending a capture that has failed raises another error.
            cause = str(error.__context__ or error).partition("\n")[0]
            raise ValueError(
                f"this cannot be captured as a CUDA graph: {cause}; nothing may be read back from the device or copied "
                "to it (.item(), .cpu(), print, torch.tensor, optimizers without capturable=True)"
            ) from error
    return outputs, graph.replay


def _check_results(results: Any) -> None:
    for part in tree_leaves(results):
        if not isinstance(part, Tensor | int | float | str | None):
            raise TypeError(
                f"a graph gives back tensors in tuples, lists and dicts, and this returns a {type(part).__name__}; "
                "return its tensors"
            )


def _copied(results: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, results)


def _check_equal(found: Any, expected: Any) -> None:
    for value, truth in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if not isinstance(truth, Tensor) or not truth.numel():
            continue
        value, truth = value.detach().double(), truth.detach().double()
        error = float((value - truth).abs().max()) / max(1.0, float(truth.abs().max()))
        if not error <= TOLERANCE:
            raise ValueError(
                f"the graph of this module differs from the module by {error:.3g} of the largest output, and "
                f"{TOLERANCE:.3g} is allowed; a module that draws random numbers or reads values back (dropout in "
                "training mode, loops that depend on data) cannot be captured: call .eval(), or the module itself"
            )
