"""Exponential smoothing: the model of the family with the smallest AIC, carried forward over rolling origins.

Hyndman, Koehler, Ord and Snyder (2008), Forecasting with Exponential Smoothing, ch. 2 and table 6.1: the models with
added errors. statsmodels estimates all parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qkan.forecasting.baselines.simple import repeat_season
from qkan.forecasting.baselines.statistical import CannotFit, Rolled, fitting_part, quietly

MAX_ESTIMATED_SEASON = 24
"""Up to this season the initial season is estimated; beyond, statsmodels' heuristic sets it."""


@dataclass(frozen=True)
class Form:
    """A member of the family: with a trend, which may be damped, or without; with a season of some steps or without."""

    trend: bool
    damped: bool
    season: int

    @property
    def name(self) -> str:
        """The name in the literature: ``(A,Ad,A)[12]`` has added errors, a damped trend and an added season."""
        text = f"(A,{'A' if self.trend else 'N'}{'d' * self.damped},{'A' if self.season > 1 else 'N'})"
        return f"{text}[{self.season}]" if self.season > 1 else text

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of statsmodels' ETSModel."""
        seasonal = {"seasonal": "add", "seasonal_periods": self.season} if self.season > 1 else {}
        return {"error": "add", "trend": "add" if self.trend else None, "damped_trend": self.damped, **seasonal}


def forms(season: int) -> list[Form]:
    """Return the candidates: no trend, a trend, a damped one, each without the season and with it."""
    seasons = (1, season) if season > 1 else (1,)
    return [
        Form(trend, damped, own) for trend, damped in ((False, False), (True, False), (True, True)) for own in seasons
    ]


def exponential_smoothing(values: np.ndarray, known: int, first: np.ndarray, horizon: int, season: int) -> Rolled:
    """Exponential smoothing of the form in :func:`forms` that has the smallest AIC (statsmodels ETSModel).

    Args:
        values: All values of the series, (points,).
        known: Values that may be used for fitting.
        first: Row of the first target of every forecast, (origins,), at least ``known``.
        horizon: Steps to forecast.
        season: Period in steps; 1 means none.

    Raises:
        CannotFit: fewer than two seasons, or 10 values, are known, or no form could be estimated.
    """
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    begin = fitting_part(known, max(10, 2 * season + 1), season)
    initial = "estimated" if season <= MAX_ESTIMATED_SEASON else "heuristic"
    with quietly():
        form, fit = _choose(values[begin:known], season, initial)
        # The heuristic would look at later values for its first state, so the first state is given.
        names = ("level", *(["trend"] if form.trend else []), *(["seasonal"] if form.season > 1 else []))
        start = {f"initial_{name}": getattr(fit, f"initial_{name}") for name in names}
        moved = ETSModel(values[begin:], initialization_method="known", **start, **form.options)
        rolled = moved.smooth(np.asarray(fit.params)[: len(moved.param_names)])
    origin, steps = first - begin - 1, np.arange(1, horizon + 1)
    mean = np.repeat(np.asarray(rolled.level)[origin, None], horizon, axis=1)
    weights = np.full(horizon, rolled.alpha)  # of an error on the forecast 1, 2, ... steps later
    if form.trend:
        reach = np.cumsum(rolled.phi**steps) if form.damped else steps
        mean = mean + np.asarray(rolled.slope)[origin, None] * reach
        weights = weights + rolled.beta * reach
    if form.season > 1:
        mean = mean + repeat_season(np.asarray(rolled.season), origin + 1, season, horizon)
        weights = weights + rolled.gamma * (steps % season == 0)
    variance = fit.mse * (1 + np.concatenate([[0.0], np.cumsum(np.square(weights))[:-1]]))
    return Rolled(mean, np.sqrt(variance), form.name)


def _choose(known: np.ndarray, season: int, initial: str) -> tuple[Form, Any]:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    best: tuple[float, Form, Any] | None = None
    for form in forms(season):
        try:
            fit = ETSModel(known, initialization_method=initial, **form.options).fit(disp=False)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            continue
        if not np.isnan(fit.aic) and (best is None or fit.aic < best[0]):
            best = (float(fit.aic), form, fit)
    if best is None:
        raise CannotFit("no form of exponential smoothing could be estimated")
    return best[1:]
