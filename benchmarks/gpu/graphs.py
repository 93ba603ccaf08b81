"""CUDA graphs and streams: a captured training step is the eager one, whatever happens between two replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import qkan
from benchmarks.gpu.compare import judged, relative_error, values
from benchmarks.gpu.timing import captured, training
from qkan import QKANLSTM

Make = Callable[[], nn.Module]


def _graph(module: nn.Module, x: Tensor) -> tuple[Callable[[], Any], list[Tensor]]:
    """A captured training step and what it writes; the upstream gradient is ones."""
    step, written = training(module, x, upstream=torch.ones_like), []

    def keep() -> None:
        written[:] = step()

    return captured(keep), written


def _compared(found: list[Tensor], expected: Any, tolerance: float = 1e-6) -> dict[str, Any]:
    pairs = zip(found, expected, strict=True)
    return judged(max(relative_error(a, b.cpu()) for a, b in pairs), tolerance)


def replayed(make: Make, x: Tensor, device: torch.device) -> dict[str, Any]:
    """A graph sees parameters and inputs that were changed in place behind its capture."""
    torch.manual_seed(0)
    module, x = make().to(device), x.to(device)
    replay, written = _graph(module, x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)
        x.mul_(0.5)
    replay()
    # Where nothing can be read back, others compute what a graph holds.
    return _compared([part.clone() for part in written], training(module, x, upstream=torch.ones_like)(), 1e-4)


def after_other_layouts(device: torch.device) -> dict[str, Any]:
    """A graph of a packed batch keeps its constants while caches forget them."""
    module = QKANLSTM(3, 8, reps=1).to(device)
    x = torch.randn(5, 6, 3, device=device)
    replay, written = _graph(module, x)
    replay()
    before = [part.clone() for part in written]
    for steps in range(6, 76):
        module(torch.randn(steps, 2, 3, device=device))
    replay()
    return _compared([part.clone() for part in written], before)


def on_a_side_stream(make: Make, x: Tensor, device: torch.device) -> dict[str, Any]:
    """A step on another stream than the default one."""
    torch.manual_seed(0)
    module, x = make().to(device), x.to(device)
    expected = values(module, x, None)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        found = values(module, x, None)
    torch.cuda.synchronize()
    return _compared(found, expected)


def compiled(make: Make, shape: tuple[int, ...], device: torch.device) -> dict[str, Any]:
    """``torch.compile(mode="reduce-overhead")``, which captures graphs by itself."""
    torch.manual_seed(0)
    module, x = make().to(device), torch.rand(*shape, device=device)
    fast = torch.compile(module, mode="reduce-overhead")
    for _ in range(3):
        torch.compiler.cudagraph_mark_step_begin()
        y = fast(x)
        y = (y[0] if isinstance(y, tuple) else y).clone()
    expected = module(x)
    expected = expected[0] if isinstance(expected, tuple) else expected
    return judged(relative_error(y, expected.cpu()), 1e-4)


def graphed(make: Make, x: Tensor, device: torch.device) -> dict[str, Any]:
    """``qkan.graphed``: inference of new inputs with parameters that were changed in place behind the capture."""
    torch.manual_seed(0)
    module, x = make().to(device), x.to(device)
    run = qkan.graphed(module, x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)
    found, expected = run(0.5 * x), module(0.5 * x)
    found, expected = (y[0] if isinstance(y, tuple) else y for y in (found, expected))
    return judged(relative_error(found, expected.cpu()), 1e-4)
