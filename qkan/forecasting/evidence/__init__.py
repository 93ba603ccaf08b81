"""Evidence about forecasts: baselines, accuracy, tests of significance, residuals, intervals, and a report.

All functions take and return frames in one shape, the cross-validation frame that
:mod:`qkan.forecasting.evidence.frames` describes, so they serve the forecasts of any model.
Importing this package loads no pandas, statsmodels or matplotlib: the names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkan.forecasting.evidence.baselines import BASELINES, BaselineForecasts, baseline_forecasts
    from qkan.forecasting.evidence.comparison import DieboldMariano, compare_models, diebold_mariano
    from qkan.forecasting.evidence.conformal import Conformal, fit_conformal
    from qkan.forecasting.evidence.frames import check_frame, join_forecasts, model_columns
    from qkan.forecasting.evidence.report import write_report
    from qkan.forecasting.evidence.residuals import residual_acf, residual_diagnostics
    from qkan.forecasting.evidence.run_report import report_run
    from qkan.forecasting.evidence.scores import Accuracy, accuracy, mase_scales

_HOME = {
    "Accuracy": "scores",
    "BASELINES": "baselines",
    "BaselineForecasts": "baselines",
    "Conformal": "conformal",
    "DieboldMariano": "comparison",
    "accuracy": "scores",
    "baseline_forecasts": "baselines",
    "check_frame": "frames",
    "compare_models": "comparison",
    "diebold_mariano": "comparison",
    "fit_conformal": "conformal",
    "join_forecasts": "frames",
    "mase_scales": "scores",
    "model_columns": "frames",
    "report_run": "run_report",
    "residual_acf": "residuals",
    "residual_diagnostics": "residuals",
    "write_report": "report",
}

__all__ = [
    "BASELINES",
    "Accuracy",
    "BaselineForecasts",
    "Conformal",
    "DieboldMariano",
    "accuracy",
    "baseline_forecasts",
    "check_frame",
    "compare_models",
    "diebold_mariano",
    "fit_conformal",
    "join_forecasts",
    "mase_scales",
    "model_columns",
    "report_run",
    "residual_acf",
    "residual_diagnostics",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
