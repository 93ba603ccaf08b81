"""Baselines of a comparison, scored on the targets that every cell has."""

import numpy as np
import pytest
from noisy_panel import noisy_panel

from qkan.datasets import make_forecast_data, series_from_frame
from qkan.forecasting.baselines.scoring import score_baselines
from qkan.forecasting.config.options import CompareConfig
from qkan.forecasting.evaluation.window_frame import window_frame


def test_statistical_baselines_are_scored_on_the_same_targets():
    data = make_forecast_data(series_from_frame(noisy_panel(), name="panel"), window=24, horizon=2)
    scores, failures = score_baselines(data, ("ets",))
    assert failures == []
    assert list(scores) == ["naive", "drift", "seasonal naive (24)", "ETS"]
    for row in scores.values():
        assert 0 < row["median_mae"] < 20
        assert 75 < row["coverage"] <= 100
    assert scores["ETS"]["mae"] < 0.2 < scores["naive"]["mae"]  # noise of 0.1 around a season that ETS knows
    naive = window_frame(data, "test", {})
    assert len(naive) == 2 * len(data.test)


def test_what_cannot_be_fitted_is_reported_and_the_rest_is_scored():
    frame = noisy_panel()
    frame.loc[frame["unique_id"] == "s1", "y"] = 5.0
    data = make_forecast_data(series_from_frame(frame, name="panel"), window=24, horizon=2)
    scores, failures = score_baselines(data, ("theta",))
    assert [(row["model"], row["unique_id"]) for row in failures] == [("Theta", "s1")]
    assert np.isnan(scores["Theta"]["median_mae"])
    assert scores["naive"]["median_mae"] >= 0


def test_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match=r"baseline.*'arima'.*ets, sarima, theta"):
        CompareConfig(data="x.csv", out="x", baselines=("arima",))
