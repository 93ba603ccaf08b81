"""Prediction intervals that follow the errors: adaptive conformal inference over rolling residuals.

Gibbs and Candes (2021), "Adaptive conformal inference under distribution shift", arXiv 2106.00170, eq. 2: the level of
the next interval is raised after every value that fell outside, by ``rate`` times the share that was promised, and
lowered after every value inside by ``rate`` times the share that may miss. Its quantile is taken of the last ``window``
errors that are known by then. So the share of values inside tends to the level whatever the series does, which
split-conformal intervals promise for exchangeable errors only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.conformal import conformal_rank, fewest_scores
from qkan.forecasting.evaluation.frames import bounds, check_count, check_frame, check_levels, check_models

if TYPE_CHECKING:
    import pandas as pd

WINDOW, RATE = 500, 0.02
"""Errors that count, and the step of the level: what they hold is measured by ``python -m benchmarks.calibration``."""


def adaptive_conformal(
    calibration: pd.DataFrame,
    frame: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    levels: Iterable[float] = (80, 90),
    window: int = WINDOW,
    rate: float = RATE,
) -> pd.DataFrame:
    """Give forecasts intervals that use every error which was known when the forecast was made, and no other.

    Args:
        calibration: A cross-validation frame of earlier origins, whose values the models were not trained on.
        frame: The forecasts, a cross-validation frame; its values become known one by one.
        models: Some of the models of both frames; ``None`` takes all of ``calibration``.
        levels: Levels in percent.
        window: At most so many errors count, the last ones of the same series and step ahead.
        rate: How far the level moves after each value, from 0 (rolling residuals alone) to 1.

    Returns:
        A copy of ``frame``, checked and sorted, with interval columns for the models. Rows whose series and step have
        too few earlier errors for a level, and those of a model that lacks the series, have NaN there.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; levels are empty, or ``window`` or ``rate`` is out of range.
    """
    import pandas as pd

    wanted = check_levels(levels)
    if not wanted:
        raise ValueError("levels is empty; give at least one level in percent, such as 90")
    check_count("window", window)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ValueError(f"rate must be a number between 0 and 1, got {rate!r}")
    names = check_models(calibration, models)
    before, result = check_frame(calibration, names), check_frame(frame)
    together = pd.concat(
        [before, result[before.columns.intersection(result.columns)]], keys=[0, 1], names=["part", "row"]
    )
    together = together.reset_index().sort_values(["unique_id", "step", "cutoff"], kind="stable")
    places = list(together.groupby(["unique_id", "step"], sort=False).indices.values())
    later, row = together["part"].to_numpy() == 1, together["row"].to_numpy()
    cutoff, ds = together["cutoff"].to_numpy(), together["ds"].to_numpy()
    known = [np.searchsorted(ds[own], cutoff[own], side="right") for own in places]
    for model in names:
        forecast = together[model].to_numpy()
        scores = np.abs(together["y"].to_numpy() - forecast)
        narrower = np.zeros(len(result))
        for level in wanted:
            radius = np.full(len(result), np.nan)
            for own, seen in zip(places, known, strict=True):
                found = _radii(scores[own], seen, later[own], level, (window, rate))
                radius[row[own][later[own]]] = found[later[own]]
            radius = narrower = np.where(np.isnan(radius), radius, np.fmax(radius, narrower))  # 90 % holds 80 %
            low, high = bounds(model, level)
            result[low], result[high] = result[model] - radius, result[model] + radius
    return result


def _radii(
    scores: np.ndarray, seen: np.ndarray, wanted: np.ndarray, level: float, options: tuple[int, float]
) -> np.ndarray:
    """Return the radius of every forecast of a series and step, NaN where too few errors are known.

    Args:
        scores: Absolute errors in the order of time, (forecasts,).
        seen: How many of them are known when each forecast is made, (forecasts,).
        wanted: Which forecasts need a radius; the others only count as errors.
        level: In percent.
        options: ``window`` and ``rate``.
    """
    window, rate = options
    radii, ordered, taken = np.full(len(scores), np.nan), list[float](), 0
    if np.isnan(scores).any():
        return radii
    now, least = level, fewest_scores(level)
    for place in np.flatnonzero(wanted):
        while taken < seen[place]:
            if wanted[taken] and np.isfinite(radii[taken]):
                now += rate * (level - 100.0 * (scores[taken] <= radii[taken]))
            insort(ordered, float(scores[taken]))
            taken += 1
            if len(ordered) > window:
                del ordered[bisect_left(ordered, float(scores[taken - 1 - window]))]
        if len(ordered) >= least:
            rank = conformal_rank(len(ordered), min(max(now, 0.0), 100.0))
            radii[place] = ordered[min(max(rank, 1), len(ordered)) - 1]
    return radii
