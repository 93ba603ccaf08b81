"""The devices that Triton kernels run on, and what happens where they do not; imports without Triton.

A card that is too old, a machine without a C compiler (Triton builds the code that starts kernels at the first one) and
a kernel that does not compile end alike: a backend that was asked for by name raises, and ``auto`` computes in PyTorch
from then on and says so once.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

#: What older NVIDIA cards lack: TF32 and bfloat16 products, and registers enough for these tiles.
MIN_CAPABILITY = (8, 0)


class Problem(str):
    """A reason why kernels do not run that a user can do something about; ``auto`` warns of it."""


class KernelUnavailableError(ValueError):
    """Triton could not build or start a kernel, for ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; use backend 'auto', which then computes in PyTorch")
        self.reason = reason


#: What could not be built in this process, by kind of kernel and device.
_failed: dict[tuple[str, torch.device], Problem] = {}
_warned: set[str] = set()


def warn_once(reason: str) -> None:
    """Say, once a process, why ``auto`` computes in PyTorch."""
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"backend 'auto' computes in PyTorch: {reason}", UserWarning, stacklevel=2)


#: Looked for once: that takes longer than starting a kernel. Not by functools, which compilers warn of.
_INSTALLED = find_spec("triton") is not None


def triton_installed() -> bool:
    """Whether the package is there."""
    return _INSTALLED


def runs_kernels(device: torch.device) -> bool:
    """Whether Triton starts kernels on tensors of a device: CUDA and ROCm ones, and a CPU's if it interprets them."""
    return device.type == "cuda" or (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


def no_triton(device: torch.device, what: str, instead: str = "") -> str | None:
    """Why Triton starts no kernel at all on a device, or None; what would help is to move ``what``, or ``instead``."""
    if not runs_kernels(device):
        return (
            f"its kernels run on CUDA and ROCm devices, not on {device.type!r}; move the {what} there, "
            f"{instead and instead + ', '}or set TRITON_INTERPRET=1 before Python starts to interpret them slowly"
        )
    if not triton_installed():
        return f"Triton is not installed; install it (pip install triton){instead and ' or ' + instead}"
    return None


def device_problem(device: torch.device, family: str) -> Problem | None:
    """Why kernels of a kind do not run on a device that Triton has a backend for, or None if nothing is known."""
    if (failed := _failed.get((family, device))) is not None:
        return failed
    if device.type != "cuda" or torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing():
        return None
    return card_problem(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=64)
def card_problem(index: int) -> Problem | None:
    """Why Triton kernels do not run on a card: its age, or that not even the smallest kernel can be built or loaded."""
    device = torch.device("cuda", index)
    if not torch.version.hip and (capability := torch.cuda.get_device_capability(device)) < MIN_CAPABILITY:
        return Problem(
            f"{torch.cuda.get_device_name(device)} has compute capability {'.'.join(map(str, capability))}, and the "
            f"Triton kernels need {'.'.join(map(str, MIN_CAPABILITY))}"
        )
    try:
        with launching("probe", device):
            build_probe()
    except KernelUnavailableError:
        return _failed["probe", device]
    return None


def build_probe() -> None:
    """Compile and load a kernel for the current device, without starting it."""
    from qkan.kernels.common.triton_probe import probe_kernel

    getattr(probe_kernel.warmup(torch.float32, grid=(1,)), "_init_handles", lambda: None)()


class launching(AbstractContextManager[None]):  # noqa: N801 - read as `with launching(...)`
    """Launches inside are on ``device``; one that fails is remembered, and raises :class:`KernelUnavailableError`."""

    def __init__(self, family: str, device: torch.device) -> None:
        self.family, self.device, self.guard = family, device, on_device(device)

    def __enter__(self) -> None:
        self.guard.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.guard.__exit__(kind, error, trace)
        # Memory may be there next time, and what a device reports later is no matter of building.
        passing = isinstance(error, torch.OutOfMemoryError) or str(error).startswith("CUDA error")
        if isinstance(error, Exception) and not passing:
            reason = Problem(f"Triton cannot build or start its {self.family} on {self.device}: {_in_words(error)}")
            _failed[self.family, self.device] = reason
            raise KernelUnavailableError(reason) from error


def _in_words(error: Exception) -> str:
    """The error in a line, with what would help."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {line[:200]}"
    if isinstance(error, subprocess.SubprocessError) or "C compiler" in line:
        text += "; install a C compiler and Python's headers (apt install gcc python3-dev)"
    return text


def falling_back(engine: Any, other: Any) -> Any:
    """``engine`` as ``auto`` takes it: where a kernel of its passes cannot be built, ``other`` computes them."""

    def guarded(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            try:
                return first(*args)
            except KernelUnavailableError as error:
                warn_once(error.reason)
                return second(*args)

        return run

    passes = {name: guarded(getattr(engine, name), getattr(other, name)) for name in ("forward", "backward")}
    return engine._replace(name=f"{engine.name}-or-{other.name}", **passes)


def lanes(device: torch.device) -> int:
    """Lanes of a warp: 32, or 64 on AMD's data-centre chips."""
    if device.type != "cuda":
        return 32
    return _device_lanes(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=64)
def _device_lanes(index: int) -> int:
    from triton.runtime import driver

    with torch.cuda.device(index):
        return driver.active.get_current_target().warp_size


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, wherever the tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def register_bound(registers: int, lanes: int) -> dict[str, int]:
    """The option that gives a lane so many registers: without it NVIDIA's assembler aims at more programs a
    multiprocessor and spills for that. AMD's compiler knows no such option, whatever the lanes of a warp.
    """
    return {} if lanes == 64 or torch.version.hip else {"maxnreg": registers}
