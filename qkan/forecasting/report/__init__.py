"""A page about a run or about any forecasts: tables, plots, tests."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.report.page import write_report as write_report
    from qkan.forecasting.report.run_report import report_run as report_run

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "page": ("write_report",),
        "run_report": ("report_run",),
    },
)
