"""The mean season as the level of a forecast: circuits that start from least squares, taken away and put back."""

import numpy as np
import pandas as pd
import pytest
import torch
from untrained import untrained_run

from qkan.datasets import Series, series_from_frame
from qkan.forecasting import Forecaster, TrainConfig, load_run, predict, train
from qkan.forecasting.data.load import as_cut, cut_windows, tensors
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.model.parts import MeanSeason
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.start import start_mean

STEPS = np.arange(600)
WEEK = np.random.default_rng(0).normal(0, 10, 35)  # five days of 7 steps, each step by itself
SHAPE = 50 + WEEK[STEPS % 35]
OPTIONS = {"cell": "lstm", "hidden_size": 2, "level": "season", "season": (7, 35), "window": 7}
OPTIONS |= {"device": "cpu", "lbfgs_steps": 0}


def made(values: np.ndarray) -> Series:
    return Series("made", pd.DataFrame({"unique_id": "a", "ds": np.arange(len(values)), "y": values}))


def cut(values: np.ndarray, **options: object):
    config = TrainConfig(data="x", **{**OPTIONS, **options})
    data = cut_windows(made(values), config)
    return as_cut(config, data), data


def test_a_mean_season_is_a_constant_and_a_wave_for_every_circuit():
    mean = MeanSeason((7, 35))
    waves = mean.circuits.channels
    assert waves == 3 + 17  # harmonics that differ on their steps
    phases = 2 * np.pi * torch.rand(3, 50, 2)
    assert mean(phases).abs().max() == 0
    sines, cosines = torch.linspace(-1, 1, waves), torch.linspace(2, -1, waves)
    mean.start(sines, cosines, torch.tensor(3.0))
    angles = phases @ mean.circuits.frequencies
    expected = 3 + angles.sin() @ sines + angles.cos() @ cosines
    assert torch.allclose(mean(phases), expected, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"horizon": 8}, {"horizon": 7, "segment": 7, "window": 14}])
def test_training_starts_from_the_mean_season_of_the_training_part(options):
    config, data = cut(np.concatenate([SHAPE[:420], np.full(180, 50.0)]), **options)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start_mean(model, tensors(data.train))
    phases = torch.from_numpy(data.train.futr_exog[:84])
    with torch.no_grad():
        found = data.inverse(model.mean(phases).numpy()[None], np.zeros(1, dtype=int))[0]
    assert np.abs(found - SHAPE[:84]).max() < 0.02


def test_a_season_that_repeats_exactly_is_forecast_from_the_first_epoch_on():
    config, data = cut(SHAPE, horizon=35, epochs=1)
    fitted = fit_forecaster(config, data)
    assert np.abs(forecast_windows(fitted.model, data) - data.target_values("test")).max() < 0.3


def test_changes_from_the_mean_season_are_forecast_from_those_of_the_window():
    noise, own = np.random.default_rng(1).normal(0, 1, 600), np.zeros(600)
    for step in range(1, 600):
        own[step] = 0.95 * own[step - 1] + noise[step]
    config, data = cut(SHAPE + own, horizon=2, epochs=1)
    errors = np.abs(forecast_windows(fit_forecaster(config, data).model, data) - data.target_values("test"))
    assert errors.mean() < 0.7 * np.abs(own).mean()  # of the mean season alone


def test_missing_values_say_nothing_of_the_mean_season():
    values = SHAPE + 0.0
    values[100:130] = np.nan
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(600), "y": values})
    config = TrainConfig(data="x", missing="mask", **OPTIONS)
    data = cut_windows(series_from_frame(frame, missing="mask"), config)
    model = build_forecaster(as_cut(config, data), torch.Generator().manual_seed(0))
    start_mean(model, tensors(data.train))
    phases = torch.from_numpy(data.train.futr_exog[:84])
    with torch.no_grad():
        found = data.inverse(model.mean(phases).numpy()[None], np.zeros(1, dtype=int))[0]
    assert np.abs(found - SHAPE[:84]).max() < 0.02


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mean")
    made(SHAPE).frame.to_csv(folder / "made.csv", index=False)
    config = TrainConfig(data=str(folder / "made.csv"), **OPTIONS, epochs=1, horizon=2)
    return train(config, folder / "run")


def test_a_run_is_saved_and_loaded(run):
    again = load_run(run.path)
    assert again.config.level == "season"
    assert predict(again)["LSTM"].tolist() == predict(run)["LSTM"].tolist()


def test_forecasts_beyond_the_horizon_go_on_with_the_season():
    config = {**OPTIONS, "horizon": 4, "epochs": 1}
    frame = made(SHAPE).frame
    found = Forecaster(**config).fit(frame[:500]).predict(h=84)["LSTM"]
    assert np.abs(found - SHAPE[500:584]).max() < 1.0


def test_what_is_added_to_a_forecast_holds_the_mean_season(run):
    from qkan.forecasting.season.profile import season_profile

    profile = season_profile(run)
    rows = profile.table[profile.table["season"] == 35]
    assert np.abs(profile.formula(35)(rows["step"]) - rows["term"]).max() < 1e-5 * np.abs(rows["term"]).max()
    assert rows["term"].std() > 1


def test_linear_forecasters_take_it_too():
    drawn = untrained_run(TrainConfig(data="telecom", cell="linear", level="season", window=13))
    assert drawn.model.mean is not None


def test_what_starts_from_least_squares_moves_at_a_tenth_of_the_rate_of_the_cell():
    from qkan.forecasting.training.loop import parameter_groups

    config, _ = cut(SHAPE, lr=0.02)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    rates = {id(own): group["lr"] for group in parameter_groups(model, config) for own in group["params"]}
    slow = {id(own) for part in (model.mean, model.skip, model.known) for own in part.parameters()}
    assert {round(rates[own], 9) for own in slow} == {0.002}
    assert {rate for own, rate in rates.items() if own not in slow} == {0.02}
