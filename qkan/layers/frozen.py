"""Frozen circuits: trained layers as buffers and plain torch operations, for inference, torch.export and ONNX.

Four forms, of which a layer takes the first that it can:

* *Fourier*, at whole pre-activation weights that are not trained: cos k x, sin k x and one matrix product; exact for
  every x.
* *Sums*, at pre-activations per input: cos and sin of their sums and one matrix product; exact for every x.
* *Chebyshev*, at trained pre-activations: T_k(x / A) and one matrix product, within a few roundings of the circuit for
  |x| <= A, the domain. Beyond it the result is NaN: polynomials would go astray there, and a clamped input would give
  a plausible wrong number.
* The *circuit* itself as rotations of Bloch vectors, exact for every x: where phi is not band-limited (px, the readout
  "amplitude"), where the domain is infinite, and where Chebyshev polynomials would need too many terms.

:mod:`qkan.kernels.spectral.coefficients` derives the first three.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.kernels.backend_choice import Radius, fourier_plan, plan_expansion, sums_apply
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.edges.activations import BASES
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.basis import Operands
from qkan.kernels.spectral.sum_frequencies import SumExpansion
from qkan.layers.options import BaseActivation, base_function, check_input

Expanded: TypeAlias = spectral.Expansion | SumExpansion


class Features(nn.Module):
    """The features of every input, (..., inputs) to (..., terms inputs), NaN outside the domain.

    Buffers, None where a form has none: ``domain`` (), A of Chebyshev polynomials; ``speeds`` and ``shifts``
    (frequencies, inputs) of sums of pre-activations.
    """

    domain: Tensor | None
    speeds: Tensor | None
    shifts: Tensor | None

    def __init__(self, expansion: Expanded, like: Tensor) -> None:
        super().__init__()
        self.basis = None if isinstance(expansion, SumExpansion) else replace(expansion.basis, radius=1.0)
        domain = None
        if isinstance(expansion, spectral.Expansion) and expansion.basis.kind == "chebyshev":
            domain = like.new_tensor(expansion.basis.radius)
        self.register_buffer("domain", domain)
        sums = expansion.frequencies() if isinstance(expansion, SumExpansion) else (None, None)
        for name, tensor in zip(("speeds", "shifts"), sums, strict=True):
            self.register_buffer(name, None if tensor is None else tensor.detach().to(like.device, like.dtype))

    def functions(self, x: Tensor) -> list[Tensor]:
        """One tensor in the shape of x for every term."""
        if self.domain is not None:
            x = torch.where(x.abs() <= self.domain, x / self.domain, math.nan)
        if self.basis is not None:
            return self.basis.functions(x)
        angles = [x * speed + shift for speed, shift in self._frequencies()]
        return [angle.cos() for angle in angles] + [angle.sin() for angle in angles]

    def _frequencies(self) -> list[tuple[Tensor, Tensor]]:
        """Frequency and phase of every sum of pre-activations, (inputs,) each."""
        if self.speeds is None or self.shifts is None:
            return []
        return list(zip(self.speeds.unbind(), self.shifts.unbind(), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """The features side by side."""
        return torch.cat(self.functions(x), -1)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        if self.basis is None:
            return f"sums, size={len(self._frequencies())}"
        within = "" if self.domain is None else f", domain={self.domain.item():g}"
        return f"{self.basis.kind}, size={self.basis.size}{within}"


class FeatureSum(Features):
    """One activation per input, (..., inputs) to the same shape, as a weighted sum of its features.

    Buffers: that of :class:`Features`, ``coefficients`` (terms, inputs), ``constant`` (inputs,).
    """

    coefficients: Tensor
    constant: Tensor

    def __init__(self, expansion: Expanded, coefficients: Tensor, constant: Tensor) -> None:
        super().__init__(expansion, constant)
        self.register_buffer("coefficients", coefficients)
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        """The activations."""
        return (torch.stack(self.functions(x), -2) * self.coefficients).sum(-2) + self.constant


class BlochCircuits(nn.Module):
    """Circuits as rotations of Bloch vectors, (..., inputs) to (..., outputs, inputs).

    Buffers: ``theta`` (outputs, inputs, rows, angles), ``preact_weight`` and ``preact_bias`` (outputs, inputs, reps) or
    None; outputs is 1 for one circuit per input.
    """

    theta: Tensor
    preact_weight: Tensor | None
    preact_bias: Tensor | None

    def __init__(self, circuits: CircuitLayer) -> None:
        super().__init__()
        self.options = bloch.Options(circuits.ansatz, circuits.reps, circuits.readout, reduce=False)
        weight, bias = circuits.expand_to_outputs(circuits.weight), circuits.expand_to_outputs(circuits.bias)
        named = {"theta": circuits.theta, "preact_weight": weight, "preact_bias": bias}
        for name, tensor in named.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().to(circuits.dtype, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        """Every phi."""
        weight, bias = (None if t is None else t.to(x.dtype) for t in (self.preact_weight, self.preact_bias))
        flat = x.reshape(-1, x.shape[-1])
        values = bloch.plain_circuits(self.options, flat, self.theta.to(x.dtype), weight, bias, None)
        return values.reshape(*x.shape[:-1], *values.shape[1:])

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{self.options.ansatz.name!r}, reps={self.options.reps}, readout={self.options.readout!r}"


class FrozenLayer(nn.Module):
    """A trained :class:`qkan.QKANLayer` as one matrix product over features: (..., in_features) to (..., out_features).

    The output has the dtype of the buffers; features are computed at least in float32. Buffers: ``weight``
    (out_features, columns), ``bias`` (out_features,), and ``edge_weight`` (out_features, in_features) or None for
    circuits that are summed one by one. Submodule ``phi`` makes the columns of the circuits, ``base_activation`` those
    of the base branch.

    Args:
        circuits: those of the layer.
        base: base activation and its weights (out_features, in_features), or None.
        domain: largest |x|, see :meth:`qkan.QKANLayer.compile_spectral`.
        reads: bool (in_features,), False for inputs that are not read because all their edges are pruned; None reads
            all. Kept as a buffer of that name.

    Raises:
        ValueError: trained pre-activations without a domain, or one that is not positive.
    """

    weight: Tensor | None
    bias: Tensor
    edge_weight: Tensor | None
    reads: Tensor | None

    def __init__(
        self,
        circuits: CircuitLayer,
        base: tuple[BaseActivation, Tensor] | None,
        domain: float | None,
        reads: Tensor | None = None,
    ) -> None:
        super().__init__()
        theta, edge_weight = circuits.theta.detach(), circuits.edge_weight
        shared = edge_weight is not None and edge_weight.shape[0] > theta.shape[-4]
        self.out_features = theta.shape[-4] if edge_weight is None else edge_weight.shape[0]
        self.in_features = theta.shape[-3]
        self.base_activation = None if base is None else base_function(base[0])
        expansion = expand(circuits, None if shared else edge_weight, domain)
        bias = theta.new_zeros(self.out_features) if circuits.offset is None else circuits.offset.detach()
        columns: list[Tensor] = []
        self.phi: nn.Module
        if expansion is None:
            self.phi = BlochCircuits(circuits)
        elif shared:
            self.phi = _feature_sum(expansion, circuits)
        else:
            self.phi = Features(expansion, theta)
            columns.append(expansion.matrix.flatten(0, 1).mT)
            bias = bias.to(expansion.constant) + expansion.constant.sum(0)
        if shared and edge_weight is not None:
            columns.append(edge_weight.detach())
        if base is not None:
            columns.append(base[1].detach())
        summed = expansion is None and not shared

        def buffer(name: str, tensor: Tensor | None) -> None:
            kept = None if tensor is None else tensor.detach().to(theta.device, circuits.dtype, copy=True)
            self.register_buffer(name, kept)

        buffer("weight", torch.cat([part.to(bias) for part in columns], -1) if columns else None)
        buffer("bias", bias)
        buffer("edge_weight", theta.new_ones(()) if summed and edge_weight is None else edge_weight if summed else None)
        self.register_buffer("reads", reads)

    def prepare(self, radius: Radius = None) -> FrozenLayer:
        """Itself, because nothing is left to compute in advance; recurrent modules ask their layers for this."""
        return self

    def operands(self, radius: Radius = None) -> Operands | str:
        """As of :class:`qkan.QKANLayer`."""
        phi, weight = self.phi, self.weight
        if torch.compiler.is_compiling() or tracing():
            return "compilers and exporters follow the plain operations of a frozen layer"
        names = [name for name, functions in BASES.items() if functions[0] is self.base_activation]
        if not names and self.base_activation is not None:
            return "its base activation is a function that kernels do not know by name"
        if not isinstance(phi, Features) or phi.basis is None or weight is None:
            return f"its frozen circuits, {type(phi).__name__}, are no basis functions on one domain"
        basis = replace(phi.basis, base=names[0] if names else None)
        if phi.domain is not None:
            bound, domain = radius() if callable(radius) else radius, float(phi.domain)
            if bound is None or bound > domain:
                return f"nothing says that its inputs stay within its domain, {domain:g}"
            basis = replace(basis, radius=domain)
        compute = torch.promote_types(weight.dtype, torch.float32)
        matrix = weight.to(compute).mT.reshape(-1, self.in_features, self.out_features)
        coeffs = None
        if isinstance(phi, FeatureSum):
            coeffs = torch.cat((phi.constant.unsqueeze(0), phi.coefficients)).to(compute)
        return Operands(basis, matrix, self.bias.to(compute), coeffs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` (..., in_features).

        Raises:
            ValueError: a last size other than in_features.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__)
        dtype = self.bias.dtype
        if self.reads is not None:
            x = torch.where(self.reads, x, 0)
        phi = self.phi(_precise(x, dtype))
        columns = []
        if self.edge_weight is None:
            # One circuit per input comes as (..., 1, inputs).
            columns.append(phi.squeeze(-2) if isinstance(self.phi, BlochCircuits) else phi)
        if self.base_activation is not None:
            columns.append(self.base_activation(x.to(dtype)))
        y = self.bias
        if self.weight is not None:
            y = F.linear(torch.cat([part.to(dtype) for part in columns], -1), self.weight, y)
        if self.edge_weight is not None:
            y = y + (phi * self.edge_weight).sum(-1)
        return y.to(dtype)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class FrozenActivation(nn.Module):
    """A trained :class:`qkan.DARUAN`, element-wise; NaN outside the domain of Chebyshev polynomials.

    Args:
        circuits: those of the activation, (1, features, ...).
        domain: largest |x|, see :meth:`qkan.QKANLayer.compile_spectral`.

    Raises:
        ValueError: trained pre-activations without a domain, or one that is not positive.
    """

    def __init__(self, circuits: CircuitLayer, domain: float | None) -> None:
        super().__init__()
        self.num_features = circuits.theta.shape[-3]
        expansion = expand(circuits, None, domain)
        self.phi = BlochCircuits(circuits) if expansion is None else _feature_sum(expansion, circuits)

    def forward(self, x: Tensor) -> Tensor:
        """Apply phi to every element of ``x``; refuses what :class:`qkan.DARUAN` refuses."""
        flat = x.unsqueeze(-1) if self.num_features == 1 else x
        check_input(flat, self.num_features, type(self).__name__)
        dtype = next(self.phi.buffers()).dtype
        y = self.phi(_precise(flat, dtype))
        return y.reshape(x.shape).to(dtype)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"num_features={self.num_features}"


def _precise(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in ``dtype``, at least in float32: angles need the digits."""
    return x.to(dtype if dtype.itemsize >= 4 else torch.float32)


def _feature_sum(expansion: Expanded, circuits: CircuitLayer) -> FeatureSum:
    matrix, constant = (
        part.squeeze(-1).to(circuits.theta.device, circuits.dtype) for part in (expansion.matrix, expansion.constant)
    )
    return FeatureSum(expansion, matrix, constant)


def expand(circuits: CircuitLayer, edge_weight: Tensor | None, domain: float | None) -> Expanded | None:
    """Circuits as features and a matrix in float64 on the CPU, or None if the circuit itself has to stay.

    Raises:
        ValueError: trained pre-activations without a domain, or one that is not positive.
        TypeError: a domain that is not a number.
    """
    ansatz, reps = circuits.ansatz, circuits.reps
    if spectral.unsupported_reason(ansatz=ansatz, readout=circuits.readout, per_sample=False) is not None:
        return None
    whole = circuits.weight is None or fourier_plan(circuits.harmonics) is not None
    if circuits.weight is not None and not whole and not sums_apply(circuits.weight, reps):
        domain = _check_domain(domain)
    how: dict[str, Any] = {"readout": circuits.readout, "radius": domain, "harmonics": circuits.harmonics}
    plan = plan_expansion(circuits.theta, circuits.weight, ansatz=ansatz, reps=reps, **how)
    if isinstance(plan, str):
        return None
    weight, bias, edge_weight = (
        None if t is None else t.detach().cpu().double() for t in (circuits.weight, circuits.bias, edge_weight)
    )
    theta = circuits.theta.detach().cpu().double()
    return CircuitLayer(theta, weight, bias, edge_weight, ansatz=ansatz, reps=reps).expand(plan)


def _check_domain(domain: float | None) -> float:
    """The domain, rounded up to eight bits, so that every dtype holds it and no input within it falls outside."""
    if domain is None:
        raise ValueError(
            "trained pre-activations can be frozen only for a known range of inputs: give domain, a bound on |x| "
            "(math.inf keeps the circuit itself), or give qkan.compile example_inputs to find one"
        )
    if isinstance(domain, bool) or not isinstance(domain, int | float):
        raise TypeError(f"domain must be a number, got {type(domain).__name__}")
    if not domain > 0:
        raise ValueError(f"domain {domain} must be a bound on |x| greater than 0, or math.inf")
    if math.isinf(domain):
        return domain
    mantissa, exponent = math.frexp(domain)
    return math.ldexp(math.ceil(256 * mantissa) / 256, exponent)
