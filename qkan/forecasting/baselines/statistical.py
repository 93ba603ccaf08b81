"""Statistical models of one series: fitted once, then carried forward over rolling origins with fixed parameters.

Each is fitted to values without gaps and gives point forecasts and standard errors from any later row. statsmodels
estimates all parameters. What follows from them at an origin (a state moved forward) is linear algebra for all origins
at once: refitting or refiltering at each of hundreds of origins would cost hundreds of times as much. The tests hold
every number against statsmodels' own forecast at that origin.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from qkan.forecasting.baselines.interface import CannotFit, Step, say_nothing

MAX_FIT = 2000
"""A model is fitted on at most this many values, the last ones before the first origin."""
MAX_SARIMA_SEASON = 60
"""Longest season with seasonal terms in SARIMA: its state has a number for every step of it, and time grows with the
square. Longer seasons are a sum of harmonics."""
SEASONAL_ORDERS = (((1, 0, 1), (0, 1, 1)), ((2, 0, 0), (0, 1, 1)), ((1, 0, 1), (1, 1, 0)))
"""Orders (p, d, q), (P, D, Q) of SARIMA for a seasonal series; all difference alike, so that their AICs compare."""
HARMONICS = 10
"""Sines and cosines that stand for a season beyond :data:`MAX_SARIMA_SEASON`."""
PLAIN_ORDERS = ((0, 1, 1), (1, 1, 1), (2, 1, 0))
"""Orders (p, d, q) for a series without season, or whose harmonics were taken away."""


@dataclass(frozen=True, eq=False)
class Rolled:
    """Forecasts of one model from some origins of one series.

    Args:
        mean: Point forecasts, float64 (origins, horizon).
        error: Standard error of the forecast of every step, normal theory, float64 (horizon,); ``None`` if the model
            gives none.
    """

    mean: np.ndarray
    error: np.ndarray | None


class SeriesModel(Protocol):
    """A model that was fitted to the first values of a series."""

    @property
    def choice(self) -> str:
        """What was chosen or estimated, in words."""
        ...

    @property
    def parameters(self) -> int:
        """How many numbers were estimated."""
        ...

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Forecast from rows at and behind those that were fitted.

        Args:
            values: All values of the series, (points,); those that were fitted stand first.
            first: Row of the first target of every forecast, (origins,); the number of points asks for what follows.
            horizon: Steps to forecast.
        """
        ...


@dataclass(frozen=True, eq=False)
class Wave:
    """A fixed function of time beside a model of the rest: a line, and the harmonics of a season.

    Args:
        season: Period in steps of the harmonics.
        terms: Weights of cosines and then sines, (2 harmonics,); empty for none.
        level, slope: Of the line, whose steps count from the first value.
    """

    season: int = 1
    terms: tuple[float, ...] = ()
    level: float = 0.0
    slope: float = 0.0

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Values at some rows, of their shape."""
        line = self.level + self.slope * rows
        return line + harmonic_terms(rows, self.season, len(self.terms) // 2) @ np.array(self.terms)

    @property
    def parameters(self) -> int:
        """Estimated numbers."""
        return len(self.terms) + (self.level != 0) + (self.slope != 0)


def harmonic_terms(rows: np.ndarray, season: int, count: int) -> np.ndarray:
    """Return cosines, then sines, of ``count`` harmonics at some rows: (..., 2 count)."""
    angle = 2 * np.pi * rows[..., None] * np.arange(1, count + 1) / season
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)


@dataclass(frozen=True, eq=False)
class Sarima:
    """Seasonal ARIMA with estimated parameters.

    Args:
        order: (p, d, q).
        seasonal: (P, D, Q, season).
        params: Of statsmodels' SARIMAX without a constant: ar, ma, seasonal ar, seasonal ma, variance.
        unit: What the values were divided by.
        begin: First row that was fitted.
        wave: What was taken away before; of rows from ``begin``.
    """

    order: tuple[int, int, int]
    seasonal: tuple[int, int, int, int]
    params: np.ndarray
    unit: float
    begin: int
    wave: Wave = Wave()

    @property
    def choice(self) -> str:
        """``(1,0,1)(0,1,1)[24]``, and the harmonics that were taken away before."""
        text, count = order_name(self.order, self.seasonal), len(self.wave.terms) // 2
        return f"{text} after {count} harmonics of [{self.wave.season}]" if count else text

    @property
    def parameters(self) -> int:
        """Numbers that were estimated."""
        return len(self.params) + self.wave.parameters

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Move the filtered state forward from every origin, and undo the differences."""
        from statsmodels.tsa.arima_process import arma2ma
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        rows = np.arange(len(values) - self.begin)
        rest = (values[self.begin :] - self.wave.at(rows)) / self.unit
        differenced = self._difference()
        lags = len(differenced) - 1
        changes = np.convolve(rest, differenced, "valid")
        plain = (self.order[0], 0, self.order[2]), (self.seasonal[0], 0, *self.seasonal[2:])
        with quietly():
            model = SARIMAX(changes, order=plain[0], seasonal_order=plain[1])
            filtered = model.filter(self.params)
        origin = first - self.begin
        mean = _state_forecasts(filtered, origin - lags, horizon)
        for step in range(horizon):
            for lag in np.flatnonzero(differenced[1:]) + 1:  # the value before is known, or forecast already
                before = rest[origin + step - lag] if step < lag else mean[:, step - lag]
                mean[:, step] -= differenced[lag] * before
        ar = np.convolve(filtered.polynomial_reduced_ar, differenced)
        psi = arma2ma(ar, filtered.polynomial_reduced_ma, horizon)
        variance = self.params[-1] * np.cumsum(np.square(psi))
        wave = self.wave.at(origin[:, None] + np.arange(horizon))
        return Rolled(self.unit * mean + wave, self.unit * np.sqrt(variance))

    def _difference(self) -> np.ndarray:
        """Coefficients of (1 - B)^d (1 - B^season)^D."""
        found = np.ones(1)
        for lag in (*[1] * self.order[1], *[self.seasonal[3]] * self.seasonal[1]):
            found = np.convolve(found, [1.0, *[0.0] * (lag - 1), -1.0])
        return found


def order_name(order: tuple[int, int, int], seasonal: tuple[int, int, int, int]) -> str:
    """Return ``(1,0,1)(0,1,1)[24]``."""
    text = f"({','.join(map(str, order))})"
    return f"{text}({','.join(map(str, seasonal[:3]))})[{seasonal[3]}]" if seasonal[3] > 1 else text


def fit_sarima(known: np.ndarray, season: int, choice: str = "", step: Step = say_nothing) -> Sarima:
    """Fit the seasonal ARIMA of the order in a short list that has the smallest AIC (statsmodels SARIMAX).

    A season beyond :data:`MAX_SARIMA_SEASON` is taken away first, as the least-squares sum of harmonics in the known
    part (harmonic regression, in two steps: Hyndman and Athanasopoulos, section 10.5), and added again.

    Standard errors are those of a long known past, sigma^2 (1 + psi_1^2 + ... + psi_(h-1)^2): Box and Jenkins (1976),
    Time Series Analysis, ch. 5.

    Args:
        known: Values before the first origin, (points,).
        season: Period in steps; 1 means none.
        choice: Of an earlier fit, whose order is the only one to estimate; "" tries all.
        step: Called after every step of the optimiser.

    Raises:
        CannotFit: fewer than three seasons, or 20 values, are known, or they are constant once differenced.
    """
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    begin = fitting_part(len(known), max(20, 3 * season), season)
    values, wave = known[begin:], Wave()
    if season > MAX_SARIMA_SEASON:
        values, wave = without_harmonics(values, season, HARMONICS)
    period = 1 if season > MAX_SARIMA_SEASON else season
    changes = values[period:] - values[:-period]
    if np.ptp(changes) == 0:
        raise CannotFit("the known values are constant once differenced")
    unit = float(np.sqrt(np.mean(np.square(changes))))  # the optimiser wants numbers near 1
    best: tuple[float, Sarima] | None = None
    with quietly():
        for order, seasonal in _orders(period):
            if choice and choice.partition(" ")[0] != order_name(order, seasonal):
                continue
            plain = (order[0], 0, order[2]), (seasonal[0], 0, *seasonal[2:])
            model = SARIMAX(changes / unit, order=plain[0], seasonal_order=plain[1])
            result = model.fit(disp=False, maxiter=100, cov_type="none", callback=lambda _: step())
            if np.isfinite(result.aic) and (best is None or result.aic < best[0]):
                best = float(result.aic), Sarima(order, seasonal, np.asarray(result.params), unit, begin, wave)
    if best is None:
        raise CannotFit("no order of the list could be estimated")
    return best[1]


def without_harmonics(values: np.ndarray, season: int, count: int) -> tuple[np.ndarray, Wave]:
    """Return values less the least-squares sum of a season's harmonics, and that sum."""
    terms = harmonic_terms(np.arange(len(values)), season, count)
    weights = np.linalg.lstsq(np.hstack([terms, np.ones((len(values), 1))]), values, rcond=None)[0]
    return values - terms @ weights[:-1], Wave(season, tuple(weights[:-1]))


def _orders(season: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int, int]]]:
    if season == 1:
        return [(order, (0, 0, 0, 0)) for order in PLAIN_ORDERS]
    return [(order, (*seasonal, season)) for order, seasonal in SEASONAL_ORDERS]


def _state_forecasts(filtered: Any, first: np.ndarray, horizon: int) -> np.ndarray:
    """Move the state that is predicted for each first target forward: float64 (origins, horizon)."""
    state = filtered.filter_results.predicted_state[:, first]
    transition, design = (filtered.model.ssm[name] for name in ("transition", "design"))
    mean = np.empty((len(first), horizon))
    for step in range(horizon):
        mean[:, step] = (design @ state)[0]
        state = transition @ state
    return mean


@dataclass(frozen=True, eq=False)
class Theta:
    """The theta method with estimated parameters.

    Args:
        slope, alpha: Of the trend and of the smoothing.
        seasonal: Indices of a season that begins at ``end``, (season,); a single one for none.
        multiplies: Whether they are factors.
        begin, end: Rows that were fitted.
    """

    slope: float
    alpha: float
    seasonal: np.ndarray
    multiplies: bool
    begin: int
    end: int

    @property
    def choice(self) -> str:
        """How the season was taken away."""
        kind = "none" if np.ptp(self.seasonal) == 0 else "multiplied" if self.multiplies else "added"
        return f"season {kind}"

    @property
    def parameters(self) -> int:
        """Numbers that were estimated."""
        return 2 + (len(self.seasonal) if len(self.seasonal) > 1 else 0)

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Smooth up to every origin and draw on half the trend."""
        from scipy.signal import lfilter

        clean = self.clean(values[self.begin :], self.begin)
        alpha = self.alpha
        level = lfilter([alpha], [1.0, alpha - 1.0], clean, zi=[(1 - alpha) * clean[0]])[0]
        origin = first - self.begin  # values seen so far
        shift = np.divide(1 - (1 - alpha) ** origin, alpha) if alpha > 0 else np.zeros(len(origin))
        steps = np.arange(horizon)
        mean = level[origin - 1, None] + 0.5 * self.slope * (steps + shift[:, None])
        index = self.seasonal[(first[:, None] + steps - self.end) % len(self.seasonal)]
        return Rolled(mean * index if self.multiplies else mean + index, None)

    def clean(self, values: np.ndarray, begin: int) -> np.ndarray:
        """Values from row ``begin`` on, without their season."""
        index = self.seasonal[(np.arange(begin, begin + len(values)) - self.end) % len(self.seasonal)]
        return values / index if self.multiplies else values - index


def fit_theta(known: np.ndarray, season: int) -> Theta:
    """Fit the theta method with theta = 2 (statsmodels ThetaModel): smoothing and half the linear trend.

    Assimakopoulos and Nikolopoulos (2000), Int. J. Forecasting 16, 521-530. Seasonal indices, slope and smoothing are
    those of the known part. No intervals: statsmodels estimates their variance with the season left in. Arguments as
    for :func:`fit_sarima`.

    Raises:
        CannotFit: fewer than two seasons, or 5 values, are known, or they are constant.
    """
    from statsmodels.tsa.forecasting.theta import ThetaModel

    begin = fitting_part(len(known), max(5, 2 * season + 1), season)
    with quietly():
        model = ThetaModel(known[begin:], period=max(season, 2), deseasonalize=season > 1)
        result = model.fit()
        seasonal = result.forecast_components(season)["seasonal"].to_numpy() if season > 1 else np.zeros(1)
    slope, alpha = (float(value) for value in result.params)
    multiplies = season > 1 and model.method.startswith("mul")
    found = Theta(slope, alpha, seasonal, multiplies, begin, len(known))
    if np.ptp(found.clean(known[begin:], begin)) == 0:  # statsmodels' slope is wrong then
        raise CannotFit("the known values are constant without their season")
    return found


def fitting_part(known: int, least: int, season: int) -> int:
    """Return the row where fitting begins."""
    if known < least:
        raise CannotFit(f"only {known} values before the first origin, at least {least} needed for season {season}")
    return max(0, known - max(MAX_FIT, least))


@contextmanager
def quietly() -> Iterator[None]:
    """Keep estimation warnings off the user's terminal: what could not be estimated is reported by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
