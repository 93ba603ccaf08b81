"""A whole QKAN layer as one matrix product: every phi is band-limited, so a few basis functions represent it.

*Fourier*: at whole pre-activation weights that are not trained (w = 1, or 2^l, or 3^l) phi is a real trigonometric
polynomial of degree N = sum_l |w_l|. Its 2 N + 1 coefficients follow exactly from the circuit's values at 2 N + 1
equidistant angles.

*Chebyshev*: with trained w, phi is a sum of sines and cosines whose frequencies are sums of +-w_l, so at most Omega =
sum_l |w_l|, and |phi| <= 1 for every real x. From both together its Chebyshev coefficients on [-A, A] are at most 2
J_k(A Omega), a Bessel function, as soon as k (k - 1) >= (A Omega)^2, and interpolation in K nodes errs by at most

    2 J_K(A Omega) + 4 (J_(K+1)(A Omega) + J_(K+2)(A Omega) + ...).

docs/how/spectral.md proves both; a single frequency reaches the first, so there is no better one. The bound is that of
one phi: a layer's output adds up as many as it has inputs, and slopes d phi / d x can be off by K^2 / A times as much
(Markov).

*Sums of pre-activations*: where an input has one w for all its circuits, see
:mod:`qkan.kernels.spectral.sum_frequencies`.

Each way y_o = sum_i v_oi phi_oi(x_i) is features(x) times a matrix: the circuit runs on a handful of points per
parameter update instead of on every sample. Gradients of the circuit's parameters flow through the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.constant_cache import constants, counted, exact_like
from qkan.kernels.common.tensors import check_readable, full_matmul, piece_elements
from qkan.kernels.common.triton_device import KernelUnavailableError, warn_once
from qkan.kernels.common.vjp import stand_for_batch, vjp_needed
from qkan.kernels.spectral import numba_coefficients, triton_gpu
from qkan.kernels.spectral.basis import Basis, chebyshev_nodes, chebyshev_rule, fourier_rule
from qkan.kernels.spectral.matmul import weighted_sum
from qkan.kernels.spectral.small_layer import small_layer
from qkan.kernels.spectral.sum_frequencies import SumExpansion, frequencies

#: Beyond so many terms single precision no longer holds what the bound promises.
MAX_TERMS = 512
#: Numbers (32 MB in single precision) that an expansion may keep so as not to run its circuits twice.
KEPT_ELEMENTS = 2**23


@dataclass(frozen=True)
class Expansion:
    """A layer frozen into features and a matrix.

    Attributes:
        basis: which features.
        matrix: (terms, inputs, outputs).
        constant: (inputs, outputs), what the features leave out.
    """

    basis: Basis
    matrix: Tensor
    constant: Tensor

    def with_base(self, base: str, weight: Tensor) -> Expansion:
        """The same layer with a base branch: one more feature, whose weights are (outputs, inputs)."""
        matrix = torch.cat((self.matrix, weight.t().unsqueeze(0)))
        return replace(self, basis=replace(self.basis, base=base), matrix=matrix)

    def prepared(
        self,
        base: tuple[str, Tensor] | None = None,
        offset: Tensor | None = None,
        matmul_dtype: torch.dtype | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """The sum over inputs, (..., inputs) to (..., outputs), with what depends on parameters alone computed once.

        Args:
            base: as of :class:`qkan.kernels.layer.CircuitLayer`, or None.
            offset: (outputs,) to add, or None.
            matmul_dtype: see :func:`qkan.kernels.spectral.matmul.weighted_sum`.
        """

        def added_up() -> tuple[Expansion, Tensor]:
            constant = self.constant.sum(0)
            whole = self if base is None else self.with_base(*base)
            return whole, constant if offset is None else constant + offset

        kernels = matmul_dtype is None and triton_gpu.usable(self.matrix, None if base is None else base[1])
        made = None if kernels else added_up()

        def run(x: Tensor) -> Tensor:
            nonlocal made
            flat, parameters = x.reshape(-1, x.shape[-1]), (self.matrix, self.constant, base, offset)
            y = small_layer(self.basis, flat, *parameters) if made is None else None
            if y is None:
                made = added_up() if made is None else made
                y = weighted_sum(flat, made[0].matrix, made[1], made[0].basis, matmul_dtype=matmul_dtype)
            return y.reshape(*x.shape[:-1], y.shape[-1])

        return run

    def activation(self, x: Tensor) -> Tensor:
        """Every input through the circuit of its own, (..., inputs) to the same shape; only with one output."""
        flat = x.reshape(-1, x.shape[-1])
        return weighted_sum(flat, self.matrix, self.constant.squeeze(-1), self.basis, diagonal=True).reshape(x.shape)

    def edges(self, x: Tensor) -> Tensor:
        """Without the sum: (..., inputs) to (..., outputs, inputs)."""
        if self.matrix.shape[-1] == 1:
            return self.activation(x).unsqueeze(-2)
        features = torch.stack(self.basis.functions(x), -1)
        return torch.einsum("...it,tio->...oi", features, self.matrix) + self.constant.t()


def unsupported_reason(*, ansatz: Ansatz, readout: str, per_sample: bool) -> str | None:
    """None if a layer is band-limited, else the reason why it is not."""
    if readout != "z":
        return f"readout {readout!r} is not band-limited (it has square roots); only the expectation 'z' is"
    if ansatz.encoding_map != "identity":
        return f"ansatz {ansatz.name!r} encodes {ansatz.encoding_map}(x), which is not band-limited in x"
    if per_sample:
        return "theta differs between samples, so there is no common matrix"
    return None


@dataclass(frozen=True)
class _Rule:
    """How circuits become coefficients: evaluated at ``radius`` times ``nodes``, multiplied with ``analysis``.

    ``analysis`` is (terms, points); ``kind`` and ``radius`` are those of the features.
    """

    nodes: Tensor
    analysis: Tensor
    ansatz: Ansatz
    reps: int
    kind: Literal["fourier", "chebyshev"] = "fourier"
    radius: float = 1.0


def _coefficients(
    rule: _Rule, theta: Tensor, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Coefficients of the features, (terms - 1, inputs, outputs), and of the constant, (inputs, outputs)."""
    numbers = 6 * rule.reps * len(rule.nodes) * theta.shape[-4] * theta.shape[-3]
    values = bloch.at_points(
        rule.nodes if rule.kind == "fourier" else rule.radius * rule.nodes,
        theta,
        weight,
        bias,
        ansatz=rule.ansatz,
        reps=rule.reps,
        keep=torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and numbers <= max(KEPT_ELEMENTS, piece_elements(theta.device)),
    )
    coefficients = full_matmul(rule.analysis, values).unflatten(-1, (theta.shape[-3], theta.shape[-4]))
    if edge_weight is not None:
        coefficients = coefficients * edge_weight.t()
    return coefficients[1:], coefficients[0]


class _FusedCoefficients(torch.autograd.Function):
    """:func:`_coefficients` where the fused CPU kernel takes the tensors: one node of the graph instead of ten.

    A small layer costs as much as the operations that PyTorch starts and notes for it.
    """

    @staticmethod
    def forward(ctx: Any, theta, weight, bias, edge_weight, rule: _Rule):
        ctx.save_for_backward(theta, weight, bias, edge_weight)
        ctx.rule = rule
        return _numba_coefficients(rule, theta, weight, bias, edge_weight)

    @staticmethod
    def backward(ctx: Any, of_matrix: Tensor, of_constant: Tensor):
        tensors, needs, rule = ctx.saved_tensors, ctx.needs_input_grad[:4], ctx.rule
        check_readable(*tensors)
        if torch.is_grad_enabled() or not numba_supported(of_matrix, of_constant):
            return *vjp_needed(partial(_coefficients, rule), tensors, needs, (of_matrix, of_constant)), None
        circuits = numba_coefficients.CircuitTensors(*numba_coefficients.contiguous(tensors))
        upstream = of_matrix.contiguous(), of_constant.contiguous()
        found = numba_coefficients.coefficient_gradients(
            _point_rule(rule, circuits), rule.radius, circuits, *upstream, needs
        )
        return *found, None


def _point_rule(rule: _Rule, circuits: numba_coefficients.CircuitTensors) -> numba_coefficients.PointRule:
    theta, weight, bias, _ = circuits
    given = (weight is not None, bias is not None, theta.dtype)
    return numba_coefficients.point_rule(rule.kind, len(rule.nodes), rule.ansatz, rule.reps, *given)


def _numba_coefficients(rule: _Rule, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
    circuits = numba_coefficients.CircuitTensors(*numba_coefficients.contiguous(tensors))
    return numba_coefficients.coefficients(_point_rule(rule, circuits), rule.radius, circuits)


class _TritonCoefficients(torch.autograd.Function):
    """:func:`_coefficients` in one kernel, and its gradients in another, where those of GPUs take the tensors."""

    @staticmethod
    def forward(ctx: Any, theta, weight, bias, edge_weight, rule: _Rule):
        ctx.save_for_backward(theta, weight, bias, edge_weight)
        ctx.rule = rule
        return triton_gpu.coefficients(_circuits(rule), (theta, weight, bias, edge_weight))

    @staticmethod
    def backward(ctx: Any, of_matrix: Tensor, of_constant: Tensor):
        tensors, needs, rule = ctx.saved_tensors, ctx.needs_input_grad[:4], ctx.rule
        check_readable(*tensors)
        plain = torch.is_grad_enabled() or stand_for_batch(of_matrix, of_constant)
        if not plain and triton_gpu.usable(*tensors):
            try:
                found = triton_gpu.coefficient_gradients(_circuits(rule), tensors, of_matrix, of_constant)
                return *(f if need else None for f, need in zip(found, needs, strict=True)), None
            except KernelUnavailableError as error:
                warn_once(error.reason)
        return *vjp_needed(partial(_coefficients, rule), tensors, needs, (of_matrix, of_constant)), None


def _circuits(rule: _Rule) -> triton_gpu.Circuits:
    return triton_gpu.Circuits(rule.kind, len(rule.nodes), rule.radius, rule.ansatz, rule.reps)


def _expand(
    basis: Basis, rule: _Rule, theta: Tensor, weight: Tensor | None, bias: Tensor | None, edge_weight: Tensor | None
) -> Expansion:
    tensors = theta, weight, bias, edge_weight
    if triton_gpu.usable(*tensors):
        try:
            return Expansion(basis, *_TritonCoefficients.apply(*tensors, rule))
        except KernelUnavailableError as error:
            warn_once(error.reason)
    if not numba_supported(*tensors, dtype=theta.dtype):
        return Expansion(basis, *_coefficients(rule, *tensors))
    if torch.is_grad_enabled():
        return Expansion(basis, *_FusedCoefficients.apply(*tensors, rule))
    return Expansion(basis, *_numba_coefficients(rule, *tensors))


def fourier(
    theta: Tensor,
    bias: Tensor | None,
    edge_weight: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    weight: Tensor | None = None,
    degree: int | None = None,
) -> Expansion:
    """Expand a layer whose pre-activation weights are whole numbers, exactly, for inputs of any size.

    Args:
        theta: (outputs, inputs, rows, angles), or (1, inputs, ...) for one circuit per input.
        bias: pre-activation phases (outputs, inputs, reps), or None.
        edge_weight: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps: the circuit.
        weight: whole pre-activation weights (outputs, inputs, reps), of which no gradient is asked, or None for ones.
        degree: at least the largest sum of |w_l| of any edge; default that of ones, ``reps``.
    """
    degree = reps if degree is None else degree
    angles, analysis = constants(fourier_rule, degree, theta)
    return _expand(Basis("fourier", degree), _Rule(angles, analysis, ansatz, reps), theta, weight, bias, edge_weight)


def shared(
    theta: Tensor, weight: Tensor, bias: Tensor | None, edge_weight: Tensor | None, *, ansatz: Ansatz, reps: int
) -> SumExpansion:
    """Expand a layer whose pre-activations are one per input, exactly, for inputs of any size; see :mod:`.sums`.

    Args:
        theta, edge_weight, ansatz, reps: as in :func:`fourier`.
        weight, bias: pre-activations (1, inputs, reps); bias may be None.
    """
    (counting,) = constants(_powers, reps, theta)  # a CUDA graph that is being captured copies nothing to the device
    places, degree = counting.expand(*theta.shape[:2], -1), frequencies(reps)
    expansion = fourier(theta, None, edge_weight, ansatz=ansatz, reps=reps, weight=places, degree=degree)
    shifts = torch.zeros_like(weight[0]) if bias is None else bias[0]
    return SumExpansion(weight[0], shifts, expansion.matrix, expansion.constant)


def _powers(reps: int) -> tuple[Tensor]:
    """1, 3, 9, ..."""
    return (3.0 ** counted(0, reps),)


def _log_bessel(order: int, z: float) -> float:
    """Logarithm of a bound on J_order(z): (z / 2)^k / k! exp(-z^2 / 4 (k + 1)), for 0 < z below its first zero.

    J_k(z) is (z / 2)^k / k! times the product of 1 - (z / j)^2 over its zeros j, and 1 / j^2 sums to 1 / 4 (k + 1).
    """
    return order * math.log(z / 2) - math.lgamma(order + 1) - z * z / (4 * order + 4)


def chebyshev_error(bandwidth: float, radius: float, terms: int) -> float:
    """Proven largest error of a Chebyshev interpolant of phi on [-radius, radius].

    Args:
        bandwidth: Omega, at least the largest sum of |w_l| of any edge.
        radius: A, half the width of the domain.
        terms: K, Chebyshev nodes and coefficients.

    Returns:
        a bound on 2 J_K(z) + 4 sum_(k > K) J_k(z) with z = Omega A, see the head of this module; infinity where nothing
        is proven: at K (K - 1) < z^2.
    """
    z = bandwidth * radius
    if z == 0:
        return 0.0
    if not z * z <= terms * (terms - 1):
        return math.inf
    # One bound over the one before it, z / 2 (k + 1) exp(z^2 / 4 (k + 1) (k + 2)), falls with k: a geometric series.
    ratio = z / (2 * terms + 4) * math.exp(z * z / (4 * (terms + 2) * (terms + 3)))
    tail = math.exp(_log_bessel(terms + 1, z)) / (1 - ratio)
    return 2 * math.exp(_log_bessel(terms, z)) + 4 * tail


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


def chebyshev(
    theta: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    edge_weight: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    radius: float,
    terms: int,
) -> Expansion:
    """Expand a layer with trained pre-activations on [-radius, radius].

    Args:
        theta, bias, edge_weight, ansatz, reps: as in :func:`fourier`.
        weight: pre-activation weights (outputs, inputs, reps).
        radius: largest |x| that the expansion holds for, > 0; outside it is wrong. Slopes d phi / d x magnify the
            rounding of coefficients by up to terms^2 / radius, so it should not be needlessly small.
        terms: Chebyshev terms; see :func:`chebyshev_terms`.
    """
    (analysis,) = constants(chebyshev_rule, terms, theta)
    # In double precision: a rounded node would err by Omega times as much.
    (nodes,) = constants(chebyshev_nodes, terms, exact_like(theta))
    basis = Basis("chebyshev", terms, radius)
    rule = _Rule(nodes, analysis, ansatz, reps, "chebyshev", radius)
    return _expand(basis, rule, theta, weight, bias, edge_weight)
