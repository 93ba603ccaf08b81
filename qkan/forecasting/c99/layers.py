"""Maps as C: statements that add what a map says to an array, and what its tables can be wrong by.

Every map becomes a :class:`Part`. Arrays are called by name in the statements; a part brings its own tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from qkan.forecasting.c99.source import Source, number
from qkan.forecasting.c99.tables import Tables, Waves, cubic_tables, int8_tables, sine_table
from qkan.forecasting.model.cell_maps import Circuits, Map

_MOST_REPS = 6  # of trained frequencies in tables: (3^6 + 1) / 2 waves


class Part(NamedTuple):
    """A map of n inputs to m outputs.

    Attributes:
        lines: C statements that add the outputs for the inputs ``x`` to ``y``, as arrays are called there.
        error: A proven bound on what tables change in every output, float64 (m,).
        slopes: A bound on |d output / d input|, float64 (m, n).
        size: A bound on every output without the bias, float64 (m,); may be infinite.
        kinds: What its circuits became, in words.
        bends: A bound on |d^2 output / d input^2|, float64 (m, n), may be infinite; mixed derivatives are zero.
    """

    lines: tuple[str, ...]
    error: np.ndarray
    slopes: np.ndarray
    size: np.ndarray
    kinds: tuple[str, ...]
    bends: np.ndarray


_Names = tuple[str, str, str]


def numpy_of(tensor: Tensor) -> np.ndarray:
    """A tensor as float64 on the CPU."""
    return np.asarray(tensor.detach().cpu().double().numpy())


def map_part(source: Source, own: Map, x: str, y: str, what: str, *, unit: bool, edges: str) -> tuple[Part, np.ndarray]:
    """A map, and its constants (outputs,) to add to a bias.

    Args:
        source: Takes tables and helpers.
        own: The map.
        x, y: Names of the arrays.
        what: What the map is, for comments.
        unit: Whether inputs lie in [-1, 1].
        edges: One of :data:`qkan.forecasting.config.names.EXPORT_EDGES`.
    """
    names = (x, y, what)
    if own.affine:
        return affine_part(source, own.matrix[0].T, *names, unit=unit), own.bias
    constants, part = own.bias, None
    if own.kind in ("bspline", "waves", "tanh-chebyshev", "rational"):
        part = _function_part(source, own, names)
    elif own.size or own.kind == "circuit":
        part, more = _circuit_part(source, own, names, unit=unit, edges=edges)
        constants = constants + more
    if own.base is not None:
        base = _base_part(source, own.base, own.matrix[-1].T, names, unit=unit)
        part = base if part is None else _joined(part, base)
    if part is None:
        raise ValueError(f"a map of kind {own.kind!r} has no functions")
    return part, constants


def affine_part(source: Source, matrix: np.ndarray, x: str, y: str, what: str, *, unit: bool) -> Part:
    """A matrix (outputs, inputs); ``unit`` says that inputs lie in [-1, 1]."""
    outputs, inputs = matrix.shape
    source.use("affine")
    line = f"qkan_affine({source.table(matrix, what)}, {x}, {inputs}, {outputs}, {y});"
    size = np.abs(matrix).sum(axis=1) if unit else np.full(outputs, np.inf)
    return Part((line,), np.zeros(outputs), np.abs(matrix), size, (), np.zeros_like(matrix))


def _circuit_part(source: Source, own: Map, names: _Names, *, unit: bool, edges: str) -> tuple[Part, np.ndarray]:
    """Circuits, or waves of whole frequencies."""
    inputs, outputs = own.matrix.shape[1:]
    whole, shared = own.circuits is None, own.coeffs is not None
    if own.circuits is not None:
        shared = own.circuits.rows == 1
        if edges == "exact" or not unit or own.circuits.reps > _MOST_REPS:
            return _rotated(source, own.circuits, own.matrix[0].T, names), np.zeros(outputs)
        waves = Waves(*own.circuits.waves(), None)
        waves = waves if shared else waves.times(own.matrix[0].ravel())
    else:
        count = own.size
        of_terms = own.matrix if own.coeffs is None else own.coeffs[1:]
        by_circuit = of_terms[: 2 * count].reshape(2 * count, -1).T  # by input and then by output
        constants = np.zeros(len(by_circuit)) if own.coeffs is None else own.coeffs[0]
        columns = np.tile(np.arange(1.0, count + 1), (len(by_circuit), 1))
        waves = Waves(columns, by_circuit[:, :count], by_circuit[:, count:], constants, 2 * np.pi)
    weights = own.matrix[0].T if shared else np.ones((outputs, inputs))
    if edges == "int8" or not whole:
        return _tabled(source, waves, weights, names, edges=edges, shared=shared)
    return _waved(source, waves, weights, names, shared=shared, tabled=edges != "exact")


def _function_part(source: Source, own: Map, names: _Names) -> Part:
    """Fixed or rational functions, which have no tables: so nothing follows from errors in front of them."""
    (x, y, what), (terms, inputs, outputs) = names, own.matrix.shape
    size, radius, terms = own.size, number(own.radius), terms - (own.base is not None)
    further = np.zeros(1) if own.own is None else own.own
    calls = {
        "waves": ("drawn_waves", f"{{table}}, {size}"), "rational": ("rational", f"{{table}}, {size}, {len(further)}"),
        "bspline": ("splines", f"{size}, {radius}"), "tanh-chebyshev": ("chebyshev", f"{size}, {radius}"),
    }  # fmt: skip
    helper, arguments = calls[own.kind]
    if "{table}" in arguments:
        arguments = arguments.format(table=source.table(further, f"{what}: numbers of its functions"))
    source.use(helper)
    flat = own.matrix[:terms].transpose(2, 0, 1).reshape(outputs, -1)
    line = affine_part(source, flat, "f", y, f"{what}: outputs by functions and inputs", unit=False).lines
    lines = [f"float f[{terms * inputs}];", f"qkan_{helper}({x}, {inputs}, {arguments}, f);", *line]
    nothing = np.zeros((outputs, inputs))
    return Part(block(lines), np.zeros(outputs), nothing, np.full(outputs, np.inf), (), nothing)


def _waved(
    source: Source, waves: Waves, edge_weight: np.ndarray, names: _Names, *, shared: bool, tabled: bool
) -> tuple[Part, np.ndarray]:
    """Circuits of whole frequencies as sums of cosines and sines, which inputs share; ``tabled`` reads a table."""
    (x, y, what), (outputs, inputs), size = names, edge_weight.shape, waves.frequencies.shape[1]
    slopes, sizes, constants, bends = _summed(waves, edge_weight, shared=shared)
    error, kind, call = np.zeros(outputs), "exact waves", f"qkan_waves({x}, {inputs}, {size}, f);"
    if tabled:
        sine, each = sine_table(sizes)
        error, kind = each * sizes, f"waves of a cubic table of {sine.intervals} places a turn"
        name = source.table(sine.coefficients, f"{what}: a turn of the sine")
        call = f"qkan_table_waves({x}, {inputs}, {size}, {name}, {sine.intervals}, f);"
    source.use("table_waves" if tabled else "waves", "affine")
    lines = [f"float f[{2 * size * inputs}];", call]
    by_term = np.concatenate([waves.cosines, waves.sines], axis=1)  # (circuits, terms)
    if shared:
        table = source.table(by_term.T, f"{what}: waves of circuits, waves by inputs")
        matrix = source.table(edge_weight, f"{what}: weights of circuits, outputs by inputs")
        lines += [
            f"float g[{inputs}] = {{0.0f}};",
            f"for (int k = 0; k < {2 * size}; k++)",
            f"    for (int i = 0; i < {inputs}; i++) g[i] += {table}[k * {inputs} + i] * f[k * {inputs} + i];",
            f"qkan_affine({matrix}, g, {inputs}, {outputs}, {y});",
        ]
    else:
        by_output = by_term.reshape(inputs, outputs, -1).transpose(1, 2, 0).reshape(outputs, -1)
        table = source.table(by_output, f"{what}: waves of edges, outputs by waves and inputs")
        lines.append(f"qkan_affine({table}, f, {2 * size * inputs}, {outputs}, {y});")
    return Part(block(lines), error, slopes, sizes, (kind,), bends), constants


def _tabled(
    source: Source, waves: Waves, edge_weight: np.ndarray, names: _Names, *, edges: str, shared: bool
) -> tuple[Part, np.ndarray]:
    """Circuits as tables, which have one grid."""
    (x, y, what), (outputs, inputs) = names, edge_weight.shape
    owner = np.tile(np.arange(outputs), inputs)
    factors = np.abs(edge_weight) if shared else np.ones(len(owner))
    tables = int8_tables(waves) if edges == "int8" else cubic_tables(waves, factors, owner)
    places, length = "qkan_turn" if tables.periodic else "qkan_unit", tables.intervals + 3
    source.use("turn" if tables.periodic else "unit", "edges_float" if tables.steps is None else "edges_int8")
    each = 1 if shared else outputs
    name = source.table(tables.coefficients, f"{what}: tables of circuits, circuits by places")
    begin = f"{name} + i * {each * length}"
    function, into = "qkan_edges(", "g + i" if shared else y
    if tables.steps is not None:
        function = "qkan_edges8("
        begin += f", {source.table(tables.steps, f'{what}: steps of the tables')} + i * {each}"
    lines = [f"float g[{inputs}] = {{0.0f}};"] if shared else []
    lines += [
        f"for (int i = 0; i < {inputs}; i++) {{",
        "    float w[4];",
        f"    const int k = {places}({x}[i], {tables.intervals}, w);",
        f"    {function}{begin}, {length}, {each}, k, w, {into});",
        "}",
    ]
    if shared:
        source.use("affine")
        matrix = source.table(edge_weight, f"{what}: weights of circuits, outputs by inputs")
        lines.append(f"qkan_affine({matrix}, g, {inputs}, {outputs}, {y});")
    slopes, sizes, constants, bends = _summed(waves, edge_weight, shared=shared)
    error = factors @ tables.errors if shared else np.bincount(owner, tables.errors)
    kind = f"{'int8' if tables.steps is not None else 'cubic'} tables of {tables.intervals} places"
    return Part(block(lines), error, slopes, sizes, (f"{kind} {_domain(tables)}",), bends), constants


def _domain(tables: Tables) -> str:
    return "a turn" if tables.periodic else "from -1 to 1"


def _rotated(source: Source, circuits: Circuits, edge_weight: np.ndarray, names: _Names) -> Part:
    """Circuits as they are: rotations of a Bloch vector, with the trained ones ready as cosines and sines."""
    (x, y, what), (outputs, inputs) = names, edge_weight.shape
    shared, reps = circuits.rows == 1, circuits.reps
    places = [(row, i) for i in range(inputs) for row in range(circuits.rows)]
    numbers: list[np.ndarray] = []
    body: list[str] = []
    theta, weight, bias = (
        None if part is None else numpy_of(part) for part in (circuits.theta, circuits.weight, circuits.bias)
    )

    def of(parameter: np.ndarray | None, default: float) -> np.ndarray:
        if parameter is None:
            return np.full((len(places), reps), default)
        return np.stack([parameter[min(row, len(parameter) - 1), i] for row, i in places])

    angles, weights, biases = of(theta, 0.0), of(weight, 1.0), of(bias, 0.0)
    for turn in circuits.ansatz.program(reps):
        first, second = (f"v[{(turn.axis + step) % 3}]" for step in (1, 2))
        if turn.half_turn:
            body += [f"{first} = -{first};", f"{second} = -{second};"]
            continue
        fixed = sum((angles[:, row, column] for row, column in turn.thetas), np.zeros(len(places)))
        at = len(numbers)
        if turn.encodings:
            chosen = list(turn.encodings)
            numbers += [weights[:, chosen].sum(axis=1), fixed + biases[:, chosen].sum(axis=1)]
            body.append(f"angle = p[{at}] * x + p[{at + 1}];")
            body.append(f"qkan_rotate(v, {turn.axis}, cosf(angle), sinf(angle));")
        else:
            numbers += [np.cos(fixed), np.sin(fixed)]
            body.append(f"qkan_rotate(v, {turn.axis}, p[{at}], p[{at + 1}]);")
    table = source.table(np.stack(numbers, axis=1), f"{what}: rotations of circuits, circuits by numbers")
    source.use("turn_about", "affine")
    function, length = f"qkan_circuit{table.removeprefix('qkan_t')}", len(numbers)
    start = ", ".join(number(component) for component in circuits.ansatz.initial)
    text = "\n    ".join([f"float v[3] = {{{start}}}, angle;", *body, "return v[2];"])
    source.functions.append(f"/* {what} */\nstatic float {function}(const float *p, float x)\n{{\n    {text}\n}}")
    matrix = source.table(edge_weight if shared else edge_weight.T, f"{what}: weights of circuits")
    if shared:
        lines = [
            f"float g[{inputs}];",
            f"for (int i = 0; i < {inputs}; i++) g[i] = {function}({table} + i * {length}, {x}[i]);",
            f"qkan_affine({matrix}, g, {inputs}, {outputs}, {y});",
        ]
    else:
        lines = [
            f"for (int i = 0; i < {inputs}; i++)",
            f"    for (int o = 0; o < {outputs}; o++)",
            f"        {y}[o] += {matrix}[i * {outputs} + o] * "
            f"{function}({table} + (i * {outputs} + o) * {length}, {x}[i]);",
        ]
    widths = np.abs(weights).sum(axis=1)  # the largest frequency of each: Bernstein's bound, since |<Z>| <= 1
    of_edges = widths[None, :] if shared else widths.reshape(inputs, outputs).T
    weights_of = np.abs(edge_weight)
    slopes, bends = weights_of * of_edges, weights_of * of_edges**2
    return Part(block(lines), np.zeros(outputs), slopes, weights_of.sum(axis=1), ("exact rotations",), bends)


def _summed(
    waves: Waves, edge_weight: np.ndarray, *, shared: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of circuits and their weights: slopes (outputs, inputs), sizes and constants (outputs,), bends like slopes."""
    outputs, inputs = edge_weight.shape
    size = np.abs(edge_weight)
    if shared:
        return size * waves.slopes, size @ waves.sizes, edge_weight @ waves.constants, size * waves.bends
    by_edge = (waves.slopes, waves.sizes, waves.constants, waves.bends)  # with their weights
    slopes, sizes, constants, bends = (part.reshape(inputs, outputs).T for part in by_edge)
    return slopes, sizes.sum(axis=1), constants.sum(axis=1), bends


def _base_part(source: Source, base: str, weight: np.ndarray, names: _Names, *, unit: bool) -> Part:
    (x, y, what), (outputs, inputs) = names, weight.shape
    function = "tanhf" if base == "tanh" else f"qkan_{base}"
    source.use("affine", *([] if base == "tanh" else [base]))
    lines = [
        f"float g[{inputs}];",
        f"for (int i = 0; i < {inputs}; i++) g[i] = {function}({x}[i]);",
        f"qkan_affine({source.table(weight, f'{what}: weights of {base}')}, g, {inputs}, {outputs}, {y});",
    ]
    steepest = 1.13  # of gelu; silu has 1.1, the others 1
    size = np.abs(weight).sum(axis=1) if unit or base == "tanh" else np.full(outputs, np.inf)
    bend = np.inf if base == "relu" else 1.2  # of gelu at 0 0.8, of silu 0.5, of tanh 0.8
    bends = np.where(weight == 0, 0.0, bend * np.abs(weight))
    return Part(block(lines), np.zeros(outputs), steepest * np.abs(weight), size, (), bends)


def _joined(one: Part, other: Part) -> Part:
    """The sum of two maps of the same inputs."""
    return Part(
        one.lines + other.lines,
        one.error + other.error,
        one.slopes + other.slopes,
        one.size + other.size,
        one.kinds + other.kinds,
        one.bends + other.bends,
    )


def block(lines: Sequence[str]) -> tuple[str, ...]:
    """Statements with names of their own."""
    return ("{", *(f"    {line}" for line in lines), "}")
