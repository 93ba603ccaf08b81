import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting.model.losses import loss_of, pinball

PREDICTED = torch.tensor([[0.0, 3.0], [1.0, 1.0], [2.0, 5.0]])
TARGETS = torch.tensor([[1.0, 1.0], [1.0, 1.5], [2.0, 1.0]])  # errors 1, -2 | 0, 0.5 | 0, -4
WEIGHTS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("loss", "whole", "masked"),
    [
        ("mse", (1 + 4 + 0.25 + 16) / 6, (1 + 0.25 + 16) / 4),
        ("mae", 7.5 / 6, 5.5 / 4),
        ("huber", (0.5 + 1.5 + 0.125 + 3.5) / 6, (0.5 + 0.125 + 3.5) / 4),
    ],
)
def test_losses_by_hand_with_and_without_missing_targets(loss, whole, masked):
    measure = loss_of(tiny_config(loss=loss))
    assert float(measure(PREDICTED, TARGETS, None)) == pytest.approx(whole)
    assert float(measure(PREDICTED, TARGETS, WEIGHTS)) == pytest.approx(masked)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "quantile"])
def test_missing_targets_have_no_gradient(loss):
    config = tiny_config(loss=loss)
    shape = (3, 2, len(config.quantiles)) if loss == "quantile" else (3, 2)
    predicted = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss_of(config)(predicted, TARGETS, WEIGHTS).backward()
    moved = predicted.grad.reshape(3, 2, -1).abs().sum(2) > 0
    assert moved.tolist() == WEIGHTS.bool().tolist()


def test_pinball_loss_by_hand():
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    predicted = torch.tensor([[[0.0, 2.0, 4.0]]])
    # errors 3, 1, -1: 0.3, 0.5, 0.1
    assert float(pinball(predicted, torch.tensor([[3.0]]), quantiles)) == pytest.approx(0.9 / 3)
    loss = loss_of(tiny_config(loss="quantile", levels=(80,)))
    pair = torch.cat([predicted, torch.full((1, 1, 3), 9.0)], dim=1)
    assert float(loss(pair, torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0]]))) == pytest.approx(0.3)


def test_pinball_loss_is_least_at_the_quantile_of_a_uniform_distribution():
    targets = torch.linspace(0, 1, 100_001)[:, None]
    quantiles = torch.tensor([0.05, 0.5, 0.8])

    def loss(at):
        return pinball(torch.tensor(at).expand(len(targets), 1, 3), targets, quantiles).mean().item()

    # E of the pinball loss of U(0, 1) at its own quantile q is q (1 - q) / 2
    best = loss([0.05, 0.5, 0.8])
    assert best == pytest.approx(np.mean([0.05 * 0.95, 0.25, 0.16]) / 2, rel=1e-3)
    for other in ([0.07, 0.5, 0.8], [0.05, 0.48, 0.8], [0.05, 0.5, 0.82]):
        assert loss(other) > best
