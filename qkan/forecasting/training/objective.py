"""The loss of many windows: what judges weights, and what a finish brings down; and what a display may see of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import Forward, WindowTensors, in_order, recursive_forecast
from qkan.forecasting.model.losses import Loss
from qkan.forecasting.training.progress import FinishProgress, LiveProgress

_MOST_NAIVE = 500_000  # windows, evenly spread, that the loss of repeating the last value is measured on


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


class Glimpse:
    """A look at a model as it is now, on windows that do not train it. Nothing is computed unless it is asked for.

    Args:
        model: The model; its weights change while it trains, its device and dtype do not.
        windows: Validation windows.
        loss: The loss of scaled values.
    """

    def __init__(self, model: nn.Module, windows: WindowTensors, loss: Loss) -> None:
        self.model, self.windows, self.loss = model, windows, loss

    @cached_property
    def naive_loss(self) -> float:
        """The validation loss of repeating the last value."""
        total, observed, windows = 0.0, 0.0, self.windows.evenly(_MOST_NAIVE)
        for index in in_order(len(windows)):
            batch = windows.batch(index)
            last = batch.arguments[0][:, -1:, 0].expand_as(batch.targets)
            quantiles = getattr(self.loss, "quantiles", None)
            predicted = last if quantiles is None else last[..., None].expand(*last.shape, len(quantiles))
            count = float(batch.observed())
            total, observed = (
                total + float(self.loss(predicted, batch.targets, batch.weights)) * count,
                observed + count,
            )
        return total / observed

    def forecasts(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the newest validation targets of one series and their forecasts, both scaled, at most ``points``.

        Forecasts of several steps stand one behind the other. Targets that nobody observed are NaN.
        """
        like = next(self.model.parameters())
        index = self._newest(max(1, points // self.windows.horizon))
        values, futr_exog = (own.to(like) for own in self.windows.stretches(index))
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                found = recursive_forecast(
                    cast("Forward", self.model), values, futr_exog, self.windows.horizon, masked=self.windows.masked
                )
        finally:  # whoever looks may go on without what cannot be computed
            self.model.train(was_training)
        middle = found[:, :, found.shape[2] // 2].double().cpu().numpy()
        batch = self.windows.batch(index)
        targets = batch.targets.double()
        if batch.weights is not None:
            targets = targets.where(batch.weights > 0, torch.nan)
        return targets.cpu().numpy().ravel()[-points:], middle.ravel()[-points:]

    def _newest(self, count: int) -> Tensor:
        """The last windows of the last series whose targets follow each other without overlap, in order of time."""
        last, apart = len(self.windows) - 1, self.windows.horizon
        index = torch.arange(last, -1, -apart)[:count].flip(0)
        first = self.windows.first
        follows = (first[last] - first[index.to(first.device)]).cpu() == last - index
        return index[follows]


class Shown:
    """Tells a display all that it is told, and lets it look at the model behind every epoch, and during a finish."""

    def __init__(self, progress: LiveProgress, glimpse: Glimpse) -> None:
        self.progress, self.glimpse = progress, glimpse
        self.of_finish = progress if isinstance(progress, FinishProgress) else None

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Pass it on."""
        self.progress.start(epochs, steps, done)

    def step(self, loss: float, count: int = 1) -> None:
        """Pass it on."""
        self.progress.step(loss, count)

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Pass it on, and offer a look."""
        self.progress.epoch(metrics)
        self.progress.look(self.glimpse)

    def finish(self) -> None:
        """Pass it on."""
        self.progress.finish()

    def lbfgs_start(self, steps: int) -> None:
        """Pass it on to who asks for it."""
        if self.of_finish is not None:
            self.of_finish.lbfgs_start(steps)

    def lbfgs_step(self, done: int, loss: float, val_loss: float) -> None:
        """Pass it on to who asks for it, and offer a look."""
        if self.of_finish is not None:
            self.of_finish.lbfgs_step(done, loss, val_loss)
        self.progress.look(self.glimpse)

    def lbfgs_finish(self) -> None:
        """Pass it on to who asks for it."""
        if self.of_finish is not None:
            self.of_finish.lbfgs_finish()
