"""Which seasons a series has: those it declares, or those that its training part shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from qkan.datasets.errors import DataError
from qkan.datasets.series import Series
from qkan.datasets.windows.phases import season_phases, season_waves
from qkan.datasets.windows.probe import Probe
from qkan.datasets.windows.splits import Split

_MOST_SERIES = 50  # of a panel, evenly spread, are looked at
_LEAST_CORRELATION = 0.3
_REPEATS = 3  # times that a season must fit into the part that it is found in
_PART, _LEAST_PART = 0.5, 0.1  # of the strongest correlation, and of what is explained, make a season within a season
_LONGEST_LAGS, _FEW_LAGS = 96, 12  # of the regressions that judge: two seasons, or few
_EXPLAINED = 0.03  # of the error of repeating the last value: what the last values leave open is no season
_LEAST_GAIN, _HARMONICS = 0.0025, 6
_EXACTLY = 0.1  # of the mean change of a step: what changes less over a season repeats, but for a little noise
_AS_LAGS = 2.0  # times what the last values leave open: a repetition that leaves more is not what moves the values
_COHERENT, _MOST_BLOCKS = 0.9, 8  # of the parts of a series, whose phases agree: a clock does not wander
_MOST_DRIFT = 0.5  # steps between the first and the last of these parts
_HARMLESS = 0.01  # of the error: what a coherent season may cost the next value, within the noise of the judgement
_NEARLY = 0.95  # of the strongest correlation is as good: of a season and its multiples, the season is taken


class SeasonChoice(NamedTuple):
    """Seasons to forecast with.

    Attributes:
        seasons: Their lengths in steps, ascending.
        why: Why these, for one line of a plan.
    """

    seasons: tuple[int, ...]
    why: str


def seasons_of(series: Series, split: Split, asked: str | Sequence[int] = "auto") -> tuple[int, ...]:
    """Return the lengths that :func:`choose_seasons` chooses.

    Examples:
        >>> from qkan.datasets import SplitFractions, read_series, seasons_of
        >>> seasons_of(read_series("traffic.csv"), SplitFractions())
        (24,)
    """
    return choose_seasons(series, split, asked).seasons


def choose_seasons(series: Series, split: Split, asked: str | Sequence[int] = "auto") -> SeasonChoice:
    """Choose the seasons to forecast with.

    Args:
        series: The data.
        split: Says where the training part of every series ends; later values are not looked at.
        asked: ``"none"``; lengths; or ``"auto"``: the declared seasons that fit twice into the longest training part,
            else those that :func:`find_seasons` finds and :func:`useful_seasons` keeps.

    Raises:
        DataError: a length that was asked for does not fit twice into the longest training part.
    """
    if asked == "none":
        return SeasonChoice((), "as asked")
    train_ends = [split.boundaries(int(length))[0] for length in series.lengths]
    longest = max(train_ends)
    if not isinstance(asked, str):
        long = [season for season in asked if 2 * season > longest]
        if long:
            raise DataError(
                f"season {long[0]} is too long: the training part of {series.name!r} has {longest} steps and must hold "
                f"a season twice; use at most {longest // 2}, or season none"
            )
        return SeasonChoice(tuple(asked), "as asked")
    if series.season:
        fitting = tuple(own for own in series.season if 2 * own <= longest)
        longer = ", ".join(str(own) for own in series.season if own not in fitting)
        left = f"; the training part does not hold {longer} twice" if longer else ""
        return SeasonChoice(fitting, f"of the series or its clock{left}")
    known, ends = _choices.setdefault(series, {}), tuple(train_ends)
    if ends not in known:
        known[ends] = _found_in(series, ends)
    return known[ends]


_choices: WeakKeyDictionary[Series, dict[tuple[int, ...], SeasonChoice]] = WeakKeyDictionary()
"""Choices that were made, as one training asks several times."""


def _found_in(series: Series, train_ends: Sequence[int]) -> SeasonChoice:
    """What the training parts show."""
    places = np.unique(np.linspace(0, len(series.ids) - 1, min(_MOST_SERIES, len(series.ids))).round().astype(int))
    places = places[np.asarray(train_ends)[places] > 0]
    values = [series.values_of(int(place))[: train_ends[place]] for place in places]
    found = find_seasons(values)
    if not found:
        return SeasonChoice((), "nothing repeats in the training part")
    phases = [season_phases(series, series.times_of(int(place))[: train_ends[place]], found) for place in places]
    return useful_seasons(values, found, phases)


def useful_seasons(values: Sequence[np.ndarray], found: tuple[int, ...], phases: Sequence[np.ndarray]) -> SeasonChoice:
    """Choose, of seasons that were found, those that are none of the motion's own.

    A swing of a pendulum or of a sum of sines repeats, too, but not by the clock. So there is no season where the last
    values say the next one nearly as it is, unless the values repeat as exactly, and none where its phase does not make
    forecasts of regressions on lags better.

    Args:
        values: One array of finite values per series, oldest first, none of them empty.
        found: Lengths in steps, ascending.
        phases: Their phase angles at every value, (length, seasons) per series.
    """
    probe = Probe(values, 2 * found[0] if found[0] <= _LONGEST_LAGS // 2 else _FEW_LAGS)
    steps = " and ".join(map(str, found))
    repeats = SeasonChoice(found, f"{steps} steps repeat in the training part")
    over_season = _change(values, found[-1])
    exactly = over_season <= _EXACTLY * _change(values, 1)
    if not probe.says_something or (exactly and not over_season):
        return repeats
    at = np.concatenate([own[rows] for own, rows in zip(phases, probe.rows, strict=True)])
    tried = (found,) if len(found) == 1 else (found[:1], found)
    errors = {own: _smallest(probe, [season_waves(at, own, most) for most in (1, _HARMONICS)]) for own in tried}
    errors[()] = _smallest(probe, [None])
    naive = float(probe.naive.mean())
    if exactly and 2 * over_season <= _AS_LAGS * errors[()]:  # the range of a series is 2 for the regressions
        return repeats
    if errors[()] <= _EXPLAINED * naive:
        left = f"{errors[()] / naive:.2g} of naive's error"
        return SeasonChoice((), f"{steps} steps repeat, but the last values leave {left}")
    best: tuple[int, ...] = ()
    for more in tried:
        best = more if errors[more] < (1 - _LEAST_GAIN) * errors[best] else best
    first = found[:1]
    if not best and errors[first] <= (1 + _HARMLESS) * errors[()] and _coherence(values, phases, found[0]) >= _COHERENT:
        best = first
    if best == found:
        return repeats
    figures = f"error {errors[best] / naive:.3g} of naive's, {errors[found] / naive:.3g} with it"
    return SeasonChoice(best, f"{steps} steps repeat, but the phase does not help: {figures}")


def _smallest(probe: Probe, known: Sequence[np.ndarray | None]) -> float:
    """The mean error with the level, the number of lags and what is known of the targets that suit best."""
    lags = dict.fromkeys((probe.lags, min(_FEW_LAGS, probe.lags)))
    return min(float(probe.errors(*own).mean()) for own in product(("last", "none"), known, lags))


def _coherence(values: Sequence[np.ndarray], phases: Sequence[np.ndarray], season: int) -> float:
    """How well the phase of the first season agrees between parts of every series: 1 for a clock, less for a cycle that
    wanders or whose length is no whole number of steps. It is that of the strongest harmonic."""
    turns = np.arange(1, _HARMONICS + 1)
    aligned, sizes = np.zeros((_MOST_BLOCKS, _HARMONICS), dtype=complex), np.zeros(_HARMONICS)
    for own, angles in zip(values, phases, strict=True):
        waves = _without_trend(own)[:, None] * np.exp(1j * angles[:, :1] * turns)
        count = max(1, min(_MOST_BLOCKS, len(own) // season))
        blocks = np.array([block.mean(axis=0) for block in np.array_split(waves, count)])
        whole = blocks.sum(axis=0)
        aligned[:count] += blocks * (whole / np.maximum(np.abs(whole), 1e-300)).conj()
        sizes += np.abs(blocks).sum(axis=0)
    strongest = int(np.argmax(sizes))
    parts = aligned[np.abs(aligned[:, strongest]) > 0, strongest]
    if not len(parts) or _drifts(np.angle(parts) * season / (2 * np.pi * turns[strongest])):
        return 0.0
    return float(parts.sum().real / sizes[strongest])


def _drifts(lags: np.ndarray) -> bool:
    """Whether a season leaves its clock by more than half a step, beyond the scatter of the parts around that."""
    if len(lags) < 3:
        return False
    places = np.linspace(-0.5, 0.5, len(lags))
    drift = float(places @ lags / (places @ places))
    left = lags - lags.mean() - drift * places
    error = float(np.sqrt(left @ left / (len(lags) - 2) / (places @ places)))
    return abs(drift) > max(_MOST_DRIFT, 3 * error)


def _change(values: Sequence[np.ndarray], lag: int) -> float:
    """How much changes over so many steps scatter in the newer half of every series, in units of its range: the mean of
    their absolute deviations."""
    found = []
    for own in values:
        newer = own[len(own) // 2 :] / max(float(np.ptp(own)), 1e-300)
        changes = newer[lag:] - newer[:-lag]
        found.append(np.abs(changes - changes.mean()) if len(changes) else changes)
    return float(np.concatenate(found).mean()) if sum(map(len, found)) else 0.0


def find_seasons(values: Sequence[np.ndarray]) -> tuple[int, ...]:
    """Find up to two seasons by the autocorrelation of values without their trend, averaged over series.

    One is the shortest peak that is nearly as high as the highest, and positive enough to be of use. Beside it stands
    the highest peak at a part of it, if that is more than half as high (the day in a week), and the longer one if it
    shows in what the part leaves over; or else its best multiple in what it leaves over (the week of a day). Series
    less than half as long as the median do not count, since a season must fit three times into each that does.

    Args:
        values: One array of finite values per series, oldest first.
    """
    usual = float(np.median([len(own) for own in values])) if len(values) else 0.0
    rests = [_without_trend(own) for own in values if len(own) >= max(3 * _REPEATS, usual / 2)]
    rests = [own for own in rests if own.any()]
    if not rests:
        return ()
    correlation = _correlations(rests)
    peaks = _peaks(correlation)
    if not peaks.size:
        return ()
    strongest = correlation[peaks].max()
    first = _shortest(_sharpened(int(peaks[correlation[peaks] >= _NEARLY * strongest][0]), rests), rests)
    parts = peaks[(first % peaks == 0) & (peaks < first) & (correlation[peaks] >= _PART * strongest)]
    part = int(parts[np.argmax(correlation[parts])]) if parts.size else first
    everything = _left_by(1, rests)
    if everything - _left_by(part, rests) < _LEAST_PART * (everything - _left_by(first, rests)):
        part = first  # high only because neighbours are alike
    if part < first:
        over = _correlations([own - _profile(own, part) for own in rests])
        return (part, first) if over[first] >= _LEAST_CORRELATION else (part,)
    left = [own - _profile(own, first) for own in rests]
    left = [own for own in left if np.abs(own).max() > 1e-9]
    if not left:
        return (first,)
    correlation = _correlations(left)
    multiples = np.arange(2 * first, len(correlation), first)
    if multiples.size:
        best = int(multiples[np.argmax(correlation[multiples])])
        near = multiples[correlation[multiples] >= _NEARLY * correlation[best]]
        if correlation[best] >= _LEAST_CORRELATION and correlation[best] > correlation[first] + 0.1:
            return first, int(near[0])
    return (first,)


def _sharpened(season: int, rests: Sequence[np.ndarray]) -> int:
    """The length within a step of a season whose mean profile leaves least over: noise moves a peak of the correlation,
    and many seasons of a wrong length blur their mean."""
    near = (season, season - 1, season + 1)
    return min(near, key=lambda own: _left_by(own, rests)) if season > 3 else season


def _shortest(season: int, rests: Sequence[np.ndarray]) -> int:
    """The shortest part of a season whose mean profile leaves no more over, but for what chance makes of the steps that
    it has less: noise may lift the correlation at a multiple above that of the season."""
    count, whole, everything = sum(map(len, rests)), _left_by(season, rests), _left_by(1, rests)

    def as_good(part: int) -> bool:
        chance = 2 * (2 * (season - part) * len(rests)) ** 0.5 / count
        return _left_by(part, rests) <= min((1 + chance) * whole, (whole + everything) / 2)

    parts = (own for own in range(2, season) if season % own == 0 and whole < everything)
    return next(filter(as_good, parts), season)


def _left_by(season: int, rests: Sequence[np.ndarray]) -> float:
    """Squares that the mean profile of a season leaves over, as if it had cost no steps."""
    squares = (np.square(own - _profile(own, season)).sum() / max(1 - season / len(own), 1e-9) for own in rests)
    return float(sum(squares))


def _without_trend(values: np.ndarray) -> np.ndarray:
    """Values less their least-squares line, with variance 1; zeros where nothing is left."""
    steps = np.arange(len(values)) - (len(values) - 1) / 2
    size = float(np.abs(values - values[0]).max())
    if not size > 0:
        return np.zeros(len(values))
    centred = (values - values[0]) / size
    centred = centred - centred.mean()
    rest = centred - steps * (steps @ centred) / (steps @ steps)
    scale = float(rest.std())
    return rest / scale if scale > 1e-9 else np.zeros(len(values))


def _correlations(series: Sequence[np.ndarray]) -> np.ndarray:
    """Mean autocorrelation at lags 0, 1, ... up to a third of the shortest series."""
    lags = min(len(own) for own in series) // _REPEATS + 1
    found = []
    for own in series:
        spectrum = np.fft.rfft(own - own.mean(), 2 * len(own))
        products = np.fft.irfft(np.abs(spectrum) ** 2)[:lags]
        overlap = len(own) - np.arange(lags)
        found.append(products / overlap / max(products[0] / len(own), 1e-300))
    return np.asarray(np.mean(found, axis=0))


def _peaks(correlation: np.ndarray) -> np.ndarray:
    """Lags of local maxima behind the first dip that are high enough, ascending."""
    falls = np.flatnonzero(np.diff(correlation) > 0)
    start = int(falls[0]) + 1 if falls.size else len(correlation)
    inside = np.arange(max(2, start), len(correlation) - 1)
    high = correlation[inside] >= np.maximum(correlation[inside - 1], correlation[inside + 1])
    return inside[high & (correlation[inside] >= _LEAST_CORRELATION)]


def _profile(values: np.ndarray, season: int) -> np.ndarray:
    """The mean season of some values, repeated over them."""
    place = np.arange(len(values)) % season
    means = np.bincount(place, values, season) / np.bincount(place, minlength=season)
    return np.asarray(means[place])
