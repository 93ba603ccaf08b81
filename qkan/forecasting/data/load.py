"""From options to windows: the one way that training, comparing and evaluating get their data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from qkan.forecasting.config import LINEAR_CELLS, DataAndTrainingOptions, TrainConfig
from qkan.forecasting.config.idle import about_seasons
from qkan.forecasting.config.reading import chosen_order
from qkan.forecasting.data.batches import OnDemand, WindowTensors
from qkan.forecasting.data.level import LevelChoice, choose_level

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Scaler, Series
    from qkan.datasets.windows import Split, Windows


_WHOLE_SKIP = 12  # target steps of a panel, at most, that have a linear map each where its level is the last value
_Config = TypeVar("_Config", bound=DataAndTrainingOptions)
MOST_TARGETS = 500_000
"""Forecasts in a file of a run folder, about: ten million would take gigabytes to write, and nobody reads them."""


class Sharing(Protocol):
    """How several processes share a panel on disk."""

    def own(self, series: Series) -> Series:
        """The panel, of which this process maps its own shards."""

    def scaler(self, series: Series, train_ends: np.ndarray) -> Scaler:
        """The scaler of all series, whose training parts end there, int64 (series,)."""


def load_series_of(
    config: DataAndTrainingOptions, data: str | Path | None = None, expected: str | None = None
) -> Series:
    """Return the series that a configuration names, or the one in ``data`` read with the same columns.

    Args:
        config: Names data and columns.
        data: Other data; ``None`` takes that of the configuration.
        expected: Alias of the step to take if the times fit it; a few of them may fit several.

    Raises:
        DataError: the data cannot be found, read or used.
    """
    from qkan.datasets import DataError, names_file, protocol_series, resolve_series

    source = config.data if data is None else data
    if config.protocol is not None:
        if not names_file(source):
            raise DataError(
                f"protocol={config.protocol!r} is for files of public benchmarks, and {str(source)!r} names none; give "
                "the path of one, such as ETTh1.csv or Hourly-train.csv, or leave the protocol out"
            )
        form = {name: getattr(config, name) for name in ("sep", "decimal", "encoding", "series")}
        return with_season(protocol_series(config.protocol, source, **form), config.season)
    series = resolve_series(
        source,
        expected=expected,
        frequency=config.freq,
        time_col=config.time_col,
        time_format=config.time_format,
        time_zone=config.time_zone,
        sep=config.sep,
        decimal=config.decimal,
        encoding=config.encoding,
        target_col=config.target_col,
        id_col=config.id_col,
        past_cols=config.past_cols,
        future_cols=config.future_cols,
        static_cols=config.static_cols,
        category_cols=config.category_cols,
        missing=config.missing,
        series=config.series,
    )
    return with_season(series, config.season)


def series_of_frame(config: DataAndTrainingOptions, df: Any, freq: Any = None, **how: Any) -> Series:
    """Return the series of a data frame of pandas, polars or pyarrow, or of a panel, with columns of a configuration.

    Args:
        config: Names columns, and what is done about missing values.
        df: The data, or the path of a panel.
        freq: Step between two times; ``None`` finds it.
        how: Further arguments of :func:`qkan.datasets.series_from_frame`: ``expected``, ``until``.

    Raises:
        DataError: the data cannot be used.
        TypeError: ``df`` is no data frame.
    """
    from qkan.datasets import series_from_frame
    from qkan.datasets.panel import is_panel

    if isinstance(df, str | Path) and is_panel(Path(df)):
        step = str(freq) if isinstance(freq, str | int) else None
        return load_series_of(replace(config, freq=step), df, how.get("expected"))
    names = ("time_col", "time_format", "time_zone", "target_col", "id_col")
    covariates = ("past_cols", "future_cols", "static_cols", "category_cols")
    columns: dict[str, Any] = {name: getattr(config, name) for name in (*names, *covariates)}
    series = series_from_frame(df, missing=config.missing, frequency=freq, **columns, **how)
    return with_season(series, config.season)


def with_season(series: Series, season: str | Sequence[int]) -> Series:
    """Return a series with the seasons that were asked for.

    ``auto`` and ``none`` leave those that it has: what a model is not told, baselines and errors may know.
    """
    return series if isinstance(season, str) else replace(series, season=tuple(season))


def split_of(config: DataAndTrainingOptions, series: Series) -> Split:
    """Return the parts that a configuration asks for, of several folds the first ones, or those that the protocol of a
    benchmark prescribes."""
    from qkan.datasets import FixedBorders, Fold, SplitFractions

    if series.borders is not None:
        return FixedBorders(*series.borders)
    split, folds = SplitFractions(*config.split), getattr(config, "folds", 1)
    return split if folds == 1 else Fold(split, 0, folds)


def load_windows(config: DataAndTrainingOptions, sharing: Sharing | None = None) -> ForecastData:
    """Return the windows that a configuration asks for: read, split, scaled and cut.

    Args:
        config: What is asked for.
        sharing: How processes share a panel on disk; ``None`` where each reads all.

    Raises:
        DataError: the data cannot be found, read or used, or is too short for a window in every part.
    """
    series = load_series_of(config)
    return cut_windows(series if sharing is None else sharing.own(series), config, sharing=sharing)


def with_whole_path(config: TrainConfig) -> TrainConfig:
    """Return the options with the whole path of their data file, so that a run is of use in any working directory."""
    from qkan.datasets import names_file

    return replace(config, data=os.path.abspath(config.data)) if names_file(config.data) else config


def cut_windows(
    series: Series,
    config: DataAndTrainingOptions,
    scaler: Scaler | None = None,
    split: Split | None = None,
    sharing: Sharing | None = None,
) -> ForecastData:
    """Split, scale and window a series as a configuration says, or with ``scaler``, the one a model was trained with.

    Series that are too short are left out with a :class:`~qkan.datasets.DataNotice`, unless all are.

    Args:
        series: The data.
        config: How.
        scaler: ``None`` fits one on the training parts.
        split: ``None`` takes the fractions of the configuration.
        sharing: As of :func:`load_windows`.

    Raises:
        DataError: the series is too short for a window in every part.
    """
    from qkan.datasets import DataError, make_forecast_data, seasons_of, too_short

    split = split_of(config, series) if split is None else split
    official = -series.borders[1] if series.borders is not None and series.borders[1] < 0 else config.horizon
    if config.horizon != official:
        raise DataError(
            f"protocol {config.protocol!r} judges the {official} test values of every series, so horizon must be "
            f"{official}, got {config.horizon}"
        )
    if scaler is None or config.season == "auto":
        found = seasons_of(series, split, config.season)
        if not found:
            _say_idle(config)
        series, config = with_season(series, found or config.season), with_found_seasons(config, found)
    sizes: dict[str, Any] = {
        "window": config.context,
        "horizon": config.horizon,
        "split": split,
        "trained_horizon": config.trained_horizon,
    }
    earlier = config.context - config.window
    lags = f", and seasonal lags {earlier} steps before it," if earlier else ""
    why = f"too short for window={config.window}{lags} and horizon={config.horizon}"
    series, kept = long_enough(series, too_short(series, **sizes), why + _not_all(config, series, earlier))
    if scaler is not None and len(kept) < len(scaler.ids):
        scaler = scaler.pick(kept, series.ids)
    if sharing is not None and series.mapped:
        scaler = sharing.scaler(series, np.array([split.boundaries(int(own))[0] for own in series.lengths]))
    return make_forecast_data(
        series,
        scaler=config.scaler if scaler is None else scaler,
        calendar=config.calendar,
        seasons=config.seasons,
        numbered=bool(config.per_series),
        **sizes,
    )


def _not_all(config: DataAndTrainingOptions, series: Series, earlier: int) -> str:
    """Say that errors of M4 are those of all its series, and which window leaves none out."""
    if series.borders is None or series.borders[0] >= 0:
        return ""
    held = int(series.lengths.min()) + series.borders[0] - config.trained_horizon - earlier
    hint = f" (window={held} leaves none out)" if held > 0 else ""
    return f", so these are not the errors of all series that M4 tells of{hint}"


def with_found_seasons(config: _Config, found: tuple[int, ...]) -> _Config:
    """Return the options with the seasons of the data; without any, what is about seasons has its default."""
    idle = {} if found else {name: getattr(type(config), name) for name in about_seasons(config)}
    return replace(config, season=found or "none", **idle)


def _say_idle(config: DataAndTrainingOptions) -> None:
    """Say which options about seasons have no effect, as there is none."""
    from qkan.datasets import notice

    for name in about_seasons(config):
        notice(
            f"{name}={getattr(config, name)!r} has no effect: the training part shows no season; name one, such as "
            "season=24, or leave it out"
        )


def long_enough(series: Series, short: np.ndarray, why: str) -> tuple[Series, list[int]]:
    """Return the series without its short ones, said in a notice, and the places of the others; all if all are short.

    Args:
        series: One or many series.
        short: Which are, bool (series,).
        why: What they are, in words.
    """
    from qkan.datasets import keep_series, left_out, notice

    if short.all() or not short.any():
        return series, list(range(len(series.ids)))
    kept = np.flatnonzero(~short).tolist()
    names = [name for name, own in zip(series.ids, short, strict=True) if own]
    notice(left_out(names, len(series.ids), why))
    return keep_series(series, [series.ids[place] for place in kept]), kept


def as_cut(config: _Config, data: ForecastData) -> _Config:
    """Return the options with the seasons, the level, the categories and (``per_series``) the number of series that
    ``data``, cut by them, turned out to have."""
    series, sizes = data.series, tuple(len(names) for names in data.scaler.categories.values())
    config = replace(
        with_found_seasons(config, data.seasons),
        static_cols=series.static,  # those of names are categories
        category_cols=series.categories,
        category_sizes=sizes,
        per_series=len(data.ids) if config.per_series else False,
    )
    chosen = level_by_data(config, data)
    if chosen is not None:
        config = replace(config, level=chosen.level)
    # A slope of many target steps needs a course for each: their season grows with it.
    if len(data.ids) > 1 and chosen is not None and chosen.level == "last" and config.skip == type(config).skip:
        config = replace(config, skip=max(config.skip, min(config.trained_horizon, _WHOLE_SKIP)))
    return cast("_Config", config.decided()) if isinstance(config, TrainConfig) else config


def cells_of(config: DataAndTrainingOptions) -> set[str]:
    """The cell of a training, or the cells of a comparison."""
    return {getattr(config, "cell", ""), *getattr(config, "cells", ())}


def level_by_data(config: DataAndTrainingOptions, data: ForecastData) -> LevelChoice | None:
    """Return the level that the data choose, as nobody asked: of one series that is read by steps or segments; of
    several without a protocol, and without what is known in advance, whose effect would be multiplied by a scale.

    ``None`` where the level is not left to them.
    """
    if config.level != "auto" or config.per_series or not cells_of(config).isdisjoint(LINEAR_CELLS):
        return None
    how = (config.order, config.segment, config.seasons, config.window, config.trained_horizon)
    by_periods = chosen_order(*how)[0] == "periods"
    if len(data.ids) > 1:
        if config.protocol is not None or config.future_cols or data.scaler.categories:
            return None
        if by_periods:
            return LevelChoice("window", "several series, read by periods")
    elif by_periods:
        return None
    return choose_level(data)


def tensors(windows: Windows) -> WindowTensors:
    """Return windows as tensors on the CPU that share their memory; those of a panel on disk are computed."""
    observed = windows.observed
    return WindowTensors(
        values=_tensor(windows.values),
        futr_exog=_tensor(windows.futr_exog),
        weights=None if observed is None else torch.from_numpy(np.asarray(observed)).float(),
        first=_tensor(windows.first),
        window=windows.window,
        horizon=windows.horizon,
        masked=windows.masked,
        series=_tensor(windows.series),
    )


def _tensor(array: Any) -> Tensor | OnDemand:
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else OnDemand(array)


def spread_windows(windows: Windows) -> np.ndarray:
    """Return which windows a file of a run folder holds: every k-th of every series, from its first one.

    k is 1 unless they have more than :data:`MOST_TARGETS` targets.

    Returns:
        Rows, int64, ascending.
    """
    counts = windows.counts(0)
    every = max(1, -(-len(windows) * windows.horizon // MOST_TARGETS))
    begins = zip(counts.cumsum() - counts, counts, strict=True)
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(one, one + count, every) for one, count in begins)])


def some_windows(data: ForecastData, count: int) -> ForecastData:
    """The data with at most ``count`` windows of the test part, evenly spread."""
    rows = np.unique(np.linspace(0, len(data.test) - 1, min(count, len(data.test))).round().astype(np.int64))
    return replace(data, test=data.test.pick(rows))
