"""What training minimises: a mean over all observed targets, in scaled values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qkan.forecasting.config import DataAndTrainingOptions

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "mse": nn.functional.mse_loss,
    "mae": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From predictions (B, horizon) or (B, horizon, quantiles), targets (B, horizon) and weights like them to a number."""


def pinball(predictions: Tensor, targets: Tensor, quantiles: Tensor) -> Tensor:
    """The pinball loss of each prediction, averaged over quantiles: max(q e, (q - 1) e) with e = target - prediction.

    Koenker and Bassett (1978), "Regression quantiles", eq. 3.1; its minimum is the q-quantile of the targets.

    Args:
        predictions: (B, horizon, quantiles).
        targets: (B, horizon).
        quantiles: In (0, 1), shape (quantiles,).

    Returns:
        (B, horizon).
    """
    errors = targets.unsqueeze(2) - predictions
    return torch.maximum(quantiles * errors, (quantiles - 1) * errors).mean(dim=2)


def loss_of(config: DataAndTrainingOptions) -> Loss:
    """Return the loss that a configuration asks for: ``mse``, ``mae``, ``huber`` (with delta 1) or ``quantile``."""
    if config.loss == "quantile":
        return _Pinball(config.quantiles)
    plain = _PLAIN[config.loss]

    def loss(predictions: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if weights is None:
            return plain(predictions, targets)
        return _weighted(plain(predictions, targets, reduction="none"), weights)

    return loss


class _Pinball:
    """The pinball loss, with its quantiles moved to the device of the targets once."""

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        self.quantiles = torch.tensor(quantiles)

    def __call__(self, predictions: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if self.quantiles.device != targets.device:
            self.quantiles = self.quantiles.to(targets.device)
        losses = pinball(predictions, targets, self.quantiles)
        return losses.mean() if weights is None else _weighted(losses, weights)


def _weighted(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean over the targets of weight 1. Every window has one, so the sum of weights is never zero."""
    return (losses * weights).sum() / weights.sum()
