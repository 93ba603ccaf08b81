"""Splits, scalers, calendar channels and forecasting windows."""

from qkan.datasets.windows.calendar import CALENDAR
from qkan.datasets.windows.channels import StepChannels, fit_scaler, futr_exog_after, step_channels
from qkan.datasets.windows.phases import phases_of_steps, season_phases, season_waves, step_numbers
from qkan.datasets.windows.probe import Probe, clearly_below
from qkan.datasets.windows.scalers import KINDS, Scaler
from qkan.datasets.windows.seasons import choose_seasons, find_seasons, seasons_of
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
    "Probe",
    "Scaler",
    "Split",
    "SplitFractions",
    "StepChannels",
    "Windows",
    "choose_seasons",
    "clearly_below",
    "find_seasons",
    "fit_scaler",
    "futr_exog_after",
    "last_windows",
    "make_forecast_data",
    "phases_of_steps",
    "season_phases",
    "season_waves",
    "seasons_of",
    "step_channels",
    "step_numbers",
    "too_short",
]
