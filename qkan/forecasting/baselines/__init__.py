"""Forecasts to beat: naive rules and statistical models, on the same windows as every model."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.baselines.rolling import BASELINES as BASELINES
    from qkan.forecasting.baselines.rolling import BaselineForecasts as BaselineForecasts
    from qkan.forecasting.baselines.rolling import baseline_forecasts as baseline_forecasts

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "rolling": (
            "BASELINES",
            "BaselineForecasts",
            "baseline_forecasts",
        ),
    },
)
