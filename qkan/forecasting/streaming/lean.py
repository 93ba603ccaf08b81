"""The engine of streams: a forecaster's arrays and a few compiled kernels, without a module of PyTorch."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qkan.forecasting.streaming.rings import Rings
from qkan.kernels.recurrence.numba_cpu import FixedWalk
from qkan.kernels.recurrence.types import Spec, Weights

if TYPE_CHECKING:
    from qkan.forecasting.model.forecaster import RecurrentForecaster
    from qkan.forecasting.model.packed import Packed

CHUNK = 256
"""Series whose steps stay in the caches of a core."""
_BATCHES = 8  # sizes of batches whose memory is kept
_LEVELS = {"none": 0, "season": 1, "last": 2, "mean": 3, "window": 3}


class LeanEngine:
    """As of :class:`qkan.forecasting.streaming.rings.Engine`, of a forecaster that :func:`pack` describes.

    Args:
        packed: The forecaster.
        model: The same, for the codes of its categories.
        shift, scale: Of the scaler, float64 (S,).
        carried: Whether the cell's state is kept from value to value; else it begins with the window every time.
    """

    def __init__(
        self, packed: Packed, model: RecurrentForecaster, shift: np.ndarray, scale: np.ndarray, *, carried: bool
    ) -> None:
        self.packed, self.categories, self.carried = packed, model.categories, carried
        self.shift, self.scale = (np.ascontiguousarray(own, dtype=np.float64) for own in (shift, scale))
        self.quantiles = packed.quantiles
        stored = packed.past - 1 + packed.covariates
        self.rings = Rings(len(shift), packed.context, packed.window, stored, packed.cell.hidden)
        self.weights = _Weights(packed)
        self._batches: OrderedDict[int, _Batch] = OrderedDict()

    def append(
        self, rows: np.ndarray, values: np.ndarray, others: np.ndarray, covariates: np.ndarray, numbers: np.ndarray
    ) -> None:
        """As of the protocol."""
        for begin in range(0, len(rows), CHUNK):
            own = slice(begin, begin + CHUNK)
            batch = self._batch(len(rows[own]))
            batch.rows[:], batch.values[:], batch.numbers[:] = rows[own], values[own], numbers[own]
            if others.shape[1]:
                batch.given[:, : others.shape[1]] = others[own]
            if covariates.shape[1]:
                batch.given[:, others.shape[1] :] = self._encoded(covariates[own])
            batch.append()

    def forecast(
        self, rows: np.ndarray, covariates: np.ndarray, numbers: np.ndarray, *, begin: bool, moved: bool
    ) -> np.ndarray:
        """As of the protocol."""
        packed = self.packed
        steps = packed.window - packed.decodes_steps
        if self.carried and not begin:
            steps = int(moved)
        found = np.empty((len(rows), packed.horizon, packed.quantiles))
        for first in range(0, len(rows), CHUNK):
            own = slice(first, first + CHUNK)
            batch = self._batch(len(rows[own]))
            batch.rows[:], batch.numbers[:] = rows[own], numbers[own]
            if covariates.shape[2]:
                batch.ahead[:] = self._encoded(covariates[own])
            found[own] = batch.forecast(steps, self.carried and not begin)
        return found

    def _encoded(self, covariates: np.ndarray) -> np.ndarray:
        """Covariates with features in the place of the codes of categories, which come last."""
        if self.categories is None:
            return covariates
        numbers = covariates.shape[-1] - len(self.categories.sizes)
        with torch.inference_mode():
            codes = self.categories(torch.from_numpy(np.ascontiguousarray(covariates[..., numbers:])))
        return np.concatenate([covariates[..., :numbers], codes.numpy()], axis=-1)

    def _batch(self, size: int) -> _Batch:
        found = self._batches.get(size)
        if found is None:
            found = self._batches[size] = _Batch(self, size)
            while len(self._batches) > _BATCHES:
                self._batches.popitem(last=False)
        return found


class _Weights:
    """Arrays of a forecaster, contiguous, under the names that frames take them by."""

    def __init__(self, packed: Packed) -> None:
        cell = packed.cell
        coeffs, encoder = (
            None if own is None else torch.from_numpy(own) for own in (cell.activation_coeffs, cell.encoder)
        )
        self.cell = Weights(torch.from_numpy(cell.matrix), torch.from_numpy(cell.bias), coeffs, encoder)
        kind: Any = cell.kind
        self.spec = Spec(kind, cell.basis, inputs=cell.inputs if cell.joined else 0)
        self.lengths = np.array([*packed.seasons, 0], dtype=np.int64)
        own = packed.known  # what follows from the season alone is a row of its table; the rest is multiplied
        begin, end = packed.covariates, packed.covariates + packed.features
        first, last = cell.inputs - packed.known_channels + begin, cell.inputs - packed.known_channels + end
        tables = []
        for table in packed.season_tables:
            wide = np.zeros((len(table), columns_of(packed)), dtype=np.float32)
            wide[:, : table.shape[1]] = table
            if own is not None:
                wide[:, table.shape[1] : table.shape[1] + len(own)] = table[:, :-1] @ own[:, begin:end].T
            if cell.input_weight is not None:
                at = mapped_at(packed)
                wide[:, at : at + len(cell.input_weight)] = table[:, :-1] @ cell.input_weight[:, first:last].T
            tables.append(wide)
        self.tables = np.concatenate([table.ravel() for table in tables] or [_NOTHING])
        self.known = _NOTHING if own is None else np.ascontiguousarray(np.delete(own, np.s_[begin:end], axis=1))
        self.skip = _NOTHING if packed.skip is None else np.ascontiguousarray(packed.skip.T)
        self.map = _NOTHING if cell.input_weight is None else np.ascontiguousarray(cell.input_weight.T)
        self.map_bias = _NOTHING if cell.input_bias is None else cell.input_bias
        self.factors = np.array([packed.reads_in, packed.smallest_scale**2], dtype=np.float32)
        self.positions = (np.arange(packed.horizon) / max(1, packed.horizon - 1)).astype(np.float32)


_NOTHING = np.zeros(1, dtype=np.float32)


def mapped_at(packed: Packed) -> int:
    """Where a row of a season's table has what it contributes to the cell: behind all that is put over the row."""
    tail = packed.known_channels - packed.covariates - packed.features
    return packed.features + max(1 + packed.quantiles, tail)


def columns_of(packed: Packed) -> int:
    """Numbers of a row of a season's table: whole vectors."""
    weight = packed.cell.input_weight
    return -(-(mapped_at(packed) + (0 if weight is None else len(weight))) // 8) * 8


class _Batch:
    """Memory for a batch of one size, and the frames of its kernels."""

    def __init__(self, engine: LeanEngine, size: int) -> None:
        from qkan.kernels.recurrence import numba_streams

        self._jit = numba_streams  # an import in every call takes longer than some of its kernels
        packed, weights, rings = engine.packed, engine.weights, engine.rings
        cell, horizon, quantiles = packed.cell, packed.horizon, packed.quantiles
        width = cell.inputs if cell.input_weight is None else len(cell.input_weight)
        longest = max(1, packed.window - packed.decodes_steps)
        self.rows, self.numbers = np.zeros(size, np.int64), np.zeros((size, horizon + 1), np.int64)
        self.values, self.out = np.zeros(size), np.zeros((size, horizon, quantiles))

        def floats(*shape: int) -> np.ndarray:
            return np.zeros((*shape[:-1], max(1, shape[-1])), dtype=np.float32)

        self.given = floats(size, packed.past - 1 + packed.covariates)
        self.ahead = floats(size, horizon, packed.covariates)
        level, mean, predicted = floats(size, 2), floats(size, horizon), floats(size, horizon, quantiles)
        self._steps, decoded = floats(longest, size, width), floats(size, horizon, width)
        self._h, self._c = floats(size, cell.hidden), floats(size, cell.hidden)
        target_h, target_c = floats(size * horizon, cell.hidden), floats(size * horizon, cell.hidden)
        scratch = floats(packed.window + cell.inputs + columns_of(packed) + horizon)
        season = np.zeros(1 + len(packed.seasons), np.int64)
        self._sizes = _sizes(packed, size, width)
        self._weights, self._walks = weights, dict[int, FixedWalk]()
        self._decode = None
        if packed.decodes_steps:
            steps = torch.from_numpy(decoded.reshape(size * horizon, -1))
            states = torch.from_numpy(target_h), torch.from_numpy(target_c)
            self._decode = FixedWalk(weights.spec, weights.cell, steps, *states, count=1)
        sizes, lengths = self._sizes, weights.lengths
        said = target_h if packed.decodes_steps else self._h
        self._append = _frame(
            sizes, lengths, self.rows, rings.place, self.numbers, self.values, engine.shift, engine.scale, self.given,
            weights.tables, scratch, rings.value, rings.extra, rings.number, season,
        )  # fmt: skip
        self._read = _frame(
            sizes, lengths, self.rows, rings.place, self.numbers, weights.factors, weights.positions, self.ahead,
            weights.tables, rings.value, rings.extra, rings.number, weights.skip, weights.known, weights.map,
            weights.map_bias, level, mean, self._steps, decoded, predicted, scratch, season,
        )  # fmt: skip
        kept = (rings.h, rings.c, self._h, self._c)
        self._begin = _frame(sizes, self.rows, *kept)
        self._spread = _frame(sizes, self.rows, *kept, target_h, target_c)
        self._say = _frame(
            sizes, self.rows, self.numbers, lengths, weights.tables, scratch, rings.value, rings.place, level, mean,
            said, packed.head_weight, packed.head_bias, predicted, engine.shift, engine.scale, self.out, season,
        )  # fmt: skip

    def append(self) -> None:
        """Put ``values`` behind those of ``rows``."""
        self._jit.APPEND.run(torch.float32, self._append[0], 1)

    def forecast(self, steps: int, from_state: bool) -> np.ndarray:
        """Walk the newest ``steps`` steps and forecast; the result is overwritten by the next call."""
        jit = self._jit
        self._sizes[jit.STEPS], self._sizes[jit.STATE] = steps, from_state
        jit.READ.run(torch.float32, self._read[0], 1)
        jit.BEGIN.run(torch.float32, self._begin[0], 1)
        if steps:
            self._walk(steps)()
        jit.SPREAD.run(torch.float32, self._spread[0], 1)
        if self._decode is not None:
            self._decode()
        jit.SAY.run(torch.float32, self._say[0], 1)
        return self.out

    def _walk(self, steps: int) -> FixedWalk:
        found = self._walks.get(steps)
        if found is None:
            rows = torch.from_numpy(self._steps[:steps].reshape(steps * len(self.rows), -1))
            states = torch.from_numpy(self._h), torch.from_numpy(self._c)
            found = self._walks[steps] = FixedWalk(self._weights.spec, self._weights.cell, rows, *states, count=steps)
        return found


def _sizes(packed: Packed, batch: int, width: int) -> np.ndarray:
    """The integers of a frame's kernels, in the order of ``SIZES``."""
    from qkan.kernels.recurrence import numba_streams as jit

    cell = packed.cell
    own = {
        "batch": batch, "context": packed.context, "window": packed.window, "horizon": packed.horizon,
        "quantiles": packed.quantiles, "past": packed.past, "covariates": packed.covariates,
        "features": packed.features, "seasons": len(packed.seasons), "lags": packed.lags,
        "counts": packed.counts_steps, "decodes": packed.decodes_steps, "level": _LEVELS[packed.level],
        "scaled": packed.level == "window", "inputs": cell.inputs, "width": width,
        "mapped": cell.input_weight is not None, "skip": packed.skip is not None, "known": packed.known is not None,
        "repeats": packed.repeats_last, "hidden": cell.hidden, "steps": 0, "state": 0,
        "columns": columns_of(packed), "mapped_at": mapped_at(packed),
    }  # fmt: skip
    return np.array([own[name] for name in jit.SIZES], dtype=np.int64)


def _frame(*arrays: np.ndarray) -> tuple[array[int], tuple[np.ndarray, ...]]:
    """A frame of some arrays, and the arrays, whose memory it points to."""
    numbers: list[int] = [0, 0, 1]
    for own in arrays:
        if not own.flags.c_contiguous:
            raise ValueError(f"an array of shape {own.shape} does not lie in one piece")
        numbers += (own.ctypes.data, own.size)
    return array("q", numbers), arrays
