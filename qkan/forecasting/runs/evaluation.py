"""What a trained forecaster and the plain baselines are worth on the test part, of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.interface import Origins
from qkan.forecasting.baselines.registry import PLAIN, fit_baselines, plain_forecasts
from qkan.forecasting.data.load import spread_windows, tensors
from qkan.forecasting.evaluation.intervals import median
from qkan.forecasting.evaluation.metrics import (
    Scores,
    losses_of,
    mase_scale,
    median_scores,
    score,
    score_series,
    without_mase,
)
from qkan.forecasting.evaluation.pooling import Pool
from qkan.forecasting.model.build import RecurrentForecaster

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part

_MOST_TARGETS = 2_000_000  # of a panel on disk that are forecast at once, and as many rows that are read for it
_OF_SERIES = tuple(name for name in PLAIN if name != "ridge")
"""Baselines that are the same for a series whatever stands beside it; a regression of all series is not."""


def forecast_quantiles(model: RecurrentForecaster, data: ForecastData, part: Part = "test") -> np.ndarray:
    """Return the quantiles that the model forecasts of every target of a part, original units.

    Returns:
        float64 (N, horizon, quantiles), ascending; a single one for a model of the value alone.
    """
    from qkan.forecasting.data.batches import predict_windows

    return data.inverse(predict_windows(model, tensors(data.part(part))).numpy(), data.part(part).series)


def forecast_windows(model: RecurrentForecaster, data: ForecastData, part: Part = "test") -> np.ndarray:
    """Return the model's forecast of every target of a part, its median; float64 (N, horizon), original units."""
    return median(forecast_quantiles(model, data, part))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a trained forecaster and the baselines are worth on the test part.

    Attributes:
        data: The windows whose test part ``forecasts`` are of: all; of a large panel on disk those of the first series.
        forecasts: Point forecasts by name, the model's and then the baselines': original units, (N, horizon).
        kept: Test windows of all data that go into files: see :func:`spread_windows`.
        quantiles: As of :func:`forecast_quantiles`, of the kept windows.
        scores: Metrics by forecast, pooled over all series.
        by_series: As of :func:`score_series`.
        medians: Medians of the metrics over the series; ``None`` for a single one.
        without_mase: How many series have no MASE.
    """

    data: ForecastData
    forecasts: dict[str, np.ndarray]
    kept: np.ndarray
    quantiles: np.ndarray
    scores: Scores
    by_series: pd.DataFrame
    medians: Scores | None
    without_mase: int


def evaluate_model(model: RecurrentForecaster, name: str, data: ForecastData, *, baselines: bool = True) -> Evaluation:
    """Forecast the test part and compute the errors, in original units.

    A large panel on disk is read group by group of its series, so that memory does not grow with it; the ridge
    regression, which is fitted to all series together, does not stand beside it.

    Args:
        model: What forecasts.
        name: What it is called.
        data: Its windows.
        baselines: Whether to forecast with the baselines as well, and give their errors on the same targets.
    """
    scales, kept = mase_scale(data), spread_windows(data.test)
    groups = list(_groups(data))
    if len(groups) > 1:
        return _by_group(model, name, data, groups, scales, kept, baselines)
    quantiles = forecast_quantiles(model, data)
    forecasts = {name: median(quantiles), **(plain_forecasts(data, "test")["test"] if baselines else {})}
    by_series = score_series(data, forecasts, scales=scales)
    medians = median_scores(by_series) if len(data.ids) > 1 else None
    scores = score(data, forecasts)
    return Evaluation(data, forecasts, kept, quantiles[kept], scores, by_series, medians, without_mase(scales))


def _groups(data: ForecastData) -> Iterator[tuple[int, int]]:
    """Neighbouring series that are evaluated together, the first and the one after the last."""
    targets = data.test.counts(len(data.ids)) * data.horizon
    if not data.series.mapped or targets.sum() <= _MOST_TARGETS:
        yield 0, len(data.ids)
        return
    begin, taken = 0, 0
    for place, size in enumerate(np.maximum(targets, data.series.lengths)):
        if taken and taken + size > _MOST_TARGETS:
            yield begin, place
            begin, taken = place, 0
        taken += int(size)
    yield begin, len(data.ids)


def _by_group(
    model: RecurrentForecaster,
    name: str,
    data: ForecastData,
    groups: list[tuple[int, int]],
    scales: np.ndarray,
    kept: np.ndarray,
    baselines: bool,
) -> Evaluation:
    """:func:`evaluate_model`, one group of series after the other."""
    import pandas as pd

    pools: dict[str, Pool] = {}
    tables, quantiles, done = [], [], 0
    first: tuple[ForecastData, dict[str, np.ndarray]] | None = None
    for begin, end in groups:
        own = data.group(begin, end)
        found = forecast_quantiles(model, own)
        forecasts = {name: median(found)}
        if baselines:
            fitted = fit_baselines(own, _OF_SERIES)
            forecasts |= {one.name: one.forecast(Origins.of(own)).mean for one in fitted}
        first = (own, forecasts) if first is None else first
        tables.append(score_series(own, forecasts, scales=scales[begin:end]))
        for forecast, values in forecasts.items():
            pools.setdefault(forecast, Pool()).add(losses_of(own, values, "test", scales[begin:end]))
        inside = kept[(kept >= done) & (kept < done + len(found))] - done
        quantiles.append(found[inside])
        done += len(found)
    own, forecasts = first or (data, {})
    whole = pd.concat(tables, ignore_index=True)
    names = [one for one in forecasts if (whole["forecast"] == one).sum() == (whole["forecast"] == name).sum()]
    whole = whole[whole["forecast"].isin(names)]
    place = whole["forecast"].map(dict(zip(names, range(len(names)), strict=True)))
    whole = whole.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)
    mase = whole.groupby("forecast", sort=False)["mase"].mean()
    scores = {one: pools[one].metrics(float(mase[one])) for one in names}
    none = without_mase(scales)
    return Evaluation(own, forecasts, kept, np.concatenate(quantiles), scores, whole, median_scores(whole), none)
