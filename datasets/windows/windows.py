"""Forecasting windows: what a model sees and what it must say, part by part, without looking ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from qkan.datasets.errors import DataError
from qkan.datasets.series import Series
from qkan.datasets.windows.calendar import check_calendar
from qkan.datasets.windows.channels import (
    fit_scaler,
    futr_exog_after,
    futr_exog_channels,
    observed_channels,
)
from qkan.datasets.windows.cutting import Windows, cut, cut_parts
from qkan.datasets.windows.scalers import Scaler
from qkan.datasets.windows.splits import Split, SplitFractions

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


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
        horizon: target steps of the test part.
        boundaries: end of the training and of the validation part of every series, int64, shape (series, 2).
        seasons: lengths of the seasons whose phases the inputs hold, in steps.
        calendar: features of the time that the inputs hold.
        numbered: whether the inputs hold the number of the series, before the phases.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> data.inverse(data.test.targets, data.test.series).shape
        (47, 2)
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
    seasons: tuple[int, ...] = ()
    calendar: tuple[str, ...] = ()
    numbered: bool = False

    def part(self, name: Part) -> Windows:
        """The windows of the part called ``train``, ``validation`` or ``test``.

        Raises:
            DataError: another name.
        """
        if name not in PARTS:
            raise DataError(f"unknown part {name!r}; choose one of {', '.join(PARTS)}")
        windows: Windows = getattr(self, name)
        return windows

    def with_validation_horizon(self, horizon: int) -> ForecastData:
        """The same data with validation windows of another number of target steps."""
        if self.validation.horizon == horizon:
            return self
        empty = replace(self.validation, horizon=horizon)
        return replace(self, validation=cut(self.series, empty, self.boundaries[:, 0], self.boundaries[:, 1]))

    def group(self, begin: int, end: int) -> ForecastData:
        """The same data of the series ``ids[begin:end]`` alone, in memory."""
        series, boundaries = self.series.part(begin, end), self.boundaries[begin:end]
        scaler = self.scaler.pick(range(begin, end), series.ids)
        sizes = self.window, self.horizon, self.train.horizon
        train, validation, test = cut_parts(
            series, scaler, boundaries, sizes, self.calendar, self.seasons, self.numbered
        )
        whole = replace(self, series=series, ids=series.ids, scaler=scaler, boundaries=boundaries)
        return replace(whole, train=train, validation=validation, test=test)

    def inverse(self, values: npt.ArrayLike, series_index: npt.ArrayLike) -> np.ndarray:
        """Original units, float64, for scaled values of shape (N, ...) of the series ``series_index`` (N,)."""
        return self.scaler.inverse_transform(values, series_index)

    def target_rows(self, part: Part) -> np.ndarray:
        """Row of every target step in ``series.values``: int64, shape (N, horizon)."""
        windows = self.part(part)
        return (np.asarray(windows.first) + self.window)[:, None] + np.arange(windows.horizon)

    def target_observed(self, part: Part) -> np.ndarray:
        """Which targets were observed rather than filled, bool, shape (N, horizon); only they count in metrics."""
        rows = self.target_rows(part)
        return np.ones(rows.shape, dtype=bool) if self.series.observed is None else self.series.observed[rows]

    def target_values(self, part: Part) -> np.ndarray:
        """Every target in original units, without the rounding of scaling: float64, shape (N, horizon)."""
        return self.series.values_at(self.target_rows(part))

    def target_times(self, part: Part) -> np.ndarray:
        """Time of every target step, datetime64[ns] or int64, shape (N, horizon)."""
        return self.series.times_at(self.target_rows(part))


def make_forecast_data(
    series: Series,
    *,
    window: int,
    horizon: int,
    split: Split | None = None,
    scaler: str | Scaler = "minmax",
    calendar: Sequence[str] = (),
    seasons: Sequence[int] = (),
    numbered: bool = False,
    trained_horizon: int | None = None,
) -> ForecastData:
    """Split every series by time, scale it by its training part and cut it into windows.

    A window belongs to the part that all its targets lie in. Windows slide by one step. Two kinds are left out: one
    without an observed target, and, with ``interpolate``, one whose last input was filled: that value lies on a line to
    a later one, which may be a target.

    Args:
        series: the data.
        window: input steps, at least 1.
        horizon: target steps right after the inputs, at least 1.
        split: shares of the parts, 70 / 10 / 20 % by default.
        scaler: one of ``scalers.KINDS``, fitted here on the training parts; or a fitted scaler of the same series,
            such as the one a model was trained with.
        calendar: features of the time that the inputs hold; see `qkan.datasets.windows.calendar`.
        seasons: lengths in steps of the seasons whose phase angles the inputs hold, behind all other channels; see
            `qkan.datasets.windows.phases`.
        numbered: whether the inputs hold the number of the series, before the phases.
        trained_horizon: target steps of the windows for training and validation; None takes ``horizon``.

    Raises:
        DataError: window or horizon out of range, a scaler that is unknown or of other series, a series too short for a
            window in every part, no training window with an observed target, scaled values beyond float32, unknown
            calendar features, or times without a calendar.

    Examples:
        >>> from qkan.datasets import SplitFractions, load_series, make_forecast_data
        >>> split = SplitFractions(0.7, 0.1, 0.2)
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=1, split=split)
        >>> data.train.inputs.shape, data.train.targets.shape
        ((156, 12, 1), (156, 1))
    """
    trained = horizon if trained_horizon is None else trained_horizon
    for option, value in (("window", window), ("horizon", horizon), ("trained_horizon", trained)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{option} is {value!r}; it must be a whole number of at least 1")
    split = SplitFractions() if split is None else split
    check_calendar(calendar)
    boundaries = np.array([split.boundaries(int(n)) for n in series.lengths], dtype=np.int64)
    _check_lengths(series, boundaries, window, horizon, trained, split)
    fitted = scaler if isinstance(scaler, Scaler) else fit_scaler(series, boundaries[:, 0], scaler)
    _check_scaler(series, fitted)
    train, validation, test = cut_parts(
        series, fitted, boundaries, (window, horizon, trained), calendar, seasons, numbered
    )
    for part, windows, wanted in (
        ("training", train, True),
        ("validation", validation, split.has_validation),
        ("test", test, split.has_test),
    ):
        if wanted and len(windows) == 0:
            raise DataError(
                f"no window in the {part} part of {series.name!r} has an observed target; "
                "use another split, or give more data"
            )
    return ForecastData(
        series,
        series.ids,
        fitted,
        train,
        validation,
        test,
        window,
        horizon,
        boundaries,
        tuple(seasons),
        tuple(calendar),
        numbered,
    )


def last_windows(
    series: Series,
    *,
    window: int,
    steps: int,
    scaler: Scaler,
    calendar: Sequence[str] = (),
    seasons: Sequence[int] = (),
    numbered: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """What is known at the end of every series, to forecast what follows.

    Args:
        series: every single one at least ``window`` long.
        window: input steps.
        steps: future steps.
        scaler: of the same series.
        calendar, seasons, numbered: as of `make_forecast_data`.

    Returns:
        float32 arrays: channels known up to now, shape (series, window, channels), and channels known in advance, at
        their own times, shape (series, window + steps, future channels).

    Raises:
        DataError: a series shorter than the window, or missing future rows.

    Examples:
        >>> from qkan.datasets import last_windows, load_series, make_forecast_data
        >>> series = load_series("damped-shm")
        >>> scaler = make_forecast_data(series, window=12, horizon=1).scaler
        >>> inputs, known = last_windows(series, window=12, steps=6, scaler=scaler)
        >>> inputs.shape
        (1, 12, 1)
    """
    for name, length in zip(series.ids, series.lengths, strict=True):
        if length < window:
            raise DataError(f"series {name!r} has {length} values, the model needs the last {window}; give more data")
    _check_scaler(series, scaler)
    rows = series.starts[1:, None] - window + np.arange(window)
    futr_exog = futr_exog_channels(series, scaler, calendar, seasons, numbered=numbered, rows=rows)
    after = futr_exog_after(series, scaler, calendar, steps, seasons, numbered=numbered)
    return observed_channels(series, scaler, rows), np.concatenate([futr_exog, after], axis=1)


def too_short(
    series: Series, *, window: int, horizon: int, trained_horizon: int | None = None, split: Split | None = None
) -> np.ndarray:
    """Which series hold no window in one of the parts, bool, shape (series,); arguments as of `make_forecast_data`.

    Examples:
        >>> from qkan.datasets import read_series, too_short
        >>> too_short(read_series("traffic.csv"), window=24, horizon=12)
        array([False])
    """
    split = SplitFractions() if split is None else split
    trained = horizon if trained_horizon is None else trained_horizon
    boundaries = np.array([split.boundaries(int(n)) for n in series.lengths], dtype=np.int64)
    short = np.zeros(len(series.ids), dtype=bool)
    for _, sizes, need, _ in _needs(series, boundaries, window, horizon, trained, split):
        short |= sizes < need
    return short


def _needs(
    series: Series, boundaries: np.ndarray, window: int, horizon: int, trained: int, split: Split
) -> list[tuple[str, np.ndarray, int, str]]:
    """Name, sizes of all series, the smallest size that holds a window and what that is, of every part."""
    train, validation = boundaries[:, 0], boundaries[:, 1] - boundaries[:, 0]
    needs = [("training", train, window + trained, "window + horizon")]
    if split.has_validation:
        needs.append(("validation", validation, trained, "horizon"))
    if split.has_test:
        needs.append(("test", series.lengths - boundaries[:, 1], horizon, "horizon"))
    return needs


def _check_lengths(
    series: Series, boundaries: np.ndarray, window: int, horizon: int, trained: int, split: Split
) -> None:
    for part, sizes, need, what in _needs(series, boundaries, window, horizon, trained, split):
        short = np.flatnonzero(sizes < need)
        if short.size:
            index = int(short[0])
            raise DataError(
                f"series {series.ids[index]!r} has {series.lengths[index]} points and only {sizes[index]} of them in "
                f"the {part} part, which needs at least {need} ({what}); use a smaller window or horizon, another "
                "split, or more data"
            )


def _check_scaler(series: Series, scaler: Scaler) -> None:
    if scaler.ids != series.ids:
        strange = sorted(set(scaler.ids) ^ set(series.ids))
        raise DataError(
            f"the scaler was fitted on {len(scaler.ids)} series and the data has {len(series.ids)}; {strange[0]!r} is "
            "in one of them only, so give data with the same ids"
        )
    unknown = sorted({*series.numeric} - set(scaler.covariates) | {*series.categories} - set(scaler.categories))
    if unknown:
        raise DataError(f"the scaler knows no covariate {unknown[0]!r}; give data with the same covariates")
