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
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.objective import Objective
from qkan.forecasting.training.start import start_from_regression

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
    start = start_from_regression(model, tensors(data.train), tensors(data.validation), loss_of(config))
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


def drawn_for(values, **options):
    return build_forecaster(cut(values, **options)[0], torch.Generator().manual_seed(0)).state_dict()


@pytest.mark.parametrize(
    ("values", "options"),
    [(np.full(300, 2.0), {}), (SWING, {"skip": 0}), (SWING, {"cell": "linear"}), (STEPS[:20] * NOISE[:20], {})],
    ids=["constant", "no skip", "no cell", "few windows"],
)
def test_without_a_regression_all_stays_as_it_was_drawn(values, options):
    model, _, start = started(values, **options)
    assert start is None
    drawn = drawn_for(values, **options)
    assert all(torch.equal(own, drawn[name]) for name, own in model.state_dict().items())


def test_where_lags_say_little_training_starts_as_drawn_and_the_regression_waits():
    steady = 2.0 + 0.5 * NOISE
    model, data, start = started(steady, level="last")
    drawn = drawn_for(steady, level="last")
    assert all(torch.equal(own, drawn[name]) for name, own in model.state_dict().items())
    model.load_state_dict(start.weights)
    forecasts, targets = forecast_windows(model, data), data.target_values("test")
    naive = np.abs(np.diff(steady))[-len(targets) :].mean()
    assert np.abs(forecasts - targets).mean() < 0.85 * naive  # the mean of the window, not its last value


def test_a_regression_shrinks_to_the_last_value():
    model, _, start = started(np.cumsum(NOISE), level="none")
    if start is not None:
        model.load_state_dict(start.weights)
        assert model.skip.patterns.weight[0, -1] > 0.8


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


def lines(slopes=(1.0, 2.0, 30.0), noise=0.1):
    """Lines of one slope in the unit of each series, with a season of four steps."""
    rng = np.random.default_rng(3)
    frames = [
        pd.DataFrame({
            "unique_id": f"s{own}",
            "ds": STEPS[:120],
            "y": own * (STEPS[:120] + 2 * np.sin(np.pi * STEPS[:120] / 2) + noise * rng.standard_normal(120)),
        })
        for own in slopes
    ]  # fmt: skip
    return Series("lines", pd.concat(frames, ignore_index=True))


@pytest.mark.parametrize("encoding", ["circuit", "sincos"])
@pytest.mark.parametrize("options", [{}, {"horizon": 4}, {"horizon": 4, "decoder": "last", "skip": 4}])
def test_one_regression_serves_several_series_with_their_season(encoding, options):
    config = TrainConfig(
        data="x", cell="lstm", season=(4,), window=3, level="last", season_encoding=encoding, hidden_size=2, **options
    )
    data = cut_windows(lines(noise=0.0), config)
    config = as_cut(config, data)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start = start_from_regression(model, tensors(data.train), tensors(data.validation), loss_of(config))
    assert start.loss < 1e-8
    forecasts, targets = forecast_windows(model, data), data.target_values("test")
    assert np.abs(forecasts / targets - 1).max() < 1e-3
