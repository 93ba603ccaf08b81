"""Baselines of statsforecast against the package's own forecasts from the same origins."""

import numpy as np
import pytest

from qkan.datasets import make_forecast_data, series_from_frame
from qkan.forecasting.baselines import Fitting, Origins, fit_baselines

statsforecast = pytest.importorskip("statsforecast.models")

RANDOM = np.random.default_rng(1)
KNOWN, FIRST, HORIZON = 160, np.array([160, 161, 190, 200]), 5


def wavy(trend: float = 0.0) -> np.ndarray:
    steps = np.arange(200)
    return 50 + trend * steps + 5 * np.sin(np.pi * steps / 6) + RANDOM.normal(0, 1, 200)


@pytest.mark.parametrize(("trend", "season"), [(0.0, 1), (0.3, 1), (0.0, 12), (0.3, 12)])
def test_autoarima_moves_on_as_statsforecast_does(trend: float, season: int) -> None:
    from qkan.forecasting.baselines.automatic import fit_autoarima

    values = wavy(trend)
    found = fit_autoarima(values[:KNOWN], (season,) if season > 1 else ())
    rolled = found.roll(values, FIRST, HORIZON)
    own = statsforecast.AutoARIMA(season_length=season, approximation=True).fit(values[:KNOWN] / np.std(values[:KNOWN]))
    unit = np.std(values[:KNOWN])
    first = own.predict(HORIZON, level=[80])
    np.testing.assert_allclose(rolled.mean[0], unit * first["mean"], rtol=2e-3)
    width = unit * (first["hi-80"] - first["mean"]) / 1.2815515655446004
    np.testing.assert_allclose(rolled.error, width, rtol=0.05)
    assert np.abs(rolled.mean[1:3, 0] - values[FIRST[1:3]]).mean() < 4


def test_autoets_and_mstl_forecast_from_every_origin() -> None:
    import pandas as pd

    values = wavy()
    table = pd.DataFrame({"unique_id": "a", "ds": np.arange(200), "y": values})
    table = pd.concat([table, table.assign(unique_id="flat", y=1.0)])
    from dataclasses import replace

    data = make_forecast_data(replace(series_from_frame(table, name="x"), season=(12,)), window=12, horizon=2)
    for own in fit_baselines(data, ("autoets", "mstl", "autoarima"), Fitting()):
        mean = own.forecast(Origins.of(data)).mean
        assert np.isnan(mean[data.test.series == 1]).all()
        assert list(own.failures) == ["flat"]
        errors = np.abs(mean - data.target_values("test"))[data.test.series == 0]
        assert errors.mean() < 2.0, own.name
        assert own.forecast(Origins.at_end(data.series)).mean.shape == (2, 2)
