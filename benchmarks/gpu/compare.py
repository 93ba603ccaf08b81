"""What a module computes, beside what it should: errors of outputs and gradients, judged by a tolerance."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Make = Callable[[], nn.Module]

#: Error of outputs and gradients over the largest entry, or over 1 if that is smaller.
EXACT, ROUNDED = 1e-4, 5e-2


def agreement(
    make: Make, x: Tensor, device: torch.device, tolerance: float = EXACT, autocast: torch.dtype | None = None
) -> dict[str, Any]:
    """Largest error of outputs and gradients of a module on the device; above the tolerance the case failed."""
    torch.manual_seed(0)
    module = make()
    truth = copy.deepcopy(module).double()
    for part in truth.modules():
        if hasattr(part, "backend"):
            part.backend = "reference"
    expected = values(truth, x.double(), None)
    module = module.to(device)
    found = values(module, x.to(device), autocast)
    error = max(relative_error(got, want) for got, want in zip(found, expected, strict=True))
    return judged(error, tolerance)


def values(module: nn.Module, x: Tensor, autocast: torch.dtype | None) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of them."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
        y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    upstream = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).to(y)
    wanted = [x, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    return [y, *torch.autograd.grad(y, wanted, upstream)]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """NaN where either has one."""
    expected = expected.detach().double()
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return float((found.detach().cpu().double() - expected).abs().max()) / scale if expected.numel() else 0.0


def judged(error: float, tolerance: float) -> dict[str, Any]:
    """The result of a case that compares."""
    wrong = not error <= tolerance
    return {"outcome": "failed" if wrong else "done", "relative_error": error, "tolerance": tolerance} | (
        {"error": f"{error:.3g} where {tolerance:.3g} is allowed"} if wrong else {}
    )
