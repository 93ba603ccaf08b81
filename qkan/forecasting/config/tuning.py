"""How a training run looks for its learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from qkan.forecasting.config.options import LEARNING_RATES, OPTIONS


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Trainings of which a run takes the learning rate: the one with the lowest validation error.

    They are those of a comparison: the first learning rates of one grid, the same for every cell, each with all other
    options of the run.

    Args:
        trials: How many of ``LEARNING_RATES`` are tried, from 2.
        workers: How many at a time; ``None`` for one per core, at most 8, or for all of a cluster.
        executor: Where: ``processes`` or ``ray`` (on this machine), or the address of a Ray cluster. The results are
            the same.

    Raises:
        ValueError: a value is out of its range.

    Examples:
        >>> from qkan.forecasting import TrainConfig, Tuning, train
        >>> config = TrainConfig(data="damped-shm", cell="lstm", epochs=1, lbfgs_steps=0)
        >>> run = train(config, "runs/tuned", tune=Tuning(trials=2, workers=1), overwrite=True)
        >>> run.tuning["lr"].tolist(), run.config.lr in run.tuning["lr"].tolist()
        ([0.01, 0.03], True)
    """

    trials: int = 3
    workers: int | None = None
    executor: str = "processes"

    def __post_init__(self) -> None:
        for name, option in (("trials", "tune"), ("workers", "workers"), ("executor", "executor")):
            OPTIONS[option].check(name, getattr(self, name))

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates, in the order in which equals are taken."""
        return LEARNING_RATES[: self.trials]
