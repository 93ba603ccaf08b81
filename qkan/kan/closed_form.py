"""The exact closed form of a network as SymPy expressions: its edges' (:mod:`qkan.layers.edge_formula`), composed.

Nothing is fitted here; :mod:`qkan.kan.symbolic_fit` snaps edges to simpler functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan.layers.edge_formula import MAX_TERMS, Numbers, too_large
from qkan.layers.edge_mask import EdgeMasked, kept_edges

if TYPE_CHECKING:
    from qkan.kan.kan import KAN

MAX_EDGES = 5_000  # milliseconds each
WIDEST, SHOWN, MOST = 400, 120, 6  # characters that are shown in full and of a cut formula, and formulas of a long list
_DECIMAL = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")


class Formulas(list[Any]):
    """A list of SymPy expressions, or of layers of definitions, whose ``print`` is short.

    What it holds is exact and whole; ``print(formulas[0])`` writes one of them out. ``print`` of all rounds numbers to
    three digits, and cuts formulas that are still long, with a word on what is left out.
    """

    def __repr__(self) -> str:
        whole = super().__repr__()
        if len(whole) <= WIDEST:
            return whole
        rounded = _DECIMAL.sub(lambda number: f"{float(number[0]):.3g}", whole)
        if len(rounded) <= WIDEST:
            return rounded
        flat = [pair for item in self for pair in (item if isinstance(item, list) else [item])]
        lines = [_shortened(item) for item in flat[:MOST]]
        if len(flat) > MOST:
            lines.append(f"... and {len(flat) - MOST} more")
        return "[" + ",\n ".join(lines) + "]\n(cut; print one of its elements for all of it)"

    __str__ = __repr__


def _shortened(formula: Any) -> str:
    text = str(formula[1] if isinstance(formula, tuple) else formula)
    text = _DECIMAL.sub(lambda number: f"{float(number[0]):.3g}", text)
    name = f"{formula[0]} = " if isinstance(formula, tuple) else ""
    return name + (text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)")


def named_variables(variables: Sequence[Any] | None, count: int) -> list[Any]:
    """One expression for every input: those given (symbols, names or expressions), or x1, x2, ...

    Raises:
        ValueError: another number of them than the network has inputs.
        TypeError: a single name instead of a sequence.
    """
    import sympy

    if variables is None:
        return [sympy.Symbol(f"x{i + 1}") for i in range(count)]
    if isinstance(variables, str):
        raise TypeError(f"variables must be a sequence of {count} symbols or names, got the text {variables!r}")
    if len(variables) != count:
        raise ValueError(f"got {len(variables)} variables, but the network has {count} inputs; give one for each")
    return [sympy.Symbol(v) if isinstance(v, str) else sympy.sympify(v) for v in variables]


def compose(
    layers: Sequence[Sequence[Sequence[Any]]],
    constants: Sequence[Sequence[Any]],
    variables: Sequence[Any] | None,
    inputs: int,
    nested: bool,
) -> Formulas:
    """Expressions of a network from the closed forms of its edges.

    Args:
        layers: for every layer, output and input an object with ``copies``, how often its argument occurs, and ``at``,
            from the argument to the expression.
        constants: for every layer and output an expression that is added to its edges.
        variables: as of :func:`named_variables`, which raises its errors.
        inputs: of the network.
        nested: expressions in the inputs; else a list per layer of pairs of a symbol and its definition in the
            symbols of the layer before.

    Raises:
        ValueError: more than :data:`MAX_TERMS` terms.
    """
    import sympy

    values = named_variables(variables, inputs)
    sizes, total = [1] * inputs, 0
    for layer in layers:
        rows = [[1 + edge.copies * size for edge, size in zip(row, sizes, strict=True)] for row in layer]
        sizes = [sum(row) for row in rows]
        total = sum(sizes) if nested else total + sum(sizes)
        sizes = sizes if nested else [1] * len(sizes)
    if total > MAX_TERMS:
        raise too_large(total, "the network")
    definitions = []
    for depth, (layer, added) in enumerate(zip(layers, constants, strict=True)):
        sums = [
            sympy.Add(constant, *(edge.at(v) for edge, v in zip(row, values, strict=True)))
            for row, constant in zip(layer, added, strict=True)
        ]
        prefix = "y" if depth == len(layers) - 1 else f"h{depth + 1}_"
        symbols = [sympy.Symbol(f"{prefix}{o + 1}") for o in range(len(sums))]
        definitions.append(list(zip(symbols, sums, strict=True)))
        values = sums if nested else symbols
    return Formulas(values if nested else definitions)


def network_to_sympy(
    network: KAN,
    variables: Sequence[Any] | None = None,
    *,
    tolerance: float = 0.0,
    digits: int | None = None,
    nested: bool = True,
) -> list[Any]:
    """What :meth:`qkan.KAN.to_sympy` gives; see there."""
    numbers = Numbers(tolerance, digits)
    named_variables(variables, network.width[0])
    layers: list[Any] = list(network.layers)
    edges = sum(len(kept_edges(layer)) for layer in layers)
    if edges > MAX_EDGES:
        raise ValueError(
            f"the network has {edges:,} edges, more than {MAX_EDGES:,} that a closed form is written for; prune edges "
            "or take single edges with layer.to_sympy(output, input)"
        )
    forms = [
        [[layer.edge_formula(o, i, numbers) for i in range(layer.in_features)] for o in range(layer.out_features)]
        for layer in layers
    ]
    constants = [[numbers.kept(value) for value in node_biases(layer).tolist()] for layer in layers]
    return compose(forms, constants, variables, network.width[0], nested)


def node_biases(layer: EdgeMasked) -> Tensor:
    """What a layer adds to the sums of its edges, (out,) float64."""
    bias = layer.node_bias
    zeros = layer.first_parameter.new_zeros(layer.out_features, dtype=torch.float64)
    return zeros if bias is None else bias.detach().double()
