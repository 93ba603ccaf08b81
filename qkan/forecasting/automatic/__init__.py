"""A forecast within a time budget: simple methods, statistical models and networks are tried and combined."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.automatic.forecast import forecast_table as forecast_table
    from qkan.forecasting.automatic.forecaster import AutoForecaster as AutoForecaster
    from qkan.forecasting.automatic.options import AutoConfig as AutoConfig
    from qkan.forecasting.automatic.record import check_folder as check_folder
    from qkan.forecasting.automatic.record import write_search as write_search
    from qkan.forecasting.automatic.summary import verdict as verdict
    from qkan.forecasting.automatic.trials import Search as Search
    from qkan.forecasting.automatic.trials import search as search
    from qkan.forecasting.automatic.trials import with_sizes as with_sizes

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "forecast": ("forecast_table",),
        "forecaster": ("AutoForecaster",),
        "options": ("AutoConfig",),
        "record": ("check_folder", "write_search"),
        "trials": ("Search", "search", "with_sizes"),
        "summary": ("verdict",),
    },
)
