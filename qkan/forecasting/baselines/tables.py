"""Forecasts of fitted baselines as a cross-validation frame, and what became of each baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.baselines.interface import Baseline, Forecasts, Origins
from qkan.forecasting.evaluation.frames import bounds
from qkan.forecasting.evaluation.window_frame import window_frame

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part


def forecast_part(baseline: Baseline, data: ForecastData, part: Part = "test") -> Forecasts:
    """Forecast every target of a part; a series that lacks one forecast has none at all, as frames want it."""
    series = data.part(part).series
    mean, error = baseline.forecast(Origins.of(data, part))
    lacking = np.unique(series[np.isnan(mean).any(axis=1)])
    return Forecasts(np.where(np.isin(series, lacking)[:, None], np.nan, mean), error)


def forecast_frame(
    data: ForecastData, part: Part, fitted: Iterable[Baseline], levels: Sequence[float] = ()
) -> pd.DataFrame:
    """Return the cross-validation frame of a part, whose targets are whole horizons.

    Args:
        data: The windows.
        part: Which part.
        fitted: The baselines, one column each.
        levels: In percent; a baseline with standard errors gets normal intervals of them.
    """
    from scipy.stats import norm

    columns: dict[str, np.ndarray] = {}
    for baseline in fitted:
        mean, error = forecast_part(baseline, data, part)
        columns[baseline.name] = mean
        if error is None:
            continue
        for level in levels:
            low, high = bounds(baseline.name, level)
            width = norm.ppf(0.5 + level / 200) * error
            columns[low], columns[high] = mean - width, mean + width
    return window_frame(data, part, columns)


def failure_table(fitted: Iterable[Baseline]) -> pd.DataFrame:
    """Return what could not be fitted or forecast: columns model, unique_id, reason."""
    return _rows(((own.name, own.failures) for own in fitted), "reason")


def choice_table(fitted: Iterable[Baseline]) -> pd.DataFrame:
    """Return what was chosen: columns model, unique_id, choice."""
    return _rows(((own.name, own.choices) for own in fitted), "choice")


def _rows(tables: Iterable[tuple[str, dict[str, str]]], last: str) -> pd.DataFrame:
    import pandas as pd

    rows = [(name, series, text) for name, table in tables for series, text in table.items()]
    return pd.DataFrame(rows, columns=["model", "unique_id", last])
