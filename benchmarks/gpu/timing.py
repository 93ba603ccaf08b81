"""How long a step takes on the device: by events, by replay of a graph, and how much it starts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkan import graphing

#: Bytes that are written between two timed steps, so that none finds its data in the cache: twice that of an H200.
FLUSHED = 2**27
ROUNDS, SECONDS, WARM_UPS = 40, 0.3, 3

Step = Callable[[], Any]


def training(
    module: nn.Module,
    x: Tensor,
    dtype: torch.dtype | None = None,
    upstream: Callable[[Tensor], Tensor] = torch.randn_like,
) -> Step:
    """Forward and backward of a module, with the gradients of its inputs and of all trained parameters.

    Args:
        module: on the device of ``x``.
        x: inputs.
        dtype: of an autocast around the forward pass, or None.
        upstream: makes the gradient of outputs like those that it is given, once.
    """
    x = x.detach().requires_grad_()
    wanted = [x, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    arriving: list[Tensor] = []

    def step() -> tuple[Tensor, ...]:
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            y = module(x)
        y = y[0] if isinstance(y, tuple) else y
        if not arriving:
            arriving.append(upstream(y))
        return torch.autograd.grad(y, wanted, arriving[0])

    return step


def inference(module: nn.Module, x: Tensor) -> Step:
    """The forward pass alone."""

    def step() -> Any:
        with torch.no_grad():
            return module(x)

    return step


def milliseconds(step: Step, device: torch.device) -> float:
    """The median of several runs, each with caches that hold something else."""
    for _ in range(WARM_UPS):
        step()
    flush = torch.empty(FLUSHED // 4 if device.type == "cuda" else 1, dtype=torch.int32, device=device)
    start, taken = time.perf_counter(), []
    while len(taken) < ROUNDS and (len(taken) < 5 or time.perf_counter() - start < SECONDS):
        flush.zero_()
        taken.append(_once(step, device))
    return round(statistics.median(taken), 5)


def _once(step: Step, device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    step()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def captured(step: Step) -> Step:
    """The step as a CUDA graph."""
    return graphing.captured(step, torch.device("cuda", torch.cuda.current_device()))[1]


def launches(step: Step, device: torch.device) -> int | None:
    """Kernels that a step starts, by the profiler; copies are none."""
    if device.type != "cuda":
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    names = [event.name for event in recorded.events() if event.device_type == DeviceType.CUDA]
    return sum(not name.startswith(("Memcpy", "Memset")) for name in names)


def measured(step: Step, device: torch.device, *, graph: bool = True) -> dict[str, Any]:
    """Milliseconds eager and, where it can be captured, as a graph; launches."""
    found: dict[str, Any] = {"ms": milliseconds(step, device), "launches": launches(step, device)}
    if graph and device.type == "cuda":
        try:
            found["graph_ms"] = milliseconds(captured(step), device)
        except (RuntimeError, ValueError) as error:
            found["graph_error"] = f"{type(error).__name__}: {str(error)[:200]}"
    return found
