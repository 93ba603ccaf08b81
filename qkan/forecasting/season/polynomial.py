"""Trigonometric polynomials of the step of a season: the closed form of what a circuit of its phase computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NOTHING = 5e-4  # of the largest coefficient: three digits do not show it


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of cosines and sines of whole multiples of 2 pi t / season.

    Attributes:
        season: Steps of a period.
        cosines, sines: Coefficients of the multiples 1, 2, ..., float64, shape (harmonics,).
    """

    season: int
    cosines: np.ndarray
    sines: np.ndarray

    def __call__(self, step: npt.ArrayLike) -> np.ndarray:
        """The value at some steps, of any shape; float64."""
        multiples = np.arange(1, len(self.cosines) + 1)
        angles = 2 * np.pi / self.season * np.asarray(step, dtype=np.float64)[..., None] * multiples
        return np.asarray(np.cos(angles) @ self.cosines + np.sin(angles) @ self.sines)

    def times(self, factor: float) -> Polynomial:
        """The polynomial times a number."""
        return Polynomial(self.season, self.cosines * factor, self.sines * factor)

    def __str__(self) -> str:
        """The polynomial with three digits, without terms that these do not show; t counts steps."""
        largest = max(np.abs(self.cosines).max(initial=0), np.abs(self.sines).max(initial=0))
        terms = []
        for multiple, pair in enumerate(zip(self.cosines, self.sines, strict=True), start=1):
            for wave, number in zip(("cos", "sin"), pair, strict=True):
                if abs(number) > _NOTHING * largest:
                    sign = "-" if number < 0 else "+"
                    terms.append(f"{sign} {abs(number):.3g} {wave}({2 * multiple}πt/{self.season})")
        return " ".join(terms).removeprefix("+ ") or "0"


def sum_of(parts: Sequence[Polynomial]) -> Polynomial:
    """The sum of polynomials of one season.

    Raises:
        ValueError: there are none.
    """
    if not parts:
        raise ValueError("there is no polynomial to add up")
    harmonics = max(len(part.cosines) for part in parts)

    def total(name: str) -> np.ndarray:
        rows = [np.pad(getattr(part, name), (0, harmonics - len(getattr(part, name)))) for part in parts]
        return np.asarray(np.sum(rows, axis=0))

    return Polynomial(parts[0].season, total("cosines"), total("sines"))
