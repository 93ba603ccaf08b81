"""Frequencies that data ask for: peaks in the periodogram of the targets.

Greedy, as orthogonal matching pursuit: what explains most of the residual is taken, a frequency or the straight line,
all that was taken is fitted anew together, and what is left is searched again. Samples need not be equidistant
(Lomb 1976, Scargle 1982). A peak that noise would show as well is none: with M frequencies tried on n samples, noise
puts a share of about 2 ln(M) / n into its highest peak.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Samples that are looked at, spread evenly over those that there are, and frequencies that are tried.
MOST_SAMPLES, MOST_FREQUENCIES = 2048, 1024
#: Tried frequencies per width of a peak, and samples per period of the highest one.
_OVERSAMPLING, _SAMPLES_PER_PERIOD = 4, 6
_NEWTON_STEPS = 20
#: A residual with less of the targets' variance is none.
_NOTHING = 1e-8


def wanted_frequencies(x: Tensor, y: Tensor, count: int) -> Tensor:
    """The frequencies of y over any of the inputs x.

    Args:
        x: (samples, inputs).
        y: (samples, ...), the targets.
        count: how many.

    Returns:
        (count,) float64, in radians per unit of x, ascending; ones where there are no more peaks.

    Raises:
        ValueError: a target that is constant, values that are not finite, or fewer samples than ``count`` waves have
            numbers.
    """
    samples, needed = len(x), 3 * count + 2
    if samples < needed:
        raise ValueError(
            f"preact_init='auto' finds {count} frequencies in at least {needed} samples, got {samples}; give more, or "
            "preact_init='binary'"
        )
    step = -(-samples // MOST_SAMPLES)
    inputs, targets = (t.detach()[::step].cpu().double().reshape(len(t[::step]), -1) for t in (x, y))
    if not (inputs.isfinite().all() and targets.isfinite().all()):
        raise ValueError("preact_init='auto' needs finite inputs and targets; leave out samples with NaN or infinity")
    if not (targets - targets.mean(0)).abs().amax() > 0:
        raise ValueError(
            "preact_init='auto' looks for frequencies in the targets, but they are constant; use preact_init='binary' "
            "or other targets"
        )
    found = _pursued(inputs - inputs.mean(0), targets - targets.mean(0), count)
    return torch.tensor(sorted(found) + [1.0] * (count - len(found)), dtype=torch.float64)


def _pursued(x: Tensor, y: Tensor, count: int) -> list[float]:
    """At most ``count`` frequencies of centred y (samples, outputs) over centred x (samples, inputs)."""
    waves: list[tuple[int, float]] = []
    line, total = False, float(y.square().sum())
    while len(waves) < count:
        residual = _left(x, y, waves, line)
        if float(residual.square().sum()) <= _NOTHING * total:
            break
        power, wave = _highest_peak(x, residual, waves)
        if not line and float((residual - _left(x, residual, [], True)).square().sum()) >= power:
            line = True
        elif wave is None:
            break
        else:
            waves.append(wave)
            waves = _refined(x, y, waves, line)
    return [frequency for _, frequency in waves]


def _columns(x: Tensor, waves: list[tuple[int, float]], line: bool) -> list[Tensor]:
    columns = [torch.ones_like(x[:, :1]), *([x] if line else [])]
    for place, frequency in waves:
        angles = frequency * x[:, place : place + 1]
        columns += [angles.cos(), angles.sin()]
    return columns


def _solved(columns: list[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares coefficients, and what they leave over of y."""
    design = torch.cat(columns, 1)
    solution = torch.linalg.lstsq(design, y, driver="gelsd").solution
    return solution, y - design @ solution


def _left(x: Tensor, y: Tensor, waves: list[tuple[int, float]], line: bool) -> Tensor:
    """What a least-squares fit of a constant, these waves and a line leaves over of y."""
    return _solved(_columns(x, waves, line), y)[1]


def _refined(x: Tensor, y: Tensor, waves: list[tuple[int, float]], line: bool) -> list[tuple[int, float]]:
    """The waves with the frequencies near theirs that together leave least over: steps of Gauss and Newton."""
    error = float(_left(x, y, waves, line).square().sum())
    for _ in range(_NEWTON_STEPS):
        columns = _columns(x, waves, line)
        amplitudes, residual = _solved(columns, y)
        first, slopes = len(amplitudes) - 2 * len(waves), []
        for k, (place, _) in enumerate(waves):
            cos, sin = columns[-2 * len(waves) + 2 * k :][:2]
            a, b = amplitudes[first + 2 * k], amplitudes[first + 2 * k + 1]
            slopes.append(x[:, place : place + 1] * (cos * b - sin * a))  # of every output by the frequency
        design = torch.cat(columns, 1)
        # Amplitudes are free for every output, frequencies are common: what amplitudes can make is taken out first.
        free = torch.stack([_solved([design], slope)[1] for slope in slopes], -1).flatten(0, 1)
        steps = torch.linalg.lstsq(free, residual.flatten().unsqueeze(1), driver="gelsd").solution.flatten().tolist()
        moved = [(place, abs(f + step)) for (place, f), step in zip(waves, steps, strict=True)]
        now = float(_left(x, y, moved, line).square().sum())
        if not now < error:
            break
        waves, error = moved, now
    return waves


def _highest_peak(
    x: Tensor, residual: Tensor, waves: list[tuple[int, float]]
) -> tuple[float, tuple[int, float] | None]:
    """What the highest peak explains of the residual, its input and frequency; None if noise explains as much.

    Peaks within half a width of a wave that is there are none.
    """
    best, wave, tried = 0.0, None, 0
    for place, column in enumerate(x.unbind(1)):
        span, distinct = float(column.max() - column.min()), len(column.unique())
        if not span > 0 or distinct < _SAMPLES_PER_PERIOD:
            continue
        width = 2 * math.pi / span / _OVERSAMPLING
        highest = min(MOST_FREQUENCIES, _OVERSAMPLING * distinct // _SAMPLES_PER_PERIOD)
        steps = torch.arange(_OVERSAMPLING // 2, max(highest, _OVERSAMPLING) + 1, dtype=torch.float64)
        power = _explained(column, residual, steps * width)
        for _, frequency in (known for known in waves if known[0] == place):
            power[(steps * width - frequency).abs() < _OVERSAMPLING * width / 2] = 0.0
        top, tried = int(power.argmax()), tried + len(steps)
        if float(power[top]) > best:
            best, wave = float(power[top]), (place, float(steps[top]) * width)
    noise = min(0.5, 2 * (math.log(max(tried, 1)) + 3) / len(x))
    return best, wave if best > noise * float(residual.square().sum()) else None


def _explained(x: Tensor, residual: Tensor, frequencies: Tensor) -> Tensor:
    """How much of the residual's sum of squares a cosine and a sine of each frequency explain, (frequencies,)."""
    angles = torch.outer(frequencies, x)
    # Shifted so that cosine and sine are orthogonal on these samples (Lomb's tau).
    shift = torch.atan2((2 * angles).sin().sum(1), (2 * angles).cos().sum(1)) / 2
    angles = angles - shift.unsqueeze(1)
    power = x.new_zeros(len(frequencies))
    for wave in (angles.cos(), angles.sin()):
        power += (wave @ residual).square().sum(1) / wave.square().sum(1).clamp_min(1e-12)
    return power
