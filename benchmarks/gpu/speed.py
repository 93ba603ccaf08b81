"""How long training steps take beside those of peers: layers, recurrences, rational activations and a block of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.gpu.record import Cases
from benchmarks.gpu.timing import measured, training
from qkan import GRKAN, QKANGRU, QKANLSTM, GroupRational, QKANLayer

Make = Callable[[], nn.Module]

#: Samples, inputs, outputs, repetitions; steps and hidden sizes of recurrences; shapes of activations.
SIZES = ((64, 8, 20, 3), (1024, 32, 32, 3), (4096, 128, 128, 3), (65536, 256, 256, 3))
SEQUENCES = ((256, 128, 64, 2), (64, 64, 16, 2), (256, 128, 256, 2))
ACTIVATIONS = ((64, 197, 768), (512, 197, 768))
#: Sums beyond so many circuit evaluations are left to the backends that do not evaluate them one by one.
MOST_EVALUATIONS = 2**31


def parameters_of(module: nn.Module) -> int:
    """Trained numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def mlp(inputs: int, outputs: int, parameters: int) -> nn.Module:
    """Linear, SiLU, Linear with about so many parameters."""
    width = max(1, math.ceil((parameters - outputs) / (inputs + outputs + 1)))
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


class PlainFormula(nn.Module):
    """The layer's mathematics as anyone would write it: Fourier features of each input and one product."""

    def __init__(self, inputs: int, outputs: int, reps: int) -> None:
        super().__init__()
        self.reps = reps
        self.linear = nn.Linear((2 * reps + 1) * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(samples, inputs) to (samples, outputs)."""
        angles = x.unsqueeze(1) * torch.arange(1, self.reps + 1, device=x.device).unsqueeze(1)
        features = torch.cat((angles.cos(), angles.sin(), F.silu(x).unsqueeze(1)), 1)
        return self.linear(features.flatten(1))


def lstm_width(inputs: int, parameters: int) -> int:
    """Hidden size of the nn.LSTM with about so many parameters: 4 (H I + H H + 2 H)."""
    half = (inputs + 2) / 2
    return max(1, round(math.sqrt(half * half + parameters / 4) - half))


def timed(make: Make, x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> dict[str, Any]:
    """A training step of a module, under autocast with a dtype."""
    torch.manual_seed(0)
    module = make().to(device)
    return measured(training(module, x.to(device), dtype), device) | {"parameters": parameters_of(module)}


def compiled(make: Make) -> nn.Module:
    """The module compiled, which takes its seconds in the warm-up."""
    found: Any = torch.compile(make())
    return found


def layer_cases(device: torch.device, sizes: tuple[tuple[int, ...], ...]) -> Cases:
    """Layers, then what has as many parameters or as many inputs and outputs."""
    for samples, inputs, outputs, reps in sizes:
        x = 2 * torch.rand(samples, inputs) - 1
        label = f"{samples}, {inputs}, {outputs}, {reps}"
        for preact in ("fixed", "trained"):
            make = partial(QKANLayer, inputs, outputs, reps, preact_trainable=preact == "trained")
            peers: dict[str, Make] = {"MLP": partial(mlp, inputs, outputs, parameters_of(make()))}
            if preact == "fixed":
                peers["Linear"] = partial(nn.Linear, inputs, outputs)
            if preact == "fixed" and samples == SIZES[-1][0]:  # compiling takes half a minute
                peers["plain formula, compiled"] = partial(compiled, partial(PlainFormula, inputs, outputs, reps))
            for dtype in (None, torch.bfloat16):
                digits = "" if dtype is None else ", bf16"
                for backend in ("auto", "spectral", "triton"):
                    if backend == "triton" and samples * inputs * outputs > MOST_EVALUATIONS:
                        continue
                    case = partial(timed, partial(make, backend=backend), x, device, dtype)
                    yield f"layer {label} {preact}, {backend}{digits}", case
                for name, peer in peers.items():
                    yield f"layer {label} {preact}, {name}{digits}", partial(timed, peer, x, device, dtype)


def recurrent_cases(device: torch.device, sizes: tuple[tuple[int, ...], ...]) -> Cases:
    """Cells beside nn.LSTM, which is cuDNN's here, of as many units and of as many parameters."""
    for batch, steps, hidden, reps in sizes:
        x = torch.randn(steps, batch, hidden)
        ours = partial(QKANLSTM, hidden, hidden, reps=reps)
        makes: dict[str, Make] = {
            "QKANLSTM": ours,
            "QKANLSTM trained": partial(ours, preact_trainable=True),
            "QKANLSTM torch": partial(ours, backend="torch"),
            "QKANGRU": partial(QKANGRU, hidden, hidden, reps=reps),
            "nn.LSTM, equal units": partial(nn.LSTM, hidden, hidden),
            "nn.LSTM, equal parameters": partial(nn.LSTM, hidden, lstm_width(hidden, parameters_of(ours()))),
        }
        for name, make in makes.items():
            for dtype in (None, torch.bfloat16):
                digits = "" if dtype is None else ", bf16"
                yield f"sequence {batch}, {steps}, {hidden}, {name}{digits}", partial(timed, make, x, device, dtype)


def rational_cases(device: torch.device, shapes: tuple[tuple[int, ...], ...]) -> Cases:
    """Activations beside GELU, and a block of a transformer."""
    for shape in shapes:
        x, channels = torch.randn(shape), shape[-1]
        for dtype in (torch.float32, torch.bfloat16):
            for name, make in (("rational", partial(GroupRational, channels, 8)), ("GELU", nn.GELU)):
                case = partial(timed, make, x.to(dtype), device)
                yield f"{name} {', '.join(map(str, shape))} {str(dtype).removeprefix('torch.')}", case
    shape = shapes[0]
    x, channels = torch.randn(shape), shape[-1]
    blocks: dict[str, Make] = {
        "GRKAN": partial(GRKAN, channels, 4 * channels),
        "MLP": lambda: nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)),
    }
    for name, make in blocks.items():
        for dtype in (None, torch.bfloat16):
            yield f"block {name} {'' if dtype is None else 'bf16'}", partial(timed, make, x, device, dtype)


def cases(options: Any) -> Cases:
    """The sizes of the goals first within each kind."""
    device = torch.device(options.device)
    if options.small:
        yield from layer_cases(device, SIZES[:1])
        yield from recurrent_cases(device, ((5, 4, 3, 1),))
        yield from rational_cases(device, ((2, 3, 16),))
        return
    yield from layer_cases(device, SIZES[-1:])
    yield from recurrent_cases(device, SEQUENCES[:1])
    yield from rational_cases(device, ACTIVATIONS[:1])
    yield from layer_cases(device, SIZES[:-1])
    yield from recurrent_cases(device, SEQUENCES[1:])
    yield from rational_cases(device, ACTIVATIONS[1:])
