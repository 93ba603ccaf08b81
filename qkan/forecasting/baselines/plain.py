"""The forecasts that stand beside every model: naive rules, and a ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkan.forecasting.baselines.ridge import RidgeBaseline
from qkan.forecasting.baselines.simple import naive_forecasts
from qkan.forecasting.config import model_name

if TYPE_CHECKING:
    import numpy as np

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part


def plain_forecasts(data: ForecastData, *parts: Part) -> dict[Part, dict[str, np.ndarray]]:
    """Forecast parts with every simple method that the data allow.

    Returns:
        By part and by name, naive rules first and ``Ridge`` last: original units, float64 (N, horizon).
    """
    found = {part: naive_forecasts(data, part) for part in parts}
    try:
        ridge = RidgeBaseline(data)
    except ValueError:  # the training part holds no window with its targets
        return found
    for part in parts:
        found[part][model_name("ridge")] = ridge.forecast(part)
    return found
