"""What the card and its software are, and what it reaches at best: copies, products, launches."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.gpu.record import Cases
from benchmarks.gpu.timing import captured, milliseconds

#: Rows and columns of the products that are timed, and numbers that are copied.
SIDE, COPIED = 8192, 2**28
#: Name, dtype and the switch of PyTorch for products in single precision.
PRODUCTS = (
    ("product float32", torch.float32, "highest"),
    ("product tf32", torch.float32, "high"),
    ("product bfloat16", torch.bfloat16, "highest"),
)


def versions(device: torch.device) -> dict[str, Any]:
    """Software, driver and card."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    if find_spec("triton") is not None:
        import triton

        found["triton"] = triton.__version__
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "card": card.name,
            "capability": f"{card.major}.{card.minor}",
            "processors": card.multi_processor_count,
        }
        found |= {"bytes": card.total_memory, "cache": getattr(card, "L2_cache_size", None)}
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def copy(device: torch.device, numbers: int) -> dict[str, Any]:
    """Bytes a second that a copy reads and writes."""
    source = torch.zeros(numbers, device=device)
    target = torch.empty_like(source)
    spent = milliseconds(lambda: target.copy_(source), device)
    return {"ms": spent, "bytes_per_second": 8e3 * numbers / spent}


def product(device: torch.device, dtype: torch.dtype, switch: str, side: int) -> dict[str, Any]:
    """Operations a second of a product of square matrices."""
    torch.set_float32_matmul_precision(switch)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    spent = milliseconds(lambda: a @ b, device)
    torch.set_float32_matmul_precision("highest")
    return {"ms": spent, "flops": 2e3 * side**3 / spent}


def latency(device: torch.device) -> dict[str, Any]:
    """Microseconds that the smallest operation takes to start, eager and in a graph of 100."""
    x = torch.zeros(1, device=device)

    def step() -> None:
        for _ in range(100):
            x.add_(1.0)

    found = {"microseconds": 10 * milliseconds(step, device)}
    if device.type == "cuda":
        found["in_a_graph"] = 10 * milliseconds(captured(step), device)
    return found


def cases(options: Any) -> Cases:
    """Versions first."""
    device = torch.device(options.device)
    shrink = 64 if options.small else 1
    yield "versions", lambda: versions(device)
    yield "copy", lambda: copy(device, COPIED // shrink)
    for name, dtype, switch in PRODUCTS:
        case: Callable[[], dict[str, Any]] = lambda dtype=dtype, switch=switch: product(  # noqa: E731
            device, dtype, switch, SIDE // shrink
        )
        yield name, case
    yield "latency", lambda: latency(device)
