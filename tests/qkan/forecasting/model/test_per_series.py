"""Circuits of the season, levels and amplitudes of every series of a panel, beside the shared cell."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from untrained import untrained_run

from qkan.forecasting import Forecaster, RunError, TrainConfig, export, load_exported, predict, train
from qkan.forecasting.model.per_series import PerSeries

STEPS = 240


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    """Three hourly series whose days have different shapes."""
    step = np.arange(STEPS)
    turn = 2 * np.pi * step / 24
    shapes = {"a": np.sin(turn), "b": np.cos(2 * turn), "c": np.sin(turn + 2) + np.sin(3 * turn)}
    noise = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=STEPS, freq="h")
    parts = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": 50 + 10 * y + noise.normal(0, 1, STEPS)})
        for name, y in shapes.items()
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def file(panel, tmp_path_factory):
    path = tmp_path_factory.mktemp("panel") / "panel.csv"
    panel.to_csv(path, index=False)
    return path


def config_of(path, **options) -> TrainConfig:
    given = {
        "cell": "lstm",
        "hidden_size": 2,
        "window": 6,
        "horizon": 2,
        "epochs": 1,
        "per_series": True,
        "batch_size": 64,
    }
    return TrainConfig(data=str(path), device="cpu", **{**given, **options})


def drawn(run):
    """Give the parts of the series values that differ, as a training would."""
    own, generator = run.model.own, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (own.memory, own.amplitude, own.weights):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return run


def test_the_season_of_a_series_is_a_circuit_for_every_harmonic_of_every_season():
    own = PerSeries(3, (24, 168), terms=2)
    with torch.no_grad():
        own.weights.copy_(torch.linspace(-1, 2, 12).view(3, 4))
    phases = torch.rand(3, 50, 2) * 2 * math.pi
    found = own.of(torch.tensor([2.0, 0.0, 1.0])).season(phases)
    for row, series in enumerate((2, 0, 1)):
        turns = torch.cat([phases[row, :, :1] * torch.tensor([1, 2]), phases[row, :, 1:] * torch.tensor([1, 2])], dim=1)
        expected = (own.weights[series] * (turns + own.angles[series]).cos()).sum(1)
        assert torch.allclose(found[row], expected, atol=2e-6)


def test_a_level_weighs_its_values_geometrically_from_the_newest():
    own = PerSeries(2, (), terms=1)
    with torch.no_grad():
        own.memory.copy_(torch.tensor([0.0, 30.0]))
    values = torch.tensor([[1.0, 2.0, 4.0]]).repeat(2, 1)
    level = own.of(torch.tensor([0.0, 1.0])).level(values).offset[:, 0]
    assert level.tolist() == pytest.approx([(1 + 2 * 2 + 4 * 4) / 7, 4.0], abs=1e-6)


def test_training_starts_from_no_season_and_the_amplitude_of_the_cell():
    own = PerSeries(2, (24,), terms=2)
    parts = own.of(torch.tensor([0.0, 1.0]))
    assert parts.cosines.abs().max() == parts.sines.abs().max() == 0
    assert parts.factor.tolist() == [[1.0], [1.0]]


def test_an_unknown_series_has_the_means_of_the_known_ones():
    own = PerSeries(3, (24,), terms=2)
    with torch.no_grad():
        own.weights.fill_(1.0)
        own.memory.copy_(torch.tensor([0.0, 1.0, 5.0]))
    unknown = own.of(torch.tensor([-1.0]))
    assert torch.allclose(unknown.cosines[0], own.of(torch.arange(3.0)).cosines.mean(0), atol=1e-7)
    assert unknown.memory.tolist() == [[pytest.approx(2.0)]]


def test_parts_of_their_own_cost_the_same_for_every_series(file):
    def parameters(**options):
        from qkan.forecasting.data.load import as_cut, load_windows
        from qkan.forecasting.model.build import check_size

        config = config_of(file, **options)
        return check_size(as_cut(config, load_windows(config)))

    shared, own, two = parameters(per_series=False), parameters(), parameters(series=("a", "b"))
    day = 2 * 6  # angle and weight of six harmonics
    assert own - shared == 3 * (2 + day)  # and memory and amplitude
    assert own - two == 2 + day


def test_a_series_is_known_by_its_name_in_any_order_and_company(file, panel):
    run = drawn(untrained_run(config_of(file)))
    whole = predict(run)
    assert not np.allclose(whole[whole.unique_id == "a"].iloc[:, 2], whole[whole.unique_id == "b"].iloc[:, 2], atol=1)
    from qkan.datasets import series_from_frame

    some = predict(run, data=series_from_frame(panel[panel.unique_id.isin(["b", "c"])]))
    expected = whole[whole.unique_id.isin(["b", "c"])]
    assert some["LSTM"].tolist() == pytest.approx(expected["LSTM"].tolist(), rel=1e-6)


def test_a_new_series_is_refused_or_has_the_mean_circuit(file, panel):
    from qkan.datasets import series_from_frame

    run = drawn(untrained_run(config_of(file)))
    new = series_from_frame(panel[panel.unique_id == "a"].assign(unique_id="z"))
    with pytest.raises(RunError, match="was not trained on series 'z'"):
        predict(run, data=new)
    found = predict(run, data=new, new_series="scale")
    assert np.isfinite(found["LSTM"]).all()


def test_an_exported_run_keeps_the_parts_of_every_series(file, tmp_path):
    run = drawn(untrained_run(config_of(file)))
    made = export(run, tmp_path / "model.onnx")
    assert made.difference < 1e-5
    loaded = predict(load_exported(made.path))
    assert loaded["LSTM"].tolist() == pytest.approx(predict(run)["LSTM"].tolist(), rel=1e-5)


def test_a_trained_run_is_saved_loaded_and_learns_different_days(file, tmp_path):
    from qkan.forecasting import load_run

    errors = {}
    for own in (False, True):
        config = config_of(file, epochs=12, lr=0.05, window=3, horizon=1, per_series=own, season_terms=3, batch_size=32)
        run = train(config, tmp_path / str(own))
        errors[own] = run.metrics["test"]["LSTM"]["mae"]
    assert errors[True] < 0.9 * errors[False]
    again = load_run(tmp_path / "True")
    assert again.config.per_series == 3
    assert predict(again)["LSTM"].tolist() == predict(run)["LSTM"].tolist()
    assert json.loads((tmp_path / "True" / "config.json").read_text())["config"]["per_series"] == 3
    assert train(config, tmp_path / "True", resume=True).config == run.config


def test_a_forecaster_takes_the_option(panel):
    model = Forecaster("lstm", window=4, horizon=1, epochs=1, hidden_size=2, per_series=True, device="cpu").fit(panel)
    assert model.run.config.per_series == 3
    assert len(model.predict()) == 3
    assert len(model.cross_validate(panel, n_windows=1)) == 3


@pytest.mark.parametrize("value", ["yes", 1.5, -1])
def test_the_option_is_on_or_off(value):
    with pytest.raises(ValueError, match="per_series must be True or False, got"):
        TrainConfig(data="telecom", per_series=value)
