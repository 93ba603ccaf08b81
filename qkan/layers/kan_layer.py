"""KANLayer: a Kolmogorov-Arnold layer whose edges are sums of fixed functions with free coefficients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from qkan.kernels.backend_choice import Radius
from qkan.kernels.common.tensors import autocast_dtype, check_readable, fix_gradient_strides, without_autocast
from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import FAMILIES, KERNEL_FAMILIES, MOST_ORDER, SPLINE_ORDER
from qkan.kernels.edges.free_sum import free_sum
from qkan.kernels.edges.grids import matrix_between, nearest, splits, wider
from qkan.kernels.edges.numba_cpu import Edges
from qkan.kernels.edges.own_functions import BasisFunctions, check_functions
from qkan.kernels.spectral.basis import Basis, Operands
from qkan.kernels.spectral.matmul import weighted_sum
from qkan.layers.edge_formula import Numbers, Term
from qkan.layers.free_edges import FreeEdges, basis_terms, rational_term
from qkan.layers.init import normal_, uniform_
from qkan.layers.options import check_dtype, check_input, check_memory, finite_float, positive_int
from qkan.layers.rational import GroupRational

#: Standard deviation of what is added to the coefficients of the line that an edge starts with.
NOISE_STD = 0.05
#: Functions of an edge unless told otherwise, and the most there can be.
TERMS, MOST_TERMS = 8, 512
#: Groups of inputs that share a rational function, as in the published KAT, or the most that divide fewer inputs.
RATIONAL_GROUPS = 8
#: What ``basis`` names: kinds of :class:`qkan.kernels.spectral.basis.Basis`; besides, trained rational functions.
EDGE_FUNCTIONS: dict[str, str] = {
    "fourier": "fourier",
    "rff": "rff",
    "chebyshev": "tanh-chebyshev",
    **{kind: kind for kind in FAMILIES if kind not in ("rff", "tanh-chebyshev")},
}
#: The same in short, for messages.
NAMES = "fourier, rff, chebyshev, bspline, rbf, relu, rational, an activation and a combination such as silu-quad1"
_PAIRED = ("fourier", "rff")


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
            and the same in every layer; ``"bspline"``, B-splines on terms - order equal intervals of [-radius, radius]
            (KAN); ``"rbf"``, Gaussians around terms places from -radius to radius (FastKAN); ``"relu"``, squared
            products of two ReLUs on the intervals of splines (ReLU-KAN), and ``"silu-quad1"`` and the like, an
            activation and a combination of AF-KAN; ``"rational"``, an edge weight times a trained rational function of
            order (5, 4), which inputs share in up to 8 groups (KAT); or functions of your own as
            :class:`qkan.BasisFunctions`. Formulas: :mod:`qkan.kernels.edges.families`.
        terms: functions of an edge, default 8; the size of your own functions; 1 for ``"rational"``.
        order: of ``"bspline"`` and of what else has intervals, 1 to 5: each function spans order + 1 of them. Default
            3; None for the others.
        radius: see ``basis``; has no effect on ``"fourier"`` and ``"rational"``.
        bias: train c; else there is none.
        base_activation: a name as of :class:`qkan.QKANLayer`, or None for no base branch; ``"rational"`` has none.
        base_trainable: as of :class:`qkan.QKANLayer`.
        generator: source of the initial values; None takes torch's default one.
        device, dtype: of the parameters.

    Edges start near a line of a slope drawn like a weight of :class:`torch.nn.Linear`, or near zero beside a base
    branch; rational functions start as SiLU. Beyond the domain splines and bumps fall to zero within ``order``
    intervals and Gaussians soon after, Chebyshev polynomials of tanh level off, waves go on, and rational functions and
    the sums and products of AF-KAN go on as their formulas do. NaN stays NaN.

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
        terms: int | None = None,
        order: int | None = None,
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
        self.basis, self.radius = basis, finite_float("radius", radius, positive=True)
        self.terms, self.order = _checked_terms(basis, terms, order)
        self.base_activation, self.base_trainable = base_activation, base_trainable
        self._functions = _basis_of(basis, self.terms, self.order, self.radius)
        self.edge_name = basis if isinstance(basis, str) else self._functions.name
        if isinstance(basis, BasisFunctions):
            check_functions(basis, self.terms, self.radius)
        _check_base(base_activation, basis)
        check_dtype(dtype)
        edges = in_features * out_features
        functions = self._functions.terms
        check_memory(
            f"KANLayer({in_features}, {out_features}, terms={self.terms})", (functions + 1) * edges, device, dtype
        )

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        self.coefficients = nn.Parameter(empty(functions, in_features, out_features))
        self.register_parameter("bias", nn.Parameter(empty(out_features)) if bias else None)
        base = None if base_activation is None else nn.Parameter(empty(out_features, in_features), base_trainable)
        self.register_parameter("base_weight", base)
        rational = None
        if basis == "rational":
            rational = GroupRational(in_features, _groups(in_features), init="silu", device=device, dtype=dtype)
        self.rational = rational
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        bound = 1 / math.sqrt(self.in_features)
        normal_(self.coefficients, NOISE_STD * bound, generator)
        if self.rational is not None:
            self.rational.reset_parameters()
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
        wanted, line = x[whole].unsqueeze(-1), features[whole]
        for cutoff in (0.1, 0.01, 0.001):  # few functions have no line without large coefficients
            found = torch.linalg.lstsq(line, wanted, rcond=cutoff, driver="gelsd").solution
            if (line @ found - wanted).norm() < 0.5 * wanted.norm():
                break
        return found.squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` (..., in_features); (..., out_features) in the dtype of the parameters.

        Raises:
            ValueError: another last size.
            TypeError: an input that is not floating point.
        """
        return self.sum_with(x, self.coefficients)

    def sum_with(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """:meth:`forward` with other coefficients (terms, in_features, out_features), as of a mixture or an adapter.

        Raises:
            ValueError, TypeError: as of :meth:`forward`, or coefficients of another shape.
        """
        if coefficients.shape != self.coefficients.shape:
            raise ValueError(
                f"coefficients of shape {tuple(coefficients.shape)} do not fit; the layer takes (terms, in, out) = "
                f"{tuple(self.coefficients.shape)}"
            )
        check_input(x, self.in_features, type(self).__name__, coefficients.device)
        dtype, matmul_dtype = coefficients.dtype, autocast_dtype(coefficients.dtype, x.device)
        x = self._read(x)
        if self._edges is not None and matmul_dtype is None:
            flat = x.reshape(-1, self.in_features).to(dtype)
            base = None if self.base_weight is None else self._kept(self.base_weight)
            y = free_sum(flat, self._kept_functions(coefficients), base, self.bias, self._edges)
            if y is not None:
                return y.view(*x.shape[:-1], self.out_features)
        with without_autocast(x.device):
            operands = self._operands(coefficients)
            flat = x.reshape(-1, self.in_features).to(operands.matrix.dtype)
            flat = flat if self.rational is None else self.rational(flat)
            y = weighted_sum(flat, operands.matrix, operands.bias, operands.basis, matmul_dtype=matmul_dtype)
            return y.reshape(*x.shape[:-1], self.out_features).to(dtype)

    @property
    def _edges(self) -> Edges | None:
        """The functions, if kernels make them."""
        functions = self._functions
        if functions.kind not in KERNEL_FAMILIES:
            return None
        return Edges(functions.kind, functions.size, functions.order, self.radius, self.base_activation)

    def operands(self, radius: Radius = None) -> Operands | str:
        """The layer as features and a matrix, for the engines of :mod:`qkan.kernels.recurrence.api`, or why it is none.

        Args:
            radius: has no effect: the functions hold for inputs of any size.
        """
        if self.rational is not None:
            return "its rational functions are trained"
        if not self._functions.named and torch.compiler.is_compiling():
            return "a compiled recurrence knows its basis by name"
        return self._operands(self.coefficients)

    def _operands(self, coefficients: Tensor) -> Operands:
        check_readable(coefficients, *self._parameters.values())
        compute = torch.promote_types(coefficients.dtype, torch.float32)
        matrix, basis = fix_gradient_strides(self._kept_functions(coefficients).to(compute)), self._functions
        if self.base_weight is not None:
            basis = replace(basis, base=self.base_activation)
            matrix = torch.cat((matrix, self._kept(self.base_weight).to(compute).mT.unsqueeze(0)))
        bias = matrix.new_zeros(self.out_features) if self.bias is None else self.bias.to(compute)
        return Operands(basis, matrix, bias)

    def features(self, x: Tensor) -> Tensor:
        """The functions of every input, without the base activation: (terms, *x.shape)."""
        return torch.stack(self._functions.functions(x if self.rational is None else self.rational(x)))

    def function_terms(self, output: int, input: int, numbers: Numbers) -> list[Term]:
        """The functions of one edge with their coefficients; raises ValueError for functions of your own."""
        coefficients = self.coefficients[:, input, output].tolist()
        if self.rational is not None:
            return [rational_term(coefficients[0], self.rational, input, numbers)]
        return basis_terms(self._functions, coefficients, numbers)

    def part(self, inputs: Tensor, outputs: Tensor) -> Self:
        """The layer of some inputs and outputs; raises ValueError for rational functions that these cannot keep."""
        part = super().part(inputs, outputs)
        if self.rational is not None:
            part.rational = self.rational.part(inputs, _groups(len(inputs)))
        return part

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build such a layer with other values: ``KANLayer(**layer.config)``."""
        names = ("in_features", "out_features", "basis", "terms", "order", "radius", "base_activation")
        return {name: getattr(self, name) for name in (*names, "base_trainable")} | {
            "bias": self.bias is not None,
            "dtype": self.coefficients.dtype,
        }

    def refine(self, terms: int) -> Self:
        """Take ``terms`` functions an edge instead of fewer, without changing the function: the layer itself, in place.

        Exact for ``"fourier"``, ``"chebyshev"`` and, on [-radius, radius], ``"bspline"``, whose new intervals must nest
        in the old ones; of the others the nearest function in least squares on the domain. The coefficients are a new,
        larger parameter without a gradient: build the optimizer after this.

        Raises:
            ValueError: no more terms than there are, intervals that do not nest, or a basis without terms.
            TypeError: terms is not an int.
        """
        if self.rational is not None:
            raise ValueError("rational functions have no terms to refine; use bspline, or another basis with a grid")
        positive_int("terms", terms, MOST_TERMS)
        if terms <= self.terms:
            raise ValueError(f"terms {terms} must be more than {self.terms}, what the layer has: a grid only grows")
        terms, _ = _checked_terms(self.basis, terms, self.order)
        new = _basis_of(self.basis, terms, self.order, self.radius)
        if self.basis == "bspline" and not splits(self._functions.size, new.size):
            size = self._functions.size
            fitting = (new.size // size + 1) * size + terms - new.size
            if fitting > MOST_TERMS:
                fitting = max(2, new.size // size) * size + terms - new.size
            remedy = f"use terms={fitting}" if fitting <= MOST_TERMS else f"there can be {MOST_TERMS} terms at most"
            raise ValueError(
                f"terms {terms} cut the grid into {new.size} intervals, which do not nest in the {size} that there "
                f"are; {remedy}"
            )
        self._become(new, terms)
        return self

    def extend(self, radius: float) -> Self:
        """Widen the domain to [-radius, radius] without changing the function: the layer itself, in place.

        Exact everywhere for ``"bspline"``, ``"relu"`` and ``"rbf"``: they get whole intervals of the same length on
        either side, which reach at least to ``radius``, so that :attr:`radius` and :attr:`terms` grow. Of the others
        the nearest function in least squares on the new domain. Build the optimizer after this.

        Raises:
            ValueError: a radius that is not larger than that of the layer, or too large for its intervals, or a basis
                without a domain.
            TypeError: a radius that is not a number.
        """
        if self.rational is not None or self.basis == "fourier":
            raise ValueError(f"basis {self.basis!r} has no domain: its functions hold for inputs of any size")
        if finite_float("radius", radius, positive=True) <= self.radius:
            raise ValueError(
                f"radius {radius:g} must be more than {self.radius:g}, what the layer has: a domain only grows"
            )
        old = self._functions
        kind = old.kind if isinstance(old.kind, str) else ""
        size, reached = wider(kind, old.size, self.radius, float(radius))
        terms = self.terms + size - old.size
        if terms > MOST_TERMS:
            most = self.radius + (MOST_TERMS - self.terms) // 2 * 2 * self.radius / old.size
            remedy = f"use {most:g}" if most > self.radius else "build a layer with fewer of them, or a wider radius"
            raise ValueError(f"radius {radius:g} takes {terms} terms, of which there can be {MOST_TERMS}; {remedy}")
        self._become(_basis_of(self.basis, terms, self.order, reached), terms)
        self.radius = reached
        return self

    def _become(self, new: Basis, terms: int) -> None:
        """Take another size or radius."""
        old, coefficients = self._functions, self.coefficients.detach()
        check_memory(type(self).__name__, new.terms * coefficients[0].numel(), coefficients.device, coefficients.dtype)
        sizes, radii = (old.size, new.size), (old.radius, new.radius)
        if isinstance(old.kind, str):
            matrix = matrix_between(old.kind, old.order, sizes, radii)
        else:
            matrix = nearest(old.kind, old.kind, sizes, radii)
        grown = torch.tensordot(matrix.to(coefficients.device), coefficients.double(), dims=1)
        trains = self.coefficients.requires_grad
        self.coefficients = nn.Parameter(grown.to(coefficients.dtype), requires_grad=trains)
        self._functions, self.terms = new, terms

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        basis = self.basis if isinstance(self.basis, str) else self._functions.name
        shown = f"in_features={self.in_features}, out_features={self.out_features}, basis={basis!r}, "
        shown += "" if self.order is None else f"order={self.order}, "
        return shown + f"terms={self.terms}, radius={self.radius:g}, base_activation={self.base_activation!r}"


def _groups(inputs: int) -> int:
    """How many rational functions so many inputs have."""
    return next(groups for groups in range(min(inputs, RATIONAL_GROUPS), 0, -1) if inputs % groups == 0)


def _checked_terms(basis: str | BasisFunctions, terms: int | None, order: int | None) -> tuple[int, int | None]:
    """Terms and order of a basis with the defaults filled in.

    Raises:
        ValueError, TypeError: an unknown basis, or terms or an order that it cannot have.
    """
    if not isinstance(basis, str | BasisFunctions):
        raise TypeError(f"basis must be a name or BasisFunctions, got {type(basis).__name__}; wrap functions in it")
    if isinstance(basis, str) and basis != "rational" and basis not in EDGE_FUNCTIONS:
        raise ValueError(f"unknown basis {basis!r}; use one of {NAMES}, or BasisFunctions")
    family = FAMILIES.get(EDGE_FUNCTIONS.get(basis, "")) if isinstance(basis, str) else None
    if order is not None and (family is None or not family.ordered):
        raise ValueError(f"basis {basis if isinstance(basis, str) else 'of your own'!r} has no order; leave it out")
    if basis == "rational":
        if terms not in (None, 1):
            raise ValueError(f"basis 'rational' has one function an input, got terms={terms}; leave it out")
        return 1, None
    terms = positive_int("terms", TERMS if terms is None else terms, MOST_TERMS)
    least, even = (1 if family is None else family.least), basis in _PAIRED
    if family is not None and family.ordered:
        order = positive_int("order", SPLINE_ORDER if order is None else order, MOST_ORDER)
        if terms <= order:
            raise ValueError(
                f"basis {basis!r} of order {order} needs terms of at least {order + 1}, got terms={terms}; use "
                f"terms={order + 1}" + (f", or order={terms - 1}" if terms > 1 else "")
            )
    elif (even and terms % 2) or terms < least:
        needed = "an even number of terms" if even else f"terms of at least {least}"
        raise ValueError(f"basis {basis!r} needs {needed}, got terms={terms}; use terms={max(terms + 1, least)}")
    return terms, order


def _basis_of(basis: str | BasisFunctions, terms: int, order: int | None, radius: float) -> Basis:
    """The features of a layer, without a base branch."""
    if basis == "rational":
        return Basis("fourier", 0, base="identity")  # of the rational functions
    if isinstance(basis, BasisFunctions):
        return Basis(basis, terms, radius)
    size = terms // 2 if basis in _PAIRED else terms - (order or 0)
    return Basis(EDGE_FUNCTIONS[basis], size, radius, order=SPLINE_ORDER if order is None else order)


def _check_base(base_activation: str | None, basis: str | BasisFunctions) -> None:
    if base_activation is None:
        return
    if base_activation not in BASES:
        raise ValueError(
            f"unknown base_activation {base_activation!r}; use one of {', '.join(BASES)}, or None to leave it out"
        )
    if basis == "rational":
        raise ValueError("basis 'rational' has no base branch: its functions start as SiLU; leave base_activation out")
