"""Snap edges of a network to elementary functions: suggestions for one edge, and a whole network of such functions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qkan._util.lbfgs import loss_unit
from qkan._util.module_list import module_list
from qkan.kan.closed_form import compose, node_biases
from qkan.kan.symbolic_functions import LIBRARY, Library, SymbolicFunction, chosen, fit, score, simplest
from qkan.kan.symbolic_search import KEPT, LEAST, MAX_SEARCHED, Choices, Suggestion, Suggestions, search, share_scales
from qkan.layers.edge_formula import Numbers
from qkan.layers.edge_mask import EdgeMasked, edge_is_kept, kept_edges
from qkan.layers.options import check_edge, check_input, finite_float, positive_int

if TYPE_CHECKING:
    import pandas as pd

    from qkan.kan.kan import KAN

PENALTY = 0.5  # of a unit of complexity; see qkan.kan.symbolic_functions.score
MAX_SNAPPED = 2_000  # edges; each takes about a second for the whole library


def _ranked(library: dict[str, SymbolicFunction], x: Tensor, y: Tensor, penalty: float) -> list[list[Suggestion]]:
    """For every curve (E, N) the fits of all functions that have one, best first."""
    found: list[list[Suggestion]] = [[] for _ in range(len(x))]
    for name, function in library.items():
        for fits, row, share, lost in zip(found, *(t.tolist() for t in fit(function, x, y)), strict=True):
            if share > -math.inf:
                complexity = function.complexity + lost
                a, b, c, d = row
                fits.append(Suggestion(name, a, b, c, d, share, complexity, score(share, complexity, penalty)))
    # Of a sine and a cosine that are the same, the one with the smaller phase reads better.
    return [sorted(fits, key=lambda s: (round(s.score, 6), abs(s.b))) for fits in found]


def layer_inputs(network: KAN, x: Tensor) -> list[Tensor]:
    """What every layer of a network gets for inputs x (..., in): float64, (N, in_features) each, and the outputs.

    Raises:
        ValueError: x of another last size or without two samples, or activations that are not finite.
        TypeError: x is not floating point.
    """
    check_input(x, network.width[0], type(network).__name__)
    with torch.no_grad():
        values = [x.reshape(-1, x.shape[-1]).to(network.layers[0].first_parameter)]
        if len(values[0]) < 2:
            raise ValueError(f"x of shape {tuple(x.shape)} holds {len(values[0])} samples; give two or more")
        for layer in network.layers:
            values.append(layer(values[-1]))
    for depth, value in enumerate(values):
        if not torch.isfinite(value).all():
            what = "x" if depth == 0 else f"the output of layer {depth - 1}"
            raise ValueError(f"{what} holds values that are not finite; leave such samples out (px needs [-1, 1])")
    return [value.double() for value in values]


def suggest_symbolic(
    network: KAN,
    layer_index: int,
    output: int,
    input: int,
    x: Tensor,
    k: int = 5,
    *,
    library: Library = None,
    penalty: float = PENALTY,
) -> Suggestions:
    """What :meth:`qkan.KAN.suggest_symbolic` gives; see there."""
    functions = chosen(library)
    finite_float("penalty", penalty, fix="0 ranks by R^2 alone")
    layer = pick_layer(network, layer_index)
    check_edge(output, input, layer.out_features, layer.in_features)
    positive_int("k", k)
    values = layer_inputs(network, x)[layer_index]
    curve = edge_curves(layer, values)[:, output, input]
    return Suggestions(tuple(_ranked(functions, values[None, :, input], curve[None], penalty)[0][:k]))


def pick_layer(network: KAN, index: int) -> EdgeMasked:
    """A layer by its number from the input, 0 first.

    Raises:
        ValueError: the network has no such layer.
        TypeError: not an int.
    """
    if isinstance(index, bool) or not isinstance(index, int):
        raise TypeError(f"layer_index must be an int, got {type(index).__name__}")
    if not 0 <= index < len(network.layers):
        raise ValueError(
            f"layer_index {index} is outside [0, {len(network.layers) - 1}]: the network has no such layer"
        )
    return network.layers[index]


def edge_curves(layer: EdgeMasked, x: Tensor) -> Tensor:
    """What every edge adds, (N, out, in) float64, zero where it is pruned."""
    with torch.no_grad():
        return layer.edge_outputs(x.to(layer.first_parameter)).double()


def auto_symbolic(
    network: KAN,
    x: Tensor,
    library: Library = None,
    r2: float = 0.99,
    *,
    y: Tensor | None = None,
    penalty: float = PENALTY,
) -> SymbolicKAN:
    """What :meth:`qkan.KAN.auto_symbolic` gives; see there."""
    functions = chosen(library)
    finite_float("penalty", penalty, fix="0 ranks by R^2 alone")
    if not r2 <= 1:
        raise ValueError(f"r2 {r2} must be at most 1: an edge is snapped where its fit reaches it")
    edges = sum(layer.in_features * layer.out_features for layer in network.layers)
    if edges > MAX_SNAPPED:
        raise ValueError(
            f"the network has {edges:,} edges, more than {MAX_SNAPPED:,} that can be snapped in reasonable time; prune "
            "it to a smaller one or call suggest_symbolic for single edges"
        )
    values = layer_inputs(network, x)
    fitting = []
    for layer, inputs in zip(network.layers, values[:-1], strict=True):
        curves = edge_curves(layer, inputs)
        _, outs, ins = curves.shape
        sampled = curves.permute(1, 2, 0).reshape(outs * ins, -1)
        ranked = _ranked(functions, inputs.T.repeat(outs, 1), sampled, penalty)
        least = r2 if y is None else min(r2, LEAST)
        enough = [[s for s in fits if s.r2 >= least] if any(s.r2 >= r2 for s in fits) else [] for fits in ranked]
        fitting.append(
            [[enough[o * ins + i] if edge_is_kept(layer, o, i) else [] for i in range(ins)] for o in range(outs)]
        )

    def build(choices: Choices) -> SymbolicKAN:
        return SymbolicKAN(network, functions, choices, values)

    if y is None:
        return build([[[fits[0] if fits else None for fits in row] for row in layer] for layer in fitting])
    searched = sum(len(kept_edges(layer)) for layer in network.layers)
    if searched > MAX_SEARCHED:
        raise ValueError(
            f"the network has {searched} edges, more than {MAX_SEARCHED} that are chosen together; prune it, or leave "
            "y out and call refit(x, y)"
        )
    _check_pair(network.width, x, y)
    if not torch.isfinite(y).all():
        raise ValueError("y holds values that are not finite; leave such samples out")
    return search(build, fitting, (x, y), penalty)


def _check_pair(width: Sequence[int], x: Tensor, y: Tensor) -> None:
    if not isinstance(y, Tensor):
        raise TypeError(f"y must be a torch.Tensor, got {type(y).__name__}; convert it with torch.as_tensor")
    if y.shape != (*x.shape[:-1], width[-1]):
        raise ValueError(f"y of shape {tuple(y.shape)} does not fit; x needs {(*x.shape[:-1], width[-1])}")


class _SymbolicLayer(nn.Module):
    """A layer of c f(a x + b) + d, and of the edges of before where nothing else fits."""

    def __init__(
        self, layer: EdgeMasked, functions: dict[str, SymbolicFunction], picked: list[list[Suggestion | None]]
    ) -> None:
        super().__init__()
        # Functions of the library are kept by name, because a pickle cannot hold them.
        self.functions = {name: own for name, own in functions.items() if LIBRARY.get(name) is not own}
        self.picked = picked
        self.edges = copy.deepcopy(layer).requires_grad_(False)
        affine = [[[0.0] * 4 if s is None else [s.a, s.b, s.c, s.d] for s in row] for row in picked]
        self.affine = nn.Parameter(torch.tensor(affine, dtype=torch.float64, device=layer.first_parameter.device))
        self.names = [
            [
                KEPT if s is None and edge_is_kept(layer, o, i) else "0" if s is None else s.function
                for i, s in enumerate(row)
            ]
            for o, row in enumerate(picked)
        ]
        self.register_buffer("constant", self._moved(node_biases(layer)))

    constant: Tensor

    @torch.no_grad()
    def _moved(self, bias: Tensor) -> Tensor:
        """Move what is added to every node to one of its functions; what stays where all its edges are those of before.

        A pruned edge takes it only where there is nothing better.
        """
        rank = {KEPT: 0, "0": 1}
        order = torch.tensor([[rank.get(name, 2) for name in row] for row in self.names], device=bias.device)
        best, place = order.max(1)
        rows = torch.arange(len(bias), device=bias.device)
        self.affine[rows, place, 3] += torch.where(best > 0, bias, 0)
        return torch.where(best > 0, 0, bias)

    def _snapped(self) -> Iterator[tuple[SymbolicFunction, Tensor, Tensor]]:
        """Every function in use with the outputs and inputs of its edges."""
        for name in sorted({name for row in self.names for name in row} - {KEPT}):
            yield self.function(name), *self._edges(name)

    def _edges(self, name: str) -> tuple[Tensor, Tensor]:
        edges = [(o, i) for o, row in enumerate(self.names) for i, other in enumerate(row) if other == name]
        outs, ins = torch.tensor(edges, dtype=torch.long, device=self.affine.device).reshape(-1, 2).unbind(-1)
        return outs, ins

    def function(self, name: str) -> SymbolicFunction:
        """The function of that name; a constant stands for pruned edges whatever the library."""
        return self.functions[name] if name in self.functions else LIBRARY[name]

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_zeros(len(x), *self.affine.shape[:2])
        rows = torch.arange(len(x), device=x.device)[:, None]
        for function, outs, ins in self._snapped():
            a, b, c, d = self.affine[outs, ins].unbind(-1)
            y = y.index_put((rows, outs, ins), c * function.function(a * x[:, ins] + b) + d)
        outs, ins = self._edges(KEPT)
        if len(outs):
            kept = self.edges.edge_outputs(x.to(self.edges.first_parameter)).to(y)
            y = y.index_put((rows, outs, ins), kept[:, outs, ins])
        return y.sum(-1) + self.constant

    @torch.no_grad()
    def simplify(self) -> None:
        """Bring the numbers of all edges into their simplest form."""
        for function, outs, ins in self._snapped():
            self.affine[outs, ins] = simplest(function, self.affine[outs, ins])


@dataclass(frozen=True)
class _SnappedEdge:
    """An edge for :func:`qkan.kan.closed_form.compose`."""

    at: Callable[[Any], Any]
    copies: int = 1


class SymbolicKAN(nn.Module):
    """A network whose edges are elementary functions c f(a x + b) + d; :meth:`qkan.KAN.auto_symbolic` makes one.

    Shapes: input (..., width[0]), output (..., width[-1]) in float64. Edges to which no function fits well enough stay
    what they are, circuits or splines, whose closed forms are exact. It shares nothing with the network it came from.

    Attributes:
        width: sizes of the layers from input to output.
        rmse: (width[-1],) root mean squared error of every output against the network's on the samples it was made on.
        r2: (width[-1],) share of every output's variance there that it explains.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> formula = net.auto_symbolic(x, ["x", "sin"])
        >>> formula(x).shape, len(formula.symbolic_formula())
        (torch.Size([60, 1]), 1)
    """

    rmse: Tensor
    r2: Tensor

    def __init__(
        self,
        network: KAN,
        functions: dict[str, SymbolicFunction],
        picked: list[list[list[Suggestion | None]]],
        values: list[Tensor],
    ) -> None:
        super().__init__()
        self.width = list(network.width)
        self.layers = module_list(
            _SymbolicLayer(layer, functions, choices) for layer, choices in zip(network.layers, picked, strict=True)
        )
        with torch.no_grad():
            error = (self(values[0]) - values[-1]).square().mean(0)
        variance = values[-1].var(0, correction=0)
        self.register_buffer("rmse", error.sqrt())
        self.register_buffer("r2", torch.where(error > 0, 1 - error / variance, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn to ``x`` (..., width[0]); NaN outside the domain of a function such as log."""
        check_input(x, self.width[0], type(self).__name__)
        lead, x = x.shape[:-1], x.reshape(-1, x.shape[-1]).double()
        for layer in self.layers:
            x = layer(x)
        return x.reshape(*lead, self.width[-1])

    def refit(self, x: Tensor, y: Tensor, *, steps: int = 100) -> SymbolicKAN:
        """Fit a, b, c and d of all edges to data by LBFGS on the mean squared error, in place.

        Numbers that fit no better, or are not finite, are not taken. Edges that are no such functions stay as they are.

        Args:
            x: (..., width[0]).
            y: (..., width[-1]), for instance what the network was trained on, or its outputs.
            steps: iterations at most, 1 or more.

        Returns:
            itself.

        Raises:
            ValueError: sizes that do not match, or fewer than one step.
            TypeError: x is not floating point.
        """
        check_input(x, self.width[0], type(self).__name__)
        _check_pair(self.width, x, y)
        positive_int("steps", steps)
        affine = [layer.affine for layer in self.layers]
        kept = [parameter.detach().clone() for parameter in affine]
        optimizer = torch.optim.LBFGS(
            affine, max_iter=steps, tolerance_grad=1e-14, tolerance_change=1e-16, line_search_fn="strong_wolfe"
        )
        y = y.detach().double()

        def loss() -> Tensor:
            return (self(x) - y).square().mean()

        with torch.no_grad():
            before = loss()
        unit = loss_unit(float(before))

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss() * unit
            value.backward()
            return value

        optimizer.step(closure)
        optimizer.zero_grad()
        with torch.no_grad():
            if not loss() < before:
                for parameter, value in zip(affine, kept, strict=True):
                    parameter.copy_(value)
        for layer in self.layers:
            layer.simplify()
        share_scales(self)
        return self

    def symbolic_formula(
        self,
        variables: Sequence[Any] | None = None,
        *,
        tolerance: float = 0.0,
        digits: int | None = None,
        nested: bool = True,
    ) -> list[Any]:
        """The network as SymPy expressions; arguments, result and errors of :meth:`qkan.KAN.to_sympy`."""
        numbers = Numbers(tolerance, digits)
        forms = [
            [
                [self._form(layer, o, i, name, numbers) for i, name in enumerate(row)]
                for o, row in enumerate(layer.names)
            ]
            for layer in self.layers
        ]
        constants = [[numbers.kept(value) for value in layer.constant.tolist()] for layer in self.layers]
        return compose(forms, constants, variables, self.width[0], nested)

    def _form(self, layer: _SymbolicLayer, output: int, input: int, name: str, numbers: Numbers) -> Any:
        if name == KEPT:
            return layer.edges.edge_formula(output, input, numbers)
        a, b, c, d = (numbers.kept(value) for value in layer.affine[output, input].tolist())
        if c == 0 or name == "0":
            return _SnappedEdge(lambda x: d, 0)
        function = layer.function(name).expression
        return _SnappedEdge(lambda x: c * function(a * x + b) + d)

    def to_frame(self) -> pd.DataFrame:
        """One row per edge: layer, output, input, function, a, b, c, d, and r2 and complexity of the fit it came from.

        An edge that stayed what it was is called ``"circuit"``, or by its basis, as ``"bspline"``, and has no numbers.
        """
        import pandas as pd

        rows = []
        for depth, layer in enumerate(self.layers):
            for o, row in enumerate(layer.names):
                for i, name in enumerate(row):
                    choice = layer.picked[o][i]
                    fitted = [math.nan] * 2 if choice is None else [choice.r2, choice.complexity]
                    affine = [math.nan] * 4 if name == KEPT else layer.affine[o, i].tolist()
                    shown = layer.edges.edge_name if name == KEPT else name
                    rows.append([depth, o, i, shown, *affine, *fitted])
        columns = ["layer", "output", "input", "function", "a", "b", "c", "d", "r2", "complexity"]
        return pd.DataFrame(rows, columns=columns)

    def extra_repr(self) -> str:
        """What print shows."""
        left = sum(name == KEPT for layer in self.layers for row in layer.names for name in row)
        return f"width={self.width}, edges left as they were={left}"
