"""Functions, networks and training of function_regression.py: one file that also runs where this package is not.

The original authors' package has the name of this one and needs an environment of its own. There this file runs as a
script: it reads one request a line from standard input and answers each with a line on standard output, both JSON.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TRAINING, VALIDATION, TEST = 1000, 500, 1000
HISTORY = 200  # of LBFGS: no fewer than the networks have parameters, so that none is cut short
DTYPE = torch.float64
#: By its file, which imports nothing of this package: beside the original one, "qkan" is that.
loss_unit = runpy.run_path(str(Path(__file__).parents[1] / "qkan" / "_util" / "lbfgs.py"))["loss_unit"]

Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Function:
    """A target: what it computes from columns of x, and the interval of each column."""

    formula: Callable[..., Tensor]
    box: Box


def _j0(x: Tensor) -> Tensor:
    return torch.special.bessel_j0(20 * x)


def _four(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.exp((torch.sin(math.pi * (a**2 + b**2)) + torch.sin(math.pi * (c**2 + d**2))) / 2)


_UNIT = (-1.0, 1.0)
#: The toy functions of the KAN paper (arXiv 2404.19756, section 3.1, without the one of 100 inputs), then ten Feynman
#: equations in its dimensionless form (its table 2), on boxes where they have no pole.
FUNCTIONS: dict[str, Function] = {
    "J0(20 x)": Function(_j0, (_UNIT,)),
    "exp(sin(pi x) + y^2)": Function(lambda x, y: torch.exp(torch.sin(math.pi * x) + y**2), (_UNIT, _UNIT)),
    "x y": Function(lambda x, y: x * y, (_UNIT, _UNIT)),
    "exp((sin(pi (a^2 + b^2)) + sin(pi (c^2 + d^2))) / 2)": Function(_four, (_UNIT,) * 4),
    "I.6.2: exp(-t^2 / 2 s^2) / sqrt(2 pi s^2)": Function(
        lambda t, s: torch.exp(-((t / s) ** 2) / 2) / (math.sqrt(2 * math.pi) * s), ((-2.0, 2.0), (0.5, 2.0))
    ),
    "I.12.11: 1 + a sin t": Function(lambda a, t: 1 + a * torch.sin(t), (_UNIT, (-math.pi, math.pi))),
    "I.13.12: a (1 / b - 1)": Function(lambda a, b: a * (1 / b - 1), (_UNIT, (0.3, 2.0))),
    "I.16.6: (a + b) / (1 + a b)": Function(lambda a, b: (a + b) / (1 + a * b), ((-0.9, 0.9), (-0.9, 0.9))),
    "I.26.2: arcsin(n sin t)": Function(
        lambda n, t: torch.asin(n * torch.sin(t)), ((0.0, 0.99), (-math.pi / 2, math.pi / 2))
    ),
    "I.27.6: 1 / (1 + a b)": Function(lambda a, b: 1 / (1 + a * b), ((0.0, 2.0), (0.0, 2.0))),
    "I.29.16: sqrt(1 + a^2 - 2 a cos(t - u))": Function(
        lambda a, t, u: torch.sqrt(1 + a**2 - 2 * a * torch.cos(t - u)), ((0.1, 2.0), *(((-math.pi, math.pi),) * 2))
    ),
    "I.30.3: sin^2(n t / 2) / sin^2(t / 2)": Function(
        lambda n, t: (torch.sin(n * t / 2) / torch.sin(t / 2)) ** 2, ((1.0, 4.0), (0.3, 2 * math.pi - 0.3))
    ),
    "I.37.4: 1 + a + 2 sqrt(a) cos d": Function(
        lambda a, d: 1 + a + 2 * torch.sqrt(a) * torch.cos(d), ((0.01, 2.0), (-math.pi, math.pi))
    ),
    "II.35.18: n / (exp(a) + exp(-a))": Function(
        lambda n, a: n / (torch.exp(a) + torch.exp(-a)), ((0.0, 2.0), (-3.0, 3.0))
    ),
}


def make_data(name: str, scaled: bool) -> tuple[tuple[Tensor, Tensor], ...]:
    """Training, validation and test part: x (n, inputs) uniform in the box, y (n, 1) with mean 0 and deviation 1.

    ``scaled`` maps the box to [-1, 1]. y is scaled by the training part. The same points for all runs.
    """
    function = FUNCTIONS[name]
    generator = torch.Generator().manual_seed(20260914)
    low, high = torch.tensor(function.box, dtype=DTYPE).T
    sizes = (TRAINING, VALIDATION, TEST)
    unit = 2 * torch.rand(sum(sizes), len(function.box), generator=generator, dtype=DTYPE) - 1
    x = low + (high - low) * (unit + 1) / 2
    y = function.formula(*x.T)[:, None]
    mean, deviation = y[:TRAINING].mean(), y[:TRAINING].std()
    inputs = unit if scaled else x
    return tuple(zip(inputs.split(sizes), ((y - mean) / deviation).split(sizes), strict=True))


def mlp(box: Box, hidden: int, *, depth: int, activation: str) -> nn.Module:
    """Hidden layers of one width, then a linear map."""
    made: list[nn.Module] = []
    for size in [len(box), *[hidden] * (depth - 1)]:
        made += [nn.Linear(size, hidden), {"tanh": nn.Tanh, "silu": nn.SiLU}[activation]()]
    return nn.Sequential(*made, nn.Linear(hidden, 1))


def qkan(box: Box, hidden: int, *, preact: bool, base: str, group: int | None = None, **options: Any) -> nn.Module:
    """Two layers of circuits, with a base branch; edges that share circuits have weights of their own."""
    options |= {"preact_trainable": preact, "base_activation": base, "group": group}
    return import_module("qkan").QKAN([len(box), hidden, 1], postact_weight_trainable=group is not None, **options)


def original(
    box: Box, hidden: int, *, reps: int, ansatz: str, preact: bool, base: str, group: int | None = None
) -> nn.Module:
    """The same network of the original authors."""
    return import_module("qkan").QKAN(
        [len(box), hidden, 1],
        reps=reps,
        ansatz=f"{ansatz}_encoding",
        preact_trainable=preact,
        group=-1 if group is None else group,
        postact_weight_trainable=group is not None,
        base_activation={"tanh": nn.Tanh(), "identity": nn.Identity()}.get(base, base),
        ba_trainable=True,
        p_dtype=DTYPE,
        c_dtype=torch.complex128,
    )


def spline(box: Box, hidden: int, *, grid: int) -> nn.Module:
    """Two layers of cubic splines: efficient-kan's KANLinear as the original package carries it."""
    layer = import_module("qkan.kan").KANLinear
    ends = [min(low for low, _ in box), max(high for _, high in box)]
    return nn.Sequential(layer(len(box), hidden, grid_size=grid, grid_range=ends), layer(hidden, 1, grid_size=grid))


BUILDERS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "qkan": qkan, "original": original, "spline": spline}


def build(request: Mapping[str, Any]) -> nn.Module:
    """The widest network of a kind with at most so many trained parameters, at least 1 wide."""
    box, make = FUNCTIONS[request["function"]].box, BUILDERS[request["kind"]]
    seen = (_UNIT,) * len(box) if request["scaled"] else box

    def of_width(width: int) -> nn.Module:
        torch.manual_seed(request["seed"])
        return make(seen, width, **request["options"])

    width = 1
    while size(of_width(width + 1)) <= request["parameters"]:
        width += 1
    return of_width(width).to(DTYPE)


def size(model: nn.Module) -> int:
    """Trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def train(model: nn.Module, parts: tuple[tuple[Tensor, Tensor], ...], iterations: int) -> dict[str, Any]:
    """LBFGS with a strong Wolfe search, on all points, of the loss in its own unit; no gradient is too small.

    Returns:
        root mean squared errors of the validation and the test part in deviations of y: those of the weights with the
        lowest training loss.
    """
    (x, y), *others = parts
    best: tuple[float, dict[str, Tensor]] = (math.inf, {})
    with torch.no_grad():
        unit = loss_unit(float((model(x) - y).square().mean()))

    def closure() -> Tensor:
        nonlocal best
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        value = float(loss.detach())
        if value < best[0]:
            best = value, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        counted = unit * loss
        counted.backward()
        return counted

    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=iterations,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    optimizer.step(closure)  # type: ignore[arg-type]
    if best[1]:
        model.load_state_dict(best[1])
    with torch.no_grad():
        errors = [float((model(inputs) - targets).square().mean().sqrt()) for inputs, targets in others]
    finite = [error if math.isfinite(error) else math.inf for error in errors]
    return {"validation_loss": finite[0], "error": finite[1], "parameters": size(model)}


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Train what a request names: function, scaled, kind, options, parameters, seed, iterations."""
    torch.set_num_threads(1)
    return train(build(request), make_data(request["function"], request["scaled"]), request["iterations"])


if __name__ == "__main__":
    # What a package prints must not come between the answers: standard output becomes standard error.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        channel.write(json.dumps(answer(json.loads(line))) + "\n")
        channel.flush()
