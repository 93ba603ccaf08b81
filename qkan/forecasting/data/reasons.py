"""What the training part decided about what stands around a cell, in words for a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkan.forecasting.config import DataAndTrainingOptions
from qkan.forecasting.data.load import level_by_data, split_of, with_found_seasons

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Series


def chosen_parts(asked: DataAndTrainingOptions, cut: DataAndTrainingOptions, series: Series, data: ForecastData) -> str:
    """Return season, level and seasonal lags of a model, with the reasons where the training part of a series chose.

    Args:
        asked: The options, with all that is left to the training part.
        cut: The same as :func:`qkan.forecasting.data.load.as_cut` decides them.
        series: The data as they were read.
        data: The windows that were cut of them.
    """
    from qkan.datasets.windows import choose_seasons

    seasons, why = choose_seasons(series, split_of(asked, series), asked.season)
    named = ", ".join(map(str, seasons)) or "none"
    chosen = level_by_data(with_found_seasons(asked, data.seasons), data)
    reason = "" if chosen is None else f" ({chosen.why})"
    lags = "; values one season back" if cut.seasonal_lags else ""
    return f"season {named} ({why}); level {cut.level}{reason}{lags}"
