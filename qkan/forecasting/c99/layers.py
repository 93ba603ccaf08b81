"""Layers as C: statements that add what a layer says to an array, and what its tables can be wrong by.

Every layer becomes a :class:`Part`. Arrays are called by name in the statements; a part brings its own tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from qkan.forecasting.c99.source import Source, number
from qkan.forecasting.c99.tables import Tables, Waves, cubic_tables, int8_tables, sine_table
from qkan.forecasting.io.files import RunError
from qkan.layers.qkan_layer import QKANLayer
from qkan.quantum.spectrum import spectrum_of

_WHOLE = 1e-9
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


def numpy_of(tensor: Tensor) -> np.ndarray:
    """A tensor as float64 on the CPU."""
    return np.asarray(tensor.detach().cpu().double().numpy())


def affine_part(source: Source, weight: Tensor | np.ndarray, x: str, y: str, what: str, *, unit: bool) -> Part:
    """A matrix (outputs, inputs); ``unit`` says that inputs lie in [-1, 1]."""
    matrix = weight if isinstance(weight, np.ndarray) else numpy_of(weight)
    outputs, inputs = matrix.shape
    source.use("affine")
    line = f"qkan_affine({source.table(matrix, what)}, {x}, {inputs}, {outputs}, {y});"
    size = np.abs(matrix).sum(axis=1) if unit else np.full(outputs, np.inf)
    return Part((line,), np.zeros(outputs), np.abs(matrix), size, (), np.zeros_like(matrix))


def circuit_part(
    source: Source, layer: QKANLayer, x: str, y: str, what: str, *, unit: bool, edges: str
) -> tuple[Part, np.ndarray]:
    """A layer of circuits, and its constants (outputs,) to add to a bias.

    Args:
        source: Takes tables and helpers.
        layer: The layer.
        x, y: Names of the arrays.
        what: What the layer is, for comments.
        unit: Whether inputs lie in [-1, 1].
        edges: One of :data:`qkan.forecasting.config.names.EXPORT_EDGES`.

    Raises:
        RunError: the layer is none that can be written.
    """
    if layer.ansatz.encoding_map != "identity" or layer.readout != "z":
        raise RunError("circuits that encode acos(x) or read out amplitudes cannot be exported to C; export to ONNX")
    if not isinstance(layer.base_activation, str | type(None)):
        raise RunError("a base activation that is a function of your own cannot be exported to C; name one")
    outputs, inputs = layer.out_features, layer.in_features
    edge_weight, base_weight, constant = _weights(layer)
    theta, weight, bias = layer.circuit_parameters()
    rows = max(part.shape[0] for part in (theta, weight, bias) if part is not None)
    whole = weight is None or bool((weight - weight.round()).abs().max() < _WHOLE)
    tabled = edges != "exact" and (whole or (unit and layer.reps <= _MOST_REPS))
    shared = rows == 1 and outputs > 1
    places = [(row, i) for i in range(inputs) for row in range(rows)] if not shared else [(0, i) for i in range(inputs)]
    # By input and then by output: what one input adds to all outputs lies side by side.
    factors = np.abs(edge_weight) if shared else edge_weight.T.ravel()
    if whole or tabled:
        waves = _waves(layer, theta, weight, bias, places, whole=whole)
        waves = waves if shared else waves.times(factors)
        if tabled and (not whole or edges == "int8"):
            part, constants = _tabled(source, waves, edge_weight, (x, y, what), edges=edges, shared=shared)
        else:
            part, constants = _waved(source, waves, edge_weight, (x, y, what), shared=shared, tabled=tabled)
    else:
        part, constants = _rotated(source, layer, (theta, weight, bias), places, edge_weight, (x, y, what))
    if base_weight is not None and layer.base_activation is not None:
        part = _joined(part, _base_part(source, layer.base_activation, base_weight, (x, y, what), unit=unit))
    return part, constant + constants


def _weights(layer: QKANLayer) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Weights of circuits and of the base activation (outputs, inputs), and the sum of constants (outputs,)."""
    shape = (layer.out_features, layer.in_features)
    mask = np.ones(shape) if layer.edge_mask is None else numpy_of(layer.edge_mask.double())
    edge_weight = mask if layer.postact_weight is None else mask * numpy_of(layer.postact_weight)
    constant = np.zeros(shape) if layer.postact_bias is None else numpy_of(layer.postact_bias) * edge_weight
    base = None if layer.base_weight is None else numpy_of(layer.base_weight) * mask
    return edge_weight, base, constant.sum(axis=1)


def _waves(
    layer: QKANLayer,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    places: Sequence[tuple[int, int]],
    *,
    whole: bool,
) -> Waves:
    """The spectra of some circuits; of whole frequencies column k - 1 is that of frequency k."""

    def of(parameter: Tensor, row: int, i: int) -> Tensor:
        return parameter[min(row, parameter.shape[0] - 1), i]

    spectra = []
    for row, i in places:
        own = (None if part is None else of(part, row, i) for part in (weight, bias))
        spectra.append(spectrum_of(layer.ansatz, layer.reps, of(theta, row, i), *own))
    count, constants = len(spectra), np.zeros(len(spectra))
    found = []
    for place, spectrum in enumerate(spectra):
        frequencies, coefficients = spectrum.frequencies.numpy(), spectrum.coefficients.numpy()
        constants[place] = coefficients.real[np.abs(frequencies) <= _WHOLE].sum()
        kept = frequencies > _WHOLE
        found.append((frequencies[kept], coefficients[kept]))
    width = max([1, *(round(float(own[0].max(initial=1))) if whole else len(own[0]) for own in found)])
    columns = np.arange(1.0, width + 1) if whole else np.zeros(width)
    waves = Waves(
        np.tile(columns, (count, 1)), np.zeros((count, width)), np.zeros((count, width)), constants,
        2 * np.pi if whole else None,
    )  # fmt: skip
    for place, (frequencies, coefficients) in enumerate(found):
        at = np.rint(frequencies).astype(int) - 1 if whole else np.arange(len(frequencies))
        waves.frequencies[place, at] = np.rint(frequencies) if whole else frequencies
        waves.cosines[place, at], waves.sines[place, at] = 2 * coefficients.real, -2 * coefficients.imag
    return waves


_Names = tuple[str, str, str]


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


def _rotated(
    source: Source,
    layer: QKANLayer,
    parameters: tuple[Tensor, Tensor | None, Tensor | None],
    places: Sequence[tuple[int, int]],
    edge_weight: np.ndarray,
    names: _Names,
) -> tuple[Part, np.ndarray]:
    """Circuits as they are: rotations of a Bloch vector, with the trained ones ready as cosines and sines."""
    (x, y, what), (outputs, inputs) = names, edge_weight.shape
    shared, reps = len(places) == inputs and outputs > 1, layer.reps
    numbers: list[np.ndarray] = []
    body: list[str] = []
    theta, weight, bias = (None if part is None else numpy_of(part) for part in parameters)

    def of(parameter: np.ndarray | None, default: float) -> np.ndarray:
        if parameter is None:
            return np.full((len(places), reps), default)
        return np.stack([parameter[min(row, len(parameter) - 1), i] for row, i in places])

    angles, weights, biases = of(theta, 0.0), of(weight, 1.0), of(bias, 0.0)
    for turn in layer.ansatz.program(reps):
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
    start = ", ".join(number(component) for component in layer.ansatz.initial)
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
    part = Part(block(lines), np.zeros(outputs), slopes, weights_of.sum(axis=1), ("exact rotations",), bends)
    return part, np.zeros(outputs)


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
