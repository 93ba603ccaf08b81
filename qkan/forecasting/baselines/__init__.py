"""Forecasts to beat: rules, regressions, statistical models and other people's networks, on the windows of every model.

:func:`fit_baselines` fits any of them, and what it returns forecasts from any moment.
"""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.baselines.interface import Baseline as Baseline
    from qkan.forecasting.baselines.interface import CannotFit as CannotFit
    from qkan.forecasting.baselines.interface import Fitting as Fitting
    from qkan.forecasting.baselines.interface import Forecasts as Forecasts
    from qkan.forecasting.baselines.interface import Interrupted as Interrupted
    from qkan.forecasting.baselines.interface import NotInstalled as NotInstalled
    from qkan.forecasting.baselines.interface import Origins as Origins
    from qkan.forecasting.baselines.registry import PLAIN as PLAIN
    from qkan.forecasting.baselines.registry import check_baselines as check_baselines
    from qkan.forecasting.baselines.registry import fit_baselines as fit_baselines
    from qkan.forecasting.baselines.rolling import BASELINES as BASELINES
    from qkan.forecasting.baselines.rolling import BaselineForecasts as BaselineForecasts
    from qkan.forecasting.baselines.rolling import baseline_forecasts as baseline_forecasts

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "interface": ("Baseline", "CannotFit", "Fitting", "Forecasts", "Interrupted", "NotInstalled", "Origins"),
        "registry": ("PLAIN", "check_baselines", "fit_baselines"),
        "rolling": (
            "BASELINES",
            "BaselineForecasts",
            "baseline_forecasts",
        ),
    },
)
