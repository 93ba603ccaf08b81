"""How much of every candidate is in the forecast.

Most of it weighs all by their inverse errors at the origins, as if these had nothing in common (Bates and Granger
(1969), Operational Research Quarterly 20, 451-468). The rest is selected: of all candidates, that one is added, again
and again, which lowers the error of the mean most (Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection
from libraries of models, ICML). That sees which errors cancel and leaves out what only dilutes, but follows the noise
of few origins. Where the mean of both is worse at the origins than the best candidate, the selection forecasts alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POWER = 4.0
"""Of the inverse mean absolute errors: 0 weighs all alike, infinity takes the best."""
ROUNDS = 20
"""Members of the selection; one that is taken several times counts as often."""
SELECTED = 0.3
"""Share of the selection in the forecast."""
LEAST_WEIGHT = 0.02
"""Candidates with less have no part in the forecast, so that they need not be fitted again."""
MOST_TARGETS = 100_000
"""The selection looks at the targets of about so many steps, of origins that are evenly spread."""


def combination_weights(forecasts: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of every candidate in the forecast, 0 to 1, in all 1: float64 (candidates,).

    Args:
        forecasts: From every origin, finite, (N, horizon) each. Of candidates that forecast the same, the first counts.
        targets: What came, (N, horizon).
        weights: Of every target in the mean absolute error, at least 0; 0 for what was not observed, (N, horizon).
    """
    errors = [weighted_error(own, targets, weights) for own in forecasts]
    kept = [
        place
        for place, own in enumerate(forecasts)
        if not any(np.allclose(own, other, rtol=1e-6, atol=0.0) for other in forecasts[:place])
    ]
    known = np.asarray(errors)[kept]
    shares, least = np.zeros(len(forecasts)), known.min()
    alone = (known == least) / (known == least).sum()
    shares[kept] = alone
    if least == 0:
        return shares
    inverse = (least / known) ** POWER
    every = max(1, targets.size // MOST_TARGETS)
    chosen = _selection([forecasts[place][::every] for place in kept], targets[::every], weights[::every])
    for own in (SELECTED * chosen + (1 - SELECTED) * inverse / inverse.sum(), chosen):
        own[own < min(LEAST_WEIGHT, own.max())] = 0.0
        own /= own.sum()
        mean = np.sum([share * forecasts[place] for share, place in zip(own, kept, strict=True)], axis=0)
        if weighted_error(mean, targets, weights) <= least:
            shares[kept] = own
            break
    return shares


def weighted_error(forecasts: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """Return the sum of the weighted absolute errors of the targets that have a weight."""
    return float(np.where(weights > 0, np.abs(forecasts - targets) * weights, 0.0).sum())


def _selection(forecasts: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often each is taken, in all 1: (candidates,)."""
    counted = weights > 0
    table, wanted, weight = np.stack([own[counted] for own in forecasts]), targets[counted], weights[counted]
    counts, total = np.zeros(len(table)), np.zeros(len(wanted))
    for done in range(1, ROUNDS + 1):
        errors = np.abs((total + table) / done - wanted) @ weight
        best = int(errors.argmin())
        counts[best] += 1
        total += table[best]
    return counts / ROUNDS
