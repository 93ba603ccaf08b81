"""Scores of several series in comparisons."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import make_forecast_data, series_from_frame
from qkan.forecasting.comparison.panel_scores import panel_scores
from qkan.forecasting.evaluation.window_frame import window_frame

POINTS = 200


def panel(noise: float = 0.1) -> pd.DataFrame:
    random = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=POINTS, freq="h")
    waves = [
        level * (5 + np.sin(np.arange(POINTS) * np.pi / 12)) + noise * random.standard_normal(POINTS)
        for level in (1.0, 2.0, 30.0)
    ]
    return pd.concat(
        [pd.DataFrame({"unique_id": f"s{i}", "ds": hours, "y": wave}) for i, wave in enumerate(waves)],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def data():
    return make_forecast_data(series_from_frame(panel(), name="panel"), window=24, horizon=2)


def test_frame_and_windows_hold_the_same_forecasts(data):
    values = np.arange(2.0 * len(data.test)).reshape(-1, 2)
    frame = window_frame(data, "test", {"model": values})
    assert frame["step"].tolist() == [1, 2] * len(data.test)
    assert (frame["ds"] - frame["cutoff"] == pd.to_timedelta(frame["step"], unit="h")).all()
    assert frame["model"].tolist() == values.ravel().tolist()


def test_scores_by_hand(data):
    """Errors of size 1, 2 and 9 in the three series, one in ten of them five times as large on the test part."""
    size = np.array([1.0, 2.0, 9.0])
    parts = {}
    for part in ("validation", "test"):
        targets, series = data.target_values(part), data.part(part).series
        errors = np.repeat(size[series][:, None], 2, axis=1)
        if part == "test":
            errors[::10] *= 5
        else:
            errors *= 1.001  # so that rounding puts no error outside the interval of its own size
        parts[part] = targets + errors
    found = panel_scores(data, {"model": (parts["validation"], parts["test"])})["model"]
    first = np.zeros(len(data.test), dtype=bool)
    first[::10] = True
    middle = data.test.series == 1
    assert found["median_mae"] == pytest.approx(2 * (1 + 4 * first[middle].mean()), rel=1e-12)
    assert found["coverage"] == pytest.approx(100 * (1 - first.mean()), rel=1e-12)
    assert found["width"] == pytest.approx(4.004, rel=1e-9)  # twice the radius 2.002 of the middle series


def test_too_few_validation_errors_give_no_coverage():
    series = series_from_frame(panel().groupby("unique_id").head(60).reset_index(drop=True), name="panel")
    few = make_forecast_data(series, window=24, horizon=2)
    targets = {part: few.target_values(part) for part in ("validation", "test")}
    found = panel_scores(few, {"model": (targets["validation"], targets["test"] + 1)})["model"]
    assert found["median_mae"] == pytest.approx(1, rel=1e-12)
    assert np.isnan(found["coverage"])
    assert np.isnan(found["width"])
