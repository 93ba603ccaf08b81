"""What is taken from every window and put back: where nobody asked, the data say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkan.forecasting.config.options import MEAN_HARMONICS, SHORT_SEASON

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

_MOST_LAGS = 96
_SEASONS = 10  # of the longest, at least: the mean of fewer has more than a tenth of the variance of one
_EXPLAINED = 0.01  # of the error of repeating the last value: below it, the rest is a matter of the training
_MOST_SERIES = 1_000  # of a panel, evenly spread, are looked at
_LEAST_GAIN_OF_PANEL = 0.1  # regressions and networks differ by less
_SERIES_STAY = 0.9  # of the series of a panel, where nothing is taken from its windows
_MOSTLY = 0.5  # of the values
_SEEN = 0.95  # of the newest quarter lies in the range of the older values, widened by a tenth, if the level stays


class LevelChoice(NamedTuple):
    """What is taken from every window and put back.

    Attributes:
        level: ``last``, ``none``, ``season`` or ``window``.
        why: Why, for one line of a plan.
    """

    level: str
    why: str


def choose_level(data: ForecastData) -> LevelChoice:
    """Choose the level of windows: the last value, the mean season or nothing of a single series, mean and scale, the
    last value or nothing of several.

    What series of a panel share is their shape, not their size, so there the rule is mean and scale of the window; but
    a line has the same slope in every window, whatever its scale. Of a single one the last value is the rule, since
    without it no forecast follows a level beyond the training part. But the next value of a logistic map depends on
    the level itself, and counts scatter around a level that stays, a season ahead around the hour of the week. So
    nothing is taken away, or for a horizon of a season of more than 48 steps the mean season, where the newest quarter
    of the training part stays in the range of the older values and regressions on what the windows hold forecast
    clearly better so. Shorter seasons are said by the phases beside the last value, which follows a level that moves
    later. Only the training part is looked at.

    Args:
        data: The windows.
    """
    from qkan.datasets.windows import Probe, clearly_below, season_phases, season_waves

    if len(data.ids) > 1:
        return _level_of_panel(data)
    values = data.series.values_of(0)[: data.boundaries[0, 0]]
    steps = dict.fromkeys((1, data.train.horizon))
    probes = [Probe([values], min(data.window, _MOST_LAGS), step) for step in steps]
    if not all(probe.has_windows for probe in probes):
        return LevelChoice("last", "too few values to tell")
    if not all(probe.says_something for probe in probes):
        return LevelChoice("last", "the newest values do not change")
    if not _stays(values):
        return LevelChoice("last", "the level leaves its range")
    if np.unique(values, return_counts=True)[1].max() > _MOSTLY * len(values):
        return LevelChoice("none", "most values are the same, so that is the level")
    times = data.series.times_of(0)
    phases = season_phases(data.series, times[: len(values)], data.seasons)
    waves = season_waves(phases, data.seasons, 6)
    whole = (
        bool(data.seasons)
        and data.train.horizon >= data.seasons[0] > SHORT_SEASON
        and len(values) >= _SEASONS * data.seasons[-1]
    )
    errors: dict[str, list[np.ndarray]] = {"last": [], "none": []}
    for probe in probes:
        for level, own in errors.items():
            own.append(probe.errors(level, waves[probe.rows[0]]) / probe.naive.mean())
    last, none = (np.concatenate(own) for own in errors.values())
    if last.mean() <= _EXPLAINED:
        return LevelChoice("last", f"changes since then leave {last.mean():.2g} of naive's error")
    if whole:
        mean = np.column_stack([np.ones(len(values)), season_waves(phases, data.seasons, MEAN_HARMONICS)])
        season = np.concatenate([probe.errors_around([mean]) / probe.naive.mean() for probe in probes])
        if clearly_below(season, min(last, none, key=np.mean)):
            other = min(last.mean(), none.mean())
            figures = f"error {season.mean():.3g} of naive's, {other:.3g} with another level or none"
            return LevelChoice("season", f"changes from it forecast best: {figures}")
    figures = f"error {none.mean():.3g} of naive's without a level, {last.mean():.3g} with it"
    if clearly_below(none, last):
        return LevelChoice("none", f"the next value depends on the level itself: {figures}")
    return LevelChoice("last", figures)


def _level_of_panel(data: ForecastData) -> LevelChoice:
    """Mean and scale of the window, unless regressions with the last value taken away, or with nothing where the levels
    stay in their range, are better by more than a tenth."""
    from qkan.datasets.windows import Probe, clearly_below, season_phases, season_waves

    series, rule = data.series, "window"
    every = np.linspace(0, len(data.ids) - 1, min(_MOST_SERIES, len(data.ids))).round().astype(np.int64)
    values = [series.values_of(place)[: data.boundaries[place, 0]] for place in every.tolist()]
    lags = min(data.window, _MOST_LAGS)
    probes = [Probe(values, lags, step) for step in dict.fromkeys((1, data.train.horizon))]
    if not all(probe.says_something for probe in probes):
        return LevelChoice(rule, "several series, and too few values that change to tell")
    stays = bool(np.mean([_stays(own) for own in values if len(own)]) >= _SERIES_STAY)
    errors: dict[str, list[np.ndarray]] = {own: [] for own in (rule, "last", *(["none"] * stays))}
    for probe in probes:
        times = [series.times_of(place)[rows] for place, rows in zip(every.tolist(), probe.rows, strict=True)]
        phases = np.concatenate([season_phases(series, own, data.seasons) for own in times])
        for level, found in errors.items():
            found.append(probe.errors(level, season_waves(phases, data.seasons, 6)) / probe.naive.mean())
    whole = {level: np.concatenate(found) for level, found in errors.items()}
    best = min(whole, key=lambda level: float(whole[level].mean()))
    chosen = best if clearly_below(whole[best], whole[rule], _LEAST_GAIN_OF_PANEL) else rule
    said = {rule: "mean and scale of the window", "last": "the last value", "none": "nothing"}
    figures = ", ".join(f"{found.mean():.3g} with {said[level]}" for level, found in whole.items())
    return LevelChoice(chosen, f"several series; error of naive's {figures} taken away")


def _stays(values: np.ndarray) -> bool:
    """Whether the newest quarter lies where the older values do."""
    older, newer = np.split(values, [len(values) * 3 // 4])
    low, high = older.min(), older.max()
    margin = 0.1 * (high - low)
    return bool(((newer >= low - margin) & (newer <= high + margin)).mean() >= _SEEN)
