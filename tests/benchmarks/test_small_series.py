"""A forecaster with all defaults is worth more than repeating the last season."""

import pandas as pd

from benchmarks.small_series import AIR_PASSENGERS, default_scores, small_series
from qkan.datasets import series_from_frame
from qkan.datasets.windows import find_seasons


def test_the_default_forecast_of_air_passengers_beats_its_last_season() -> None:
    """A season that only the values show gives the sizes that dates give, and so the same forecast."""
    dated = small_series()["AirPassengers, monthly"]
    config, mae = default_scores(series_from_frame(pd.DataFrame({"y": AIR_PASSENGERS})))
    assert (config.window, config.horizon, config.seasons) == (24, 12, (12,))
    assert mae["QKAN-LSTM"] < 0.75 * mae["SeasonalNaive(12)"]
    series = series_from_frame(dated)
    assert series.season == (12,)


def test_the_series_of_the_table_are_regular() -> None:
    steps = {name: series_from_frame(frame).frequency for name, frame in small_series().items()}
    assert steps["AirPassengers, monthly"] == steps["co2, monthly"] == steps["elnino, monthly"] == "MS"
    assert steps["macrodata unemp, quarterly"] == "QS-OCT" or steps["macrodata unemp, quarterly"].startswith("Q")
    assert len(steps) == 8


def test_a_quasi_period_of_years_is_no_season_beside_the_year() -> None:
    """El Nino comes about every four years; what the year leaves over does not repeat."""
    values = small_series()["elnino, monthly"]["y"].to_numpy()
    assert find_seasons([values[: round(0.7 * len(values))]]) == (12,)
