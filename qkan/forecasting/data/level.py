"""What is taken from every window and put back: where nobody asked, the data say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Probe

_MOST_LAGS = 96
_EXPLAINED = 0.01  # of the error of repeating the last value: below it, the rest is a matter of the training
_LEAST_GAIN, _LEAST_GAIN_OF_PANEL = 0.01, 0.1
_SERIES_STAY = 0.9  # of the series of a panel, where nothing is taken from its windows
_WORDS = {"last": "the last value taken away", "window": "mean and scale of the window", "none": "nothing"}
_SEEN = 0.95  # of the newest quarter lies in the range of the older values, widened by a tenth, if the level stays


class LevelChoice(NamedTuple):
    """What is taken from every window and put back.

    Attributes:
        level: ``last``, ``none`` or ``window``.
        why: Why, for one line of a plan.
    """

    level: str
    why: str


def choose_level(data: ForecastData, *, squared: bool) -> LevelChoice:
    """Choose the level of windows by regressions on what the windows hold, judged inside the training part.

    Of a single series the last value is the rule, since without it no forecast follows a level beyond the training
    part. What series of a panel share is their shape, not their size: there the rule is mean and scale of the window,
    unless forecasts are better by more than a tenth without the scale (a line has the same slope in every window) or
    without a level, as regressions and networks differ by less. The next value of a logistic map depends on the level
    itself, and counts scatter around a level that stays. So nothing is taken away where the newest quarter of the
    training parts stays in the range of the older values and forecasts are clearly better without. Only the training
    parts are looked at.

    Args:
        data: The windows.
        squared: Whether the errors that training minimises are squared or absolute.
    """
    from qkan.datasets.windows import Probe, clearly_below

    values = [data.series.values_of(place)[: data.boundaries[place, 0]] for place in range(len(data.ids))]
    rule = "last" if len(values) == 1 else "window"
    lags = min(data.window, _MOST_LAGS)
    probes = [Probe(values, lags, step, squared=squared) for step in dict.fromkeys((1, data.train.horizon))]
    if not all(probe.has_windows for probe in probes):
        return LevelChoice(rule, "too few values to tell")
    if not all(probe.says_something for probe in probes):
        return LevelChoice(rule, "the newest values do not change")
    stays = bool(np.mean([_stays(own) for own in values if len(own)]) >= _SERIES_STAY)
    if not stays and rule == "last":
        return LevelChoice(rule, "the level leaves its range")
    tried = dict.fromkeys((rule, "last", *(["none"] * stays)))
    errors = {level: np.concatenate([_errors(data, probe, level) for probe in probes]) for level in tried}
    usual = {level: _usual(own, squared) for level, own in errors.items()}
    if usual["last"] <= _EXPLAINED:
        return LevelChoice("last", f"changes since then leave {usual['last']:.2g} of naive's error")
    chosen = rule
    for level in tried:
        least = _LEAST_GAIN_OF_PANEL if chosen == "window" else _LEAST_GAIN
        chosen = level if clearly_below(errors[level], errors[chosen], least) else chosen
    figures = ", ".join(f"{usual[level]:.3g} with {_WORDS[level]}" for level in tried)
    if chosen == "none":
        return LevelChoice(chosen, f"the next value depends on the level itself: error {figures}")
    return LevelChoice(chosen, f"error {figures}")


def _errors(data: ForecastData, probe: Probe, level: str) -> np.ndarray:
    """Errors of a level, in units of that of repeating the last value."""
    from qkan.datasets.windows import season_phases, season_waves

    series = data.series
    phases = [
        season_phases(series, series.times_of(place)[rows], data.seasons) for place, rows in enumerate(probe.rows)
    ]
    waves = season_waves(np.concatenate(phases), data.seasons, 6)
    return probe.errors(level, waves) / probe.naive.mean()


def _usual(errors: np.ndarray, squared: bool) -> float:
    return float(errors.mean() ** 0.5 if squared else errors.mean())


def _stays(values: np.ndarray) -> bool:
    """Whether the newest quarter lies where the older values do."""
    older, newer = np.split(values, [len(values) * 3 // 4])
    low, high = older.min(), older.max()
    margin = 0.1 * (high - low)
    return bool(((newer >= low - margin) & (newer <= high + margin)).mean() >= _SEEN)
