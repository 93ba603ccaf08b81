"""Edges that are sums of functions with free coefficients: what layers of them share, for the toolbox of networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import COMBINATIONS
from qkan.kernels.spectral.basis import Basis
from qkan.layers.edge_formula import (
    BASE_COPIES,
    POWERS,
    EdgeFormula,
    Numbers,
    Term,
    base_expression,
    chebyshev_polynomial,
    edge_to_sympy,
    wave,
)
from qkan.layers.edge_mask import EdgeMasked, edge_is_kept
from qkan.layers.options import check_input
from qkan.layers.rational import GroupRational

#: Bases that a wider domain leaves as they are.
GRIDS = ("bspline", "relu", "rbf")


class FreeEdges(EdgeMasked):
    """What :class:`qkan.KANLayer` and :class:`qkan.SplineLayer` inherit.

    Parameters: ``coefficients`` (terms, in, out), ``bias`` (out,) or None, ``base_weight`` (out, in) or None.
    """

    #: The axes of outputs and of inputs of every parameter and buffer.
    AXES: ClassVar[dict[str, tuple[int | None, int | None]]] = {
        "coefficients": (2, 1),
        "base_weight": (0, 1),
        "bias": (0, None),
        "edge_mask": (0, 1),
    }

    coefficients: nn.Parameter
    bias: nn.Parameter | None
    base_activation: str | None

    def features(self, x: Tensor) -> Tensor:
        """The functions of every input, without the base activation: (terms, *x.shape)."""
        raise NotImplementedError

    def function_terms(self, output: int, input: int, numbers: Numbers) -> list[Term]:
        """The functions of one edge with their coefficients, as SymPy writes them.

        Raises:
            ValueError: functions that have no SymPy form.
        """
        raise NotImplementedError

    @property
    def node_bias(self) -> Tensor | None:
        """What the layer adds to the sums of its edges, (out_features,), or None for nothing."""
        return self.bias

    def _along(self, name: str, mask: Tensor) -> Tensor:
        """A mask (out, in) in a shape that broadcasts with the parameter of that name, which has an entry an edge."""
        outputs, inputs = (axis or 0 for axis in self.AXES[name])
        shape = [1] * getattr(self, name).dim()
        shape[outputs], shape[inputs] = mask.shape
        return (mask if outputs < inputs else mask.mT).reshape(shape)

    def _kept_functions(self, coefficients: Tensor) -> Tensor:
        """Coefficients (terms, in, out), 0 for pruned edges."""
        mask = self.edge_mask
        return coefficients if mask is None else torch.where(mask.mT, coefficients, 0)

    def edge_outputs(self, x: Tensor) -> Tensor:
        """What every edge adds to its output, (..., out_features, in_features); with the bias their sum is forward."""
        check_input(x, self.in_features, type(self).__name__, self.coefficients.device)
        x = self._read(x).to(self.coefficients.dtype)
        y = torch.einsum("t...i,tio->...oi", self.features(x), self._kept_functions(self.coefficients))
        if self.base_weight is not None and self.base_activation is not None:
            y = y + BASES[self.base_activation][0](x).unsqueeze(-2) * self._kept(self.base_weight)
        return y

    def to_sympy(self, output: int, input: int, x: Any = None, **options: Any) -> Any:
        """The exact closed form of one edge, with its base branch; options of :meth:`KAN.to_sympy`.

        Args:
            output, input: the edge.
            x: a SymPy symbol or expression to put in; default the symbol ``x``.

        Raises:
            ValueError, TypeError: no such edge, a bad option, more than 20,000 terms, or functions of your own.
        """
        return edge_to_sympy(self, output, input, x, **options)

    def edge_formula(self, output: int, input: int, numbers: Numbers) -> EdgeFormula:
        """The closed form of one edge, not yet at any x."""
        if not edge_is_kept(self, output, input):
            return EdgeFormula((), 0.0, None, (), numbers)
        terms = self.function_terms(output, input, numbers)
        if self.base_weight is not None and self.base_activation is not None:
            weight, name = self.base_weight[output, input].item(), self.base_activation
            terms.append(Term(weight, base_expression(name), BASE_COPIES[name]))
        return EdgeFormula(tuple(term for term in terms if numbers.keeps(term.coefficient)), 0.0, None, (), numbers)

    def add_constants(self, constants: Tensor) -> None:
        """Add constants (out,) to the bias; a layer without one gets it."""
        if not constants.any():
            return
        if self.bias is None:
            self.bias = self.constants()
        self.bias.add_(constants)

    def silence(self, mask: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Give edges coefficients of 0 where a bool ``mask`` (out, in) is False.

        Returns:
            the parameters that hold one entry an edge, and for each the mask in a shape that broadcasts with it.
        """
        held = [
            (parameter, self._along(name, mask))
            for name, parameter in self.named_parameters(recurse=False)
            if None not in self.AXES[name]
        ]
        for parameter, kept in held:
            parameter.data.mul_(kept)
        return held

    def part(self, inputs: Tensor, outputs: Tensor) -> Self:
        """The layer of some of the inputs and outputs, (n,) places, with values and the mask of the edges between."""
        config = self.config | {"in_features": len(inputs), "out_features": len(outputs)}
        device = self.coefficients.device
        build: Callable[..., Self] = type(self)
        part = build(**config, generator=torch.Generator(), device=device)
        state = {name: tensor for name, tensor in self.state_dict().items() if name in self.AXES}
        for name, tensor in state.items():
            for axis, places in zip(self.AXES[name], (outputs, inputs), strict=True):
                tensor = tensor if axis is None else tensor.index_select(axis, places.to(device))
            state[name] = tensor
        return self.take_values(part, state)


def refine_all(layers: Sequence[Any], terms: int) -> None:
    """Give the edges of all layers more functions: ``terms`` where there are fewest, elsewhere by the same factor.

    Raises:
        ValueError, TypeError: as of the ``refine`` of a layer; no layer changes then.
    """
    counts = [len(layer.coefficients) if isinstance(layer, FreeEdges) else terms for layer in layers]
    least, wanted = min(counts), []
    for layer, count in zip(layers, counts, strict=True):
        grown = terms
        if count != least and isinstance(layer, FreeEdges):
            first = layers[counts.index(least)]
            parts = max(2, round((terms + _beyond(first)) / max(1, least + _beyond(first))))
            grown = parts * (count + _beyond(layer)) - _beyond(layer)
        copy.deepcopy(layer).refine(grown)  # an error comes from here, before any layer has changed
        wanted.append(grown)
    for layer, grown in zip(layers, wanted, strict=True):
        layer.refine(grown)


def _beyond(layer: Any) -> int:
    """What is added to a number of functions before it grows by a whole factor: splines share some of them."""
    order = int(getattr(layer, "order", None) or 0)
    return order if hasattr(layer, "intervals") else -order  # where intervals beyond the grid are cut as well, or not


@torch.no_grad()
def extend_all(layers: Sequence[Any], x: Tensor) -> None:
    """Widen the grids of layers to what reaches them for ``x``; functions stay as they are.

    Raises:
        ValueError, TypeError: as of ``forward`` or ``extend`` of a layer; no layer changes then.
    """
    wanted = []
    for layer in layers:
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}; convert it with torch.as_tensor")
        read = layer._read(x)  # 0 for inputs that are pruned
        if not bool(read.isfinite().all()):
            raise ValueError("x reaches a layer with NaN or infinite values; remove or fill them (nothing has changed)")
        reached = float(read.abs().max()) if read.numel() else 0.0
        x = layer(x)
        on_grid = getattr(layer, "basis", None) in GRIDS and reached > layer.radius
        if on_grid:
            copy.deepcopy(layer).extend(reached)
        wanted.append((layer, reached) if on_grid else None)
    for layer, reached in filter(None, wanted):
        layer.extend(reached)


def basis_terms(basis: Basis, coefficients: Sequence[float], numbers: Numbers) -> list[Term]:
    """A sum of the functions of a basis as SymPy writes it.

    Raises:
        ValueError: functions that have no SymPy form.
    """
    writer = _WRITERS.get(basis.name) if isinstance(basis.kind, str) else None
    if writer is None:
        raise ValueError(
            f"basis {basis.name!r} has no closed form; fit elementary functions to its edges with auto_symbolic, or "
            "suggest_symbolic for one of them"
        )
    written = writer(basis, numbers)
    return [Term(value, function, copies) for value, (function, copies) in zip(coefficients, written, strict=True)]


def rational_term(coefficient: float, rational: GroupRational, input: int, numbers: Numbers) -> Term:
    """A coefficient times the rational function of an input."""
    group = input // (rational.channels // rational.num_groups)
    above = rational.numerator[0 if rational.share_numerator else group].tolist()
    below = rational.denominator[group].tolist()

    def function(x: Any) -> Any:
        import sympy

        numerator = sympy.Add(*(numbers.kept(a) * x**power for power, a in enumerate(above)))
        powers = [numbers.kept(b) * x**power for power, b in enumerate(below, start=1)]
        if rational.spec.denominator == "abs_sum":
            return numerator / (1 + sympy.Abs(sympy.Add(*powers)))
        return numerator / (1 + sympy.Add(*map(sympy.Abs, powers)))

    return Term(coefficient, function, len(above) + len(below))


def _waves(frequencies: Sequence[float], numbers: Numbers) -> _Written:
    import sympy

    omegas = [numbers.number(frequency) for frequency in frequencies]
    return [(partial(wave, function, omega), 1) for function in (sympy.cos, sympy.sin) for omega in omegas]


def _fourier(basis: Basis, numbers: Numbers) -> _Written:
    return _waves(range(1, basis.size + 1), numbers)


def _random_waves(basis: Basis, numbers: Numbers) -> _Written:
    if basis.plain is None:
        return []
    slopes = basis.plain.differentiate(torch.zeros(1, dtype=torch.float64), basis.size, basis.radius)
    return _waves(slopes[basis.size :, 0].tolist(), numbers)  # those of the sines, w cos 0


def _squashed_chebyshev(basis: Basis, numbers: Numbers) -> _Written:
    import sympy

    def polynomial(degree: int, x: Any) -> Any:
        return chebyshev_polynomial(degree, sympy.tanh(x / numbers.number(basis.radius)))

    degrees = range(1, basis.size + 1)
    return [(partial(polynomial, degree), degree if degree <= POWERS else 1) for degree in degrees]


def _splines(basis: Basis, numbers: Numbers) -> _Written:
    """B-splines of order k: sum_j (-1)^j C(k + 1, j) max(0, (k + 1) / 2 - j - |t|)^k / k!, t in intervals from it."""
    import sympy

    order = basis.order
    half, steps = sympy.Rational(order + 1, 2), range(order // 2 + 1)

    def spline(place: Callable[[Any], Any], x: Any) -> Any:
        distance = sympy.Abs(place(x))
        parts = [(-1) ** j * math.comb(order + 1, j) * sympy.Max(0, half - j - distance) ** order for j in steps]
        return sympy.Add(*parts) / math.factorial(order)

    return [(partial(spline, place), len(steps)) for place in _places(basis, numbers)]


def _places(basis: Basis, numbers: Numbers) -> list[Callable[[Any], Any]]:
    """x in intervals from the middle of every function of a grid."""
    interval = 2 * basis.radius / basis.size

    def place(middle: float, x: Any) -> Any:
        return (x - numbers.kept(middle)) / numbers.number(interval)

    middles = [(t - (basis.order - 1) / 2) * interval - basis.radius for t in range(basis.terms)]
    return [partial(place, middle) for middle in middles]


def _gaussians(basis: Basis, numbers: Numbers) -> _Written:
    import sympy

    distance = 2 * basis.radius / (basis.size - 1)

    def gaussian(centre: float, x: Any) -> Any:
        return sympy.exp(-(((x - numbers.kept(centre)) / numbers.number(distance)) ** 2))

    return [(partial(gaussian, t * distance - basis.radius), 1) for t in range(basis.size)]


def _bumps(basis: Basis, numbers: Numbers) -> _Written:
    import sympy

    half = sympy.Rational(basis.order + 1, 2)

    def bump(place: Callable[[Any], Any], x: Any) -> Any:
        return sympy.Max(0, 1 - (place(x) / half) ** 2) ** 2

    return [(partial(bump, place), 1) for place in _places(basis, numbers)]


def _combined(basis: Basis, numbers: Numbers) -> _Written:
    """AF-KAN: an activation of both ends of every function, combined and divided by one number."""
    import sympy

    name, combination = basis.name.split("-")
    combine, half = COMBINATIONS[combination][0], sympy.Rational(basis.order + 1, 2 * basis.size)
    places = _places(basis, numbers)
    if basis.plain is None:
        return []
    # The number is what the functions at 0 are divided by.
    at = torch.tensor([float(place(0.0)) for place in places], dtype=torch.float64) / basis.size
    values = combine(BASES[name][0](float(half) + at), BASES[name][0](float(half) - at))
    height = float(values.norm() / basis.plain.values(at.new_zeros(1), basis.size, basis.radius).norm())
    activation = base_expression(name)

    def scaled(place: Callable[[Any], Any], x: Any) -> Any:
        at = place(x) / basis.size
        return combine(activation(half + at), activation(half - at)) / numbers.number(height)

    return [(partial(scaled, place), 8 * BASE_COPIES[name]) for place in places]


_Written = list[tuple[Callable[[Any], Any], int]]
#: By kind of a basis: every function of it, and how often its argument occurs.
_WRITERS: dict[str, Callable[[Basis, Numbers], _Written]] = {
    "fourier": _fourier,
    "rff": _random_waves,
    "tanh-chebyshev": _squashed_chebyshev,
    "bspline": _splines,
    "rbf": _gaussians,
    "relu": _bumps,
    **{f"{activation}-{combination}": _combined for activation in BASES for combination in COMBINATIONS},
}
