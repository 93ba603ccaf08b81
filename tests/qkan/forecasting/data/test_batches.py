"""Batches of several channels, and forecasts that become inputs."""

import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting import build_forecaster
from qkan.forecasting.data.batches import WindowTensors, predict_windows, recursive_forecast
from qkan.forecasting.model.forecaster import RecurrentForecaster, Surroundings
from qkan.forecasting.training.loop import fit


def counting(rows=20, channels=3, known=2, horizon=2, weights=None, **options):
    values = torch.arange(rows * channels, dtype=torch.float32).reshape(rows, channels)
    ahead = -torch.arange(rows * known, dtype=torch.float32).reshape(rows, known)
    first = torch.tensor([0, 5, 3])
    return WindowTensors(values, ahead, weights, first, window=4, horizon=horizon, **options)


def test_a_batch_by_hand():
    weights = torch.ones(20)
    weights[9] = 0
    batch = counting(weights=weights).batch(torch.tensor([1]))
    inputs, ahead = batch.arguments
    assert inputs[0, 0].tolist() == [15, 16, 17, -12, -13]  # row 5, and what is known of row 6
    assert inputs[0, 3].tolist() == [24, 25, 26, -18, -19]
    assert ahead.tolist() == [[[-18, -19], [-20, -21]]]  # of rows 9 and 10
    assert batch.targets.tolist() == [[27, 30]]
    assert batch.weights.tolist() == [[0, 1]]


def test_a_plain_batch_has_one_argument():
    batch = counting(channels=1, known=0).batch(torch.tensor([2, 0]))
    assert len(batch.arguments) == 1
    assert batch.arguments[0][:, :, 0].tolist() == [[3, 4, 5, 6], [0, 1, 2, 3]]
    assert (batch.targets.tolist(), batch.weights) == ([[7, 8], [4, 5]], None)


def test_known_features_of_the_target_add_linearly_with_shared_weights():
    torch.manual_seed(0)
    cell = torch.nn.GRU(5, 3, batch_first=True)
    model = RecurrentForecaster(cell, 5, 3, 2, Surroundings(4, 2), quantiles=3)
    inputs, ahead = torch.randn(7, 4, 5), torch.randn(7, 2, 2)
    plain = model.head(cell(inputs)[0][:, -1]).reshape(7, 2, 3)
    torch.testing.assert_close(model(inputs, ahead), plain)  # the map starts at zero
    with torch.no_grad():
        model.known.weight.copy_(torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    added = torch.stack([ahead @ row for row in model.known.weight.detach()], dim=2)
    torch.testing.assert_close(model(inputs, ahead), plain + added)
    assert [tuple(argument.shape) for argument in model.example(3)] == [(3, 4, 5), (3, 2, 2)]


def test_a_plain_model_is_what_it_was():
    model = build_forecaster(tiny_config(), torch.Generator().manual_seed(0))
    assert set(dict(model.named_parameters())) == {
        "cell.weight_ih_l0", "cell.weight_hh_l0", "cell.bias_ih_l0", "cell.bias_hh_l0", "head.weight", "head.bias",
    }  # fmt: skip


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_rolling_equals_rolling_by_hand(horizon):
    torch.manual_seed(horizon)
    model = RecurrentForecaster(torch.nn.GRU(5, 3, batch_first=True), 5, 3, horizon, Surroundings(4, 2))
    torch.nn.init.normal_(model.known.weight)
    values, known = torch.randn(6, 4, 3), torch.randn(6, 4 + 5, 2)
    found = recursive_forecast(model, values, known, 5, masked=True)
    history, expected = values.clone(), []
    while len(expected) < 5:
        done = len(expected)
        inputs = torch.cat([history[:, -4:], known[:, done + 1 : done + 5]], dim=2)
        ahead = torch.cat([known[:, done + 4 :], torch.zeros(6, 5, 2)], dim=1)[:, :horizon]
        for step in model(inputs, ahead).unbind(dim=1):
            expected.append(step)
            # the prediction, "observed", and the last past covariate
            row = torch.stack([step, torch.ones(6), values[:, -1, 2]], dim=1)
            history = torch.cat([history, row[:, None]], dim=1)
    torch.testing.assert_close(found[:, :, 0], torch.stack(expected[:5], dim=1))


class Fixed(torch.nn.Module):
    """Predicts three crossing quantiles of every step, the same for every window."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]]))

    def forward(self, inputs):
        return self.weight.expand(len(inputs), 2, 3)


def test_quantiles_that_cross_are_sorted():
    found = predict_windows(Fixed(), counting(channels=1, known=0))
    assert found.tolist() == [[[1, 2, 3], [0, 4, 5]]] * 3


def test_training_on_masked_targets_equals_training_without_those_windows():
    torch.manual_seed(0)
    wave = torch.sin(torch.arange(41.0))
    weights = torch.ones(41)
    weights[10:15] = 0

    def windows(first, weights):
        return WindowTensors(wave[:, None], torch.zeros(41, 0), weights, first, window=4, horizon=1)

    config = tiny_config(epochs=3, batch_size=64, lr=0.03)
    everything = torch.arange(37)
    seen = everything[weights[everything + 4] == 1]
    results = []
    for data in (windows(everything, weights), windows(seen, None)):
        model = build_forecaster(config, torch.Generator().manual_seed(0))
        results.append((fit(model, data, data, config), model))
    (masked, one), (without, other) = results
    losses = [[row["val_loss"] for row in result.history] for result in (masked, without)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=1e-4, atol=1e-6)
