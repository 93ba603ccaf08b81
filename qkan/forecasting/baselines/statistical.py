"""Statistical models of one series: fitted once, then carried forward over rolling origins with fixed parameters.

Each takes values without gaps, the number of them that may be used for fitting, and the rows of the first targets; each
returns point forecasts and standard errors. statsmodels estimates all parameters. What follows from them at an origin
(a state moved forward) is linear algebra for all origins at once: refitting or refiltering at each of hundreds of
origins would cost hundreds of times as much. The tests hold every number against statsmodels' own forecast at that
origin.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

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


class CannotFit(ValueError):  # noqa: N818  (it is an answer to report, not a fault)
    """A baseline cannot be fitted to a series; the message is the reason in a few words."""


@dataclass(frozen=True, eq=False)
class Rolled:
    """Forecasts of one model from all origins of one series.

    Args:
        mean: Point forecasts, float64 (origins, horizon).
        error: Standard error of the forecast of every step, normal theory, float64 (horizon,); ``None`` if the model
            gives none.
        choice: What was chosen or estimated, in words.
    """

    mean: np.ndarray
    error: np.ndarray | None
    choice: str


def sarima(values: np.ndarray, known: int, first: np.ndarray, horizon: int, season: int) -> Rolled:
    """Seasonal ARIMA of the order in a short list that has the smallest AIC (statsmodels SARIMAX).

    A season beyond :data:`MAX_SARIMA_SEASON` is taken away first, as the least-squares sum of harmonics in the known
    part (harmonic regression, in two steps: Hyndman and Athanasopoulos, section 10.5), and added again.

    Standard errors are those of a long known past, sigma^2 (1 + psi_1^2 + ... + psi_(h-1)^2): Box and Jenkins (1976),
    Time Series Analysis, ch. 5.

    Args:
        values: All values of the series, (points,).
        known: Values that may be used for fitting.
        first: Row of the first target of every forecast, (origins,), at least ``known``.
        horizon: Steps to forecast.
        season: Period in steps; 1 means none.

    Raises:
        CannotFit: fewer than three seasons, or 20 values, are known, or they are constant once differenced.
    """
    from statsmodels.tsa.arima_process import arma2ma
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    begin = fitting_part(known, max(20, 3 * season), season)
    if season > MAX_SARIMA_SEASON:
        wave = _harmonics(values, begin, known, season)
        rest = sarima(values - wave, known, first, horizon, 1)
        mean = rest.mean + wave[first[:, None] + np.arange(horizon)]
        return Rolled(mean, rest.error, f"{rest.choice} after {HARMONICS} harmonics of [{season}]")
    lag = season if season > 1 else 1
    changes = values[begin + lag :] - values[begin:-lag]
    fitted = changes[: known - begin - lag]
    if np.ptp(fitted) == 0:
        raise CannotFit("the known values are constant once differenced")
    unit = float(np.sqrt(np.mean(np.square(fitted))))  # the optimiser wants numbers near 1
    best = None
    with quietly():
        for order, seasonal_order in _orders_once_differenced(season):
            model = SARIMAX(fitted / unit, order=order, seasonal_order=seasonal_order)
            result = model.fit(disp=False, maxiter=100)
            if np.isfinite(result.aic) and (best is None or result.aic < best[0]):
                best = (result.aic, order, seasonal_order, np.asarray(result.params))
        if best is None:
            raise CannotFit("no order of the list could be estimated")
        _, order, seasonal_order, params = best
        model = SARIMAX(changes / unit, order=order, seasonal_order=seasonal_order)
        filtered = model.filter(params)
    mean = unit * _state_forecasts(filtered, first - begin - lag, horizon)
    for step in range(horizon):  # undo the difference: the value one lag back is known or forecast already
        mean[:, step] += values[first + step - lag] if step < lag else mean[:, step - lag]
    differenced = np.zeros(lag + 1)
    differenced[[0, lag]] = 1.0, -1.0
    ar = np.convolve(filtered.polynomial_reduced_ar, differenced)
    psi = arma2ma(ar, filtered.polynomial_reduced_ma, horizon)
    variance = unit**2 * params[-1] * np.cumsum(np.square(psi))
    return Rolled(mean, np.sqrt(variance), _order_name(order, seasonal_order, season))


def _harmonics(values: np.ndarray, begin: int, known: int, season: int) -> np.ndarray:
    """Return the seasonal sum of sines and cosines for all rows, fitted to the rows from ``begin`` to ``known``."""
    angle = 2 * np.pi * np.outer(np.arange(len(values)), np.arange(1, HARMONICS + 1)) / season
    terms = np.hstack([np.cos(angle), np.sin(angle)])
    constant = np.ones((known - begin, 1))
    weights = np.linalg.lstsq(np.hstack([terms[begin:known], constant]), values[begin:known], rcond=None)[0]
    return terms @ weights[:-1]


def _orders_once_differenced(season: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int, int]]]:
    """Return the orders to try, of values that were differenced already."""
    if season == 1:
        return [((p, 0, q), (0, 0, 0, 0)) for p, _, q in PLAIN_ORDERS]
    return [(order, (P, 0, Q, season)) for order, (P, _, Q) in SEASONAL_ORDERS]


def _state_forecasts(filtered: Any, first: np.ndarray, horizon: int) -> np.ndarray:
    """Move the state that is predicted for each first target forward: float64 (origins, horizon)."""
    state = filtered.filter_results.predicted_state[:, first]
    transition, design = (filtered.model.ssm[name] for name in ("transition", "design"))
    mean = np.empty((len(first), horizon))
    for step in range(horizon):
        mean[:, step] = (design @ state)[0]
        state = transition @ state
    return mean


def _order_name(order: tuple[int, ...], seasonal: tuple[int, ...], season: int) -> str:
    if season == 1:
        return f"({order[0]},1,{order[2]})"
    return f"({order[0]},0,{order[2]})({seasonal[0]},1,{seasonal[2]})[{season}]"


def theta(values: np.ndarray, known: int, first: np.ndarray, horizon: int, season: int) -> Rolled:
    """Forecast by the theta method with theta = 2 (statsmodels ThetaModel): smoothing and half the linear trend.

    Assimakopoulos and Nikolopoulos (2000), Int. J. Forecasting 16, 521-530. Seasonal indices, slope and smoothing are
    those of the known part. No intervals: statsmodels estimates their variance with the season left in. Arguments as
    for :func:`exponential_smoothing`.

    Raises:
        CannotFit: fewer than two seasons, or 5 values, are known, or they are constant.
    """
    from scipy.signal import lfilter
    from statsmodels.tsa.forecasting.theta import ThetaModel

    begin = fitting_part(known, max(5, 2 * season + 1), season)
    with quietly():
        model = ThetaModel(values[begin:known], period=max(season, 2), deseasonalize=season > 1)
        result = model.fit()
        seasonal = result.forecast_components(season)["seasonal"].to_numpy() if season > 1 else np.zeros(1)
    slope, alpha = (float(value) for value in result.params)
    multiplies = season > 1 and model.method.startswith("mul")
    rows = np.arange(begin, len(values))
    index = seasonal[(rows - known) % len(seasonal)]
    clean = values[begin:] / index if multiplies else values[begin:] - index
    if np.ptp(clean[: known - begin]) == 0:  # statsmodels' slope is wrong then
        raise CannotFit("the known values are constant without their season")
    level = lfilter([alpha], [1.0, alpha - 1.0], clean, zi=[(1 - alpha) * clean[0]])[0]
    origin = first - begin  # values seen so far
    shift = np.divide(1 - (1 - alpha) ** origin, alpha) if alpha > 0 else np.zeros(len(origin))
    steps = np.arange(horizon)
    mean = level[origin - 1, None] + 0.5 * slope * (steps + shift[:, None])
    index = seasonal[(first[:, None] + steps - known) % len(seasonal)]
    mean = mean * index if multiplies else mean + index
    kind = "none" if np.ptp(seasonal) == 0 else "multiplied" if multiplies else "added"
    return Rolled(mean, None, f"season {kind}")


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
