"""A forecaster's arrays as the kernels of streams take them: a program of integers, and all numbers in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkan.forecasting.model.cell_maps import Layer, Map, folded
from qkan.kernels.spectral.numba_cpu import padded

if TYPE_CHECKING:
    from qkan.forecasting.model.packed import Packed

_VECTOR = 16  # units of a state that processors compute at once
_UNIT = 32  # numbers that things begin at multiples of: whole vectors


class Program(NamedTuple):
    """What does not change from value to value.

    Attributes:
        integers: Layers and their maps, then the head; as of :mod:`qkan.kernels.recurrence.numba_walk`.
        head: Where the head begins.
        numbers: What the integers point into, float32.
        tables: Rows of the seasons, one season after the other, float32.
        positions: Rows of the targets, float32 (horizon, columns).
        columns: Numbers of a row of them.
        sum: How many of these are for the sum of the first layer.
        most: The widest sum of a row.
        flat: The widest input of a map of a chain.
        space: Numbers that the functions of a row need.
    """

    integers: np.ndarray
    head: int
    numbers: np.ndarray
    tables: np.ndarray
    positions: np.ndarray
    columns: int
    sum: int
    most: int
    flat: int
    space: int


class _Numbers:
    """Arrays behind one another."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._count = 0

    def put(self, values: np.ndarray) -> int:
        """Where they begin."""
        own = np.ascontiguousarray(values, dtype=np.float32).ravel()
        begin, size = self._count, -(-max(1, own.size) // _UNIT) * _UNIT
        self._parts.append(np.concatenate([own, np.zeros(size - own.size, dtype=np.float32)]))
        self._count += size
        return begin

    def whole(self) -> np.ndarray:
        return np.concatenate([*self._parts, np.zeros(_UNIT, dtype=np.float32)])


def program_of(packed: Packed) -> Program:
    """Return what the kernels run."""
    from qkan.kernels.common.numba_matmul import COLUMNS

    hidden = hidden_of(packed)
    layers = [layer.widened(hidden, hidden if place else None) for place, layer in enumerate(packed.layers)]
    numbers, integers, sums, inputs, space = _Numbers(), list[int](), list[int](), list[int](), 0
    first, past, covariates = layers[0], packed.past, packed.covariates
    season = slice(past + covariates, past + covariates + packed.features)
    lags = len(packed.seasons) * packed.lags
    tail = np.arange(season.stop + lags, season.stop + lags + packed.counts_steps)
    known = np.r_[past : season.start, season.stop : season.stop + lags]
    for place, layer in enumerate(layers):
        chain = folded(layer.chain)
        own = [layer.of_input, layer.of_input.of_inputs(np.arange(0)), layer.of_state, *chain]
        if place == 0:
            own[:2] = layer.of_input.of_inputs(np.arange(past)), layer.of_input.of_inputs(known)
        bias = layer.of_input.bias + (layer.of_state.bias if layer.kind == "lstm" else 0)
        biases = [bias, bias, layer.of_state.bias, *(one.bias for one in chain)]
        integers += _layer(layer, len(chain))
        for one, its_bias in zip(own, biases, strict=True):
            integers += _map(numbers, one, its_bias)
            space = max(space, _space(one))
            sums.append(padded(one.matrix.shape[2], COLUMNS))
        inputs += [1, *(one.matrix.shape[1] for one in chain)]
    head = Map(packed.head_weight.T[None], packed.head_bias).with_inputs(hidden)
    at, sums = len(integers), [*sums, padded(head.matrix.shape[2], COLUMNS)]
    integers += _map(numbers, head, head.bias)
    wide = padded(first.of_input.matrix.shape[2], COLUMNS)
    tables = [
        _rows(packed, first.of_input, season.start + channels, wide, own[:, channels], own[:, -1])
        for own, channels in zip(packed.season_tables, packed.season_channels, strict=True)
    ]
    position = np.arange(packed.horizon)[:, None] / max(1, packed.horizon - 1)
    position = position[:, : packed.counts_steps]
    positions = _rows(packed, first.of_input, tail, wide, position, np.zeros(packed.horizon))
    return Program(
        integers=np.array(integers, dtype=np.int64),
        head=at,
        numbers=numbers.whole(),
        tables=np.concatenate([own.ravel() for own in tables] or [np.zeros(1, dtype=np.float32)]),
        positions=positions,
        columns=positions.shape[1],
        sum=wide,
        most=max(sums),
        flat=max(inputs),
        space=max(space, _space(head)),
    )


def hidden_of(packed: Packed) -> int:
    """Units of a layer in whole vectors."""
    return padded(packed.hidden, _VECTOR)


def panels(matrix: np.ndarray) -> np.ndarray:
    """A matrix (depth, width) as the tiles of :mod:`qkan.kernels.common.numba_matmul` take it."""
    from qkan.kernels.common.numba_matmul import COLUMNS

    depth, width = matrix.shape
    wide = np.zeros((depth, padded(width, COLUMNS)), dtype=np.float32)
    wide[:, :width] = matrix
    return np.ascontiguousarray(wide.reshape(depth, wide.shape[1] // COLUMNS, COLUMNS).transpose(1, 0, 2))


def _rows(
    packed: Packed, of_input: Map, chosen: np.ndarray, wide: int, values: np.ndarray, mean: np.ndarray
) -> np.ndarray:
    """Rows of a table: what inputs of some values contribute to a sum, their mean season, and their quantiles."""
    columns = -(-(wide + 1 + packed.quantiles) // 8) * 8
    found = np.zeros((len(values), columns))
    if len(chosen):
        said = of_input.of_inputs(chosen)(values.astype(np.float64))
        found[:, : said.shape[1]] = said
    found[:, wide] = mean
    if packed.known is not None:
        known = packed.known[:, chosen - packed.past]
        found[:, wide + 1 : wide + 1 + len(known)] = values @ known.T
    return np.ascontiguousarray(found, dtype=np.float32)


def _layer(layer: Layer, chain: int) -> list[int]:
    from qkan.kernels.recurrence import numba_kernels, numba_walk

    found = [0] * numba_walk.LAYER
    found[numba_kernels.GRU] = int(layer.kind == "gru")
    found[numba_kernels.HIDDEN], found[numba_walk.CHAIN] = layer.hidden, chain
    found[numba_walk.SUM] = layer.of_state.matrix.shape[2]
    return found


def _count(own: Map) -> int:
    """Functions without the base activation."""
    if own.coeffs is not None:
        return len(own.coeffs) - 1
    return len(own.matrix) - (own.base is not None)


def _space(own: Map) -> int:
    total = _count(own) + (own.base is not None)
    return (2 * total + 2) * own.matrix.shape[1]


def _map(numbers: _Numbers, own: Map, bias: np.ndarray) -> list[int]:
    from qkan.kernels.common.numba_matmul import COLUMNS
    from qkan.kernels.edges.numba_activations import BASE_NUMBERS
    from qkan.kernels.recurrence import numba_walk
    from qkan.kernels.spectral import numba_basis

    kinds = {
        "fourier": numba_basis.FOURIER, "chebyshev": numba_basis.CHEBYSHEV, "waves": numba_walk.WAVES,
        "tanh-chebyshev": numba_walk.TANH_CHEBYSHEV, "bspline": numba_walk.BSPLINE, "rational": numba_walk.RATIONAL,
    }  # fmt: skip
    terms, inputs, outputs = own.matrix.shape
    wide = np.zeros(padded(outputs, COLUMNS))
    wide[:outputs] = bias
    further = np.zeros(0) if own.own is None else own.own
    if own.kind == "waves":
        further = np.broadcast_to(further, (own.size, inputs))
    found = [0] * numba_walk.MAP
    kernel = (kinds[own.kind], own.size, BASE_NUMBERS[own.base], int(own.coeffs is not None), inputs)
    found[: len(kernel)] = kernel
    places = {
        numba_walk.OUT: outputs, numba_walk.COUNT: _count(own), numba_walk.BIAS: numbers.put(wide),
        numba_walk.MATRIX: numbers.put(panels(own.matrix.reshape(terms * inputs, outputs))),
        numba_walk.COEFFS: numbers.put(np.zeros(0) if own.coeffs is None else own.coeffs),
        numba_walk.RADIUS: numbers.put(np.array([own.radius])), numba_walk.OWN: numbers.put(further),
        numba_walk.LENGTH: further.size,
    }  # fmt: skip
    for place, value in places.items():
        found[place] = value
    return found
