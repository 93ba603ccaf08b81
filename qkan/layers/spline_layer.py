"""SplineLayer: edges that are B-splines on knots of their own for every input, of any order."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from qkan.kernels.common.tensors import without_autocast
from qkan.kernels.edges.activations import BASES
from qkan.layers.edge_formula import Numbers, Term
from qkan.layers.free_edges import FreeEdges
from qkan.layers.init import normal_, uniform_
from qkan.layers.options import check_dtype, check_input, check_memory, positive_int

#: The largest degree of the polynomials, and most intervals of a grid.
MOST_ORDER, MOST_INTERVALS = 9, 512


class SplineLayer(FreeEdges):
    r"""A layer of B-splines on any knots: y_o = c_o + sum_i [ sum_k M_kio B_ki(x_i) + u_oi base(x_i) ].

    For grids that follow the data of an input, as other packages make them (:func:`qkan.interop.load_pykan`), and for
    grids that are not centred at 0. :class:`qkan.KANLayer` has the same splines on one uniform grid for all inputs, and
    is faster.

    Shapes: input (..., in_features), output (..., out_features). Parameters: ``coefficients`` (terms, in, out) with
    terms = intervals + order, ``bias`` (out,) and ``base_weight`` (out, in), None where their option is off. Buffers:
    ``knots`` (in, intervals + 2 order + 1), ``edge_mask`` as of :class:`qkan.layers.edge_mask.EdgeMasked`.

    Args:
        in_features, out_features: sizes of the last dimension.
        intervals: of the grid; ``order`` more on either side carry the splines that reach beyond it.
        order: degree of the polynomials, 1 to 9.
        knots: (in, intervals + 2 order + 1), growing, those beyond the grid included; None for equal intervals of
            [-1, 1]. Outside the first and the last one all splines are 0.
        bias, base_activation, base_trainable, generator, device, dtype: as of :class:`qkan.KANLayer`.

    Raises:
        ValueError, TypeError: an option outside what is listed above, or knots that do not grow.

    Examples:
        >>> import torch
        >>> from qkan import SplineLayer
        >>> knots = torch.tensor([[-0.2, -0.1, 0.0, 0.1, 0.5, 1.0, 1.1, 1.2]])  # three intervals of [0, 1]
        >>> SplineLayer(1, 2, 3, order=2, knots=knots)(torch.rand(5, 1)).shape
        torch.Size([5, 2])
    """

    edge_name = "spline"
    AXES = FreeEdges.AXES | {"knots": (None, 0)}
    knots: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        intervals: int = 5,
        *,
        order: int = 3,
        knots: Tensor | None = None,
        bias: bool = True,
        base_activation: str | None = "silu",
        base_trainable: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.intervals, self.order = (
            positive_int("intervals", intervals, MOST_INTERVALS),
            positive_int("order", order, MOST_ORDER),
        )
        if knots is not None and not isinstance(knots, Tensor):
            raise TypeError(f"knots must be a torch.Tensor, got {type(knots).__name__}; use torch.tensor(knots)")
        if base_activation is not None and (not isinstance(base_activation, str) or base_activation not in BASES):
            raise ValueError(f"unknown base_activation {base_activation!r}; use one of {', '.join(BASES)}, or None")
        self.base_activation, self.base_trainable = base_activation, base_trainable
        check_dtype(dtype)
        terms, edges = intervals + order, in_features * out_features
        check_memory(f"SplineLayer({in_features}, {out_features}, {intervals})", (terms + 1) * edges, device, dtype)

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        self.coefficients = nn.Parameter(empty(terms, in_features, out_features))
        self.register_parameter("bias", nn.Parameter(empty(out_features)) if bias else None)
        base = None if base_activation is None else nn.Parameter(empty(out_features, in_features), base_trainable)
        self.register_parameter("base_weight", base)
        if knots is None:
            knots = torch.arange(-order, intervals + order + 1, dtype=torch.float64) * (2 / intervals) - 1
            knots = knots.expand(in_features, -1)
        self.register_buffer("knots", knots.to(self.coefficients, copy=True).contiguous())
        check_knots(self.knots, in_features, intervals, order)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values: coefficients near 0, base weights as of :class:`torch.nn.Linear`."""
        bound = 1 / math.sqrt(self.in_features)
        normal_(self.coefficients, (0.05 if self.base_weight is not None else 0.5) * bound, generator)
        if self.base_weight is not None:
            uniform_(self.base_weight, bound, generator)
        if self.bias is not None:
            with torch.no_grad():
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` (..., in_features); (..., out_features) in the dtype of the parameters.

        Raises:
            ValueError: another last size.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__, self.coefficients.device)
        with without_autocast(x.device):
            x = self._read(x).to(self.coefficients.dtype)
            flat = x.reshape(-1, self.in_features)
            features = self.features(flat).movedim(0, 1).flatten(1)
            y = features @ self._kept_functions(self.coefficients).flatten(0, 1)
            if self.base_weight is not None and self.base_activation is not None:
                y = y + BASES[self.base_activation][0](flat) @ self._kept(self.base_weight).mT
            y = y if self.bias is None else y + self.bias
            return y.reshape(*x.shape[:-1], self.out_features)

    def features(self, x: Tensor) -> Tensor:
        """The splines of every input ``x`` (..., in), without the base activation: (terms, ..., in)."""
        dtype = torch.promote_types(x.dtype, torch.float32)  # near knots are equal in half precision
        return splines(x.to(dtype), self.knots.to(dtype), self.order).to(x.dtype)

    def function_terms(self, output: int, input: int, numbers: Numbers) -> list[Term]:
        """The spline of one edge, a polynomial on every interval between knots."""
        knots = self.knots[input].detach().double()
        pieces = polynomials(self.coefficients[:, input, output].detach().double(), knots, self.order)
        if not any(numbers.keeps(value) for row in pieces for value in row):
            return []
        copies = (self.order + 1) * len(pieces)
        return [Term(1.0, partial(_piecewise, knots.tolist(), pieces, numbers), copies)]

    def refine(self, terms: int) -> Self:
        """Cut every interval between knots into equal parts, without changing any function; the layer itself.

        Splines on finer knots contain those on the coarser ones, so nothing is fitted. Intervals beyond the grid are
        cut too: there are ``m (terms + order) - order`` splines for m parts. Coefficients are a new tensor: build the
        optimizer after this.

        Raises:
            ValueError: a number of terms that no m gives, in which case the message names those it does; more than 512
                intervals, or more than the dtype of the knots can tell apart.
            TypeError: terms is not an int.
        """
        count, order = self.intervals + self.order, self.order
        parts, rest = divmod(positive_int("terms", terms) + order, count + order)
        if rest or parts < 2 or terms - order > MOST_INTERVALS:
            finest = MOST_INTERVALS + order
            exact = [str(own) for own in (m * (count + order) - order for m in (2, 3, 4)) if own <= finest]
            shown = ", ".join(exact) + (", ..." if len(exact) == 3 else "")
            remedy = f"refine to {shown} without a change, not to {terms}; use one of these"
            if not exact:
                remedy = f"cannot be refined to {terms}: a grid has {MOST_INTERVALS} intervals at most"
            raise ValueError(f"{count} splines of order {order} {remedy}")
        knots, own = self.knots.double(), self.coefficients
        finer = subdivided(knots, parts)
        check_knots(finer.to(self.knots), self.in_features, terms - order, order)
        values = insert_knots(own.detach().double(), knots, finer, order)
        self.coefficients = nn.Parameter(values.to(own), requires_grad=own.requires_grad)
        self.knots, self.intervals = finer.to(self.knots), terms - order
        return self

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build such a layer with other values and knots: ``SplineLayer(**layer.config)``."""
        given = ("in_features", "out_features", "intervals", "order", "base_activation", "base_trainable")
        options = {name: getattr(self, name) for name in given}
        return options | {"bias": self.bias is not None, "dtype": self.coefficients.dtype}

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        shown = f"in_features={self.in_features}, out_features={self.out_features}, intervals={self.intervals}, "
        return shown + f"order={self.order}, base_activation={self.base_activation!r}"


def check_knots(knots: Tensor, inputs: int, intervals: int, order: int) -> None:
    """Check knots (inputs, intervals + 2 order + 1).

    Raises:
        ValueError: another shape, or knots that do not grow from one to the next.
    """
    shape = (inputs, intervals + 2 * order + 1)
    if tuple(knots.shape) != shape:
        raise ValueError(
            f"knots of shape {tuple(knots.shape)} do not fit; {intervals} intervals and order {order} need "
            f"(in, intervals + 2 order + 1) = {shape}"
        )
    if knots.is_meta:
        return
    bad = ~(knots[:, 1:] > knots[:, :-1]).all(1) | ~knots.isfinite().all(1)
    if bad.any():
        where = int(bad.nonzero()[0])
        raise ValueError(
            f"the knots of input {where} must be finite and grow from one to the next, got {_shown(knots[where])}; "
            "move equal ones apart, for example to a uniform grid"
        )


def _shown(values: Tensor) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in values.tolist()) + "]"


def splines(x: Tensor, knots: Tensor, order: int) -> Tensor:
    """All B-splines of every input by the recursion of Cox and de Boor: (knots - order - 1, ..., in) for (..., in)."""
    at, places = x.unsqueeze(0), knots.mT.reshape(knots.shape[1], *[1] * (x.dim() - 1), knots.shape[0])
    values = ((places[:-1] <= at) & (at < places[1:])).to(x.dtype)
    for degree in range(1, order + 1):
        low, high = places[: -degree - 1], places[degree + 1 :]
        rise = (at - low) / _width(places[degree:-1] - low)
        fall = (high - at) / _width(high - places[1:-degree])
        values = rise * values[:-1] + fall * values[1:]
    return values


def _width(difference: Tensor) -> Tensor:
    """Widths to divide by: no spline stands on an interval that rounding has closed, as after ``layer.bfloat16()``."""
    return difference.where(difference > 0, torch.inf)


def subdivided(knots: Tensor, parts: int) -> Tensor:
    """Knots (in, n) with every interval between two cut into equal parts, (in, parts (n - 1) + 1)."""
    steps = torch.arange(parts, dtype=knots.dtype, device=knots.device) / parts
    inner = knots[:, :-1, None] + knots.diff(dim=1).unsqueeze(-1) * steps
    return torch.cat((inner.flatten(1), knots[:, -1:]), 1)


def insert_knots(coefficients: Tensor, knots: Tensor, finer: Tensor, order: int) -> Tensor:
    """Coefficients (terms, in, ...) of the same splines on finer knots, among which all of ``knots`` are.

    By the recursion of discrete B-splines (Cohen, Lyche and Riesenfeld 1980), that of Cox and de Boor at moving places.
    """
    count = finer.shape[1] - order - 1
    places = knots.unsqueeze(1)  # (in, 1, n)
    first = finer[:, :count, None]
    weights = ((places[..., :-1] <= first) & (first < places[..., 1:])).to(knots.dtype)
    for degree in range(1, order + 1):
        at = finer[:, degree : degree + count, None]
        low, high = places[..., : -degree - 1], places[..., degree + 1 :]
        rise = (at - low) / (places[..., degree:-1] - low)
        fall = (high - at) / (high - places[..., 1:-degree])
        weights = rise * weights[..., :-1] + fall * weights[..., 1:]
    return torch.einsum("int,ti...->ni...", weights, coefficients).contiguous()


def polynomials(coefficients: Tensor, knots: Tensor, order: int) -> list[list[float]]:
    """A spline on every interval between knots as powers 0 .. order of x minus the knot on the left.

    Args:
        coefficients: (terms,), float64.
        knots: (terms + order + 1,), float64.
    """
    derivative, inner = coefficients, knots
    rows = [splines(knots[:-1, None], knots[None], order)[..., 0].mT @ coefficients]
    for degree in range(order, 0, -1):  # coefficients of the derivative, splines of one order less on the same knots
        padded = torch.cat((derivative.new_zeros(1), derivative, derivative.new_zeros(1)))
        derivative = degree * padded.diff() / (inner[degree:] - inner[:-degree])
        lower = splines(knots[:-1, None], knots[None], degree - 1)[..., 0]
        rows.append(lower.mT @ derivative / math.factorial(order - degree + 1))
    return torch.stack(rows, 1).tolist()


def _piecewise(knots: list[float], pieces: list[list[float]], numbers: Numbers, x: Any) -> Any:
    import sympy

    cases: list[tuple[Any, Any]] = [(sympy.Integer(0), x < numbers.number(knots[0]))]
    for left, right, powers in zip(knots, knots[1:], pieces, strict=False):
        step = x - numbers.kept(left)
        terms = [numbers.kept(value) * step**power for power, value in enumerate(powers)]
        cases.append((sympy.Add(*terms), x < numbers.number(right)))
    return sympy.Piecewise(*cases, (sympy.Integer(0), True))
