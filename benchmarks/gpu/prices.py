"""Prices of ``qkan.kernels.backend_cost`` for this card: least squares over times of layers, none below zero."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.record import Cases
from benchmarks.gpu.timing import milliseconds, training
from qkan import QKANLayer
from qkan.kernels.backend_cost import PRICES, Prices, Work, seconds

SIZES = ((64, 8, 20), (256, 64, 64), (1024, 32, 32), (4096, 128, 128), (16384, 256, 256))
REPS = (1, 3)


def amounts(work: Work, backend: str, points: int) -> list[float]:
    """How much of each price an estimate contains: the model is linear in them."""
    found = []
    for name in Prices.__dataclass_fields__:
        PRICES["one"] = Prices(**{**dict.fromkeys(Prices.__dataclass_fields__, 0.0), name: 1.0})
        found.append(seconds(work, backend, "one", points))
    del PRICES["one"]
    return found


def not_negative(matrix: Tensor, target: Tensor) -> Tensor:
    """Least squares by taking out, one by one, the unknown that is the furthest below zero."""
    left = [column for column in range(matrix.shape[1]) if bool(matrix[:, column].any())]
    found = matrix.new_zeros(matrix.shape[1])
    while left:
        solved = torch.linalg.lstsq(matrix[:, left], target.unsqueeze(1), driver="gelsd").solution.squeeze(1)
        if bool((solved >= 0).all()):
            found[left] = solved
            break
        left.pop(int(solved.argmin()))
    return found


def fit(device: torch.device, sizes: tuple[tuple[int, int, int], ...], reps: tuple[int, ...]) -> dict[str, Any]:
    """Prices, and estimates over measured times."""
    rows, times = [], []
    for samples, inputs, outputs in sizes:
        for count in reps:
            for trained in (False, True):
                x = 2 * torch.rand(samples, inputs, device=device) - 1
                work = Work(samples, inputs, outputs, inputs * outputs, count, trained)
                for backend in ("spectral", "triton") if device.type == "cuda" else ("spectral",):
                    layer = QKANLayer(inputs, outputs, count, preact_trainable=trained, backend=backend, device=device)
                    _, plan = layer._circuits().choose(x)
                    rows.append(amounts(work, backend, 0 if plan is None else plan.points))
                    times.append(1e-3 * milliseconds(training(layer, x), device))
    matrix, measured = torch.tensor(rows, dtype=torch.float64), torch.tensor(times, dtype=torch.float64)
    scaled = matrix / measured.unsqueeze(1)  # relative errors count alike
    size = scaled.abs().amax(0).clamp_min(1e-300)
    prices = not_negative(scaled / size, torch.ones_like(measured)) / size
    ratios = sorted((matrix @ prices / measured).tolist())
    names = list(Prices.__dataclass_fields__)
    return {
        "prices": dict(zip(names, prices.tolist(), strict=True)),
        "estimate_over_measured": {"least": ratios[0], "median": ratios[len(ratios) // 2], "most": ratios[-1]},
    }


def cases(options: Any) -> Cases:
    """One fit."""
    sizes, reps = (SIZES[:2], REPS[:1]) if options.small else (SIZES, REPS)
    yield "prices", partial(fit, torch.device(options.device), sizes, reps)
