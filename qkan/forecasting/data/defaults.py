"""Options that nobody asked for and the data decide: sizes, and what reads a panel of series well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from qkan.forecasting.config import LINEAR_CELLS, DataAndTrainingOptions, TrainConfig, context_steps
from qkan.forecasting.config.options import SHORT_SEASON
from qkan.forecasting.config.reading import MANY_PERIODS, chosen_order
from qkan.forecasting.data.load import cells_of, split_of

if TYPE_CHECKING:
    from qkan.datasets import Series
    from qkan.datasets.windows import Split

_Config = TypeVar("_Config", bound=DataAndTrainingOptions)
_WINDOWS_TRAINED, _FEWEST_EPOCHS = 600_000, 3  # all epochs together, unless so many epochs are asked for
_SHORT_HORIZON = 24  # a window of so many targets counts once
_RATE_OF_PROTOCOLS = 1e-2  # their windows are long and many; at three times that the loss of training rises first
_LOOK_BACK, _MOST_PERIODS, _STEPS_READ = 720, 30, 336  # of ltsf: as its papers do, and where steps are read one by one
_HEAVY_TAILS = 5  # times that the changes of a step scatter beyond what half of them tell, of normal ones once
_LEAST_ROOM = 2  # times that a training part holds what is read and predicted, before a panel is read further back


def default_sizes(
    series: Series, split: Split, asked: str | Sequence[int], otherwise: tuple[int, int]
) -> tuple[int, int]:
    """Return the window and the horizon that the season of a series suggests: two of the shortest season, and one.

    Without a season, or with one of more than 48 steps, which would take long to train, they are ``otherwise``. Both
    are smaller where a series of median length does not hold them. The season is that of :func:`seasons_of`: one that
    nobody declared is found on the training part. One that is declared counts also where it does not fit in twice.
    """
    from qkan.datasets import seasons_of

    seasons = seasons_of(series, split, asked) or (series.season if asked == "auto" else ())
    window, horizon = otherwise
    if seasons and seasons[0] <= SHORT_SEASON:
        window, horizon = 2 * seasons[0], seasons[0]
    length = int(np.median(series.lengths))
    train, end = split.boundaries(length)
    parts = [end - train] * split.has_validation + [length - end] * split.has_test
    horizon = max(1, min(horizon, train // 3, *parts))
    return max(1, min(window, (train - horizon) // 2)), horizon


def sized(config: _Config, series: Series, given: Mapping[str, Any], split: Split | None = None) -> _Config:
    """Return the options with what was given, and where nothing was, with what the data suggest.

    That is the window and the horizon of :func:`default_sizes`; without a season they stay as they are, as far as the
    series holds them. Several series, or one whose changes have heavy tails, have the absolute loss; of several more is
    decided, see :func:`_for_panel`, and so is of a season of many steps that is
    predicted whole, see :func:`_for_long_season`. Where ``given`` has ``epochs`` that are
    ``None``, they are fewer where windows are many: neighbouring windows tell nearly the same; an ``lr`` of ``None`` is
    lower for the file of a benchmark.

    Args:
        config: The options.
        series: The data.
        given: By name what was asked for, ``None`` (of the loss ``auto``, too) where nothing was: ``window``,
            ``horizon``, ``epochs``, ``lr``, ``loss``. The last three stay where they are not in it.
        split: ``None`` takes that of the configuration.
    """
    split = split_of(config, series) if split is None else split
    window, horizon = default_sizes(series, split, config.season, (config.window, config.horizon))
    if series.borders is not None:
        window, horizon = _sizes_of_protocol(replace(config, horizon=given.get("horizon") or 96), series, window)
    if given.get("horizon") is None and config.loss == "quantile" and config.strategy == "recursive":
        horizon = 1  # more steps have no intervals
    if given.get("window") is None:
        window = _of_whole_segments(window, config, series, split)
    config = replace(config, window=given.get("window") or window, horizon=given.get("horizon") or horizon)
    # Linear forecasters are published models, which read a window as they do.
    if config.protocol is None and cells_of(config).isdisjoint(LINEAR_CELLS):
        several = len(series.ids) > 1
        # No spike may outweigh the other values, of one series or of several.
        free = config.metric is None and given.get("loss", "") in (None, "auto")
        config = replace(config, loss="mae") if free and (several or _heavy_tailed(series, split)) else config
        config = (_for_panel if several else _for_long_season)(config, series, given, split)
    if series.borders is not None and isinstance(config, TrainConfig) and given.get("lr", 0) is None:
        config = replace(config, lr=_RATE_OF_PROTOCOLS)
    if given.get("epochs", 0) is not None:
        return config
    lengths = np.array([split.boundaries(int(length))[0] for length in series.lengths])
    windows = int(np.clip(lengths - config.window - config.trained_horizon + 1, 0, None).sum())
    if config.protocol is None and len(series.ids) == 1:  # one of a long horizon tells as much as several
        windows *= max(1, config.trained_horizon // _SHORT_HORIZON)
    most = max(_FEWEST_EPOCHS, _WINDOWS_TRAINED // max(windows, 1))
    return replace(config, epochs=min(config.epochs, most))


def _for_panel(config: _Config, series: Series, given: Mapping[str, Any], split: Split) -> _Config:
    """The options with what nobody asked for as several series are read best (docs/guides/forecasting.md).

    A horizon of a season or more is read period by period, from a window of one longest season that holds enough of
    them; windows that are shorter than a season have the values one season back beside them. Both only where it costs
    no series, and leaves the training part room. Their level is that of
    :func:`qkan.forecasting.data.level.choose_level`.
    """
    from qkan.datasets import seasons_of

    own: dict[str, Any] = {}
    seasons = seasons_of(series, split, config.season)
    if not seasons:
        return config
    day, longest = seasons[0], seasons[-1]
    free = given.get("window") is None and config.segment is None and config.order in ("auto", "periods")
    whole = longest % day == 0 and longest >= MANY_PERIODS * day
    if free and whole and config.trained_horizon >= day and _has_room(config, longest, series, split):
        return replace(config, window=longest, **own)
    back, unseen = context_steps(config.window, seasons), longest > config.window
    if config.seasonal_lags is None and unseen and _by_steps(config, day) and _has_room(config, back, series, split):
        own["seasonal_lags"] = True
    return replace(config, **own)


def _for_long_season(config: _Config, series: Series, given: Mapping[str, Any], split: Split) -> _Config:
    """The options where all of a season of many steps is predicted: a window of one, read by segments.

    Segments have about as many steps as the window has segments, so that neither the cell's walk nor its input is long.
    """
    from qkan.datasets import seasons_of

    seasons = seasons_of(series, split, config.season)
    free = given.get("window") is None and config.segment is None and config.order in ("auto", "segments")
    if not (free and seasons and config.trained_horizon >= seasons[0] > SHORT_SEASON):
        return config
    segment = _segment_of(seasons[0])
    window = -(-seasons[0] // segment) * segment
    return replace(config, window=window, segment=segment) if _has_room(config, window, series, split) else config


def _segment_of(season: int) -> int:
    """The divisor of a season that is nearest to its square root; the root itself where none is half or twice it."""
    root = season**0.5
    near = [own for own in range(2, season) if season % own == 0 and root / 2 <= own <= 2 * root]
    return min(near, key=lambda own: abs(own - root), default=round(root))


def _heavy_tailed(series: Series, split: Split) -> bool:
    """Whether few changes of one series are far larger than most: spikes, or mostly the same value. Only the training
    part is looked at."""
    values = series.values_of(0)[: split.boundaries(int(series.lengths[0]))[0]]
    if len(values) < 2:
        return False
    largest = max(float(np.abs(values).max()), np.finfo(float).tiny)
    changes = np.diff(values / largest)
    usual = 1.4826 * float(np.median(np.abs(changes - np.median(changes))))  # the deviation of normal ones
    return bool(changes.std() > _HEAVY_TAILS * usual)


def _has_room(config: DataAndTrainingOptions, context: int, series: Series, split: Split) -> bool:
    """Whether series can be read so far back: the training part of a median one holds it twice, with what is predicted,
    and no more of them are too short for it."""
    from qkan.datasets import too_short

    sizes: dict[str, Any] = {"horizon": config.horizon, "trained_horizon": config.trained_horizon, "split": split}
    train = split.boundaries(int(np.median(series.lengths)))[0]
    if train < _LEAST_ROOM * (context + config.trained_horizon):
        return False
    before, then = (too_short(series, window=window, **sizes) for window in (config.window, context))
    return bool((then <= before).all())


def _by_steps(config: DataAndTrainingOptions, season: int) -> bool:
    """Whether the window is read step by step."""
    if config.order not in ("auto", "steps") or config.segment is not None:
        return False
    order, _ = chosen_order(config.order, None, (season,), config.window, config.trained_horizon)
    return order == "steps"


def _of_whole_segments(window: int, config: DataAndTrainingOptions, series: Series, split: Split) -> int:
    """A window that nobody asked for, of as many whole segments or periods as it holds, but one at least."""
    from qkan.datasets import seasons_of

    length = config.segment
    by_season = config.order in ("segments", "periods") or "sparse" in cells_of(config)
    if length is None and by_season:
        seasons = seasons_of(series, split, config.season)
        length = seasons[0] if seasons else None
    return window if length is None else max(1, window // length) * length


def _sizes_of_protocol(config: DataAndTrainingOptions, series: Series, window: int) -> tuple[int, int]:
    """Window and horizon where a benchmark's protocol decides: all test values of M4, of other data that of ``config``.

    Windows of M4 are three of the longest season where every series holds them, for none may be left out. Those of
    other data are 30 of the shortest season, or as many as a look-back of 720 steps holds, but enough of them to be
    read by periods. Where cells read single steps, there are 336 of them.
    """
    train, validation = series.borders or (0, 0)
    if validation < 0:
        three, held = 3 * max(series.season, default=0), int(series.lengths.min()) + train + validation
        return three if 0 < three <= held else window, -validation
    horizon = max(1, min(config.horizon, validation - train, int(series.lengths.min()) - validation))
    most = max(1, (train - horizon) // 2)
    season = series.season[0] if series.season and config.season != "none" else None
    if season is None:
        return min(_STEPS_READ, most), horizon
    enough = MANY_PERIODS * season
    if cells_of(config).isdisjoint(LINEAR_CELLS) and _by_steps(replace(config, window=enough), season):
        return min(_STEPS_READ, most), horizon
    look_back = max(enough, min(_MOST_PERIODS, _LOOK_BACK // season) * season)
    return min(look_back, most // season * season if most >= enough else most), horizon
