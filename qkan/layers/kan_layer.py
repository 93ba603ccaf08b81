"""KANLayer: a Kolmogorov-Arnold layer whose edges are sums of fixed functions with free coefficients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan.kernels.backend_choice import Radius
from qkan.kernels.common.tensors import autocast_dtype, check_readable, fix_gradient_strides, without_autocast
from qkan.kernels.spectral.basis import BASES, SPLINE_ORDER, Basis, BasisFunctions, Operands
from qkan.kernels.spectral.matmul import weighted_sum
from qkan.layers.edge_formula import Numbers, Term
from qkan.layers.free_edges import FreeEdges, basis_terms
from qkan.layers.init import normal_, uniform_
from qkan.layers.options import check_dtype, check_input, check_memory, finite_float, positive_int

#: Standard deviation of what is added to the coefficients of the line that an edge starts with.
NOISE_STD = 0.05


class EdgeFunctions(NamedTuple):
    """Which functions the edges of a :class:`KANLayer` are sums of.

    Attributes:
        kind: of :class:`qkan.kernels.spectral.basis.Basis`.
        least: terms that an edge has at least.
        even: whether terms come in pairs.
        beyond: terms beyond the size of the basis.
    """

    kind: str
    least: int
    even: bool = False
    beyond: int = 0

    def size(self, terms: int) -> int:
        """The size of the basis."""
        return terms // 2 if self.even else terms - self.beyond


#: What ``basis`` names.
EDGE_FUNCTIONS: dict[str, EdgeFunctions] = {
    "fourier": EdgeFunctions("fourier", 2, even=True),
    "rff": EdgeFunctions("rff", 2, even=True),
    "chebyshev": EdgeFunctions("tanh-chebyshev", 1),
    "bspline": EdgeFunctions("bspline", SPLINE_ORDER + 1, beyond=SPLINE_ORDER),
}


class KANLayer(FreeEdges):
    r"""A layer of edges with free coefficients: y_o = c_o + sum_i [ sum_k M_kio F_k(x_i) + u_oi base(x_i) ].

    :class:`qkan.QKANLayer` is such a layer whose coefficients come from a circuit; with free ones this is its control.

    Shapes: input (..., in_features), output (..., out_features). Parameters: ``coefficients`` (terms, in, out),
    ``bias`` (out,) and ``base_weight`` (out, in), None where their option is off. Buffer ``edge_mask``, (out, in) bool:
    see :class:`qkan.layers.edge_mask.EdgeMasked`, which also has ``prune`` and ``restore``.

    Args:
        in_features, out_features: sizes of the last dimension.
        basis: ``"fourier"``, cos and sin of x, 2 x, ..., terms / 2 x; ``"chebyshev"``, T_1 ... T_terms of tanh(x /
            radius) (ChebyKAN); ``"rff"``, cos and sin of terms / 2 random frequencies N(0, (pi / radius)^2), drawn once
            and the same in every layer; ``"bspline"``, cubic B-splines on terms - 3 equal intervals of [-radius,
            radius], which fall to zero beyond it; or functions of your own as :class:`qkan.BasisFunctions`.
        terms: functions of an edge; the size of your own functions.
        radius: see ``basis``; has no effect on ``"fourier"``.
        bias: train c; else there is none.
        base_activation: a name as of :class:`qkan.QKANLayer`, or None for no base branch.
        base_trainable: as of :class:`qkan.QKANLayer`.
        generator: source of the initial values; None takes torch's default one.
        device, dtype: of the parameters.

    Edges start near a line of a slope drawn like a weight of :class:`torch.nn.Linear`, or near zero beside a base
    branch.

    Raises:
        ValueError, TypeError: an option outside what is listed above; the message names it and the remedy.

    Examples:
        >>> import torch
        >>> from qkan import KANLayer
        >>> layer = KANLayer(3, 2, "chebyshev", terms=6)
        >>> layer(torch.rand(5, 3)).shape, tuple(layer.coefficients.shape)
        (torch.Size([5, 2]), (6, 3, 2))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: str | BasisFunctions = "bspline",
        *,
        terms: int = 8,
        radius: float = 1.0,
        bias: bool = True,
        base_activation: str | None = None,
        base_trainable: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.basis, self.terms, self.radius = basis, terms, finite_float("radius", radius, positive=True)
        self.base_activation, self.base_trainable = base_activation, base_trainable
        self._functions = Basis(*_kind_and_size(basis, terms), self.radius)
        self.edge_name = self._functions.name
        if isinstance(basis, BasisFunctions):
            _check_functions(basis, terms, self.radius)
        if base_activation is not None and base_activation not in BASES:
            raise ValueError(
                f"unknown base_activation {base_activation!r}; use one of {', '.join(BASES)}, or None to leave it out"
            )
        check_dtype(dtype)
        edges = in_features * out_features
        functions = self._functions.terms
        check_memory(f"KANLayer({in_features}, {out_features}, terms={terms})", (functions + 1) * edges, device, dtype)

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        self.coefficients = nn.Parameter(empty(functions, in_features, out_features))
        self.register_parameter("bias", nn.Parameter(empty(out_features)) if bias else None)
        base = None if base_activation is None else nn.Parameter(empty(out_features, in_features), base_trainable)
        self.register_parameter("base_weight", base)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        bound = 1 / math.sqrt(self.in_features)
        normal_(self.coefficients, NOISE_STD * bound, generator)
        if self.base_weight is not None:
            uniform_(self.base_weight, bound, generator)
        elif not self.coefficients.is_meta:
            slopes = torch.empty_like(self.coefficients[0])
            uniform_(slopes, bound, generator)
            with torch.no_grad():
                self.coefficients.add_(self._line().to(slopes).view(-1, 1, 1) * slopes)
        if self.bias is not None:
            with torch.no_grad():
                self.bias.zero_()

    def _line(self) -> Tensor:
        """Small coefficients (terms,) of a sum that is near x on [-radius, radius]."""
        x = torch.linspace(-self.radius, self.radius, 8 * self.terms + 1, dtype=torch.float64, device="cpu")
        features = torch.stack(self._functions.functions(x), -1)
        whole = features.isfinite().all(-1)  # all but poles of functions that a user gave
        found = torch.linalg.lstsq(features[whole], x[whole].unsqueeze(-1), rcond=0.1, driver="gelsd")
        return found.solution.squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` (..., in_features); (..., out_features) in the dtype of the parameters.

        Raises:
            ValueError: another last size.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__, self.coefficients.device)
        dtype, matmul_dtype = self.coefficients.dtype, autocast_dtype(self.coefficients.dtype, x.device)
        with without_autocast(x.device):
            operands = self._operands()
            flat = self._read(x).reshape(-1, self.in_features).to(operands.matrix.dtype)
            y = weighted_sum(flat, operands.matrix, operands.bias, operands.basis, matmul_dtype=matmul_dtype)
            return y.reshape(*x.shape[:-1], self.out_features).to(dtype)

    def operands(self, radius: Radius = None) -> Operands | str:
        """The layer as features and a matrix, for the engines of :mod:`qkan.kernels.recurrence.api`, or why it is none.

        Args:
            radius: has no effect: the functions hold for inputs of any size.
        """
        if isinstance(self.basis, BasisFunctions) and torch.compiler.is_compiling():
            return "a compiled recurrence knows its basis by name"
        return self._operands()

    def _operands(self) -> Operands:
        check_readable(*self._parameters.values())
        compute = torch.promote_types(self.coefficients.dtype, torch.float32)
        matrix, basis = fix_gradient_strides(self.kept_coefficients().to(compute)), self._functions
        if self.base_weight is not None:
            basis = replace(basis, base=self.base_activation)
            matrix = torch.cat((matrix, self._kept(self.base_weight).to(compute).mT.unsqueeze(0)))
        bias = matrix.new_zeros(self.out_features) if self.bias is None else self.bias.to(compute)
        return Operands(basis, matrix, bias)

    def features(self, x: Tensor) -> Tensor:
        """The functions of every input, without the base activation: (terms, *x.shape)."""
        return torch.stack(self._functions.functions(x))

    def function_terms(self, output: int, input: int, numbers: Numbers) -> list[Term]:
        """The functions of one edge with their coefficients; raises ValueError for functions of your own."""
        return basis_terms(self._functions, self.coefficients[:, input, output].tolist(), numbers)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build such a layer with other values: ``KANLayer(**layer.config)``."""
        given = ("in_features", "out_features", "basis", "terms", "radius", "base_activation", "base_trainable")
        options = {name: getattr(self, name) for name in given}
        return options | {"bias": self.bias is not None, "dtype": self.coefficients.dtype}

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        basis = self.basis if isinstance(self.basis, str) else self._functions.name
        shown = f"in_features={self.in_features}, out_features={self.out_features}, basis={basis!r}, "
        return shown + f"terms={self.terms}, radius={self.radius:g}, base_activation={self.base_activation!r}"


def _kind_and_size(basis: str | BasisFunctions, terms: int) -> tuple[str | BasisFunctions, int]:
    positive_int("terms", terms, 512)
    if isinstance(basis, BasisFunctions):
        return basis, terms
    if not isinstance(basis, str):
        raise TypeError(f"basis must be a name or BasisFunctions, got {type(basis).__name__}; wrap functions in it")
    if basis not in EDGE_FUNCTIONS:
        raise ValueError(f"unknown basis {basis!r}; use one of {', '.join(EDGE_FUNCTIONS)}, or BasisFunctions")
    functions = EDGE_FUNCTIONS[basis]
    if terms < functions.least or (functions.even and terms % 2):
        needed = "an even number of terms" if functions.even else f"terms of at least {functions.least}"
        raise ValueError(
            f"basis {basis!r} needs {needed}, got terms={terms}; use terms={max(terms + 1, functions.least)}"
        )
    return functions.kind, functions.size(terms)


def _check_functions(functions: BasisFunctions, size: int, radius: float) -> None:
    """Check functions that a user gave on a few inputs.

    Raises:
        ValueError: values or slopes of another shape or that are not finite, or slopes that are not the derivatives of
            the values.
    """
    x = torch.linspace(-0.93 * radius, 0.89 * radius, 6, dtype=torch.float64, device="cpu").view(2, 3)
    shape = (functions.terms(size), *x.shape)
    found = {"values": functions.values(x, size, radius)}
    if functions.slopes is not None:
        found["slopes"] = functions.slopes(x, size, radius)
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor) or tensor.shape != shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"the {name} of this basis are {got} for an input of shape {tuple(x.shape)} and terms={size}; they "
                f"must be a tensor of shape {shape}, the functions first"
            )
        if not tensor.isfinite().all():
            raise ValueError(
                f"the {name} of this basis are not finite everywhere in [-{radius:g}, {radius:g}], where inputs are "
                "expected; use functions that are, or another radius"
            )
    if functions.slopes is not None:
        exact = functions._replace(slopes=None).differentiate(x, size, radius)
        off = float((found["slopes"] - exact).abs().max())
        if off > 1e-5 * max(1.0, float(exact.abs().max())):
            raise ValueError(
                f"the slopes of this basis differ from the derivatives of its values by up to {off:.2g}; correct them, "
                "or leave them out"
            )
