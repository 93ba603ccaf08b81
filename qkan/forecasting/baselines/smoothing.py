"""Exponential smoothing: the model of the family with the smallest AIC, carried forward over rolling origins.

Hyndman, Koehler, Ord and Snyder (2008), Forecasting with Exponential Smoothing, ch. 2 and table 6.1: the models with
added errors. statsmodels estimates all parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qkan.forecasting.baselines.interface import CannotFit, Step, say_nothing
from qkan.forecasting.baselines.simple import repeat_season
from qkan.forecasting.baselines.statistical import Rolled, fitting_part, quietly

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


@dataclass(frozen=True, eq=False)
class Ets:
    """Exponential smoothing with estimated parameters.

    Args:
        form: The member of the family.
        start: First states, as statsmodels' ETSModel takes them.
        params: Of the model with these first states.
        variance: Of a forecast of one step.
        begin: First row that was fitted.
        estimated: How many numbers were estimated.
    """

    form: Form
    start: dict[str, Any]
    params: np.ndarray
    variance: float
    begin: int
    estimated: int

    @property
    def choice(self) -> str:
        """The name of the form."""
        return self.form.name

    @property
    def parameters(self) -> int:
        """Numbers that were estimated."""
        return self.estimated

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Smooth up to every origin and forecast from the states there."""
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        form = self.form
        with quietly():
            moved = ETSModel(values[self.begin :], initialization_method="known", **self.start, **form.options)
            rolled = moved.smooth(self.params[: len(moved.param_names)])
        origin, steps = first - self.begin - 1, np.arange(1, horizon + 1)
        mean = np.repeat(np.asarray(rolled.level)[origin, None], horizon, axis=1)
        weights = np.full(horizon, rolled.alpha)  # of an error on the forecast 1, 2, ... steps later
        if form.trend:
            reach = np.cumsum(rolled.phi**steps) if form.damped else steps
            mean = mean + np.asarray(rolled.slope)[origin, None] * reach
            weights = weights + rolled.beta * reach
        if form.season > 1:
            mean = mean + repeat_season(np.asarray(rolled.season), origin + 1, form.season, horizon)
            weights = weights + rolled.gamma * (steps % form.season == 0)
        variance = self.variance * (1 + np.concatenate([[0.0], np.cumsum(np.square(weights))[:-1]]))
        return Rolled(mean, np.sqrt(variance))


def fit_ets(known: np.ndarray, season: int, choice: str = "", step: Step = say_nothing) -> Ets:
    """Fit exponential smoothing of the form in :func:`forms` that has the smallest AIC (statsmodels ETSModel).

    Args:
        known: Values before the first origin, (points,).
        season: Period in steps; 1 means none.
        choice: Name of the only form to estimate; "" tries all.
        step: Called after every step of the optimiser.

    Raises:
        CannotFit: fewer than two seasons, or 10 values, are known, or no form could be estimated.
    """
    begin = fitting_part(len(known), max(10, 2 * season + 1), season)
    initial = "estimated" if season <= MAX_ESTIMATED_SEASON else "heuristic"
    with quietly():
        tried = [form for form in forms(season) if choice in ("", form.name)]
        form, fit = _choose(known[begin:], tried, initial, step)
    # The heuristic would look at later values for its first state, so the first state is given.
    names = ("level", *(["trend"] if form.trend else []), *(["seasonal"] if form.season > 1 else []))
    start = {f"initial_{name}": getattr(fit, f"initial_{name}") for name in names}
    states = 0 if initial == "estimated" else 1 + form.trend + (form.season if form.season > 1 else 0)
    return Ets(form, start, np.asarray(fit.params), float(fit.mse), begin, len(fit.params) + states)


def _choose(known: np.ndarray, tried: list[Form], initial: str, step: Step) -> tuple[Form, Any]:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    best: tuple[float, Form, Any] | None = None
    for form in tried:
        try:
            model = ETSModel(known, initialization_method=initial, **form.options)
            fit = model.fit(disp=False, callback=lambda _: step())
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            continue
        if not np.isnan(fit.aic) and (best is None or fit.aic < best[0]):
            best = (float(fit.aic), form, fit)
    if best is None:
        raise CannotFit("no form of exponential smoothing could be estimated")
    return best[1:]
