"""Run folders: training into them, reading them, forecasting and evaluating with them."""

#: The modules that other folders import.
__all__ = [
    "conformal",
    "environment",
    "evaluation",
    "forecast_table",
    "inference",
    "plots",
    "record",
    "run",
    "run_data",
    "tuning",
    "write",
]
