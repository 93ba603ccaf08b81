"""How much of every candidate is in the forecast: the smaller its error at the origins, the more.

Combined forecasts are hard to beat, and simple weights are, too: Bates and Granger (1969), Operational Research
Quarterly 20, 451-468, weigh by inverse squared errors, as if errors had nothing in common. Weights that take their
covariance into account follow its noise (Timmermann (2006), Handbook of Economic Forecasting, ch. 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POWER = 4.0
"""Of the inverse mean absolute errors: 0 weighs all alike, infinity takes the best."""
LEAST_WEIGHT = 0.02
"""Candidates with less have no part in the forecast, so that they need not be fitted again."""


def combination_weights(errors: Sequence[float], forecasts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the share of every candidate in the forecast, 0 to 1, in all 1: float64 (candidates,).

    Args:
        errors: Their mean absolute errors, at least 0, (candidates,).
        forecasts: From every origin, (N, horizon) each. Of candidates that forecast the same, the first counts.
    """
    shares = np.zeros(len(errors))
    kept = [
        place
        for place, own in enumerate(forecasts)
        if not any(np.allclose(own, other, rtol=1e-6, atol=0.0) for other in forecasts[:place])
    ]
    known = np.asarray(errors)[kept]
    least = known.min()
    shares[kept] = known == 0 if least == 0 else (least / known) ** POWER
    shares /= shares.sum()
    shares[shares < min(LEAST_WEIGHT, shares.max())] = 0.0
    return np.asarray(shares / shares.sum())
