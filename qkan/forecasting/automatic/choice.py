"""Which forecast to trust: the best candidate or the average of a few, but nothing elaborate for the sake of noise.

Errors are compared from the same origins. Candidates come in kinds, from rules to networks; a kind takes the lead from
a simpler one only by more than the standard error of the difference (the one-standard-error rule of Breiman et al.
(1984), section 3.4.3, on paired differences). The average of the best few, which hedges, needs a smaller error than
what leads then, and that lead only over the rules. Neighbouring origins share targets, so the standard error
is that of blocks of a horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AVERAGE = 4
"""The kind of averages."""
MOST_MEMBERS = 4
LEAST_BLOCKS = 8
"""With fewer blocks in time, those of every series count by themselves."""


@dataclass(frozen=True)
class Contest:
    """The errors that decide.

    Args:
        forecasts: Of every candidate from every origin, original units, (candidates, N, horizon), without NaN.
        kinds: How simple each is, ascending.
        targets: (N, horizon).
        weights: Of every target: 1 over the unit of its series where it was observed, else 0; (N, horizon).
        blocks: Number of the block of every origin, (N,).
    """

    forecasts: np.ndarray
    kinds: tuple[int, ...]
    targets: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray

    def losses(self, members: Sequence[int]) -> np.ndarray:
        """Mean scaled absolute error of the average of some candidates, by block: (blocks,)."""
        mean = self.forecasts[list(members)].mean(axis=0)
        errors = (np.abs(mean - self.targets) * self.weights).sum(axis=1)
        counts = (self.weights > 0).sum(axis=1)
        sums, sizes = np.bincount(self.blocks, errors), np.bincount(self.blocks, counts)
        return np.asarray(sums[sizes > 0] / sizes[sizes > 0])


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        members: Numbers of the candidates whose mean is the forecast.
        loss: Its mean scaled absolute error.
    """

    members: tuple[int, ...]
    loss: float


def choose(contest: Contest, factor: float = 1.0) -> Choice:
    """Return the candidate or the average to forecast with.

    Args:
        contest: The errors.
        factor: By how many standard errors a kind must lead.
    """
    single: dict[tuple[int, ...], np.ndarray] = {
        (place,): contest.losses((place,)) for place in range(len(contest.kinds))
    }
    order = sorted(single, key=lambda own: single[own].mean())
    distinct = _distinct(contest, [own[0] for own in order])
    averages = [tuple(sorted(distinct[:size])) for size in range(2, min(MOST_MEMBERS, len(distinct)) + 1)]
    losses = {**single, **{own: contest.losses(own) for own in averages}}
    kinds = {own: contest.kinds[own[0]] if len(own) == 1 else AVERAGE for own in losses}
    firsts = [
        min((own for own in losses if kinds[own] == kind), key=lambda own: losses[own].mean())
        for kind in sorted(set(kinds.values()))
    ]
    chosen, average = firsts[0], firsts[-1] if averages else None
    for own in firsts[1 : -1 if averages else None]:
        if leads(losses[own], losses[chosen], factor):
            chosen = own
    if average is not None and losses[average].mean() < losses[chosen].mean():
        chosen = average if leads(losses[average], losses[firsts[0]], factor) else chosen
    return Choice(chosen, float(losses[chosen].mean()))


def leads(losses: np.ndarray, simpler: np.ndarray, factor: float) -> bool:
    """Tell whether errors by block are below those of something simpler by more than ``factor`` standard errors."""
    gains = simpler - losses
    if len(gains) < 2:
        return False
    return bool(gains.mean() > factor * gains.std(ddof=1) / len(gains) ** 0.5)


def blocks_of(series: np.ndarray, known: np.ndarray, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Return the block of every origin, int64 (N,).

    Args:
        series: Of every origin.
        known: Values before it.
        ends: Length of every series.
        horizon: Steps of a block.
    """
    times = (ends[series] - horizon - known) // horizon
    if len(np.unique(times)) >= LEAST_BLOCKS:
        return np.unique(times, return_inverse=True)[1]
    return np.unique(series * (times.max() + 1) + times, return_inverse=True)[1]


def _distinct(contest: Contest, order: Sequence[int]) -> list[int]:
    """The candidates without those that forecast the same as a better one."""
    kept: list[int] = []
    for place in order:
        if not any(
            np.allclose(contest.forecasts[place], contest.forecasts[other], rtol=1e-6, atol=0.0) for other in kept
        ):
            kept.append(place)
    return kept
