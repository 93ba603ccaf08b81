"""Models that are fitted to every series by itself, several series at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.interface import (
    Baseline,
    CannotFit,
    Fitting,
    Forecasts,
    Interrupted,
    Origins,
    Step,
    known_values,
    say_nothing,
)
from qkan.forecasting.baselines.long_season import fit_double_sarima
from qkan.forecasting.baselines.smoothing import fit_ets
from qkan.forecasting.baselines.statistical import Rolled, SeriesModel, fit_sarima, fit_theta
from qkan.forecasting.config import model_name
from qkan.forecasting.executors import start_executor

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

Fit = Callable[[np.ndarray, tuple[int, ...], str, Step], SeriesModel]
"""From the known values of a series, (points,), its seasons, shortest first, an earlier choice, or "", and what is
called after every step of the optimiser, to a fitted model."""


def _shortest(
    fit: Callable[[np.ndarray, int, str, Step], SeriesModel],
    known: np.ndarray,
    seasons: tuple[int, ...],
    choice: str,
    step: Step,
) -> SeriesModel:
    return fit(known, seasons[0] if seasons else 1, choice, step)


SERIES_MODELS: dict[str, Fit] = {
    "ets": partial(_shortest, fit_ets),
    "sarima": partial(_shortest, fit_sarima),
    "double-sarima": fit_double_sarima,
    "theta": partial(_shortest, lambda known, season, *_: fit_theta(known, season)),
}
"""Models of one series, by what asks for them."""


@dataclass(frozen=True, eq=False)
class FittedSeries:
    """A model of one series, or why there is none.

    Args:
        model: ``None`` if it could not be fitted.
        reason: Why not.
        unknown: Values at the beginning that are NaN, which the model does not see.
    """

    model: SeriesModel | None
    reason: str
    unknown: int

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled | None:
        """Forecast from some rows of the series, NaN at the beginning included.

        Raises:
            CannotFit: the forecasts are not finite.
        """
        if self.model is None:
            return None
        rolled = self.model.roll(values[self.unknown :], first - self.unknown, horizon)
        if not np.isfinite(rolled.mean).all() or (rolled.error is not None and not np.isfinite(rolled.error).all()):
            raise CannotFit("the fitted model gives forecasts that are not finite")
        return rolled


def fit_one(
    name: str, known: np.ndarray, seasons: tuple[int, ...], choice: str = "", step: Step = say_nothing
) -> FittedSeries:
    """Fit a model to the known values of one series, which may begin with NaN.

    Args:
        name: What asks for it.
        known: Values, (points,).
        seasons: In steps, shortest first.
        choice: Of an earlier fit of ETS or SARIMA: only this form is estimated.
        step: Called after every step of the optimiser of ETS or SARIMA.

    Raises:
        Interrupted: ``step`` did.
    """
    unknown = int(np.isnan(known).sum())  # at the beginning: later gaps are filled
    try:
        if unknown == len(known):
            raise CannotFit("no value is known at the first origin")
        return FittedSeries(series_model(name)(known[unknown:], seasons, choice, step), "", unknown)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001  (an estimator may fail in any way; the others must go on)
        return FittedSeries(None, reason_of(error), unknown)


def series_model(name: str) -> Fit:
    """Return how a model of one series is fitted; that of an extra is imported now."""
    if name in SERIES_MODELS:
        return SERIES_MODELS[name]
    from qkan.forecasting.baselines.automatic import AUTOMATIC_MODELS

    fit = AUTOMATIC_MODELS[name]
    return lambda known, seasons, *_: fit(known, seasons)


def reason_of(error: Exception) -> str:
    """Return why something could not be fitted, in a few words."""
    return str(error) if isinstance(error, CannotFit) else f"{type(error).__name__}: {error}"


class PerSeries(Baseline):
    """A model of every series by itself."""

    def __init__(self, name: str, data: ForecastData, fitted: Sequence[FittedSeries]) -> None:
        models = [own.model for own in fitted if own.model is not None]
        super().__init__(name, sum(model.parameters for model in models))
        self.data, self.fitted = data, list(fitted)
        self.failures = {data.ids[i]: own.reason for i, own in enumerate(fitted) if own.model is None}
        self.choices = {data.ids[i]: own.model.choice for i, own in enumerate(fitted) if own.model is not None}
        self.settings = self.choices

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin; a model whose forecasts are not finite joins the failures."""
        mean = np.full((len(origins.known), self.data.horizon), np.nan)
        error = mean.copy()
        for index in np.unique(origins.series):
            own = origins.series == index
            try:
                rolled = self.fitted[index].roll(known_values(self.data, index), origins.known[own], self.data.horizon)
            except CannotFit as cause:
                self.failures[self.data.ids[index]] = str(cause)
                continue
            if rolled is not None:
                mean[own] = rolled.mean
                error[own] = np.nan if rolled.error is None else rolled.error
        return Forecasts(mean, None if np.isnan(error).all() else error)


def fit_per_series(asked: str, data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """Fit a model of :data:`SERIES_MODELS` to the training part of every series."""
    ends = data.boundaries[:, 0]
    given = fitting.settings.get(asked, {})
    jobs = [
        (asked, known_values(data, index)[:end], tuple(data.series.season), given.get(data.ids[index], ""))
        for index, end in enumerate(ends)
    ]
    name, fitted = model_name(asked), dict[int, FittedSeries]()
    fitting.told(name, 0, len(jobs))
    workers = min(fitting.workers, len(jobs))
    step = fitting.step if workers <= 1 else say_nothing  # which other processes could not hear
    with start_executor(_fit_job, step, workers=max(1, workers), name=lambda job: f"the fit of {name}") as fit_all:
        for place, own in fit_all(jobs):
            fitted[place] = own
            fitting.told(name, len(fitted), len(jobs))
    return [PerSeries(name, data, [fitted[place] for place in range(len(jobs))])]


def _fit_job(step: Step, job: tuple[str, np.ndarray, tuple[int, ...], str]) -> FittedSeries:
    return fit_one(*job, step)
