"""The windows of the parts of a series: positions in its rows, and what a model sees and must say there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qkan.datasets.series import Series
from qkan.datasets.windows.channels import channel_count, futr_exog_channels, observed_channels
from qkan.datasets.windows.lazy import Channels, Progression
from qkan.datasets.windows.scalers import Scaler


class Batch(NamedTuple):
    """Some windows, B of them, with their values copied out.

    Args:
        inputs: oldest step first, float32, shape (B, window, channels): the value, whether it was observed (with
            ``mask``), past covariates; then what is known in advance *of the next step*.
        targets: scaled values, float32, shape (B, horizon).
        futr_exog: what is known in advance of every target step, float32, shape (B, horizon, future channels).
        observed: which targets were observed, bool, shape (B, horizon).
    """

    inputs: np.ndarray
    targets: np.ndarray
    futr_exog: np.ndarray
    observed: np.ndarray


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one part, as positions in shared arrays of scaled values: they take 24 bytes each.

    Those of a panel on disk take none: their arrays are computed where they are looked at, see
    `qkan.datasets.windows.lazy`. `inputs`, `targets` and `batch` gather the values when asked, so keep the array you
    get instead of asking twice.

    Args:
        values: channels known up to now of all series, one after the other, float32, shape (rows, channels); the
            first one is the scaled value; shared by all parts.
        futr_exog: channels known in advance, at their own times, float32, shape (rows, future channels).
        observed: which values were observed rather than filled, bool, shape (rows,); None if all were.
        first: row in ``values`` of the first input of every window, int64, shape (N,).
        series: index into the ids of the data for every window, int64, shape (N,).
        target_index: position of the first target inside its series, int64, shape (N,).
        window: input steps.
        horizon: target steps, right after the inputs.
        masked: whether the second channel of ``values`` says which were observed.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> windows = make_forecast_data(load_series("damped-shm"), window=12, horizon=2).test
        >>> len(windows), windows.inputs.shape[1:], windows.targets.shape[1:]
        (47, (12, 1), (2,))
    """

    values: np.ndarray
    futr_exog: np.ndarray
    observed: np.ndarray | None
    first: np.ndarray
    series: np.ndarray
    target_index: np.ndarray
    window: int
    horizon: int
    masked: bool

    def __len__(self) -> int:
        return len(self.first)

    @property
    def inputs(self) -> np.ndarray:
        """Scaled inputs, oldest step first: a new float32 array of shape (N, window, channels)."""
        return self.batch(slice(None)).inputs

    @property
    def targets(self) -> np.ndarray:
        """Scaled targets: a new float32 array of shape (N, horizon)."""
        return self.batch(slice(None)).targets

    def batch(self, rows: slice | npt.ArrayLike) -> Batch:
        """Some windows only.

        Args:
            rows: slice or integer array that picks windows.
        """
        first = self.first[rows if isinstance(rows, slice) else np.asarray(rows)][:, None]
        past, future = first + np.arange(self.window), first + self.window + np.arange(self.horizon)
        inputs = np.concatenate([self.values[past], self.futr_exog[past + 1]], axis=2)
        observed = np.ones(future.shape, dtype=bool) if self.observed is None else self.observed[future]
        return Batch(inputs, self.values[future][..., 0], self.futr_exog[future], observed)

    def pick(self, chosen: np.ndarray) -> Windows:
        """Some of the windows; ``chosen`` is an index or bool array."""
        kept = {name: getattr(self, name)[chosen] for name in ("first", "series", "target_index")}
        return replace(self, **kept)

    def counts(self, series: int) -> np.ndarray:
        """How many windows each of so many series has, int64, shape (series,)."""
        if isinstance(self.first, Progression):
            return self.first.counts
        return np.bincount(self.series, minlength=series)


def cut_parts(
    series: Series,
    scaler: Scaler,
    boundaries: np.ndarray,
    sizes: tuple[int, int, int],
    calendar: Sequence[str],
    seasons: Sequence[int],
    numbered: bool,
) -> tuple[Windows, Windows, Windows]:
    """The windows of all parts; ``sizes`` are window, horizon and horizon of training."""
    window, horizon, trained = sizes
    known: dict[str, Any] = {"calendar": tuple(calendar), "seasons": tuple(seasons), "numbered": numbered}
    values: Any
    futr_exog: Any
    if series.mapped:
        values = Channels(series, partial(_observed, scaler=scaler), channel_count(series))
        futr_exog = Channels(series, partial(_futr_exog, scaler=scaler, **known), 0)
        futr_exog = replace(futr_exog, width=futr_exog[np.zeros((1, 1), dtype=np.int64)].shape[-1])
    else:
        values = observed_channels(series, scaler)
        futr_exog = futr_exog_channels(series, scaler, **known)
    edges = np.column_stack([np.zeros_like(boundaries[:, 0]), boundaries, series.lengths])
    none = np.zeros(0, dtype=np.int64)
    empty = Windows(values, futr_exog, series.observed, none, none, none, window, horizon, series.missing == "mask")
    train, validation, test = (
        cut(series, replace(empty, horizon=steps), edges[:, i], edges[:, i + 1])
        for i, steps in enumerate((trained, trained, horizon))
    )
    return train, validation, test


def _observed(series: Series, rows: np.ndarray, *, scaler: Scaler) -> np.ndarray:
    return observed_channels(series, scaler, rows)


def _futr_exog(series: Series, rows: np.ndarray, *, scaler: Scaler, **known: Any) -> np.ndarray:
    return futr_exog_channels(series, scaler, rows=rows, **known)


def cut(series: Series, empty: Windows, begin: np.ndarray, end: np.ndarray) -> Windows:
    """The windows whose targets lie in rows ``begin`` to ``end`` of their series."""
    first_target = np.maximum(begin, empty.window)
    counts = np.maximum(end - empty.horizon + 1 - first_target, 0)
    if series.mapped and series.observed is None:
        begins = series.starts[:-1] + first_target - empty.window
        first, target_index = (Progression(base, counts, 1) for base in (begins, first_target))
        owners = Progression(np.arange(len(counts)), counts, 0)
        listed: dict[str, Any] = {"first": first, "series": owners, "target_index": target_index}
        return replace(empty, **listed)
    owner = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    target_index = first_target[owner] + rank
    first = series.starts[owner] + target_index - empty.window
    windows = replace(empty, first=first, series=owner, target_index=target_index)
    if series.observed is None:
        return windows
    before = np.concatenate([[0], np.cumsum(series.observed)])  # observed values before each row
    targets = first + empty.window
    useful = before[targets + empty.horizon] > before[targets]
    if series.missing == "interpolate":
        useful &= series.observed[targets - 1]
    return windows.pick(useful)
