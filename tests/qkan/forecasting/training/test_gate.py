"""The gate: forecasts repeat the last value where the validation part shows no gain over it."""

import numpy as np
import pandas as pd
import pytest
import torch

from qkan.forecasting import Forecaster, TrainConfig, build_forecaster
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.training.gate import set_gate


def windows_of(values: torch.Tensor, window: int, horizon: int, weights: torch.Tensor | None = None) -> WindowTensors:
    first = torch.arange(len(values) - window - horizon + 1)
    return WindowTensors(values[:, None], torch.zeros(len(values), 0), weights, first, window, horizon)


def model_of(**options: object):
    config = TrainConfig(data="x", cell="lstm", window=4, season="none", **options)  # type: ignore[arg-type]
    return build_forecaster(config, torch.Generator().manual_seed(0))


def shifted(model, by: float):
    """The model, its forecasts the last value and ``by``."""
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(by)
    return model


@pytest.mark.parametrize(("by", "opening"), [(1.0, 1.0), (0.0, 0.0), (-1.0, 0.0)])
@pytest.mark.parametrize("squared", [True, False])
def test_the_gate_is_open_only_where_the_model_beats_the_last_value(by, opening, squared):
    model = shifted(model_of(horizon=1), by)
    set_gate(model, windows_of(torch.arange(40.0), 4, 1), squared=squared)
    assert float(model.gate) == opening


def test_a_gain_within_its_standard_error_is_none():
    torch.manual_seed(0)
    values = torch.randn(200).cumsum(0)
    step = float(values.diff().mean())
    model = shifted(model_of(horizon=1), 0.01 * step)  # less error by a hair
    set_gate(model, windows_of(values, 4, 1), squared=True)
    assert float(model.gate) == 0.0


def test_series_that_err_together_are_no_evidence_for_each_other():
    steps = torch.cat([torch.ones(64), -torch.ones(39)])  # a gain over 60 of 99 windows, in every series alike
    own = windows_of(torch.cat([torch.zeros(1), steps.cumsum(0)]), 4, 1)
    many = WindowTensors(
        own.values.repeat(10, 1), torch.zeros(1040, 0), None,
        (104 * torch.arange(10)[:, None] + own.first).flatten(), 4, 1,
        series=torch.arange(10).repeat_interleave(len(own)),
    )  # fmt: skip
    model = shifted(model_of(horizon=1), 0.1)
    for windows in (own, many):
        set_gate(model, windows, squared=True)
        assert float(model.gate) == 0.0
    set_gate(shifted(model, 1.0), windows_of(torch.arange(40.0), 4, 1), squared=True)
    assert float(model.gate) == 1.0


def test_what_nobody_observed_does_not_count():
    values = torch.arange(40.0)
    values[20] = -1e6
    weights = torch.ones(40)
    weights[20] = 0.0
    model = shifted(model_of(horizon=2), 1.5)
    windows = windows_of(values, 4, 2, weights)
    chosen = WindowTensors(**{**vars(windows), "first": torch.cat([windows.first[:16], windows.first[22:]])})
    set_gate(model, chosen, squared=True)
    assert float(model.gate) == 1.0


@pytest.mark.parametrize("loss", ["mse", "quantile"])
def test_a_closed_gate_repeats_the_last_value_and_keeps_the_intervals(loss):
    model = model_of(horizon=3, loss=loss)
    inputs = torch.randn(5, 4, 1)
    torch.nn.init.normal_(model.head.bias)
    before = model(inputs)
    model.gate.fill_(0.0)
    last = inputs[:, -1:, 0].expand(-1, 3)
    if loss == "mse":
        torch.testing.assert_close(model(inputs), last)
        return
    torch.testing.assert_close(model(inputs)[..., 2], last)
    torch.testing.assert_close(model(inputs).diff(dim=2), before.diff(dim=2))


def test_a_cell_without_level_and_skip_or_without_gate_has_none():
    assert model_of(level="none").gate is not None  # the training part may choose no level
    assert model_of(level="none", skip=0).gate is None
    assert model_of(gate=False).gate is None


def test_a_random_walk_is_forecast_by_its_last_value_and_the_gate_is_kept(tmp_path):
    steps = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"ds": np.arange(300), "y": steps.cumsum()})
    options = {"window": 6, "horizon": 4, "season": "none", "epochs": 1, "lr": 0.3}
    forecaster = Forecaster("gru", **options).fit(frame)
    assert forecaster.run.metrics["gate"] == "closed"
    np.testing.assert_allclose(forecaster.predict()["GRU"], frame["y"].iloc[-1], rtol=1e-5)
    forecaster.save(tmp_path / "run")
    again = Forecaster.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.predict(frame), forecaster.predict())
    assert Forecaster("gru", **options, gate=False).fit(frame).predict()["GRU"].nunique() == 4
