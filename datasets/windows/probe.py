"""Cheap regressions that say what helps to forecast some values: fitted to their begin, judged by what follows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

_FOLDS = (0.5, 0.75, 1.0)  # fitted up to one share of the windows of every series, judged up to the next
_MOST_WINDOWS = 3000  # of all series together, one at random of every so many
_FEWEST = 10  # windows that judge, else nothing is said
_PENALTIES = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e3)
_BENDS, _NEWEST = 64, 2  # random features; lags of a regression that sees the newest only
_STEEPNESS = (1.0, 4.0)
_BLOCKS, _LEAST_GAIN = 10, 0.01
_SMALLEST_SCALE = 1e-2  # of a window, as of the forecaster's
_SHRUNK = 1e-4  # of the mean square of a wave


class Probe:
    """Regressions on the lags of some values, one for all series.

    Each is tried linear in the lags, with random tanh features of them beside it (an extreme learning machine), and
    with those of the two newest lags only, with several penalties. The smallest error counts, so all that is compared
    has the same chances. They are fitted to the first half of the windows and judged by the third quarter, then fitted
    to three quarters and judged by the last.

    Args:
        values: One array of finite values per series, oldest first.
        lags: Values that a regression sees.
        horizon: Steps ahead of the last of them that it predicts.
    """

    def __init__(self, values: Sequence[np.ndarray], lags: int, horizon: int = 1) -> None:
        self.lags = lags
        every = max(1, -(-sum(len(own) for own in values) // _MOST_WINDOWS))
        draw = np.random.default_rng(0)
        self.rows = [_one_of_every(every, lags + horizon - 1, len(own), draw) for own in values]
        self.values, self.horizon = [_scaled(own) for own in values], horizon
        self.windows, self.targets = self._cut(self.values)
        self.share = np.concatenate([(np.arange(len(rows)) + 0.5) / max(len(rows), 1) for rows in self.rows])

    def _cut(self, values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Windows (N, lags) and targets (N,) of values at the places that were drawn."""
        back = self.horizon - 1 + np.arange(self.lags, 0, -1)
        windows = [own[rows[:, None] - back] for own, rows in zip(values, self.rows, strict=True)]
        return np.concatenate(windows), np.concatenate([own[rows] for own, rows in zip(values, self.rows, strict=True)])

    @property
    def says_something(self) -> bool:
        """Whether there are enough windows to fit and to judge, and the values change."""
        return self.has_windows and bool(self.naive.any())

    @property
    def has_windows(self) -> bool:
        """Whether there are enough windows to fit and to judge."""
        return bool((self.share > _FOLDS[0]).sum() >= _FEWEST)

    @property
    def naive(self) -> np.ndarray:
        """Absolute errors of repeating the last value, of the windows that judge."""
        return np.abs(self.targets - self.windows[:, -1])[self._judged]

    @property
    def _judged(self) -> np.ndarray:
        """Places of the windows that judge, fold by fold."""
        return np.concatenate([np.flatnonzero(held) for _, held in self._folds()])

    def _folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        ends = itertools.pairwise(_FOLDS)
        return [(self.share <= begin, (self.share > begin) & (self.share <= end)) for begin, end in ends]

    def errors(self, level: str, known: np.ndarray | None = None, lags: int | None = None) -> np.ndarray:
        """Absolute errors of the windows that judge, where the range of each series is 2, oldest first.

        Args:
            level: What is taken from a window and put back: ``last``, ``none`` or ``window`` (mean and scale).
            known: What else is known of every target, (windows, columns).
            lags: How many of the lags a regression sees; ``None`` for all.
        """
        windows = self.windows[:, -(lags or self.lags) :]
        offset, scale = _levels(windows, level)
        changes = (windows - offset[:, None]) / scale[:, None]
        both = changes if known is None else np.column_stack([changes, known])
        designs, targets = _bent(both, changes), (self.targets - offset) / scale
        return _best([_tried(designs, targets, scale, *fold) for fold in self._folds()])

    def errors_around(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Absolute errors as of :meth:`errors`, where the mean season of the older values is taken away and put back.

        Args:
            waves: What a season is a sum of, at all values of every series, (length, columns) each.
        """
        found, ends = [], np.cumsum([len(rows) for rows in self.rows])[:-1]
        for fit, held in self._folds():
            parts = zip(self.rows, np.split(fit, ends), strict=True)
            known = [int(rows[own].max(initial=-1)) + 1 for rows, own in parts]
            rests = [
                own - columns @ _ridge(columns[:end], own[:end])
                for own, columns, end in zip(self.values, waves, known, strict=True)
            ]
            windows, targets = self._cut(rests)
            found.append(_tried(_bent(windows, windows), targets, np.ones(len(targets)), fit, held))
        return _best(found)


def _bent(inputs: np.ndarray, lags: np.ndarray) -> list[np.ndarray]:
    """Designs of regressions: inputs alone, with random features of them, and with those of the newest lags."""
    draw = np.random.default_rng(0)
    return [inputs, *(np.column_stack([inputs, _bends(own, draw)]) for own in (inputs, lags[:, -_NEWEST:]))]


def _levels(windows: np.ndarray, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale of every window, (N,) each, as a forecaster takes them away."""
    ones = np.ones(len(windows))
    if level == "window":
        return windows.mean(axis=1), np.sqrt(windows.var(axis=1) + _SMALLEST_SCALE**2)
    return (windows[:, -1] if level == "last" else 0 * ones), ones


def _tried(
    designs: Sequence[np.ndarray], y: np.ndarray, scale: np.ndarray, fit: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Absolute errors of the windows that judge, times their scale, (designs * penalties, windows)."""
    return np.concatenate([_ridges(x[fit], y[fit], scale[fit], x[held], y[held]) * scale[held] for x in designs])


def _best(folds: Sequence[np.ndarray]) -> np.ndarray:
    """The errors of the regression that has the smallest over all folds, (windows,)."""
    tried = np.concatenate(folds, axis=1)
    found: np.ndarray = tried[tried.mean(axis=1).argmin()]
    return found


def _ridge(waves: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weights of some values on waves, slightly shrunk: the day is a part of the week, too."""
    gram = waves.T @ waves
    shrunk = gram + _SHRUNK * len(values) * np.eye(len(gram)) + 1e-12 * np.eye(len(gram))
    return np.asarray(np.linalg.solve(shrunk, waves.T @ values))


def clearly_below(errors: np.ndarray, others: np.ndarray, least: float = _LEAST_GAIN) -> bool:
    """Whether errors are smaller than others of the same windows: by more than the standard error of the difference
    over ten blocks, and by more than a least part of the others."""
    gains = others - errors
    blocks = np.array([own.mean() for own in np.array_split(gains, _BLOCKS)])
    return bool(gains.mean() > max(blocks.std(ddof=1) / len(blocks) ** 0.5, least * others.mean()))


def _ridges(x: np.ndarray, y: np.ndarray, scale: np.ndarray, held: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Absolute errors of one regression a penalty, (penalties, held), fitted to windows of which each has a scale.

    It comes from the Gram matrix: a decomposition of the windows would be slow, and wait for threads.
    """
    share = np.square(scale) / np.square(scale).sum()
    middle, level = share @ x, share @ y
    size = np.sqrt(share @ np.square(x - middle))
    size = np.where(size > 1e-12, size, 1.0)
    x = (x - middle) / size * scale[:, None]
    sizes, axes = np.linalg.eigh(x.T @ x)
    moments = axes.T @ (x.T @ ((y - level) * scale))
    penalties = np.array(_PENALTIES) * np.square(scale).mean()
    weights = axes @ np.stack([moments / (np.maximum(sizes, 0.0) + own) for own in penalties], axis=1)
    return np.abs((held - middle) / size @ weights + level - target[:, None]).T


def _one_of_every(every: int, start: int, end: int, draw: np.random.Generator) -> np.ndarray:
    """One place at random of every so many, ascending: places by a whole step could all have one phase of a season."""
    first = np.arange(start, end, every)
    return first if every == 1 else np.minimum(first + draw.integers(every, size=len(first)), end - 1)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1]; zeros where they are constant."""
    low, high = float(values.min()), float(values.max())
    half = high / 2 - low / 2
    return (values - (low + half)) / half if half > 1e-150 else np.zeros(len(values))


def _bends(inputs: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Random tanh features, half of them steep."""
    weights = draw.standard_normal((inputs.shape[1], _BENDS)) / inputs.shape[1] ** 0.5
    steepness = np.repeat(_STEEPNESS, _BENDS // len(_STEEPNESS))
    return np.tanh((inputs @ weights + draw.uniform(-1, 1, _BENDS)) * steepness)
