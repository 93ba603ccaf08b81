"""Kernels as they are started, compiled for cards that are not here by a driver that loads and runs nothing.

What a launch does before the device is real: arguments are bound and told apart, options are read, the kernel is
compiled down to machine code, and its shared memory is held against what a block of the card may have.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu.record import Cases
from benchmarks.gpu.stand_in import on_meta, training_step

#: Backend, architecture, lanes of a warp and bytes of shared memory that a block may have.
TARGETS: dict[str, tuple[str, Any, int, int]] = {
    "sm_80": ("cuda", 80, 32, 166912),
    "sm_86": ("cuda", 86, 32, 101376),
    "sm_90": ("cuda", 90, 32, 232448),
    "sm_120": ("cuda", 120, 32, 101376),
    "gfx942": ("hip", "gfx942", 64, 65536),
    "gfx1100": ("hip", "gfx1100", 32, 65536),
}


def steps() -> dict[str, Callable[[], Any]]:
    """A training step that starts every kernel of a family."""
    from qkan import QKANLSTM, GroupRational, QKANLayer

    layer = partial(QKANLayer, 16, 32, 2, device="meta")
    return {
        "circuits": lambda: training_step(layer(backend="triton"), 256, 16),
        "expansions": lambda: training_step(layer(backend="spectral"), 65536, 16),
        "small layers": lambda: training_step(layer(backend="spectral"), 64, 16),
        "recurrences": lambda: training_step(QKANLSTM(3, 16, reps=1, device="meta", backend="triton"), 4, 32, 3),
        "rational": lambda: training_step(GroupRational(64, 8, device="meta", backend="triton"), 256, 64),
    }


class Launcher:
    """Takes what would start a kernel, and writes it down."""

    started: list[dict[str, Any]] = []  # noqa: RUF012 - one list for the process: Triton makes the launchers
    shared = 0

    def __init__(self, source: Any, metadata: Any) -> None:
        self.name, self.metadata = source.fn.__name__, metadata

    def __call__(self, x: int, y: int, z: int, *others: Any) -> None:
        grid = (x, y, z)
        if not (0 < x < 2**31 and 0 < y < 2**16 and 0 < z < 2**16):
            raise ValueError(f"{self.name} starts with grid {grid}, which no device takes")
        if self.metadata.shared > self.shared:
            raise ValueError(f"{self.name} needs {self.metadata.shared} bytes of shared memory of {self.shared}")
        kernel = {"kernel": self.name, "grid": grid, "shared": self.metadata.shared, "warps": self.metadata.num_warps}
        self.started.append(kernel)


def use_stand_in(target: str) -> None:
    """Make Triton build for a target from now on, whatever the machine has."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    maker, architecture, lanes, shared = TARGETS[target]
    Launcher.shared = shared
    handles = 5 if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 4) else 4

    class Utils:
        def get_device_properties(self, device: int) -> dict[str, int]:
            return {"max_shared_mem": shared, "multiprocessor_count": 132, "max_num_regs": 65536, "warpSize": lanes}

        def load_binary(self, *given: Any) -> tuple[int, ...]:
            return (1, 1, 0, 0, 1024)[:handles]

    class Driver:
        utils, launcher_cls = Utils(), Launcher

        def get_current_device(self) -> int:
            return list(TARGETS).index(target)  # a kernel keeps what it was built for by the number of its device

        def get_current_stream(self, device: int) -> int:
            return 0

        def get_current_target(self) -> Any:
            return GPUTarget(maker, architecture, lanes)

        def get_device_interface(self) -> Any:
            return torch.cuda

        def map_python_to_cpp_type(self, name: str) -> str:
            return name

    driver.set_active(Driver())


def build(target: str, family: str) -> dict[str, Any]:
    """Build what a training step of a family starts: the kernels with their grids, shared memory and warps."""
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("kernels are interpreted in this process; unset TRITON_INTERPRET")
    os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp(prefix="qkan-triton-"))
    use_stand_in(target)
    Launcher.started.clear()
    from qkan.kernels.circuits.bloch import triton_gpu as circuits
    from qkan.kernels.rational import triton_gpu as rational
    from qkan.kernels.recurrence import triton_gpu as recurrence
    from qkan.kernels.spectral import triton_gpu as expansions

    with ExitStack() as stack:
        stack.enter_context(on_meta())
        for module in (circuits, expansions, rational, recurrence):
            stack.enter_context(mock.patch.object(module, "lanes", return_value=TARGETS[target][2]))
        stack.enter_context(mock.patch.object(torch.version, "hip", "6.4" if TARGETS[target][0] == "hip" else None))
        steps()[family]()
    return {"kernels": list(Launcher.started)}


def cases(options: Any) -> Cases:
    """Families within targets."""
    for target in options.targets or (["sm_90"] if options.small else TARGETS):
        for family in ("expansions",) if options.small else steps():
            yield f"{target} {family}", partial(build, target, family)
