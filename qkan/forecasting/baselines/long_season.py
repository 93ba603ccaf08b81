"""SARIMA for two seasons, a day and a week: the longer one is a profile that is taken away before.

A seasonal ARIMA differences by its season, so Saturday is forecast from Friday. A second seasonal difference needs a
long past and costs a state of every step of the week; what Mondays have in common is steadier than that. Its profile is
estimated from all changes over the shorter season, and shrunk towards none by what chance alone would show (James and
Stein 1961), so a series without a week loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qkan.forecasting.baselines.interface import Step, say_nothing
from qkan.forecasting.baselines.statistical import Rolled, Sarima, fit_sarima

MOST_PERIODS = 26
"""A profile is the mean of at most so many of the newest long seasons."""
LEAST_PERIODS = 2
"""Of fewer, nobody can tell what they have in common."""
DAYS = (24, 48, 96, 144, 288)
"""Steps of a day: a series with no other season may have a week, which a short series cannot show by itself."""
_WEEK = 7  # days


def long_season(seasons: Sequence[int]) -> int:
    """Return the longest season that holds the shortest a whole number of times, two or more; 0 if there is none.

    Where the only season is that of a day, that is the week.

    Args:
        seasons: In steps, shortest first.
    """
    if len(seasons) == 1 and seasons[0] in DAYS:
        return _WEEK * seasons[0]
    return max((season for season in seasons[1:] if seasons[0] > 1 and season % seasons[0] == 0), default=0)


@dataclass(frozen=True, eq=False)
class Profile:
    """What steps of a long season have in common beyond the short one.

    Args:
        values: By row modulo the long season, (long season,); a single 0 for nothing.
        share: How much of the mean profile was taken, 0 to 1.
    """

    values: np.ndarray
    share: float

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Values at some rows, of their shape."""
        return self.values[rows % len(self.values)]


def profile_of(known: np.ndarray, season: int, longer: int) -> Profile:
    """Estimate the profile from the known values of a series.

    The mean change from one short season to the next at every step of the long one, less the mean of the long season at
    that hour, is shrunk by the share of its mean square that noise explains, and summed up again.

    Args:
        known: Values, (points,).
        season, longer: Short and long season in steps, the second a multiple of the first; 0 for none.
    """
    changes = known[season:] - known[:-season]
    periods = min(len(changes) // longer, MOST_PERIODS) if longer else 0
    if periods < LEAST_PERIODS:
        return Profile(np.zeros(1), 0.0)
    table = changes[len(changes) - periods * longer :].reshape(periods, longer // season, season)
    table = table - table.mean(axis=1, keepdims=True)
    mean, noise = table.mean(axis=0), table.var(axis=0, ddof=1).mean() / periods
    square = float(np.square(mean).mean())
    share = max(0.0, 1 - noise / square) if square > 1e-18 * float(np.square(changes).mean()) else 0.0
    values = share * np.cumsum(mean, axis=0)
    values -= values.mean(axis=0)
    return Profile(np.roll(values.ravel(), len(known) % longer), share)


@dataclass(frozen=True, eq=False)
class DoubleSarima:
    """A seasonal ARIMA beside the profile of a longer season.

    Args:
        profile: Of the rows of the series.
        model: Of the rest.
    """

    profile: Profile
    model: Sarima

    @property
    def choice(self) -> str:
        """``(1,0,1)(0,1,1)[24] after 71 % of the profile of [168]``."""
        share, own = self.profile.share, self.model.choice
        return f"{own} after {100 * share:.0f} % of the profile of [{len(self.profile.values)}]" if share else own

    @property
    def parameters(self) -> int:
        """Numbers that were estimated."""
        return self.model.parameters + (len(self.profile.values) if self.profile.share else 0)

    def roll(self, values: np.ndarray, first: np.ndarray, horizon: int) -> Rolled:
        """Forecast the rest from every origin, and add the profile."""
        rest = self.model.roll(values - self.profile.at(np.arange(len(values))), first, horizon)
        return Rolled(rest.mean + self.profile.at(first[:, None] + np.arange(horizon)), rest.error)


def fit_double_sarima(
    known: np.ndarray, seasons: tuple[int, ...], choice: str = "", step: Step = say_nothing
) -> DoubleSarima:
    """Fit SARIMA to what the profile of the longer season leaves; without a longer season it is SARIMA.

    Args:
        known: Values before the first origin, (points,).
        seasons: In steps, shortest first; see :func:`long_season`.
        choice: Of an earlier fit, whose order is the only one to estimate; "" tries all.
        step: Called after every step of the optimiser.

    Raises:
        CannotFit: as :func:`fit_sarima`.
    """
    season = seasons[0] if seasons else 1
    profile = profile_of(known, season, long_season(seasons))
    return DoubleSarima(profile, fit_sarima(known - profile.at(np.arange(len(known))), season, choice, step))
