"""Look-up tables of circuits with proven error bounds.

A circuit is a sum of waves A cos(w x + p) whose frequencies and amplitudes are known exactly
(:mod:`qkan.quantum.spectrum`), so is its derivative, and so is the error of a table of it. A table holds the
coefficients of the cubic spline through the circuit's values at places h apart. Through the values of one wave, the
spline is that wave and its aliases,

    s(x) = sum over whole m of  a_m exp(i (w + 2 pi m / h) x),   a_m proportional to (w + 2 pi m / h)^-4,

because the Fourier transform of a cubic B-spline is (sin(w h / 2) / (w h / 2))^4 and all aliases share the numerator.
The a_m are positive and add up to 1, hence |exp(i w x) - s(x)| <= 2 (1 - a_0), which with t = w h is

    E(t) = 2 - 6 / (2 + cos t) (sin(t / 2) / (t / 2))^4,

near t^4 / 360 for small t and below the 5 / 384 t^4 that holds for any function (Hall and Meyer 1976) for all t < pi.

The spline's coefficients of a wave are its values times 3 / (2 + cos t): no system of equations, and no ends to care
for. B-splines are not negative and add up to 1, so coefficients rounded to a step err by at most half of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qkan.forecasting.io.files import RunError

CUBIC_TOLERANCE = 5e-6
"""Largest proven error of all tables of a layer together, in a gate before its activation."""

LARGEST_INT8 = 127
_MOST_POINTS = 1 << 14
_OF_ROUNDING = 0.25  # of the error by rounding to 8 bits: more places would hardly help


class Waves(NamedTuple):
    """Circuits as sums of waves, without their constants.

    Attributes:
        frequencies: Above 0, in radians a unit, float64 (circuits, waves); those with amplitude 0 are fillers.
        cosines, sines: Their coefficients, float64, likewise.
        constants: What else there is, float64 (circuits,).
        period: 2 pi if all frequencies are whole, else ``None``.
    """

    frequencies: np.ndarray
    cosines: np.ndarray
    sines: np.ndarray
    constants: np.ndarray
    period: float | None

    @property
    def amplitudes(self) -> np.ndarray:
        """(circuits, waves)."""
        return np.hypot(self.cosines, self.sines)

    @property
    def slopes(self) -> np.ndarray:
        """A bound on the derivative of every circuit, (circuits,)."""
        return (self.frequencies * self.amplitudes).sum(axis=1)

    @property
    def bends(self) -> np.ndarray:
        """A bound on the second derivative of every circuit, (circuits,)."""
        return (self.frequencies**2 * self.amplitudes).sum(axis=1)

    @property
    def sizes(self) -> np.ndarray:
        """A bound on every circuit without its constant, (circuits,)."""
        return self.amplitudes.sum(axis=1)

    def times(self, factors: np.ndarray) -> Waves:
        """Each circuit times a number, (circuits,)."""
        column = factors[:, None]
        return self._replace(
            cosines=self.cosines * column, sines=self.sines * column, constants=self.constants * factors
        )


class Tables(NamedTuple):
    """Tables of circuits on one grid.

    Attributes:
        coefficients: float32, or int8 with ``steps``; (circuits, intervals + 3).
        steps: What the whole numbers count, float32 (circuits,); ``None`` for float32 coefficients.
        errors: A proven bound on the error of every circuit, for exact arithmetic; float64 (circuits,).
        intervals: How many there are in a period, or in [-1, 1].
        periodic: Whether the table is one period; otherwise inputs lie in [-1, 1].
    """

    coefficients: np.ndarray
    steps: np.ndarray | None
    errors: np.ndarray
    intervals: int
    periodic: bool


def wave_error(turns: np.ndarray) -> np.ndarray:
    """E(t) of the head of this module for t = w h in [0, pi), float64 of any shape."""
    turns = np.asarray(turns, dtype=np.float64)
    half = np.maximum(np.abs(turns), 1e-30) / 2
    exact = 2 - 6 / (2 + np.cos(turns)) * (np.sin(half) / half) ** 4
    # For small t digits cancel; there E(t) = t^4 / 360 (1 + 0.24 t^2 + ...).
    return np.where(np.abs(turns) < 0.05, turns**4 * (1 + turns**2) / 360, exact)


def cubic_tables(waves: Waves, weights: np.ndarray, owner: np.ndarray) -> Tables:
    """Tables of float32 numbers with as few places as keep :data:`CUBIC_TOLERANCE` in every gate.

    Args:
        waves: The circuits.
        weights: |weight| of every circuit in every gate, (gates, circuits), or (circuits,) where each is in one gate.
        owner: With (circuits,) weights the gate of each; otherwise not read.

    Raises:
        RunError: no table of a sensible size keeps it.
    """

    def worst(intervals: int) -> float:
        errors = _interpolation_errors(waves, intervals)
        if weights.ndim == 2:
            return float((weights @ errors).max(initial=0))
        return float(np.bincount(owner, weights * errors).max(initial=0))

    intervals = _fewest(waves, lambda count: worst(count) <= CUBIC_TOLERANCE)
    coefficients = _coefficients(waves, intervals)
    errors = _interpolation_errors(waves, intervals)
    return Tables(coefficients.astype(np.float32), None, errors, intervals, waves.period is not None)


def sine_table(sizes: np.ndarray) -> tuple[Tables, float]:
    """A table of one turn of the sine, of which waves of any whole frequency are read.

    Sine and cosine, a quarter of a turn on, are the parts of one complex wave, so A cos(k x + p) errs by at most A E(h)
    for every k.

    Args:
        sizes: The sum of |weight| A over all waves of a gate, (gates,).

    Returns:
        the table, with a multiple of 4 places, as few as keep :data:`CUBIC_TOLERANCE` in every gate; and E(h).
    """
    one = Waves(np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1), 2 * math.pi)
    largest = float(sizes.max(initial=0))
    intervals = _fewest(one, lambda count: largest * float(wave_error(np.array(_step(one, count)))) <= CUBIC_TOLERANCE)
    intervals = -(-intervals // 4) * 4
    error = float(wave_error(np.array(_step(one, intervals))))
    return Tables(_coefficients(one, intervals).astype(np.float32), None, np.array([error]), intervals, True), error


def int8_tables(waves: Waves) -> Tables:
    """Tables of whole numbers of 8 bits: rounding errs by half a step, so the places need not be closer than that.

    Raises:
        RunError: no table of a sensible size keeps it.
    """
    half_step = waves.sizes / LARGEST_INT8 / 2

    def fine(intervals: int) -> bool:
        return bool((_interpolation_errors(waves, intervals) <= _OF_ROUNDING * half_step + 1e-30).all())

    intervals = _fewest(waves, fine)
    coefficients = _coefficients(waves, intervals)
    largest = np.abs(coefficients).max(axis=1)
    steps = np.where(largest > 0, largest / LARGEST_INT8, 1.0).astype(np.float32)
    whole = np.clip(np.rint(coefficients / steps[:, None]), -LARGEST_INT8, LARGEST_INT8)
    rounded = np.abs(whole * steps[:, None].astype(np.float64) - coefficients).max(axis=1)
    errors = _interpolation_errors(waves, intervals) + rounded
    return Tables(whole.astype(np.int8), steps, errors, intervals, waves.period is not None)


def _step(waves: Waves, intervals: int) -> float:
    return (2.0 if waves.period is None else waves.period) / intervals


def _interpolation_errors(waves: Waves, intervals: int) -> np.ndarray:
    return np.asarray((waves.amplitudes * wave_error(waves.frequencies * _step(waves, intervals))).sum(axis=1))


def _fewest(waves: Waves, fine: Callable[[int], bool]) -> int:
    """The fewest intervals that are fine, found by bisection; none reaches half a turn of the fastest wave."""
    fastest = float(waves.frequencies.max(initial=0.0))
    low = max(4, math.floor(_step(waves, 1) * fastest / math.pi) + 1)
    high = low
    while not fine(high):
        low, high = high + 1, 2 * high
        if high > _MOST_POINTS:
            raise RunError(
                f"tables of circuits of frequencies up to {fastest:.3g} would need more than {_MOST_POINTS:,} places; "
                "use edges='exact'"
            )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fine(middle) else (middle + 1, high)
    return low


def _coefficients(waves: Waves, intervals: int) -> np.ndarray:
    """Spline coefficients (circuits, intervals + 3) in float64; the first belongs to the place before the left end."""
    step, begin = _step(waves, intervals), 0.0 if waves.period is not None else -1.0
    places = begin + step * (np.arange(intervals + 3) - 1)
    found = np.zeros((len(waves.constants), len(places)))
    sharpened = 3 / (2 + np.cos(waves.frequencies * step))
    for column in range(waves.frequencies.shape[1]):  # a wave at a time, so that memory stays small
        angles = np.outer(waves.frequencies[:, column], places)
        own = waves.cosines[:, column, None] * np.cos(angles) + waves.sines[:, column, None] * np.sin(angles)
        found += sharpened[:, column, None] * own
    return found
