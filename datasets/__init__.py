"""Time series as data frames, splits, scalers and windows.

The way of the data: `resolve_series` (a name or a file) gives a `Series`, `make_forecast_data` splits it by time,
scales it by its training part and cuts it into windows. See docs/guides/data.md.
"""

from qkan.datasets.catalog import SPECS, SeriesSpec, available_series, load_series, names_file, resolve_series
from qkan.datasets.describe import autocorrelation, naive_test_mae, plot_series
from qkan.datasets.errors import DataError, DataNotice, notice
from qkan.datasets.going_on import last_values, newer_rows, series_going_on
from qkan.datasets.panel import prepare_panel
from qkan.datasets.read import (
    PROTOCOLS,
    as_pandas,
    first_values,
    future_frame,
    keep_series,
    left_out,
    like,
    protocol_series,
    read_future,
    read_series,
    series_from_frame,
)
from qkan.datasets.series import Series, Session
from qkan.datasets.steps import has_clock, step_size
from qkan.datasets.windows import (
    CALENDAR,
    FixedBorders,
    Fold,
    ForecastData,
    LastSteps,
    Scaler,
    SplitFractions,
    Windows,
    fit_scaler,
    last_windows,
    make_forecast_data,
    seasons_of,
    too_short,
)

__all__ = [
    "CALENDAR",
    "PROTOCOLS",
    "SPECS",
    "DataError",
    "DataNotice",
    "FixedBorders",
    "Fold",
    "ForecastData",
    "LastSteps",
    "Scaler",
    "Series",
    "SeriesSpec",
    "Session",
    "SplitFractions",
    "Windows",
    "as_pandas",
    "autocorrelation",
    "available_series",
    "first_values",
    "fit_scaler",
    "future_frame",
    "has_clock",
    "keep_series",
    "last_values",
    "last_windows",
    "left_out",
    "like",
    "load_series",
    "make_forecast_data",
    "naive_test_mae",
    "names_file",
    "newer_rows",
    "notice",
    "plot_series",
    "prepare_panel",
    "protocol_series",
    "read_future",
    "read_series",
    "resolve_series",
    "seasons_of",
    "series_from_frame",
    "series_going_on",
    "step_size",
    "too_short",
]
