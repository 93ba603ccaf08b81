"""Splits, scalers, calendar channels and forecasting windows."""

from qkan.datasets.windows.calendar import CALENDAR
from qkan.datasets.windows.channels import fit_scaler, futr_exog_after
from qkan.datasets.windows.phases import season_phases
from qkan.datasets.windows.scalers import KINDS, Scaler
from qkan.datasets.windows.seasons import find_seasons, seasons_of
from qkan.datasets.windows.splits import FixedBorders, Fold, LastSteps, Split, SplitFractions
from qkan.datasets.windows.windows import (
    PARTS,
    ForecastData,
    Part,
    Windows,
    last_windows,
    make_forecast_data,
    too_short,
)

__all__ = [
    "CALENDAR",
    "KINDS",
    "PARTS",
    "FixedBorders",
    "Fold",
    "ForecastData",
    "LastSteps",
    "Part",
    "Scaler",
    "Split",
    "SplitFractions",
    "Windows",
    "find_seasons",
    "fit_scaler",
    "futr_exog_after",
    "last_windows",
    "make_forecast_data",
    "season_phases",
    "seasons_of",
    "too_short",
]
