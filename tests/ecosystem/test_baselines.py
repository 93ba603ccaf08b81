"""Baselines of statsforecast and neuralforecast against the packages' own forecasts from the same origins."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import ForecastData, Series, make_forecast_data
from qkan.forecasting import CompareConfig, compare
from qkan.forecasting.baselines import Fitting, Origins, fit_baselines

statsforecast = pytest.importorskip("statsforecast.models")

RANDOM = np.random.default_rng(1)
KNOWN, FIRST, HORIZON = 160, np.array([160, 161, 190, 200]), 5


def windows(values: dict[str, np.ndarray], **sizes: int) -> ForecastData:
    """Windows of series at steps 0, 1, ... with a season of 12."""
    parts = [pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y}) for name, y in values.items()]
    return make_forecast_data(Series("x", pd.concat(parts, ignore_index=True), season=(12,)), **sizes)


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
    data = windows({"a": wavy(), "flat": np.ones(200)}, window=12, horizon=2)
    for own in fit_baselines(data, ("autoets", "mstl", "autoarima"), Fitting()):
        mean = own.forecast(Origins.of(data)).mean
        assert np.isnan(mean[data.test.series == 1]).all()
        assert list(own.failures) == ["flat"]
        errors = np.abs(mean - data.target_values("test"))[data.test.series == 0]
        assert errors.mean() < 2.0, own.name
        assert own.forecast(Origins.at_end(data.series)).mean.shape == (2, 2)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Three training steps for every network of neuralforecast; what was fitted comes into this list."""
    neuralforecast = pytest.importorskip("neuralforecast")
    from qkan.forecasting.baselines import neural

    kept: list[Any] = []

    class Kept(neuralforecast.NeuralForecast):
        def fit(self, *arguments: Any, **options: Any) -> None:
            super().fit(*arguments, **options)
            kept.append(self)

    monkeypatch.setattr(neuralforecast, "NeuralForecast", Kept)
    monkeypatch.setattr(neural, "MOST_STEPS", 3)
    return kept


def levels(length: int = 120) -> dict[str, np.ndarray]:
    """Two series of a season of 12 steps, around 1,000 and around 20."""
    wave = np.sin(np.pi * np.arange(length) / 6)
    return {"large": 1000 + 100 * wave, "small": 20 + wave}


@pytest.mark.parametrize(("asked", "kind"), [("dlinear", "DLinear"), ("nhits", "NHITS"), ("patchtst", "PatchTST")])
def test_a_network_of_neuralforecast_forecasts_what_its_own_package_does(
    asked: str, kind: str, networks: list[Any]
) -> None:
    data = windows(levels(), window=8, horizon=2)
    (own,) = fit_baselines(data, (asked,), Fitting(trials=1))
    assert (own.name, own.settings, own.failures) == (kind, {"lr": 1e-3}, {})
    (network,) = networks
    ends = data.boundaries[:, 1]  # what the network was given: training and validation part
    theirs = network.predict().sort_values(["unique_id", "ds"])[kind].to_numpy().reshape(2, 2)
    ours = own.forecast(Origins(np.arange(2), ends)).mean
    np.testing.assert_allclose(ours, data.inverse(theirs.astype(np.float64), np.arange(2)), rtol=1e-5)
    test = own.forecast(Origins.of(data)).mean
    assert test.shape == (len(data.test), 2)
    assert (np.abs(test[data.test.series == 0] - 1000) < 400).all()  # in the unit of each series
    assert (np.abs(test[data.test.series == 1] - 20) < 4).all()
    assert own.seconds > 0
    assert own.parameters == sum(one.numel() for one in network.models[0].parameters() if one.requires_grad)
    if asked == "dlinear":  # a map of 8 values to 2 for the trend and one for the rest
        assert own.parameters == 2 * (8 * 2 + 2)


def test_a_network_of_neuralforecast_stands_in_the_table_of_a_comparison(tmp_path: Path, networks: list[Any]) -> None:
    table = pd.concat([pd.DataFrame({"unique_id": name, "ds": range(120), "y": y}) for name, y in levels().items()])
    table.to_csv(tmp_path / "two.csv", index=False)
    config = CompareConfig(
        data=str(tmp_path / "two.csv"), out=str(tmp_path / "found"), cells=("lstm",), budget_params=(200,), window=8,
        horizon=2, season=(12,), epochs=1, seeds=1, trials=1, workers=1, baselines=("dlinear",),
    )  # fmt: skip
    row = compare(config).table.set_index("cell").loc["DLinear"]
    assert row["parameters"] == 36
    assert row["seconds"] > 0
    assert row["predict_seconds"] > 0
    assert 0 < row["mae_median"] < 200
    assert 0 < row["median_mae_median"] < 100
    assert "| DLinear" in (tmp_path / "found" / "comparison.md").read_text()
