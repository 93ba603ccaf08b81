"""How much time a search may take, and whether what it is about to do fits into the rest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from qkan.forecasting.baselines import Interrupted

Clock = Callable[[], float]
"""Seconds since some moment."""

MEASURED = 0.5
"""Seconds, at least, that a part of some work must have taken before the rest is judged by it."""


class OutOfTime(Interrupted):
    """A candidate would not fit into the time left; the message says how long it would take.

    Args:
        message: The sentence.
        share: How much of it would have fitted, 0 to 1.
    """

    def __init__(self, message: str, share: float = 0.0) -> None:
        super().__init__(message)
        self.share = share


class Budget:
    """Seconds that a search may take.

    Args:
        seconds: All of them; ``None`` for no limit.
        clock: Tells the time.
    """

    def __init__(self, seconds: float | None, clock: Clock = time.perf_counter) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self.clock, self.begun = clock, clock()
        self.reserved = 0.0

    @property
    def spent(self) -> float:
        """Seconds since the search began."""
        return self.clock() - self.begun

    @property
    def left(self) -> float:
        """Seconds for further candidates; those that fitting the chosen ones again will take are kept back."""
        return self.seconds - self.spent - self.reserved

    def check(self, expected: float) -> None:
        """Refuse work of some seconds that would not fit.

        Raises:
            OutOfTime: it would not.
        """
        left = self.left
        if left < 0:
            raise OutOfTime("no time is left")
        if expected > left:
            raise OutOfTime(f"it would take about {in_words(expected)}, and {in_words(left)} are left")


class Stage:
    """One candidate under way: it is fitted once to be judged and once more to forecast.

    Args:
        budget: Of the search.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget, self.begun = budget, budget.clock()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self.budget.clock() - self.begun

    def at(self, share: float, again: float = 1.0) -> None:
        """Look whether the rest of it fits, where a share of it, 0 to 1, is done.

        Args:
            share: How much of the judged fit is done.
            again: What the last fit takes of the time of the judged fit.

        Raises:
            OutOfTime: it does not.
        """
        took = self.seconds
        if share <= 0 or took < MEASURED:
            self.budget.check(0.0)
            return
        whole, left = (1 + again) * took / share, max(self.budget.left, 0.0) + took
        if whole > left:
            raise OutOfTime(f"it would take about {in_words(whole)}, and {in_words(left)} were left", left / whole)

    def watch(self, again: float = 1.0) -> None:
        """Look whether it still fits, where nobody knows how much of it is done.

        Args:
            again: What the last fit takes of the time of the judged fit.

        Raises:
            OutOfTime: with its last fit, it would not fit even if it were done now.
        """
        took, left = self.seconds, self.budget.left
        if again * took > left:
            left = max(left, 0.0) + took
            raise OutOfTime(f"it was not done after {in_words(took)}, and {in_words(left)} were left with its last fit")


def in_words(seconds: float) -> str:
    """Return a duration for people: ``8 s``, ``3 min``."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
