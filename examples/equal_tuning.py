"""The same size and tuning budget for every kind of network: what the experiments of this folder share.

Every learning rate (or whatever else there is to choose) is tried with the first seeds; the lowest median validation
loss chooses; all seeds are trained with it. Test results choose nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import nn


class Scored(Protocol):
    """What one training run gave; anything with a validation loss."""

    @property
    def validation_loss(self) -> float:
        """The lower the better."""
        ...


Choice = TypeVar("Choice")
Result = TypeVar("Result", bound=Scored)


@dataclass(frozen=True)
class Tuned(Generic[Choice, Result]):
    """What was chosen and the results of all seeds with it, in order."""

    choice: Choice
    results: list[Result]

    def median(self, name: str) -> float:
        """Median over the seeds of one number of the results."""
        return statistics.median(getattr(result, name) for result in self.results)

    def spread(self, name: str, form: str) -> str:
        """``median (smallest to largest)`` of one number of the results, each in the format ``form``."""
        values = [getattr(result, name) for result in self.results]
        return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def tune(
    train: Callable[[Choice, int], Result], choices: Sequence[Choice], tuning_seeds: int, seeds: int
) -> Tuned[Choice, Result]:
    """Choose among learning rates, say, and train all seeds with the chosen one.

    Args:
        train: one training run from a choice and a seed.
        choices: what to try; the first of equals is chosen.
        tuning_seeds: how many of the seeds try every choice.
        seeds: runs with the chosen one, seeds 0, 1, ...
    """
    tried = [[train(choice, seed) for seed in range(tuning_seeds)] for choice in choices]
    losses = [statistics.median(result.validation_loss for result in results) for results in tried]
    place = losses.index(min(losses))
    more = [train(choices[place], seed) for seed in range(tuning_seeds, seeds)]
    return Tuned(choices[place], tried[place] + more)


def size(model: nn.Module) -> int:
    """Trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def widest(make: Callable[[int], nn.Module], parameters: int) -> int:
    """The largest width at which what ``make`` builds has at most so many parameters; at least 1."""
    width = 1
    while size(make(width + 1)) <= parameters:
        width += 1
    return width


def parser(description: str, *, seeds: int, tuning_seeds: int, rates: Sequence[float]) -> argparse.ArgumentParser:
    """A parser with the options of the budget; the arguments are their defaults."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--seeds", type=int, default=seeds, help="runs with the chosen rate (default %(default)s)")
    made.add_argument("--tuning-seeds", type=int, default=tuning_seeds, help="runs of every rate (default %(default)s)")
    made.add_argument("--rates", type=float, nargs="+", default=list(rates), help="rates tried (default %(default)s)")
    return made


def parse(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse; exits with code 2 where more seeds tune than run."""
    options = made.parse_args(arguments)
    if not 1 <= options.tuning_seeds <= options.seeds:
        made.error(f"--tuning-seeds must be between 1 and --seeds {options.seeds}, got {options.tuning_seeds}")
    return options
