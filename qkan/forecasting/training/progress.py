"""How training and comparing report what they do, without knowing who looks on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from qkan.forecasting.data.batches import Forward, WindowTensors, in_order, recursive_forecast
from qkan.forecasting.model.losses import Loss


class Progress(Protocol):
    """Watches one training run. All methods are called from the training process and must return quickly.

    Examples:
        >>> from qkan.forecasting import TrainConfig, train
        >>> class Printed:
        ...     def start(self, epochs, steps, done=0): print(f"{epochs} epoch")
        ...     def step(self, loss, count=1): pass
        ...     def epoch(self, metrics): pass
        ...     def finish(self): print("done")
        >>> config = TrainConfig(data="damped-shm", epochs=1, lbfgs_steps=0)
        >>> run = train(config, "runs/watched", overwrite=True, progress=Printed())
        1 epoch
        done
    """

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Training begins: ``epochs`` of ``steps`` steps each, of which ``done`` epochs were trained before."""

    def step(self, loss: float, count: int = 1) -> None:
        """``count`` more steps were done (a few calls a second); ``loss`` is the last step's loss on scaled values."""

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """An epoch ended; ``metrics`` is its row of the history: epoch, train_loss, val_loss (if any), lr."""

    def finish(self) -> None:
        """Training ended, early or not. Not called when it was interrupted."""


@runtime_checkable
class LiveProgress(Progress, Protocol):
    """Watches one training run, and the model itself where there are validation windows."""

    def look(self, view: Glimpse) -> None:
        """An epoch ended: here is the model. What is asked of it takes time, so ask a few times a second."""


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
        total = observed = 0.0
        for index in in_order(len(self.windows)):
            batch = self.windows.batch(index)
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
        with torch.inference_mode():
            found = recursive_forecast(
                cast("Forward", self.model), values, futr_exog, self.windows.horizon, masked=self.windows.masked
            )
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
    """Tells a display all that it is told, and lets it look at the model behind every epoch."""

    def __init__(self, progress: LiveProgress, glimpse: Glimpse) -> None:
        self.progress, self.glimpse = progress, glimpse

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


class CompareProgress(Protocol):
    """Watches a comparison: its baselines, and then its training runs.

    Examples:
        >>> from qkan.forecasting import CompareConfig, CompareProgress, compare
        >>> class Printed(CompareProgress):
        ...     def start(self, runs, done=0): print(f"runs: {runs}")
        >>> config = CompareConfig(
        ...     data="damped-shm", cells=("lstm",), budget_params=(150,), out="compared",
        ...     seeds=1, trials=1, epochs=1, workers=1,
        ... )
        >>> found = compare(config, progress=Printed())
        runs: 1
    """

    def baseline(self, name: str, done: int, total: int) -> None:
        """A baseline has fitted so many of its series, or tried so many of its settings."""

    def start(self, runs: int, done: int = 0) -> None:
        """The comparison begins: ``runs`` trainings, of which ``done`` are on disk already."""

    def run(self, record: Mapping[str, Any]) -> None:
        """A run ended; ``record`` is its row of ``runs.csv``."""

    def finish(self) -> None:
        """The last run ended."""


class Silent:
    """Reports nothing: the default watcher of a training run."""

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Do nothing."""

    def step(self, loss: float, count: int = 1) -> None:
        """Do nothing."""

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class SilentCompare:
    """Reports nothing: the default watcher of a comparison."""

    def baseline(self, name: str, done: int, total: int) -> None:
        """Do nothing."""

    def start(self, runs: int, done: int = 0) -> None:
        """Do nothing."""

    def run(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
