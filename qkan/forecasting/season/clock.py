"""How the steps of a season are called: times of a day, days of a week, months of a year, or numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

_FORMS: tuple[tuple[str, Callable[[pd.DatetimeIndex], pd.Index]], ...] = (
    ("time of the day", lambda times: times.strftime("%H:%M")),
    ("day of the week", lambda times: times.strftime("%a")),
    ("day and time of the week", lambda times: times.strftime("%a %H:%M")),
    ("quarter of the year", lambda times: pd.Index([f"Q{quarter}" for quarter in times.quarter])),
    ("month of the year", lambda times: times.strftime("%b")),
)
_MOST_TICKS = 8


@dataclass(frozen=True)
class Clock:
    """The steps of a season on the clock.

    Attributes:
        name: What the steps are: ``time of the day``, ..., or ``step`` where no clock tells them apart.
        labels: The name of every step.
    """

    name: str
    labels: tuple[str, ...]

    @property
    def ticks(self) -> list[tuple[int, str]]:
        """Steps to name on an axis, at most eight: whole hours of a day, the first step of every day of a week."""
        if self.name == "day and time of the week":
            days = [label[:3] for label in self.labels]
            first = [place for place, day in enumerate(days) if place == 0 or day != days[place - 1]]
            return [(place, days[place]) for place in first]
        if self.name == "time of the day":
            whole = [place for place, label in enumerate(self.labels) if label.endswith(":00")]
            if len(whole) > 1:
                return [(place, self.labels[place]) for place in whole[:: -(-len(whole) // _MOST_TICKS)]]
        every = -(-len(self.labels) // _MOST_TICKS)
        return [(place, label) for place, label in enumerate(self.labels)][::every]


def clock_of(times: np.ndarray, steps: np.ndarray, season: int) -> Clock:
    """Find how the steps of a season are called.

    Args:
        times: Times on the wall, datetime64[ns] or int64, shape (N,).
        steps: The step of the season of each, from 0, int64, shape (N,).
        season: Steps of a season.
    """
    found, first = np.unique(steps, return_index=True)
    if np.issubdtype(times.dtype, np.datetime64) and len(found) == season:
        index = pd.DatetimeIndex(times)
        for name, form in _FORMS:
            labels = np.asarray(form(index), dtype=object)
            own = labels[first]
            if len(set(own)) == season and (labels == own[steps]).all():
                return Clock(name, tuple(map(str, own)))
    return Clock("step", tuple(map(str, range(season))))
