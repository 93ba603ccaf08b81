"""A whole QKAN layer as one matrix product: every phi is band-limited, so a few basis functions represent it.

*Fourier*: at fixed pre-activations (w = 1) phi is a real trigonometric polynomial of degree R, the repetitions. Its
2 R + 1 coefficients follow exactly from the circuit's values at 2 R + 1 equidistant angles.

*Chebyshev*: with trained w, phi is the restriction of an entire function of exponential type Omega <= sum_l |w_l| that
is bounded by 1 on the real axis, so |phi(z)| <= exp(Omega |Im z|) (Bernstein). On the ellipse with foci -A, A and
parameter rho this is at most M = exp(Omega A (rho - 1 / rho) / 2), hence its Chebyshev coefficients on [-A, A] are at
most 2 M rho^-k, and interpolation in K nodes errs by at most 4 M rho^(1-K) / (rho - 1), for every rho > 1 (Trefethen,
Approximation Theory and Approximation Practice, theorems 8.1 and 8.2). The bound is that of one phi: a layer's output
adds up as many as it has inputs, and slopes d phi / d x can be off by K^2 / A times as much (Markov).

Either way y_o = sum_i v_oi phi_oi(x_i) is features(x) times a matrix: the circuit runs on a handful of points per
parameter update instead of on every sample. Gradients of the circuit's parameters flow through the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from qkan.kernels import bloch
from qkan.kernels.ansatz import Ansatz

#: Beyond so many terms the features cost more than they save.
MAX_TERMS = 64


@dataclass(frozen=True)
class Expansion:
    """A layer frozen into features and a matrix.

    Attributes:
        features: maps (..., inputs) to (..., inputs, terms).
        weights: (outputs, inputs, terms).
        constant: (outputs, inputs), or None where the features hold the constant.
    """

    features: Callable[[Tensor], Tensor]
    weights: Tensor
    constant: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over inputs: (..., inputs) to (..., outputs)."""
        return self.prepared()(x)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """The same function with the matrix laid out once, for many calls."""
        matrix = self.weights.flatten(-2)
        constant = None if self.constant is None else self.constant.sum(-1)
        return lambda x: F.linear(self.features(x).flatten(-2), matrix, constant)

    def edges(self, x: Tensor) -> Tensor:
        """Without the sum: (..., inputs) to (..., outputs, inputs)."""
        y = torch.einsum("...it,oit->...oi", self.features(x), self.weights)
        return y if self.constant is None else y + self.constant


def why_not(*, ansatz: Ansatz, readout: str, per_sample: bool) -> str | None:
    """None if a layer is band-limited, else the reason why it is not."""
    if readout != "z":
        return f"readout {readout!r} is not band-limited (it has square roots); only the expectation 'z' is"
    if ansatz.encoding_map != "identity":
        return f"ansatz {ansatz.name!r} encodes {ansatz.encoding_map}(x), which is not band-limited in x"
    if per_sample:
        return "theta differs between samples, so there is no common matrix"
    return None


def _fourier_rule(reps: int) -> tuple[Tensor, Tensor]:
    """Angles (points,) and the matrix (2 reps + 1, points) from values there to a_0, a_1..a_R, b_1..b_R."""
    points = 2 * reps + 1
    angles = 2 * math.pi * _counted(0, points) / points
    waves = _counted(1, reps + 1).unsqueeze(-1) * angles
    analysis = torch.cat((torch.full_like(angles, 0.5).unsqueeze(0), waves.cos(), waves.sin())) * (2 / points)
    return angles, analysis


def _chebyshev_rule(terms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes (terms,), the matrix (terms, terms) from values there to coefficients, and that of differentiation."""
    order = _counted(0, terms)
    angles = math.pi * (order + 0.5) / terms
    analysis = torch.cos(order.unsqueeze(-1) * angles) * (2 / terms)
    analysis[0] /= 2
    # T_k' = 2 k (T_(k-1) + T_(k-3) + ...), the last term halved if it is T_0.
    lower = order.unsqueeze(-1) - order
    slopes = 2 * order.unsqueeze(-1) * ((lower > 0) & (lower % 2 == 1))
    slopes[:, 0] /= 2
    return torch.cos(angles), analysis, slopes


def _counted(first: int, end: int) -> Tensor:
    """first, ..., end - 1 in double precision on the CPU, whatever the default device: some have no such precision."""
    return torch.arange(first, end, dtype=torch.float64, device="cpu")


_RULES: dict[tuple[Any, ...], tuple[Tensor, ...]] = {}
_MOST_RULES = 64


def _constants(rule: Callable[[int], tuple[Tensor, ...]], size: int, like: Tensor) -> tuple[Tensor, ...]:
    """The rule's tensors in the dtype and on the device of ``like``, computed once."""
    key = (rule, size, like.dtype, like.device)
    # A compiler folds constants by itself, and what a tracing mode makes of them (fake tensors) must not outlive it.
    plain = not torch.compiler.is_compiling() and type(like) in (Tensor, nn.Parameter)
    if plain and key in _RULES:
        return _RULES[key]
    with torch.inference_mode(False), torch.no_grad():
        made = tuple(tensor.to(like.device, like.dtype) for tensor in rule(size))
    if plain and all(type(tensor) is Tensor for tensor in made):
        if len(_RULES) >= _MOST_RULES:
            _RULES.pop(next(iter(_RULES)))
        _RULES[key] = made
    return made


def _coefficients(
    points: Tensor,
    analysis: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mix: Tensor | None,
    ansatz: Ansatz,
    reps: int,
) -> Tensor:
    """Basis coefficients of v phi: (basis functions, outputs, inputs)."""
    x = points.unsqueeze(-1).expand(-1, theta.shape[-3])
    values = bloch.circuits(x, theta, weight, bias, None, ansatz=ansatz, reps=reps, readout="z", reduce=False)
    coefficients = torch.tensordot(analysis, values, dims=1)
    return coefficients if mix is None else coefficients * mix


def fourier(theta: Tensor, bias: Tensor | None, mix: Tensor | None, *, ansatz: Ansatz, reps: int) -> Expansion:
    """Expand a layer with fixed pre-activation weights, exactly, for inputs of any size.

    Args:
        theta: (outputs, inputs, rows, angles), or (1, inputs, ...) for one circuit per input.
        bias: pre-activation phases (outputs, inputs, reps), or None.
        mix: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps: the circuit.
    """
    angles, analysis = _constants(_fourier_rule, reps, theta)
    coefficients = _coefficients(angles, analysis, theta, None, bias, mix, ansatz, reps)
    orders = torch.arange(1, reps + 1, dtype=theta.dtype, device=theta.device)

    def features(x: Tensor) -> Tensor:
        waves = x.unsqueeze(-1) if reps == 1 else x.unsqueeze(-1) * orders
        return torch.cat((waves.cos(), waves.sin()), -1)

    return Expansion(features, coefficients[1:].movedim(0, -1), coefficients[0])


def chebyshev_error(bandwidth: float, radius: float, terms: int) -> float:
    """Proven largest error of a Chebyshev interpolant of phi on [-radius, radius].

    Args:
        bandwidth: Omega, at least the largest sum of |w_l| of any edge.
        radius: A, half the width of the domain.
        terms: K, Chebyshev nodes and coefficients.

    Returns:
        min over rho of 4 exp(Omega A (rho - 1 / rho) / 2) rho^(1 - K) / (rho - 1); see the head of this module.
    """
    span = bandwidth * radius
    # The minimum lies near the stationary point of Omega A (rho + 1 / rho) / 2 = K; a fixed grid around it is enough,
    # because the bound holds at every rho.
    centre = max(1.5, 2 * terms / max(span, 1e-3))
    best = math.inf
    for step in range(-20, 21):
        rho = 1 + (centre - 1) * 1.15**step
        exponent = span * (rho - 1 / rho) / 2 - (terms - 1) * math.log(rho) - math.log(rho - 1) + math.log(4)
        best = min(best, exponent)
    return math.exp(min(best, 700.0))


@lru_cache(maxsize=1024)
def _terms_for(span_percent: int, tolerance: float) -> int | None:
    span = span_percent / 100
    return next((k for k in range(4, MAX_TERMS + 1) if chebyshev_error(span, 1.0, k) <= tolerance), None)


def chebyshev_terms(bandwidth: float, radius: float, tolerance: float) -> int | None:
    """Fewest terms whose proven error is within ``tolerance``; None if that takes more than :data:`MAX_TERMS`."""
    span = bandwidth * radius
    if not math.isfinite(span) or span > MAX_TERMS:
        return None
    return _terms_for(math.ceil(100 * span), tolerance)


def bandwidth(weight: Tensor) -> float:
    """Omega of a layer: the largest sum of |w_l| over its edges; reads the value back from the device."""
    return float(weight.detach().abs().sum(-1).max()) if weight.numel() else 0.0


class _ChebyshevFeatures(torch.autograd.Function):
    """T_0..T_(K-1) of x in [-1, 1]; the derivative of a Chebyshev series is one again."""

    @staticmethod
    def forward(x: Tensor, terms: int) -> Tensor:
        t = torch.stack((torch.ones_like(x), x), -1)
        while t.shape[-1] < terms:
            top = t.shape[-1] - 1
            take = min(top, terms - 1 - top)
            # T_(top + j) = 2 T_top T_j - T_(top - j)
            more = 2 * t[..., top:] * t[..., 1 : take + 1] - t[..., top - take : top].flip(-1)
            t = torch.cat((t, more), -1)
        return t[..., :terms]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        (t,) = ctx.saved_tensors
        slopes = _constants(_chebyshev_rule, t.shape[-1], t)[2]
        return ((grad @ slopes) * t).sum(-1), None


def chebyshev(
    theta: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mix: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    radius: float,
    terms: int,
) -> Expansion:
    """Expand a layer with trained pre-activations on [-radius, radius].

    Args:
        theta, bias, mix, ansatz, reps: as in :func:`fourier`.
        weight: pre-activation weights (outputs, inputs, reps).
        radius: largest |x| that the expansion holds for, > 0; outside it is wrong. Slopes d phi / d x magnify the
            rounding of coefficients by up to terms^2 / radius, so it should not be needlessly small.
        terms: Chebyshev terms; see :func:`chebyshev_terms`.
    """
    nodes, analysis, _ = _constants(_chebyshev_rule, terms, theta)
    coefficients = _coefficients(nodes * radius, analysis, theta, weight, bias, mix, ansatz, reps)

    def features(x: Tensor) -> Tensor:
        return _ChebyshevFeatures.apply(x if radius == 1 else x / radius, terms)

    return Expansion(features, coefficients.movedim(0, -1), None)
