"""The engine of streams: a forecaster's arrays and a few compiled kernels, without a module of PyTorch."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import torch

from qkan.forecasting.streaming.program import hidden_of, panels, program_of
from qkan.forecasting.streaming.rings import Rings
from qkan.kernels.spectral.numba_cpu import padded

if TYPE_CHECKING:
    from qkan.forecasting.model.forecaster import RecurrentForecaster
    from qkan.forecasting.model.packed import Packed

BLOCK = 32
"""Series whose numbers stay in the caches of a core."""
_BATCHES = 8  # sizes of batches whose memory is kept
_SHARDS = 8  # blocks that are worth waking another thread
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
        states = hidden_of(packed) * len(packed.layers)
        self.rings = Rings(len(shift), packed.context, packed.window, stored, states)
        self.program = program_of(packed)
        self.known = _NOTHING
        if packed.known is not None:  # what follows from the season or the position alone is in tables
            end = packed.covariates + packed.features
            lags = slice(end, end + len(packed.seasons) * packed.lags)
            self.known = np.concatenate([packed.known[:, : packed.covariates], packed.known[:, lags]], axis=1)
        self.skip = _NOTHING if packed.skip is None else panels(packed.skip.T)
        self._batches: OrderedDict[int, _Batch] = OrderedDict()

    def append(
        self, rows: np.ndarray, values: np.ndarray, others: np.ndarray, covariates: np.ndarray, numbers: np.ndarray
    ) -> None:
        """As of the protocol."""
        batch = self._batch(len(rows))
        batch.rows[:], batch.values[:], batch.numbers[:] = rows, values, numbers
        if others.shape[1]:
            batch.given[:, : others.shape[1]] = others
        if covariates.shape[1]:
            batch.given[:, others.shape[1] :] = self._encoded(covariates)
        batch.append()

    def forecast(
        self, rows: np.ndarray, covariates: np.ndarray, numbers: np.ndarray, *, begin: bool, moved: bool
    ) -> np.ndarray:
        """As of the protocol."""
        packed = self.packed
        steps = packed.window - packed.decodes_steps
        if self.carried and not begin:
            steps = int(moved)
        batch = self._batch(len(rows))
        batch.rows[:], batch.numbers[:] = rows, numbers
        if covariates.shape[2]:
            batch.ahead[:] = self._encoded(covariates)
        return batch.forecast(steps, self.carried and not begin).copy()

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


_NOTHING = np.zeros(1, dtype=np.float32)
_NEVER = np.iinfo(np.int64).min  # the number of a step that has not been looked up


class _Batch:
    """Memory for a batch of one size, and the frames of its kernels."""

    def __init__(self, engine: LeanEngine, size: int) -> None:
        from qkan.kernels.recurrence import numba_streams

        self._jit = numba_streams  # an import in every call takes longer than some of its kernels
        packed, program, rings = engine.packed, engine.program, engine.rings
        horizon, quantiles = packed.horizon, packed.quantiles
        self.rows, self.numbers = np.zeros(size, np.int64), np.zeros((size, horizon + 1), np.int64)
        self.values, self.out = np.zeros(size), np.zeros((size, horizon, quantiles))

        def floats(*shape: int) -> np.ndarray:
            return np.zeros((*shape[:-1], max(1, shape[-1])), dtype=np.float32)

        self.given = floats(size, packed.past - 1 + packed.covariates)
        self.ahead = floats(size, horizon, packed.covariates)
        self._sizes = sizes = _sizes(engine, size)
        blocks = -(-size // int(sizes[numba_streams.BLOCK]))
        self._threads = max(1, min(torch.get_num_threads(), blocks // _SHARDS))
        workspace = np.zeros(self._threads * int(sizes[numba_streams.EACH]), dtype=np.float32)
        seasons = np.full((1 + self._threads, 2 + len(packed.seasons)), _NEVER)
        lengths = np.array([*packed.seasons, 0], dtype=np.int64)
        factors = np.array([packed.reads_in, packed.smallest_scale**2], dtype=np.float32)
        self._append = _frame(
            1, sizes, lengths, self.rows, rings.place, self.numbers, self.values, engine.shift, engine.scale,
            self.given, program.tables, rings.value, rings.extra, rings.number, seasons[0],
        )  # fmt: skip
        self._forecast = _frame(
            blocks, sizes, lengths, self.rows, rings.place, self.numbers, factors, self.ahead, program.tables,
            program.positions, rings.value, rings.extra, rings.number, engine.skip, engine.known, workspace,
            program.integers, program.numbers, rings.h, rings.c, engine.shift, engine.scale, self.out, seasons[1:],
        )  # fmt: skip

    def append(self) -> None:
        """Put ``values`` behind those of ``rows``."""
        self._jit.APPEND.run(torch.float32, self._append[0], 1)

    def forecast(self, steps: int, from_state: bool) -> np.ndarray:
        """Walk the newest ``steps`` steps and forecast; the result is overwritten by the next call."""
        jit, frame = self._jit, self._forecast[0]
        self._sizes[jit.STEPS], self._sizes[jit.STATE] = steps, from_state
        frame[0] = frame[1] = 0
        jit.FORECAST.run(torch.float32, frame, self._threads)
        return self.out


def _sizes(engine: LeanEngine, batch: int) -> np.ndarray:
    """The integers of a frame's kernels, in the order of ``SIZES``."""
    from qkan.kernels.common.numba_matmul import COLUMNS, ROWS
    from qkan.kernels.recurrence import numba_streams as jit

    packed, program = engine.packed, engine.program
    layers, lags = len(packed.layers), len(packed.seasons) * packed.lags
    block = min(BLOCK, padded(batch, ROWS))
    own = {
        "batch": batch, "block": block, "context": packed.context, "window": packed.window, "horizon": packed.horizon,
        "quantiles": packed.quantiles, "past": packed.past, "covariates": packed.covariates,
        "seasons": len(packed.seasons), "lags": packed.lags, "decodes": packed.decodes_steps,
        "level": _LEVELS[packed.level], "scaled": packed.level == "window", "skip": packed.skip is not None,
        "known": packed.known is not None, "repeats": packed.repeats_last, "hidden": hidden_of(packed),
        "layers": layers, "steps": 0, "state": 0, "keep": engine.carried, "sum": program.sum,
        "columns": program.columns,
        "head": program.head, "most": program.most,
    }  # fmt: skip
    of_a_row = {
        "level_at": 2, "read_at": packed.window, "said_at": padded(packed.horizon, COLUMNS),
        "mean_at": packed.horizon, "predicted_at": packed.horizon * packed.quantiles, "past_at": packed.past,
        "known_at": packed.covariates + lags, **dict.fromkeys(_STATES, layers * hidden_of(packed)),
        "base_at": layers * program.most, "other_at": layers * program.most, "total_at": program.most,
        "sums_at": 2 * program.most, "flat_at": program.flat, "row_at": program.columns,
        "space_at": program.space,
    }  # fmt: skip
    at = 0
    for name, numbers in of_a_row.items():
        own[name] = at
        at += -(-max(1, numbers) * block // _LINE) * _LINE
    own["each"] = at
    return np.array([own[name] for name in jit.SIZES], dtype=np.int64)


_STATES = ("h_at", "c_at", "next_h_at", "next_c_at")
_LINE = 16  # numbers of a line of a cache


def _frame(shards: int, *arrays: np.ndarray) -> tuple[array[int], tuple[np.ndarray, ...]]:
    """A frame of some arrays, and the arrays, whose memory it points to."""
    numbers: list[int] = [0, 0, shards]
    for own in arrays:
        if not own.flags.c_contiguous:
            raise ValueError(f"an array of shape {own.shape} does not lie in one piece")
        numbers += (own.ctypes.data, own.size)
    return array("q", numbers), arrays
