"""One training step, forward and backward, or inference: how long it takes and how much memory it needs.

Torch and the standard library only, and nothing of this package: the processes of
:mod:`benchmarks.harness.peer_worker`, whose environments do not have it, load this file by its path, so that all
candidates are measured by the same lines.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

FEWEST_ROUNDS = 3
WARM_UPS = 2
#: A candidate at one size takes at least so many steps: one for its memory, one for its errors, warm-ups and rounds.
FEWEST_STEPS = 2 + WARM_UPS + FEWEST_ROUNDS
TIMED_SECONDS = 10.0  # of one candidate at one size; fewer rounds where a step is slow, but FEWEST_ROUNDS
_UNTIMED_BELOW = 0.2  # seconds: faster steps are run once more, untimed, in front of every timed one
_SHARE_OF_FREE_MEMORY = 0.7
_CLIMB = 4


class TooLargeError(Exception):
    """A step would take more memory or time than there is."""


@dataclass(frozen=True)
class Cost:
    """Of one step: the peak of its memory beyond parameters, inputs and gradients, and its seconds, not warmed up."""

    extra_bytes: int
    seconds: float


@dataclass(frozen=True)
class Limits:
    """What the measurements of one candidate at one size may take.

    Attributes:
        rounds: timed steps, at most.
        seconds: of all its steps, about.
        room: bytes of memory for one step.
    """

    rounds: int
    seconds: float
    room: int

    @property
    def longest_step(self) -> float:
        """Seconds."""
        return self.seconds / FEWEST_STEPS


class Step:
    """Forward, then the gradients of sum(output * upstream) with respect to the inputs and all trained parameters.

    Nothing accumulates, so every call does the same work.

    Args:
        module: maps the inputs to one tensor, or to several of which the first counts.
        inputs: what it is given; requires a gradient.
        upstream: of the shape of the output.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, upstream: Tensor) -> None:
        self.module, self.upstream = module, upstream
        self.wanted = [inputs, *(parameter for parameter in module.parameters() if parameter.requires_grad)]

    def forward(self) -> Tensor:
        """The output."""
        output = self.module(self.wanted[0])
        return output[0] if isinstance(output, tuple) else output

    def backward(self, output: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the inputs and of every trained parameter, in the order of ``module.parameters()``."""
        return torch.autograd.grad(output, self.wanted, self.upstream)

    def __call__(self) -> tuple[Tensor, ...]:
        """Both passes."""
        return self.backward(self.forward())


def inference(step: Step) -> Callable[[], Tensor]:
    """The forward pass of a step without gradients; its module is in eval mode from now on."""
    step.module.eval()
    return torch.no_grad()(step.forward)


def draw(shape: Sequence[int], distribution: str, bound: float, seed: int) -> Tensor:
    """Random numbers, float32 on the CPU: ``"uniform"`` on [-bound, bound] or standard ``"normal"``."""
    generator = torch.Generator().manual_seed(seed)
    if distribution == "normal":
        return torch.randn(*shape, generator=generator)
    return bound * (2 * torch.rand(*shape, generator=generator) - 1)


def reason_of(error: Exception) -> str:
    """Why something did not run, in one line: the name of the error and its first line."""
    if isinstance(error, TooLargeError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "not enough memory"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:200]}".removesuffix(": ")


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Run a step and return its seconds, until the device is done."""
    _synchronise(device)
    start = time.perf_counter()
    step()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_bytes(device: torch.device) -> int:
    """Memory that a step may take: a share of what is free on the device, or here and in the control group."""
    free: float
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = min(_free_here(), _free_in_control_group())
    return int(_SHARE_OF_FREE_MEMORY * free)


def _free_here() -> float:
    table = Path("/proc/meminfo")
    if table.exists():
        facts = dict(line.split(":", 1) for line in table.read_text().splitlines() if ":" in line)
        return 1024 * float(facts["MemAvailable"].split()[0])
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 2  # no system tells what is free


def _free_in_control_group(folder: Path = Path("/sys/fs/cgroup")) -> float:
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return float("inf") if limit == "max" else float(limit) - float(used)
    except (OSError, ValueError):
        return float("inf")  # no control group of this kind limits the process


def cost_of(step: Step, device: torch.device) -> Cost:
    """Measure the memory of a step, and its seconds as they are without a warm-up.

    On a CPU every allocation and every release of PyTorch's allocator is replayed, so the peak is exact; what
    libraries such as oneDNN take past that allocator is not seen. On a CUDA device it comes from the allocator's peaks
    in the forward pass and, less all gradients, in the backward pass: it can be too small by gradients that did not
    exist yet at that peak.
    """
    return _cost_on_cuda(step, device) if device.type == "cuda" else _cost_on_cpu(step)


def _cost_on_cpu(step: Step) -> Cost:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would report its own start and end on the screen
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        start = time.perf_counter()
        gradients = step()
        seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    results = {gradient.untyped_storage().data_ptr() for gradient in gradients}
    return Cost(peak_of(_allocations(events), results), seconds)


def _allocations(events: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Address and bytes (negative: a release) of the memory events of a trace, in the order of time."""
    found = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    found.sort(key=lambda event: float(event["ts"]))
    return [(event["args"]["Addr"], event["args"]["Bytes"]) for event in found]


def peak_of(allocations: Sequence[tuple[int, int]], results: set[int]) -> int:
    """Largest number of bytes in use at a time, without what stays allocated at the addresses of ``results``.

    Releases of memory from before the first allocation do not count.
    """
    last = {address: index for index, (address, size) in enumerate(allocations) if size > 0}
    in_use: dict[int, int] = {}
    now = peak = 0
    for index, (address, size) in enumerate(allocations):
        if size < 0:
            now -= in_use.pop(address, 0)
        elif not (address in results and last[address] == index):
            in_use[address] = size
            now += size
            peak = max(peak, now)
    return peak


def _cost_on_cuda(step: Step, device: torch.device) -> Cost:
    gc.collect()  # what is released during the step would count
    _synchronise(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    start = time.perf_counter()
    output = step.forward()
    forward_peak = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.reset_peak_memory_stats(device)
    gradients = step.backward(output)
    backward_peak = torch.cuda.max_memory_allocated(device) - before
    _synchronise(device)
    seconds = time.perf_counter() - start
    returned = sum(gradient.untyped_storage().nbytes() for gradient in gradients)
    return Cost(max(forward_peak, backward_peak - returned), seconds)


def cost_within(step_of: Callable[[int], Step], rows: int, device: torch.device, limits: Limits) -> Cost:
    """Measure a step of ``rows`` rows, approached from a few rows on, so that no step beyond the limits is begun.

    Args:
        step_of: makes a step of the first so many rows.
        rows: of the whole step.
        device, limits: where it runs, and what it may take.

    Raises:
        TooLargeError: it would need more than the limits.
    """
    taken = min(rows, max(1, rows // _CLIMB**5))
    following = min(rows, 2 * taken)  # two sizes near each other tell what grows with the rows and what does not
    before, done = Cost(0, 0.0), 0
    while True:
        step = step_of(taken)
        cost = cost_of(step, device)
        more = (following - taken) / (taken - done)
        part = "a step" if taken == rows else f"{taken:,} of {rows:,} rows"
        if taken < rows and cost.extra_bytes + more * (cost.extra_bytes - before.extra_bytes) > limits.room:
            need, room = (f"{number / 2**30:.1f} GiB" for number in (cost.extra_bytes, limits.room))
            raise TooLargeError(f"not enough memory: {part} need {need}, and a step may take {room}")
        seconds = cost.seconds
        if seconds + more * max(0, seconds - before.seconds) > limits.longest_step:
            seconds = min(seconds, seconds_of(step, device))  # the first run may have compiled something
        if seconds + more * max(0, seconds - before.seconds) > limits.longest_step:
            took, may_take = f"{seconds:.2g} s", f"{limits.longest_step:.2g} s"
            raise TooLargeError(f"too slow: {part} took {took}, and a step may take {may_take}")
        if taken == rows:
            return cost
        before, done, taken = Cost(cost.extra_bytes, seconds), taken, following
        following = min(rows, _CLIMB * taken)


def time_in_turns(
    steps: Mapping[str, Callable[[], object]], device: torch.device, limits: Limits
) -> dict[str, list[float]]:
    """Seconds of every step, in rounds in which all take their turn, so that noise hits all alike.

    Every round begins with another one. A fast step runs untimed in front of every timed run, so that it finds its own
    data in the caches and not those of the one before. A slow one stops after :data:`TIMED_SECONDS`.
    torch.utils.benchmark times one statement at a time, with two warm-ups in front of each measurement, so candidates
    could not take turns and slow ones would take three times as long.
    """
    expected = {name: min(seconds_of(step, device) for _ in range(WARM_UPS)) for name, step in steps.items()}
    due = {
        name: min(limits.rounds, max(FEWEST_ROUNDS, int(TIMED_SECONDS / max(seconds, 1e-9))))
        for name, seconds in expected.items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(max(due.values(), default=0)):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                if turn >= due[name]:
                    continue
                if expected[name] < _UNTIMED_BELOW:
                    steps[name]()
                times[name].append(seconds_of(steps[name], device))
    finally:
        if collecting:
            gc.enable()
    return times
