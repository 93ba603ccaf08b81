"""Chronological split of a series into training, validation and test part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from qkan.datasets.errors import DataError


class Split(Protocol):
    """Where the parts of a series end, and which parts there are at all."""

    @property
    def has_validation(self) -> bool:
        """Whether series have a validation part."""
        ...

    @property
    def has_test(self) -> bool:
        """Whether series have a test part."""
        ...

    def boundaries(self, length: int) -> tuple[int, int]:
        """End of the training part and of the validation part of a series of ``length`` values; the rest tests."""
        ...


@dataclass(frozen=True)
class SplitFractions:
    """How much of every series, in order of time, each part gets.

    Args:
        train: share of the oldest values, above 0.
        validation: share of the values after them, at least 0.
        test: share of the newest values, above 0.

    Raises:
        DataError: a share is out of range or the three do not add up to 1 (within 1e-9).

    Examples:
        >>> from qkan.datasets import SplitFractions
        >>> SplitFractions(0.7, 0.1, 0.2).boundaries(1000)
        (700, 800)
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        for part, share in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if not math.isfinite(share) or share < 0 or (share == 0 and part != "validation"):
                limit = "at least 0" if part == "validation" else "above 0"
                raise DataError(f"the {part} share of the split is {share}; it must be {limit}, e.g. 0.7, 0.1, 0.2")
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise DataError(
                f"the split {self.train}, {self.validation}, {self.test} sums to {total:g}; it must sum to 1"
            )

    has_test = True

    @property
    def has_validation(self) -> bool:
        """Whether series have a validation part."""
        return self.validation > 0

    def boundaries(self, length: int) -> tuple[int, int]:
        """End of the training part and of the validation part of a series of ``length`` values; the rest tests.

        Both are the whole number nearest to the exact share.
        """
        return round(length * self.train), round(length * (self.train + self.validation))


@dataclass(frozen=True)
class FixedBorders:
    """Parts that the protocol of a benchmark prescribes.

    Args:
        train: where the training part ends, in steps from the begin of a series, or, below 0, from its end.
        validation: where the validation part ends, as well.

    Examples:
        >>> from qkan.datasets import FixedBorders
        >>> FixedBorders(train=600, validation=800).boundaries(1000)
        (600, 800)
    """

    train: int
    validation: int
    has_validation = True
    has_test = True

    def boundaries(self, length: int) -> tuple[int, int]:
        """End of the training part and of the validation part of a series of ``length`` values; the rest tests."""
        ends = [max(0, own + length) if own < 0 else min(own, length) for own in (self.train, self.validation)]
        return ends[0], ends[1]


@dataclass(frozen=True)
class Fold:
    """One of several origins: the window of what is known expands from fold to fold, and each tests what comes next.

    The first fold knows half of what the training and validation parts of ``split`` hold together; the values behind it
    are cut into ``of`` test parts of one size. What a fold knows is divided into training and validation as ``split``
    divides it. A single fold is the split itself.

    Args:
        split: how a single fold would be cut.
        number: which one, from 0.
        of: how many there are.

    Examples:
        >>> from qkan.datasets import Fold, SplitFractions
        >>> [Fold(SplitFractions(), number, of=3).boundaries(1000) for number in (1, 2, 3)]
        [(525, 600), (700, 800), (875, 1000)]
    """

    split: SplitFractions
    number: int
    of: int
    has_test = True

    @property
    def has_validation(self) -> bool:
        """Whether series have a validation part."""
        return self.split.has_validation

    def _known(self, length: int, folds: int) -> int:
        """How many values stand before the test part of a fold, which begins after ``folds`` others."""
        first = (1 - self.split.test) / (2 if self.of > 1 else 1)
        return round(length * (first + (1 - first) * folds / self.of))

    def boundaries(self, length: int) -> tuple[int, int]:
        """End of the training part and of the validation part of a series of ``length`` values."""
        if self.of == 1:
            return self.split.boundaries(length)
        known = self._known(length, self.number)
        return round(known * self.split.train / (self.split.train + self.split.validation)), known

    def end(self, length: int) -> int:
        """End of the test part, where that of the next fold begins."""
        return length if self.number == self.of - 1 else self._known(length, self.number + 1)


@dataclass(frozen=True)
class LastSteps:
    """The newest values of every series test, those before them validate, all others train.

    By default none test: how a forecaster is fitted for use.

    Args:
        validation: number of values that validate, at least 0; None takes a tenth of those that do not test.
        at_least: the fewest values that a tenth may be.
        test: number of the newest values, which test; at least 0.

    Raises:
        DataError: a negative number.

    Examples:
        >>> from qkan.datasets import LastSteps
        >>> LastSteps(validation=48, test=24).boundaries(1000)
        (928, 976)
    """

    validation: int | None = None
    at_least: int = 0
    test: int = 0

    def __post_init__(self) -> None:
        if self.validation is not None and self.validation < 0:
            raise DataError(f"val_size is {self.validation}; it must be at least 0")
        if self.test < 0:
            raise DataError(f"the test part has {self.test} values; it must have at least 0")

    @property
    def has_test(self) -> bool:
        """Whether series have a test part."""
        return self.test > 0

    @property
    def has_validation(self) -> bool:
        """Whether series have a validation part."""
        return self.validation != 0

    def boundaries(self, length: int) -> tuple[int, int]:
        """End of the training part and of the validation part of a series of ``length`` values; the rest tests."""
        known = max(length - self.test, 0)
        size = max(round(known / 10), self.at_least) if self.validation is None else self.validation
        return max(known - size, 0), known
