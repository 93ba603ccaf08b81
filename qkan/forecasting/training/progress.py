"""How training and comparing report what they do, without knowing who looks on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from qkan.forecasting.training.objective import Glimpse


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
    """Watches one training run, and where there are validation windows the model itself."""

    def look(self, view: Glimpse) -> None:
        """An epoch ended, or some steps of a finish: here is the model. What is asked of it takes time, so ask a few
        times a second."""


@runtime_checkable
class FinishProgress(Protocol):
    """Watches a finish by LBFGS; a watcher of a training that has these methods too is told of it."""

    def lbfgs_start(self, steps: int) -> None:
        """A finish of at most ``steps`` steps begins; the epochs before it have ended."""

    def lbfgs_step(self, done: int, loss: float, val_loss: float) -> None:
        """``done`` steps are made; ``loss`` is that of the training windows a few steps ago, both on scaled values."""

    def lbfgs_finish(self) -> None:
        """The finish ended, early or not. Not called when it was interrupted."""


@runtime_checkable
class TuningProgress(Protocol):
    """Watches trials before a training; a watcher of a training that has these methods too is told of them."""

    def trials_start(self, trials: int, done: int = 0) -> None:
        """``trials`` trainings begin, of which ``done`` are on disk already."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """A trial ended; ``row`` is its row of ``tuning.csv``."""

    def trials_finish(self) -> None:
        """The last trial ended. Not called when they were interrupted."""


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
