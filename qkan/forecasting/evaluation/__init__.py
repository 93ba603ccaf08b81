"""How good forecasts are: errors, intervals, tests of significance, residuals.

Functions take and return frames in one shape, the cross-validation frame that
:mod:`qkan.forecasting.evaluation.frames` describes, so they serve the forecasts of any model.
Importing this package loads no pandas, statsmodels or matplotlib: its names load when they are first used.
"""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.evaluation.conformal import Conformal as Conformal
    from qkan.forecasting.evaluation.conformal import fit_conformal as fit_conformal
    from qkan.forecasting.evaluation.frames import check_frame as check_frame
    from qkan.forecasting.evaluation.frames import join_forecasts as join_forecasts
    from qkan.forecasting.evaluation.frames import model_columns as model_columns
    from qkan.forecasting.evaluation.metrics import Accuracy as Accuracy
    from qkan.forecasting.evaluation.metrics import accuracy as accuracy
    from qkan.forecasting.evaluation.metrics import mase_scales as mase_scales
    from qkan.forecasting.evaluation.model_tests import DieboldMariano as DieboldMariano
    from qkan.forecasting.evaluation.model_tests import compare_models as compare_models
    from qkan.forecasting.evaluation.model_tests import diebold_mariano as diebold_mariano
    from qkan.forecasting.evaluation.residuals import residual_acf as residual_acf
    from qkan.forecasting.evaluation.residuals import residual_diagnostics as residual_diagnostics

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "conformal": (
            "Conformal",
            "fit_conformal",
        ),
        "frames": (
            "check_frame",
            "join_forecasts",
            "model_columns",
        ),
        "model_tests": (
            "DieboldMariano",
            "compare_models",
            "diebold_mariano",
        ),
        "residuals": (
            "residual_acf",
            "residual_diagnostics",
        ),
        "metrics": (
            "Accuracy",
            "accuracy",
            "mase_scales",
        ),
    },
)
