"""What this machine has and can do: packages, devices, backends, compiled kernels, the time of a training step."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from qkan import __version__
from qkan._util.optional import unsupported_reason
from qkan.kernels.backends import available_backends
from qkan.kernels.common import triton_device
from qkan.kernels.rational import api as rational
from qkan.kernels.rational.types import Spec as RationalSpec
from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence.types import Spec as RecurrenceSpec
from qkan.kernels.recurrence.types import Weights
from qkan.kernels.registry import Registry
from qkan.kernels.spectral.basis import Basis
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.lstm import QKANLSTM

DISTRIBUTION = "qkan-seq"
#: What the extras add, by name.
EXTRAS = {
    "pennylane": "run circuits gate by gate: shots, noise, qkan validate, qkan circuit",
    "onnx": "qkan export: forecasters as ONNX files",
    "baselines": "LightGBM and statsforecast as baselines",
    "neuralforecast": "its models as baselines, and qkan's cells as models of it",
    "ray": "qkan compare on Ray, also on a cluster",
    "xlsx": "data files .xlsx",
    "sklearn": "estimators of scikit-learn",
}
#: Kinds of kernels whose machine code is looked for, as the module and the names in it.
NUMBA_KERNELS = {
    "layers": ("qkan.kernels.spectral.numba_kernels", ("PRODUCTS", "MATRIX_GRADIENTS", "INPUT_GRADIENTS")),
    "recurrences": ("qkan.kernels.recurrence.numba_kernels", ("FORWARD", "BACKWARD")),
}
#: Endings of compiled Triton kernels, of NVIDIA's and AMD's devices.
_TRITON_CODE = {".cubin", ".hsaco"}
#: Seconds that the repetitions of one training step may take.
SECONDS = 0.5
REPETITIONS = 20


def examine(say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """All that ``qkan doctor`` shows, in plain types.

    Args:
        say: is told what takes long before it begins.

    Returns:
        ``packages`` (required ones, and the extras), ``devices``, ``backends`` (None, or why one cannot run),
        ``kernels`` (machine code on disk, found before any step ran), ``steps`` (milliseconds of a training step) and
        ``problems``, a sentence for each thing that is wrong.

    Examples:
        >>> from qkan.validation import examine
        >>> found = examine()
        >>> sorted(found["backends"])[:2]
        ['layers', 'rational activations']
    """
    packages, kernels = find_packages(), find_kernels()
    if _device().type == "cpu" and not all(kernels["numba"]["compiled"].values()):
        say("Kernels of the CPU are compiled, for about 15 seconds; this happens once after an installation.")
    steps = time_steps()
    return {
        "packages": packages,
        "devices": find_devices(),
        "backends": find_backends(),
        "kernels": kernels,
        "steps": steps,
        "problems": _problems(packages, kernels, steps),
    }


def find_packages() -> dict[str, Any]:
    """The versions of this package, of Python and of what the package requires, and which extras are there."""
    required: dict[str, dict[str, str | None]] = {}
    extras: dict[str, dict[str, dict[str, str | None]]] = {name: {} for name in EXTRAS}
    for line in _requirements():
        needed, _, marker = line.partition(";")
        name = re.split(r"[<>=!~\[( ]", needed.strip(), maxsplit=1)[0]
        oldest = re.search(r">=\s*([\w.]+)", needed)
        found = {"version": _version(name), "oldest": None if oldest is None else oldest[1]}
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if extra is not None:
            extras.setdefault(extra[1], {})[name] = found
        elif (system := re.search(r"sys_platform == ['\"](\w+)['\"]", marker)) is None or system[1] == sys.platform:
            required[name] = found
    return {
        DISTRIBUTION: __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "required": required,
        "extras": {
            name: {
                "for": EXTRAS.get(name, ""),
                "packages": found,
                "install": None if all(map(_fits, found.values())) else f"pip install '{DISTRIBUTION}[{name}]'",
            }
            for name, found in extras.items()
            if found
        },
    }


def _requirements() -> list[str]:
    """The lines of the package's metadata; none for a folder of sources that was never installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _fits(found: dict[str, str | None]) -> bool:
    """Whether a package is there in the oldest release that is allowed, or a newer one."""
    version, oldest = found["version"], found["oldest"]
    return version is not None and (oldest is None or _numbers(version) >= _numbers(oldest))


def _numbers(version: str) -> list[int]:
    numbers = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return numbers + [0] * (3 - len(numbers))


def find_devices() -> dict[str, str]:
    """The processor with PyTorch's threads, and the GPUs or why there is none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = platform.processor() or platform.machine()
    devices = {"cpu": f"{processor}, {cores} cores, {torch.get_num_threads()} threads of PyTorch"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    if len(devices) == 1:
        built = torch.version.cuda or torch.version.hip
        devices["cuda"] = "no device found" if built else "this PyTorch is built for the CPU only"
    return devices


def find_backends() -> dict[str, dict[str, str | None]]:
    """The backends of layers, recurrences and rational activations: None for one that can run here, or why not."""
    x = torch.zeros(1, 4, device=_device())
    lstm = RecurrenceSpec("lstm", Basis("fourier", 1))
    weights = Weights(x.new_zeros(2, 1, 4), x.new_zeros(4))
    return {
        "layers": {**available_backends(), "pennylane": unsupported_reason()},
        "recurrences": _reasons(recurrence.ENGINES, lstm, (x, *weights)),
        "rational activations": _reasons(rational.BACKENDS, RationalSpec(1), (x, None, None)),
    }


def _reasons(registry: Registry[Any], spec: Any, tensors: tuple[Any, ...]) -> dict[str, str | None]:
    reasons = {
        engine.name: registry.unsupported_reason(engine, engine.name, spec, tensors) for engine in registry.engines
    }
    return reasons | dict.fromkeys(registry.others)


def find_kernels() -> dict[str, Any]:
    """Where compiled kernels are kept, and which are there.

    Returns:
        ``numba``: ``folder`` (None if machine code cannot be kept), ``files``, ``compiled`` (by kind of kernel, for
        float32) and ``problem``; ``triton``: ``folder``, ``compiled`` (how many kernels, of all programs of this user).
    """
    return {"numba": _numba_kernels(), "triton": _triton_kernels()}


def _numba_kernels() -> dict[str, Any]:
    from importlib import import_module

    try:
        from qkan.kernels.common.numba_cache import cache_folder

        folder = cache_folder()
        compiled = {
            kind: all(getattr(import_module(module), name).is_compiled(torch.float32) for name in names)
            for kind, (module, names) in NUMBA_KERNELS.items()
        }
    except ImportError as error:
        return {"folder": None, "files": 0, "compiled": {}, "problem": f"Numba does not load: {error}"}
    files = 0 if folder is None else sum(path.suffix == ".nbc" for path in Path(folder).rglob("*"))
    problem = None if folder is not None else "there is no folder for machine code, so every process compiles its own"
    return {"folder": folder, "files": files, "compiled": compiled, "problem": problem}


def _triton_kernels() -> dict[str, Any]:
    if not triton_device.triton_installed():
        return {"folder": None, "compiled": 0}
    home = os.environ.get("TRITON_HOME") or Path.home()
    folder = Path(os.environ.get("TRITON_CACHE_DIR") or Path(home, ".triton", "cache"))
    return {"folder": str(folder), "compiled": sum(path.suffix in _TRITON_CODE for path in folder.glob("*/*"))}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def time_steps() -> dict[str, dict[str, Any]]:
    """Time forward and backward passes of three small modules on this machine's best device.

    Returns:
        by module: ``first_ms`` (with compiling what is not compiled), ``ms`` (the median of later ones), ``device`` and
        ``error``, None or what went wrong.
    """
    device = _device()
    sequences = torch.randn(64, 12, 8, device=device)
    modules: dict[str, tuple[Callable[[], nn.Module], torch.Tensor]] = {
        "QKANLayer(64, 64, reps=3), batch 256": (
            lambda: QKANLayer(64, 64, reps=3, device=device),
            (2 * torch.rand(256, 64, device=device) - 1).requires_grad_(),
        ),
        "QKANLSTM(8, 16, reps=2), batch 64, 12 steps": (
            lambda: QKANLSTM(8, 16, reps=2, batch_first=True, device=device),
            sequences,
        ),
        "nn.LSTM(8, 16), batch 64, 12 steps": (lambda: nn.LSTM(8, 16, batch_first=True, device=device), sequences),
    }
    return {name: _time_step(make, x) for name, (make, x) in modules.items()}


def _time_step(make: Callable[[], nn.Module], x: torch.Tensor) -> dict[str, Any]:
    milliseconds: list[float] = []
    error = None
    try:
        module = make()
        begin = time.perf_counter()
        while len(milliseconds) <= REPETITIONS and (len(milliseconds) < 2 or time.perf_counter() < begin + SECONDS):
            milliseconds.append(_step(module, x))
            if len(milliseconds) == 1:
                begin = time.perf_counter()
    except (RuntimeError, ValueError, OSError, ImportError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    later = milliseconds[1:]
    return {
        "first_ms": milliseconds[0] if milliseconds else None,
        "ms": median(later) if later else None,
        "device": x.device.type,
        "error": error,
    }


def _step(module: nn.Module, x: torch.Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    start = time.perf_counter()
    output = module(x)
    (output[0] if isinstance(output, tuple) else output).square().mean().backward()
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def _problems(packages: dict[str, Any], kernels: dict[str, Any], steps: dict[str, Any]) -> list[str]:
    problems = []
    for name, found in packages["required"].items():
        if not _fits(found):
            have = "is not installed" if found["version"] is None else f"{found['version']} is too old"
            oldest = "" if found["oldest"] is None else f">={found['oldest']}"
            problems.append(f"{name} {have}: pip install '{name}{oldest}'")
    if not packages["required"]:
        problems.append(f"{DISTRIBUTION} runs from its sources without being installed: pip install . in their folder")
    if kernels["numba"]["problem"]:
        problems.append(kernels["numba"]["problem"])
    return problems + [
        f"a training step of {name} failed: {step['error']}" for name, step in steps.items() if step["error"]
    ]
