"""How much of every candidate is in the forecast.

Half of it is selected: of all candidates, that one is added, again and again, which lowers the error of the mean at the
origins most (Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection from libraries of models, ICML). It
sees which errors cancel, and leaves out what only dilutes. The other half weighs all by their inverse errors, as if
these had nothing in common (Bates and Granger (1969), Operational Research Quarterly 20, 451-468): it is blunter, and
keeps the selection from following the noise of few origins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POWER = 4.0
"""Of the inverse mean absolute errors: 0 weighs all alike, infinity takes the best."""
ROUNDS = 20
"""Members of the selection; one that is taken several times counts as often."""
SELECTED = 0.5
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
    shares, known = np.zeros(len(forecasts)), np.asarray(errors)[kept]
    least = known.min()
    if least == 0:
        shares[kept] = known == 0
    else:
        inverse = (least / known) ** POWER
        every = max(1, targets.size // MOST_TARGETS)
        chosen = _selection([forecasts[place][::every] for place in kept], targets[::every], weights[::every])
        shares[kept] = SELECTED * chosen + (1 - SELECTED) * inverse / inverse.sum()
    shares /= shares.sum()
    shares[shares < min(LEAST_WEIGHT, shares.max())] = 0.0
    return np.asarray(shares / shares.sum())


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
