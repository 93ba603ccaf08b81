"""What a trained run believes of its seasons: the curve that it settles into, and what the clock adds to a forecast.

All in the unit of the data:

- the *model's season*: the model forecasts on and on from windows of the training part, fed with its own forecasts;
  what it then repeats is averaged by the step of the season, its drift taken out. That is all that it believes,
  circuit, cell and skip together, and stands beside the mean of the training part;
- the *effect*: the forecast as a function of the phase, all else as it is, averaged over training windows (partial
  dependence, Friedman 2001). A forecast starts from the level of its window, so this is not the season itself but what
  the clock alone changes;
- the *term*: the part of the effect that is added to a forecast as it is. Of circuits it is a trigonometric polynomial
  with as many harmonics as they have repetitions. What else the effect has goes through the cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.io.files import RunError
from qkan.forecasting.runs.inference import windows_for
from qkan.forecasting.season.clock import Clock, clock_of
from qkan.forecasting.season.measure import Season
from qkan.forecasting.season.polynomial import Polynomial, sum_of

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Series
    from qkan.forecasting.runs.run import Run

MOST_SERIES = 50
"""Of a panel, evenly spread, if none are named."""
_MOST_FORMULAS = 4  # series whose closed forms are told one by one


@dataclass(frozen=True, eq=False)
class SeasonProfile:
    """The learned seasons of a run.

    Attributes:
        model: Name of the model, a column of ``table``.
        unit: Unit of the values, empty if they have none.
        seasons: Lengths in steps, ascending.
        table: Columns ``unique_id``, ``season``, ``step`` (from 0), ``time`` (the step on the clock, as text), ``y``
            (mean of the training part without its trend), the model's name (its own season around the same mean),
            ``effect`` and ``term`` (both with mean 0 over the season).
        clocks: How the steps of every season are called.
        formulas: The closed forms of the terms, by series and season; none where a table encodes the season.
        drift: By series, how far the model's own forecasts rise over the longest season; taken out of its season.

    Examples:
        >>> from qkan.forecasting import load_run, season_profile
        >>> profile = season_profile(load_run("runs/demo"))
        >>> profile.model
        'QKAN-LSTM'
    """

    model: str
    unit: str
    seasons: tuple[int, ...]
    table: pd.DataFrame
    clocks: dict[int, Clock]
    formulas: dict[str, dict[int, Polynomial]]
    drift: dict[str, float]

    def mean(self, season: int) -> pd.DataFrame:
        """Return the numbers of a season by its steps, averaged over the series."""
        own = self.table[self.table["season"] == season]
        return own.groupby("step")[["y", self.model, "effect", "term"]].mean()

    def formula(self, season: int) -> Polynomial | None:
        """Return the closed form of the term of a season, of several series the mean; ``None`` for a table."""
        own = [formulas[season] for formulas in self.formulas.values() if season in formulas]
        return sum_of(own).times(1 / len(own)) if own else None

    def sentences(self, season: int) -> list[str]:
        """Return what is added to a forecast in closed form, in words: of a few series each, of more the mean."""
        mean, clock = self.formula(season), self.clocks[season]
        if mean is None:
            return [f"Added to a forecast: a table of {season} numbers, which has no closed form."]
        if str(mean) == "0":
            return ["Nothing is added to a forecast as it is: what the clock changes goes through the cell."]
        since = "t the step" if clock.name == "step" else f"t steps after {clock.labels[0]}"
        if len(self.formulas) == 1:
            return [f"Added to a forecast, {since}: {mean}"]
        if len(self.formulas) > _MOST_FORMULAS:
            return [f"Added to a forecast, {since}, mean of {len(self.formulas)} series: {mean}"]
        return [f"Added to a forecast of {name}, {since}: {own[season]}" for name, own in self.formulas.items()]

    def unexplained(self, season: int) -> float:
        """Return the share of the variance of the mean season of the data that the model's season leaves over."""
        rows = self.mean(season)
        rest, whole = (rows["y"] - rows[self.model]).var(ddof=0), rows["y"].var(ddof=0)
        return float(rest / whole) if whole > 0 else math.nan


def season_profile(run: Run, data: str | Path | Series | None = None, *, series: Sequence[str] = ()) -> SeasonProfile:
    """Return what a run believes of its seasons, beside the mean seasons of the training part.

    Args:
        run: A loaded run.
        data: Name or file of other data with the same series; ``None`` takes the data that the run was trained on.
        series: Names of some of the series; empty takes all, of more than :data:`MOST_SERIES` so many, evenly spread.

    Raises:
        DataError: the data cannot be used.
        RunError: the run has no season, a series is unknown, or the run's data has changed since.

    Examples:
        >>> from qkan.forecasting import load_run, season_profile
        >>> profile = season_profile(load_run("runs/demo"))
        >>> len(profile.seasons) > 0
        True
    """
    if not run.config.seasons:
        raise RunError(
            f"{run.path} was trained without a season, so there is none to show; train with --season 24, for example, "
            "or with --season auto on data that have one"
        )
    windows = windows_for(run, data)
    chosen = _chosen(windows, series)
    measured = Season(run, windows, chosen)
    wall = windows.series.wall_times(windows.series.times_at(measured.training_rows(chosen[0])))
    clocks = {
        season: clock_of(wall, measured.steps_of_training(chosen[0], place), season)
        for place, season in enumerate(run.config.seasons)
    }
    formulas = {windows.ids[index]: measured.formulas(index) for index in chosen}
    return SeasonProfile(
        model=run.config.model_name,
        unit=windows.series.unit,
        seasons=run.config.seasons,
        table=_table(run, windows, measured, clocks),
        clocks=clocks,
        formulas=formulas,
        drift={windows.ids[index]: float(measured.drift[index]) for index in chosen},
    )


def _chosen(windows: ForecastData, names: Sequence[str]) -> list[int]:
    """Return the places of the series to show: those that are named, else all that hold a training window."""
    own = np.unique(windows.train.series)
    if not names:
        return own[np.unique(np.linspace(0, len(own) - 1, min(MOST_SERIES, len(own))).round().astype(int))].tolist()
    unknown = [name for name in names if name not in windows.ids]
    if unknown:
        raise RunError(
            f"the run knows no series {unknown[0]!r}; it has {len(windows.ids)}, {windows.ids[0]!r} the first of them"
        )
    return sorted(windows.ids.index(name) for name in set(names))


def _table(run: Run, windows: ForecastData, measured: Season, clocks: dict[int, Clock]) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for index in measured.chosen:
        for place, season in enumerate(run.config.seasons):
            mean = measured.mean_of_data(index, place)
            parts.append(
                pd.DataFrame(
                    {
                        "unique_id": windows.ids[index],
                        "season": season,
                        "step": np.arange(season),
                        "time": clocks[season].labels,
                        "y": mean,
                        run.config.model_name: measured.settled(index, place) + np.nanmean(mean),
                        "effect": measured.effect(index, place),
                        "term": measured.term(index, place),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)
