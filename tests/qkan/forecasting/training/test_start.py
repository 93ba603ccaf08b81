"""Where training starts: the linear skip from least squares, where lags alone say much."""

import numpy as np
import pandas as pd
import pytest
import torch

from qkan.datasets import Series
from qkan.forecasting import Forecaster, TrainConfig
from qkan.forecasting.data.load import as_cut, cut_windows, tensors
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.runs.inference import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.objective import Objective
from qkan.forecasting.training.start import start_skip

STEPS = np.arange(300)
SWING = np.exp(-STEPS / 150) * np.sin(2 * np.pi * STEPS / 17.3)
NOISE = np.random.default_rng(0).standard_normal(300)


def cut(values, **options):
    options = {"cell": "lstm", "season": "none", "window": 6, "hidden_size": 2, **options}
    config = TrainConfig(data="x", **options)
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(len(values)), "y": values})
    data = cut_windows(Series("made", frame), config)
    return as_cut(config, data), data


def started(values, **options):
    config, data = cut(values, **options)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start = start_skip(model, tensors(data.train), tensors(data.validation), loss_of(config))
    return model, data, start


@pytest.mark.parametrize("level", ["last", "mean", "window", "none"])
@pytest.mark.parametrize("options", [{}, {"horizon": 3, "decoder": "last", "skip": 3}, {"loss": "quantile"}])
def test_a_linear_motion_is_forecast_before_any_training(level, options):
    model, data, start = started(SWING, level=level, **options)
    forecasts, targets = forecast_windows(model, data), data.target_values("test")
    assert np.abs(forecasts - targets).max() < (2e-2 if level == "window" else 2e-5)
    assert start.loss < 1e-4


def test_a_skip_of_low_rank_starts_with_the_courses_that_vary_most():
    model, data, _ = started(SWING, horizon=12, level="none", skip=3)  # two dimensions and the scaler's offset
    assert np.abs(forecast_windows(model, data) - data.target_values("test")).max() < 1e-4
    assert model.skip.courses.weight.shape == (12, 3)


@pytest.mark.parametrize(
    ("values", "options"),
    [(np.cumsum(NOISE), {}), (NOISE, {}), (np.full(300, 2.0), {}), (SWING, {"skip": 0}), (SWING, {"cell": "linear"})],
    ids=["walk", "noise", "constant", "no skip", "no cell"],
)
def test_where_lags_say_little_or_there_is_no_skip_all_stays_as_it_was_drawn(values, options):
    config, _ = cut(values, **options)
    model, _, start = started(values, **options)
    assert start is None
    drawn = build_forecaster(config, torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(own, drawn[name]) for name, own in model.state_dict().items())


def test_only_the_training_part_says_where_to_start():
    later = np.concatenate([SWING[:210], 9 * NOISE[210:]])
    first, second = started(SWING)[0].skip, started(later)[0].skip
    # scaled alike, since both training parts are one
    assert torch.equal(first.patterns.weight, second.patterns.weight)


def test_the_start_is_kept_where_no_epoch_is_better():
    config, data = cut(SWING, epochs=1, level="last")
    fitted = fit_forecaster(config, data)
    assert fitted.metrics()["best_epoch"] == 0
    model, _, start = started(SWING, level="last")
    assert fitted.result.best_loss == start.loss
    assert torch.equal(fitted.model.skip.patterns.weight, model.skip.patterns.weight)
    assert Objective(fitted.model, tensors(data.validation), loss_of(config)).value() == pytest.approx(start.loss)


def test_without_validation_windows_the_training_loss_says_whether_the_start_is_kept():
    frame = pd.DataFrame({"unique_id": "a", "ds": STEPS, "y": SWING})
    forecaster = Forecaster("lstm", season="none", level="last", window=6, horizon=3, hidden_size=2, epochs=1)
    found = forecaster.fit(frame[:290], val_size=0).predict()["LSTM"]
    assert forecaster.run.metrics["best_epoch"] == 0
    assert np.abs(found - SWING[290:293]).max() < 1e-5
