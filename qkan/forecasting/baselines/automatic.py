"""Models of one series that choose their own form, of statsforecast: AutoARIMA, AutoETS and MSTL.

Parameters are those of the values before the first origin, as everywhere; what moves on is the state. AutoARIMA becomes
the same class as our SARIMA, so every origin costs a step of a filter. AutoETS, and the trend of MSTL, are carried
forward by statsforecast itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qkan.forecasting.baselines.interface import CannotFit
from qkan.forecasting.baselines.statistical import (
    HARMONICS,
    MAX_FIT,
    MAX_SARIMA_SEASON,
    Rolled,
    Sarima,
    SeriesModel,
    Wave,
    fitting_part,
    quietly,
    without_harmonics,
)

MOST_DECOMPOSITIONS = 8
"""MSTL's loess of a long season takes seconds, so it is done at most so many times over the origins of a series."""
MAX_ETS_SEASON = 24
"""Longest season with seasonal states in AutoETS, as in its model."""


def fit_autoarima(known: np.ndarray, seasons: tuple[int, ...]) -> Sarima:
    """Fit the ARIMA that the stepwise search of Hyndman and Khandakar (2008) finds by AICc.

    A season beyond :data:`MAX_SARIMA_SEASON` is a sum of harmonics, as in ``fit_sarima``.

    Args:
        known: Values before the first origin, (points,).
        seasons: In steps, shortest first; the shortest is taken.

    Raises:
        CannotFit: too few values, or constant ones.
    """
    from statsforecast.models import AutoARIMA

    season = seasons[0] if seasons else 1
    begin = fitting_part(len(known), max(20, 3 * season), season)
    values, wave = known[begin:], Wave()
    if season > MAX_SARIMA_SEASON:
        values, wave = without_harmonics(values, season, HARMONICS)
        season = 1
    if np.ptp(values) == 0:
        raise CannotFit("the known values are constant")
    unit = float(np.std(values))
    with quietly():
        model = AutoARIMA(season_length=season, approximation=len(values) > 150 or season > 12)
        found = model.fit(values / unit).model_
    coefficients = found["coef"]
    p, q, big_p, big_q, period, d, big_d = (int(number) for number in found["arma"])
    level = unit * float(coefficients.get("intercept", 0.0))
    slope = unit * float(coefficients.get("drift", 0.0))
    names = [f"{kind}{lag}" for kind, count in _kinds(p, q, big_p, big_q) for lag in range(1, count + 1)]
    params = np.array([*(float(coefficients[name]) for name in names), float(found["sigma2"])])
    seasonal = (big_p, big_d, big_q, period) if big_p or big_d or big_q else (0, 0, 0, 0)
    wave = Wave(wave.season, wave.terms, level, slope)
    return Sarima((p, d, q), seasonal, params, unit, begin, wave)


def _kinds(p: int, q: int, big_p: int, big_q: int) -> tuple[tuple[str, int], ...]:
    return ("ar", p), ("ma", q), ("sar", big_p), ("sma", big_q)


@dataclass(frozen=True, eq=False)
class Forwarded:
    """A model of statsforecast with estimated parameters.

    Args:
        model: It can be moved ``forward`` to other values.
        choice: What was chosen, in words.
        parameters: Numbers that were estimated.
        begin: First row that was fitted.
    """

    model: Any
    choice: str
    parameters: int
    begin: int

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Move the model to every origin."""
        with quietly():
            means = [self.model.forward(y=values[self.begin : own], h=horizon)["mean"] for own in first]
        return Rolled(np.stack(means).astype(np.float64), None)


def fit_autoets(known: np.ndarray, seasons: tuple[int, ...]) -> SeriesModel:
    """Fit exponential smoothing of the form with the smallest AICc, of all that are stable.

    A season beyond :data:`MAX_ETS_SEASON` is left out, as the package does by itself.

    Raises:
        CannotFit: too few values, or constant ones.
    """
    from statsforecast.models import AutoETS

    season = seasons[0] if seasons and seasons[0] <= MAX_ETS_SEASON else 1
    begin = fitting_part(len(known), max(10, 2 * season + 1), season)
    if np.ptp(known[begin:]) == 0:
        raise CannotFit("the known values are constant")
    with quietly():
        model = AutoETS(season_length=season).fit(known[begin:])
    return Forwarded(model, str(model.model_["method"]), int(np.isfinite(model.model_["par"]).sum()), begin)


@dataclass(frozen=True, eq=False)
class Mstl:
    """A trend and several seasons by loess, the trend carried forward by AutoETS.

    Args:
        seasons: In steps.
        trend: AutoETS of the values without seasons.
        begin: First row that was fitted.
    """

    seasons: tuple[int, ...]
    trend: Any
    begin: int

    @property
    def choice(self) -> str:
        """Seasons, and the form of the trend."""
        return f"seasons {', '.join(map(str, self.seasons))}, trend {self.trend.model_['method']}"

    @property
    def parameters(self) -> int:
        """Estimated numbers: a season's worth for each, and those of the trend."""
        return sum(self.seasons) + int(np.isfinite(self.trend.model_["par"]).sum())

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Decompose anew every few seasons, and forecast what is left from every origin."""
        reach = int(first.max()) - int(first.min()) + 1
        block = self.seasons[0] * -(-reach // (self.seasons[0] * MOST_DECOMPOSITIONS))
        means = np.empty((len(first), horizon))
        for number in np.unique((first - first.min()) // block):
            own = (first - first.min()) // block == number
            cut = int(first.min()) + int(number) * block  # known at every origin of the block
            begin = max(self.begin, cut - max(MAX_FIT, 2 * self.seasons[-1] + 1))
            seasonal = _repeated(_seasonal(values[begin:cut], self.seasons), self.seasons)
            rest = values[begin:] - seasonal(np.arange(len(values) - begin))
            with quietly():
                trends = [self.trend.forward(y=rest[: at - begin], h=horizon)["mean"] for at in first[own]]
            means[own] = np.stack(trends) + seasonal(first[own][:, None] - begin + np.arange(horizon))
        return Rolled(means, None)


def _seasonal(values: np.ndarray, seasons: tuple[int, ...]) -> np.ndarray:
    """The seasonal parts of values, (points, seasons)."""
    from statsforecast.mstl import mstl

    with quietly():
        table = mstl(values, list(seasons))
    columns = [name for name in table if str(name).startswith("seasonal")]
    return table[columns].to_numpy(np.float64)


def _repeated(parts: np.ndarray, seasons: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of rows: the seasonal sum inside the parts, and its last season again behind them."""
    length = len(parts)

    def at(rows: np.ndarray) -> np.ndarray:
        total = np.zeros(rows.shape)
        for place, season in enumerate(seasons):
            behind = length - season + (rows - length) % season
            total += parts[np.where(rows < length, rows, behind), place]
        return total

    return at


def fit_mstl(known: np.ndarray, seasons: tuple[int, ...]) -> Mstl:
    """Fit MSTL (Bandara, Hyndman and Bergmeir, 2021) with AutoETS for the trend.

    Raises:
        CannotFit: there is no season of which two are known, or the values are constant.
    """
    from statsforecast.models import AutoETS

    whole = tuple(season for season in seasons if 2 * season < len(known))
    if not whole:
        raise CannotFit("it has no season that is known twice")
    begin = fitting_part(len(known), 2 * whole[-1] + 1, whole[-1])
    values = known[begin:]
    if np.ptp(values) == 0:
        raise CannotFit("the known values are constant")
    rest = values - _seasonal(values, whole).sum(axis=1)
    with quietly():
        trend = AutoETS(model="ZZN").fit(rest)
    return Mstl(whole, trend, begin)


AUTOMATIC_MODELS: dict[str, Callable[[np.ndarray, tuple[int, ...]], SeriesModel]] = {
    "autoarima": fit_autoarima,
    "autoets": fit_autoets,
    "mstl": fit_mstl,
}
"""Models of one series, by what asks for them."""
