"""Coefficients that rational activations start from: fitted for the very denominator that is computed.

The table ``rational_fits.json`` is written by ``tools/fit_rationals.py``. Every entry is checked against the function
it stands for when it is first used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.rational.pytorch import value
from qkan.kernels.rational.types import Spec

#: What there are fits of.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
#: Other names of the same functions.
ALIASES = {"swish": "silu"}
#: The largest error is taken over [-3, 3].
RADIUS = 3.0


@dataclass(frozen=True)
class Fit:
    """Coefficients that stand for a function, checked when built.

    Attributes:
        function: one of :data:`FUNCTIONS`.
        spec: of one group.
        numerator, denominator: a_0 .. a_m and b_1 .. b_n.
        max_error: the largest error on [-3, 3].
        gain: E[x^2] / E[F(x)^2] for x ~ N(0, 1).

    Raises:
        ValueError: coefficients that are not finite or not as many as the order says, or an error or gain that is not
            what they give.
    """

    function: str
    spec: Spec
    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    max_error: float
    gain: float

    def __post_init__(self) -> None:
        m, n = self.spec.order
        what = f"fit of {self.function!r} of order ({m}, {n}) over {self.spec.denominator}"
        if len(self.numerator) != m + 1 or len(self.denominator) != n:
            counts = f"{len(self.numerator)} and {len(self.denominator)}"
            raise ValueError(f"{what} has {counts} coefficients, but must have {m + 1} and {n}")
        a, b = self.tensors()
        check_coefficients(a, b, what)
        x = torch.linspace(-RADIUS, RADIUS, 20001, dtype=torch.float64, device="cpu")
        found = value(self.spec, x.view(-1, 1, 1), a, b).flatten()
        error = float((found - FUNCTIONS[self.function](x)).abs().max())
        for name, stored, computed in (
            ("error", self.max_error, error),
            ("gain", self.gain, variance_gain(self.spec, a, b)),
        ):
            if not abs(stored - computed) <= 1e-6 * abs(computed) + 1e-9:
                raise ValueError(f"{what} has {name} {computed:.6g}, not {stored:.6g} as stored; fit it again")

    def tensors(self) -> tuple[Tensor, Tensor]:
        """(1, m + 1) and (1, n) in float64."""
        a, b = (torch.tensor([c], dtype=torch.float64, device="cpu") for c in (self.numerator, self.denominator))
        return a, b


def check_coefficients(numerator: Tensor, denominator: Tensor, owner: str) -> None:
    """Check that coefficients give a function without poles on the real line.

    Both denominators are at least 1 wherever they are a number, so only coefficients that are none, or so large that
    the denominator overflows within [-1, 1], can give a pole.

    Raises:
        ValueError: NaN, infinite or overflowing coefficients; the message names the first.
    """
    for name, tensor in (("numerator", numerator), ("denominator", denominator)):
        bad = ~torch.isfinite(tensor)
        if bool(bad.any()):
            group, place = (int(k) for k in bad.nonzero()[0])
            raise ValueError(
                f"{owner}: {name}[{group}, {place}] is {float(tensor[group, place])}, which puts a pole on the real "
                "line; load finite coefficients"
            )
        if not bool(torch.isfinite(tensor.abs().sum(1)).all()):
            raise ValueError(f"{owner}: the sum of |{name}| overflows {tensor.dtype}; load smaller coefficients")


def variance_gain(spec: Spec, numerator: Tensor, denominator: Tensor) -> float:
    """E[x^2] / E[F(x)^2] for x ~ N(0, 1), the mean over groups, by the trapezoidal rule on [-12, 12].

    What the variance of weights behind F is multiplied with to keep the variance of a signal (arXiv 2409.10594,
    section 4.4). Infinite where F is zero everywhere.

    Args:
        spec: the form.
        numerator, denominator: (1 or groups, m + 1) and (1 or groups, n).
    """
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64, device="cpu")
    groups = max(len(numerator), len(denominator))
    a, b = (c.detach().to("cpu", torch.float64).expand(groups, -1) for c in (numerator, denominator))
    squares = value(spec, x.view(-1, 1, 1).expand(-1, groups, 1), a, b).squeeze(-1).square()
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    mean = float((density @ squares).mean())
    return 1 / mean if mean > 0 else math.inf


@cache
def _rows() -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in json.loads((files("qkan.layers") / "rational_fits.json").read_text()):
        found.setdefault((row["function"], row["form"]), []).append(row)
    return found


@cache
def stored(function: str, denominator: str) -> tuple[Fit, ...]:
    """All fits of a function over a denominator."""
    fits = []
    for row in _rows()[function, denominator]:
        m, n = row["order"]
        coefficients = tuple(row["numerator"]), tuple(row["denominator"])
        fits.append(Fit(function, Spec(1, (m, n), denominator), *coefficients, row["max_error"], row["gain"]))
    return tuple(fits)


@cache
def get_fit(function: str, order: tuple[int, int], denominator: str) -> Fit:
    """The best stored fit that an order can hold, filled up with zeros to that order.

    Raises:
        ValueError: an unknown name, order or denominator.
        TypeError: a function that is no name.
    """
    spec = Spec(1, order, denominator)
    if not isinstance(function, str):
        raise TypeError(f"init must be a name, got {type(function).__name__}")
    name = ALIASES.get(function, function)
    if name not in FUNCTIONS:
        raise ValueError(f"unknown init {function!r}; use one of {', '.join((*FUNCTIONS, *ALIASES))}")
    m, n = spec.order
    if m == 0:
        raise ValueError(f"order (0, {n}) has no fit of {function!r}; use a numerator of degree 1 to 8")
    fitting = [fit for fit in stored(name, denominator) if fit.spec.order[0] <= m and fit.spec.order[1] <= n]
    best = min(fitting, key=lambda fit: fit.max_error)
    a, b = (*best.numerator, *[0.0] * m)[: m + 1], (*best.denominator, *[0.0] * n)[:n]
    return Fit(name, spec, a, b, best.max_error, best.gain)
