"""The parts of a forecaster around its cell: level, linear skip, season, cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qkan.forecasting.config.options import MEAN_HARMONICS
from qkan.forecasting.model.orders import Order

SMALLEST_SCALE = 1e-2
"""Least scale of a window, as a part of a scaled series' unit: a flat window does not blow up what is added to it."""


class Level(NamedTuple):
    """Offset and scale of every window, (B, 1) each; scale ``None`` is one."""

    offset: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, values: Tensor, kind: str) -> Level | None:
        """Return the level of windows of scaled values (B, window): ``last``, ``mean``, ``window`` or ``none``.

        Behind a mean season (``season``) nothing is left to take away.
        ``window`` has the mean and the standard deviation of the window (reversible instance normalisation, Kim et al.
        2022, without trained numbers).
        """
        if kind in ("none", "season"):
            return None
        if kind == "last":
            return cls(values[:, -1:], None)
        mean = values.mean(dim=1, keepdim=True)
        if kind == "mean":
            return cls(mean, None)
        return cls(mean, (values - mean).square().mean(dim=1, keepdim=True).add(SMALLEST_SCALE**2).sqrt())

    def remove(self, values: Tensor) -> Tensor:
        """Return (values - offset) / scale; values (B, steps)."""
        centred = values - self.offset
        return centred if self.scale is None else centred / self.scale

    def restore(self, values: Tensor) -> Tensor:
        """Undo :meth:`remove` for forecasts (B, steps, quantiles)."""
        scaled = values if self.scale is None else values * self.scale.unsqueeze(2)
        return scaled + self.offset.unsqueeze(2)


class Unit(nn.Module):
    """The unit that a cell reads or says values in: a factor that is measured before training, 1 until then.

    A circuit of frequency 1 is bent over numbers of size 1, and nearly a line over the small changes of a smooth
    series. The factor is no trained parameter; it is saved with the weights.
    """

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        """Return values of any shape times the factor."""
        return values * self.factor


class MeanSeason(nn.Module):
    """The mean course of a series over its seasons, which is taken from every window and put back on its forecast.

    A constant and, for every harmonic of every season, weight * <X> of a circuit of :class:`SeasonFeatures`; all are
    trained, from nothing or from what :meth:`start` is told.

    Args:
        seasons: Lengths in steps.
    """

    def __init__(self, seasons: Sequence[int]) -> None:
        super().__init__()
        self.circuits = SeasonFeatures(seasons, "circuit", MEAN_HARMONICS)
        self.weights = nn.Linear(self.circuits.channels, 1)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, phases: Tensor) -> Tensor:
        """The mean at phase angles (B, steps, seasons), (B, steps)."""
        said: Tensor = self.weights(self.circuits(phases))
        return said.squeeze(-1)

    def start(self, sines: Tensor, cosines: Tensor, constant: Tensor) -> None:
        """Take the coefficients of waves, in the order of the circuits, (waves,) each; sine and cosine are one wave."""
        angles = self.circuits.angles
        if angles is None:
            raise ValueError("the mean of a season is a sum of circuits")
        with torch.no_grad():
            angles.copy_(torch.atan2(-sines, cosines))
            self.weights.weight.copy_(torch.hypot(sines, cosines).unsqueeze(0))
            self.weights.bias.copy_(constant)


class Skip(nn.Module):
    """A linear map of the window to all target steps; training starts from "repeat the last value".

    Of rank ``rank`` where that is below both sizes: a few patterns of the window, each with its course over the target
    steps. So it does not grow with their product.

    Args:
        window: Steps of the window.
        horizon: Target steps.
        rank: Largest rank.
        last_is_zero: Whether the last value was taken away, so that repeating it is a forecast of zero.
    """

    def __init__(self, window: int, horizon: int, rank: int, *, last_is_zero: bool) -> None:
        super().__init__()
        full = rank >= min(window, horizon)
        self.patterns = nn.Linear(window, horizon if full else rank, bias=False)
        self.courses = None if full else nn.Linear(rank, horizon, bias=False)
        with torch.no_grad():
            self.patterns.weight.zero_()
            if not last_is_zero:
                self.patterns.weight[slice(None) if full else slice(1), -1] = 1.0
            if self.courses is not None:
                steps = torch.arange(horizon, dtype=torch.float32, device=self.courses.weight.device)
                turns = torch.outer((steps + 0.5) / horizon, torch.arange(rank, device=steps.device))
                self.courses.weight.copy_(torch.cos(math.pi * turns))  # the first is constant, then ever faster ones

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, window) to (B, horizon)."""
        patterns = self.patterns(values)
        return patterns if self.courses is None else self.courses(patterns)


class Smoothing(nn.Module):
    """A trained moving sum over one season around every value, added to it; training starts from nothing added.

    Values beyond the ends of the window count as zero. Season by season it is a product with a band matrix, which is
    several times as fast as a convolution of one channel.

    Args:
        season: Steps of the season; the kernel has as many weights, and one more where they are even.
    """

    def __init__(self, season: int) -> None:
        super().__init__()
        self.season = season
        self.kernel = nn.Parameter(torch.zeros(2 * (season // 2) + 1))

    def forward(self, values: Tensor) -> Tensor:
        """Smooth (B, steps)."""
        season, half, steps = self.season, self.season // 2, values.shape[1]
        padded = nn.functional.pad(values, (half, (-(-steps // season) + 1) * season - half - steps))
        seasons = padded.unflatten(1, (-1, season))
        two = torch.cat([seasons[:, :-1], seasons[:, 1:]], dim=2)
        # Rows of twice the season out of copies that are longer by one: each begins with one zero more.
        copies = nn.functional.pad(self.kernel, (0, 2 * season + 1 - len(self.kernel))).repeat(season)
        band = copies[: 2 * season**2].view(season, 2 * season)
        return values + nn.functional.linear(two, band).flatten(1)[:, :steps]


class PeriodSkip(nn.Module):
    """A linear map of the values of a phase in all periods to those to come, the same for every phase (SparseTSF).

    Training starts from "repeat the last period".

    Args:
        order: An order of periods.
    """

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order
        self.periods = nn.Linear(order.steps, order.targets, bias=False)
        with torch.no_grad():
            self.periods.weight.zero_()
            self.periods.weight[:, -1] = 1.0

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, window) to (B, horizon)."""
        sequences = self.order.of_window(values.unsqueeze(2)).squeeze(2)
        return self.order.to_targets(self.periods(sequences).unsqueeze(2)).squeeze(2)


def harmonics(season: int, most: int) -> int:
    """How many sines and cosines of a season differ on its steps, at most ``most``."""
    return max(1, min(most, (season - 1) // 2))


def season_channels(seasons: Sequence[int], encoding: str, terms: int) -> int:
    """Return the channels of :class:`SeasonFeatures`."""
    if encoding == "none":
        return 0
    waves = sum(harmonics(season, terms) for season in seasons)
    return {"circuit": waves, "sincos": 2 * waves, "table": len(seasons)}[encoding]


class SeasonFeatures(nn.Module):
    """Channels of the phase angles of one or more seasons.

    Every encoding is periodic: the next season begins where the last one ends. ``circuit`` is a bank of single-qubit
    circuits, one per harmonic k = 1 ... ``terms`` of every season: a qubit in (|0> + |1>) / sqrt(2), RZ(phi_k) with a
    trained phi_k, RZ(k phase), then <X> = cos(k phase + phi_k). Its frequency is whole and fixed, as an angle that
    ends where it began asks for. ``sincos`` has sine and cosine of the same harmonics, twice the channels; ``table``
    one trained number per step of every season, starting at zero (CycleNet, Lin et al. 2024). A season of few steps
    has fewer harmonics (:func:`harmonics`). ``none`` is no channel.

    Args:
        seasons: Lengths in steps.
        encoding: ``circuit``, ``sincos``, ``table`` or ``none``.
        terms: As above.
    """

    frequencies: Tensor

    def __init__(self, seasons: Sequence[int], encoding: str, terms: int) -> None:
        super().__init__()
        self.seasons, self.encoding = tuple(seasons), encoding
        self.channels = season_channels(seasons, encoding, terms)
        self.angles: nn.Parameter | None = None
        self.tables = nn.ParameterList()
        if encoding == "table":
            self.tables.extend(nn.Parameter(torch.zeros(season)) for season in seasons)
        if encoding in ("table", "none"):
            return
        multiples = [(place, turn) for place, own in enumerate(seasons) for turn in range(1, harmonics(own, terms) + 1)]
        frequencies = torch.zeros(len(seasons), len(multiples))
        for column, (place, turn) in enumerate(multiples):
            frequencies[place, column] = turn
        self.register_buffer("frequencies", frequencies, persistent=False)
        if encoding == "circuit":
            self.angles = nn.Parameter(2 * math.pi * torch.rand(len(multiples)))

    def forward(self, phases: Tensor) -> Tensor:
        """Map phase angles in [0, 2 pi), (..., seasons), to features (..., channels)."""
        if self.encoding == "none":
            return phases[..., :0]
        if self.encoding == "table":
            entries = zip(self.tables, self.seasons, phases.unbind(-1), strict=True)
            return torch.stack([entry(table, season, own) for table, season, own in entries], dim=-1)
        angles = phases @ self.frequencies
        if self.angles is not None:
            return (angles + self.angles).cos()
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def of_season(self, place: int) -> Tensor:
        """Which channels are those of one of the seasons: 1 or 0, (channels,)."""
        if self.encoding == "none":
            return torch.zeros(0)
        if self.encoding == "table":
            return (torch.arange(self.channels) == place).float()
        own = (self.frequencies[place] > 0).float()
        return own if self.encoding == "circuit" else own.repeat(2)

    def closed_forms(self, weights: Tensor) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """Return what a weighted sum of the features is, but for a constant, as a sum of waves; ``None`` for a table.

        Exact: every circuit is one wave, w cos(k phase + phi) = w cos(phi) cos(k phase) - w sin(phi) sin(k phase).

        Args:
            weights: (channels,).

        Returns:
            For every season the coefficients of the cosines and the sines of 1, 2, ... times its phase, float64.
        """
        numbers = weights.detach().cpu().double().numpy()
        if self.encoding == "table":
            return None
        if self.angles is not None:
            angles = self.angles.detach().cpu().double().numpy()
            cosines, sines = numbers * np.cos(angles), -numbers * np.sin(angles)
        else:
            sines, cosines = np.split(numbers, 2)  # as forward puts them together
        return [(cosines[row > 0], sines[row > 0]) for row in self.frequencies.cpu().numpy()]


def entry(table: Tensor, season: int, phases: Tensor) -> Tensor:
    """The numbers of a table (season,) at phase angles of any shape."""
    return table[(phases * (season / (2 * math.pi))).round().long() % season]


CATEGORY_WIDTH = 3
"""Numbers that stand for a name of a category with more names than that."""


def category_channels(sizes: Sequence[int]) -> int:
    """Return the channels of :class:`CategoryFeatures`."""
    return sum(min(size, CATEGORY_WIDTH) for size in sizes)


class CategoryFeatures(nn.Module):
    """Channels of the codes of categories.

    Args:
        sizes: How many names every category has.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.tables = nn.ParameterList()
        for size in self.sizes:
            width = min(size, CATEGORY_WIDTH)
            self.tables.append(nn.Parameter(torch.eye(size) if size == width else torch.randn(size, width)))

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes 0, 1, ..., (..., categories), to features (..., channels)."""
        found = []
        for place, table in enumerate(self.tables):
            names = torch.arange(len(table), device=codes.device, dtype=codes.dtype)
            found.append((codes[..., place, None] == names).to(table.dtype) @ table)
        return torch.cat(found, dim=-1)
