"""The loss of many windows: what judges weights, and what a finish brings down."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import WindowTensors, in_order
from qkan.forecasting.model.losses import Loss


class Objective:
    """The mean loss over all observed targets of windows, in the dtype of a model's weights and on their device.

    It is computed in pieces of bounded size.

    Args:
        model: The model; its weights may change between two calls, their dtype and device may not.
        windows: One or more windows.
        loss: The loss of scaled values.

    Attributes:
        evaluations: How often the gradient was computed.
        unit: Factor that :meth:`with_gradient` counts the loss with; see :func:`qkan._util.lbfgs.loss_unit`.
    """

    def __init__(self, model: nn.Module, windows: WindowTensors, loss: Loss) -> None:
        like = next(model.parameters())
        self.model, self.loss, self.dtype = model, loss, like.dtype
        self.windows, self.evaluations = windows.to(like.device), 0
        whole = [self.windows.batch(index).observed() for index in in_order(len(windows))]
        self.observed = torch.stack(whole).sum()
        self.unit = 1.0

    def value(self) -> float:
        """The loss, with the model as in a forecast."""
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            value = math.fsum(float(self._part(index)) for index in in_order(len(self.windows)))
        self.model.train(was_training)
        return value

    def with_gradient(self) -> float:
        """The loss times :attr:`unit`, with its gradient left in the parameters."""
        self.evaluations += 1
        self.model.zero_grad()
        total = []
        with torch.enable_grad():
            for index in in_order(len(self.windows)):
                part = self._part(index) * self.unit
                part.backward()
                total.append(float(part.detach()))
        return math.fsum(total)

    def _part(self, index: Tensor) -> Tensor:
        """What some windows add to the mean."""
        batch = self.windows.batch(index)
        predicted = self.model(*(argument.to(self.dtype) for argument in batch.arguments))
        share = batch.observed() / self.observed
        return self.loss(predicted, batch.targets.to(self.dtype), batch.weights) * share.to(self.dtype)
