"""Panels that grow: with all defaults, a forecaster is never above the last value."""

import numpy as np

from benchmarks.invented_panels import KINDS, panel
from benchmarks.small_series import evaluate_sized
from qkan.datasets import series_from_frame
from qkan.forecasting.config import FRAME, TrainConfig


def test_panels_have_the_lengths_that_they_are_described_by():
    for name, kind in KINDS.items():
        frame = panel(name)
        counts = frame.groupby("unique_id")["y"].size().to_numpy()
        assert counts.tolist() == [kind.shortest + place * kind.longer for place in range(8)]
        assert np.isfinite(frame["y"]).all()


def test_the_default_of_a_panel_of_years_that_grow_is_not_above_the_last_value():
    series = series_from_frame(panel("yearly: a trend and a random walk", seed=1))
    config, found = evaluate_sized(TrainConfig(data=FRAME, cell="lstm"), series, loss=None)
    assert (config.level, config.loss) == ("window", "mae")
    for scores in (found.scores, found.medians):
        assert scores["LSTM"]["mae"] <= scores["Naive"]["mae"] * (1 + 1e-9)
