"""Forecasting windows: what a model sees and what it must say, part by part, without looking ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from qkan.datasets.scalers import Scaler
from qkan.datasets.series import DataError, Series
from qkan.datasets.splits import SplitFractions

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one part, as positions in one shared array of scaled values: they take 24 bytes each.

    `inputs`, `targets` and `batch` gather the values when asked, so keep the array you get instead of asking twice.

    Args:
        values: scaled values of all series, one after the other, float32, shape (rows,); shared by all parts.
        first: row in ``values`` of the first input of every window, int64, shape (N,).
        series: index into the ids of the data for every window, int64, shape (N,).
        target_index: position of the first target inside its series, int64, shape (N,).
        window: input steps.
        horizon: target steps, right after the inputs.
    """

    values: np.ndarray
    first: np.ndarray
    series: np.ndarray
    target_index: np.ndarray
    window: int
    horizon: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def inputs(self) -> np.ndarray:
        """Scaled inputs, oldest step first: a new float32 array of shape (N, window, 1)."""
        return self.batch(slice(None))[0]

    @property
    def targets(self) -> np.ndarray:
        """Scaled targets: a new float32 array of shape (N, horizon)."""
        return self.batch(slice(None))[1]

    def batch(self, rows: slice | npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of some windows only.

        Args:
            rows: slice or integer array that picks windows.

        Returns:
            new float32 arrays of shape (rows, window, 1) and (rows, horizon).
        """
        whole = np.lib.stride_tricks.sliding_window_view(self.values, self.window + self.horizon)
        picked = whole[self.first[rows if isinstance(rows, slice) else np.asarray(rows)]]
        return picked[:, : self.window, None].copy(), picked[:, self.window :].copy()


@dataclass(frozen=True, eq=False)
class ForecastData:
    """A series ready for forecasting; build it with `make_forecast_data`.

    Args:
        series: the data in original units.
        ids: names of the single series.
        scaler: fitted on the training parts.
        train: windows whose inputs and targets all lie in the training part of their series.
        validation: windows whose targets all lie in the validation part; inputs may reach back into the past.
        test: the same for the test part.
        window: input steps.
        horizon: target steps.
        boundaries: end of the training and of the validation part of every series, int64, shape (series, 2).
    """

    series: Series
    ids: tuple[str, ...]
    scaler: Scaler
    train: Windows
    validation: Windows
    test: Windows
    window: int
    horizon: int
    boundaries: np.ndarray

    def part(self, name: Part) -> Windows:
        """The windows of the part called ``train``, ``validation`` or ``test``.

        Raises:
            DataError: another name.
        """
        if name not in PARTS:
            raise DataError(f"unknown part {name!r}; choose one of {', '.join(PARTS)}")
        windows: Windows = getattr(self, name)
        return windows

    def inverse(self, values: npt.ArrayLike, series_index: npt.ArrayLike) -> np.ndarray:
        """Original units, float64, for scaled values of shape (N, ...) of the series ``series_index`` (N,)."""
        return self.scaler.inverse_transform(values, series_index)

    def target_rows(self, part: Part) -> np.ndarray:
        """Row of every target step in ``series.values``: int64, shape (N, horizon)."""
        windows = self.part(part)
        return (windows.first + self.window)[:, None] + np.arange(self.horizon)

    def target_values(self, part: Part) -> np.ndarray:
        """Every target in original units, without the rounding of scaling: float64, shape (N, horizon)."""
        return self.series.values[self.target_rows(part)]

    def target_times(self, part: Part) -> np.ndarray:
        """Time of every target step, datetime64[ns] or int64, shape (N, horizon)."""
        return self.series.times[self.target_rows(part)]


def make_forecast_data(
    series: Series,
    *,
    window: int,
    horizon: int,
    split: SplitFractions | None = None,
    scaler: str | Scaler = "minmax",
) -> ForecastData:
    """Split every series by time, scale it by its training part and cut it into windows.

    A window belongs to the part that all its targets lie in. Windows slide by one step.

    Args:
        series: the data.
        window: input steps, at least 1.
        horizon: target steps right after the inputs, at least 1.
        split: shares of the parts, 70 / 10 / 20 % by default.
        scaler: one of ``scalers.KINDS``, fitted here on the training parts; or a fitted scaler of the same series,
            such as the one a model was trained with.

    Raises:
        DataError: window or horizon out of range, a scaler that is unknown or of other series, a series too short for a
            window in every part, or scaled values beyond float32.
    """
    for option, value in (("window", window), ("horizon", horizon)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{option} is {value!r}; it must be a whole number of at least 1")
    split = SplitFractions() if split is None else split
    boundaries = np.array([split.boundaries(int(n)) for n in series.lengths], dtype=np.int64)
    _check_lengths(series, boundaries, window, horizon, split)
    fitted = scaler if isinstance(scaler, Scaler) else _fit(series, boundaries, scaler)
    scaled = _scale(series, fitted)
    edges = np.column_stack([np.zeros_like(boundaries[:, 0]), boundaries, series.lengths])
    train, validation, test = (_cut(series, scaled, edges[:, i], edges[:, i + 1], window, horizon) for i in range(3))
    return ForecastData(series, series.ids, fitted, train, validation, test, window, horizon, boundaries)


def _check_lengths(series: Series, boundaries: np.ndarray, window: int, horizon: int, split: SplitFractions) -> None:
    train, validation = boundaries[:, 0], boundaries[:, 1] - boundaries[:, 0]
    needs = [("training", train, window + horizon, "window + horizon")]
    if split.validation > 0:
        needs.append(("validation", validation, horizon, "horizon"))
    needs.append(("test", series.lengths - boundaries[:, 1], horizon, "horizon"))
    for part, sizes, need, what in needs:
        short = np.flatnonzero(sizes < need)
        if short.size:
            index = int(short[0])
            raise DataError(
                f"series {series.ids[index]!r} has {series.lengths[index]} points and only {sizes[index]} of them in "
                f"the {part} part, which needs at least {need} ({what}); use a smaller window or horizon, another "
                "split, or more data"
            )


def _fit(series: Series, boundaries: np.ndarray, kind: str) -> Scaler:
    training = [series.values_of(i)[:end] for i, end in enumerate(boundaries[:, 0])]
    return Scaler.fit(training, series.ids, kind)


def _scale(series: Series, scaler: Scaler) -> np.ndarray:
    if scaler.ids != series.ids:
        strange = sorted(set(scaler.ids) ^ set(series.ids))
        raise DataError(
            f"the scaler was fitted on {len(scaler.ids)} series and the data has {len(series.ids)}; {strange[0]!r} is "
            "in one of them only, so give data with the same ids"
        )
    owner = np.repeat(np.arange(len(series.ids)), series.lengths)
    with np.errstate(over="ignore"):  # what overflows is reported below, with its place
        scaled = scaler.transform(series.values, owner).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(scaled))
    if bad.size:
        row = int(bad[0])
        raise DataError(
            f"value {series.values[row]:g} of series {series.ids[owner[row]]!r} at {series.times[row]} is beyond "
            f"float32 after {scaler.kind!r} scaling; remove the outlier or rescale the data"
        )
    return scaled


def _cut(series: Series, scaled: np.ndarray, begin: np.ndarray, end: np.ndarray, window: int, horizon: int) -> Windows:
    first_target = np.maximum(begin, window)
    counts = np.maximum(end - horizon + 1 - first_target, 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    target_index = first_target[owner] + rank
    return Windows(scaled, series.starts[owner] + target_index - window, owner, target_index, window, horizon)
