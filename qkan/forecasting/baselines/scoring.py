"""Baselines on the windows of a comparison, scored like every cell: in original units, on the same targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.baselines.rolling import baseline_forecasts
from qkan.forecasting.baselines.simple import naive_forecasts
from qkan.forecasting.evaluation.frames import model_columns
from qkan.forecasting.evaluation.metrics import Scores, score
from qkan.forecasting.evaluation.panel_scores import Forecasts, panel_scores
from qkan.forecasting.evaluation.window_frame import values_of, window_forecasts, window_frame

if TYPE_CHECKING:
    from qkan.datasets import ForecastData


def score_baselines(
    data: ForecastData, statistical: Sequence[str] = (), workers: int = 1
) -> tuple[Scores, list[dict[str, Any]]]:
    """Return the test metrics of all baselines: naive ones, and statistical ones fitted on the training part.

    Args:
        data: The windows.
        statistical: Some of :data:`qkan.forecasting.config.options.STATISTICAL_BASELINES`.
        workers: Processes that fit at the same time.

    Returns:
        metrics by name, with those of :func:`panel_scores` where there are several series, and what could not be
        fitted: dictionaries of ``model``, ``unique_id``, ``reason``.
    """
    forecasts, failures = _statistical(data, statistical, workers) if statistical else ({}, [])
    validation, test = naive_forecasts(data, "validation"), naive_forecasts(data, "test")
    unknown = np.full(data.target_values("validation").shape, np.nan)  # a season longer than what comes before
    naive = {name: (validation.get(name, unknown), values) for name, values in test.items()}
    forecasts = {**naive, **forecasts}
    scores = score(data, {name: both[1] for name, both in forecasts.items()})
    if len(data.ids) > 1:
        for name, more in panel_scores(data, forecasts).items():
            scores[name] = {**scores[name], **more}
    return scores, failures


def _statistical(data: ForecastData, models: Sequence[str], workers: int) -> tuple[Forecasts, list[dict[str, Any]]]:
    import pandas as pd

    asked = pd.concat([window_frame(data, "validation", {}), window_frame(data, "test", {})])
    origins = {str(name): sorted(set(own)) for name, own in asked.groupby("unique_id")["cutoff"]}
    season = data.series.season
    made = baseline_forecasts(values_of(data), origins, data.horizon, season, models=models, level=(), workers=workers)
    found = {
        name: (
            window_forecasts(data, "validation", made.frame, name),
            window_forecasts(data, "test", made.frame, name),
        )
        for name in model_columns(made.frame)
    }
    return found, [dict(zip(made.failures, row, strict=True)) for row in made.failures.to_numpy()]
