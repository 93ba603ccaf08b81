"""What a search leaves behind."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting import load_run, predict
from qkan.forecasting.automatic import AutoForecaster


def take_the_last(forecasts: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Choose what was tried last."""
    return np.eye(len(forecasts))[-1]


def test_a_network_that_was_chosen_is_a_run_that_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan.forecasting.automatic.trials.combination_weights", take_the_last)
    steps = np.arange(80)
    frame = pd.DataFrame({"unique_id": "a", "ds": steps, "y": np.sin(steps / 3.0) + 0.3 * np.cos(steps)})
    auto = AutoForecaster(2, candidates=("lstm",), budget=None, epochs=1).fit(frame)
    if auto.name != "LSTM":  # an epoch may show no gain over the last value
        pytest.fail(f"{auto.name}: {auto.found.skipped}")
    auto.save(tmp_path / "auto")
    run = load_run(tmp_path / "auto" / "models" / "LSTM")
    assert run.config.epochs == 5
    series = auto.found.series
    table = predict(run, data=series)
    np.testing.assert_allclose(table["LSTM"], auto.predict()["LSTM"], rtol=1e-6)
    assert pd.read_csv(tmp_path / "auto" / "candidates.csv")["weight"].tolist() == [0.0, 1.0]
