"""The numbers behind a season: what the data repeat, what the model settles into, and what the phase changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qkan.forecasting.data.batches import recursive_forecast
from qkan.forecasting.data.load import tensors
from qkan.forecasting.model.parts import Level, category_channels
from qkan.forecasting.season.polynomial import Polynomial, sum_of

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.model.parts import SeasonFeatures
    from qkan.forecasting.model.per_series import OwnParts
    from qkan.forecasting.runs.run import Run

_WINDOWS = 64  # of all series together, at least two of each
_CYCLES = 3  # of the longest season that the model runs on for; the first is forgotten
_PIECE = 512  # steps that are forecast before the oldest are let go


class Season:
    """What a model and its training part say of every season, for some series.

    Args:
        run: A trained run with a season.
        data: Its windows.
        chosen: Places of the series.
    """

    def __init__(self, run: Run, data: ForecastData, chosen: Sequence[int]) -> None:
        self.model, self.config, self.data, self.chosen = run.model, run.config, data, tuple(chosen)
        self.seasons = run.config.seasons
        self.part = tensors(data.train)
        phases = data.train.futr_exog[:, -len(self.seasons) :].astype(np.float64)
        lengths = np.array(self.seasons)
        self.steps = np.rint(phases * lengths / (2 * np.pi)).astype(np.int64) % lengths  # (rows, seasons)
        windows, self.owner = self._windows()
        self.first = self.part.first[torch.from_numpy(windows)]
        self.arguments = self.part.batch(torch.from_numpy(windows)).arguments

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Training windows of every series, evenly spread, and the series of each."""
        each = max(2, _WINDOWS // len(self.chosen))
        found = [np.flatnonzero(self.data.train.series == index) for index in self.chosen]
        spread = [np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)) for own in found]
        windows = [own[places] for own, places in zip(found, spread, strict=True)]
        return np.concatenate(windows), np.repeat(self.chosen, [len(own) for own in windows])

    def training_rows(self, index: int) -> np.ndarray:
        """Rows of the training part of a series."""
        start = self.data.series.starts[index]
        return np.arange(start, start + self.data.boundaries[index, 0])

    def steps_of_training(self, index: int, place: int) -> np.ndarray:
        """The step of a season of every row of :meth:`training_rows`."""
        return self.steps[self.training_rows(index), place]

    def mean_of_data(self, index: int, place: int) -> np.ndarray:
        """The mean of the training part of a series by the step of a season, without its trend."""
        series, rows = self.data.series, self.training_rows(index)
        if series.observed is not None:
            rows = rows[series.observed[rows]]
        values, at = series.values[rows], rows - rows.mean()
        slope = at @ (values - values.mean()) / max(at @ at, 1.0)
        return _by_step(values - slope * at, self.steps[rows, place], self.seasons[place])

    def settled(self, index: int, place: int) -> np.ndarray:
        """What the model repeats of a season when it forecasts on and on, with mean 0; NaN where it runs away."""
        own = self.owner == index
        values = self._run_on[0][own]
        start = self.steps[self.first.numpy() + self.config.context, place][own]
        steps = (start[:, None] + np.arange(values.shape[1])) % self.seasons[place]
        kept = slice(max(self.seasons), None)
        mean = _by_step(values[:, kept].ravel(), steps[:, kept].ravel(), self.seasons[place])
        return mean - mean.mean()

    @property
    def drift(self) -> dict[int, float]:
        """By series, the rise of the model's own forecasts over the longest season, original units."""
        return {index: float(self._run_on[1][self.owner == index].mean()) for index in self.chosen}

    @cached_property
    def _run_on(self) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts from every window on over several seasons, without their drift, and the drift over one season."""
        longest = max(self.seasons)
        context, steps = self.config.context, _CYCLES * longest
        values = self.part.values[self.first[:, None] + torch.arange(context)]
        pieces, done = [], 0
        with torch.inference_mode():
            while done < steps:
                piece = min(_PIECE, steps - done)
                known = self._known(done, context + piece)
                out = recursive_forecast(self.model, values, known, piece, masked=self.part.masked)
                middle = out[:, :, out.shape[2] // 2]
                following = values[:, -1:].repeat(1, piece, 1)
                following[:, :, 0] = middle
                if self.part.masked:
                    following[:, :, 1] = 1
                values = torch.cat([values, following], dim=1)[:, -context:]
                pieces.append(middle)
                done += piece
        found = self.data.inverse(torch.cat(pieces, dim=1).numpy(), self.owner)
        with np.errstate(invalid="ignore", over="ignore"):
            drift = found[:, -longest:].mean(axis=1) - found[:, -2 * longest : -longest].mean(axis=1)
            return found - drift[:, None] * np.arange(steps) / longest, drift

    def _known(self, done: int, steps: int) -> Tensor:
        """What is known in advance ``done`` steps behind the first inputs and on; beyond the end of a series the last
        seasons come again, but for the phases, which go on."""
        series, longest = self.data.series, max(self.seasons)
        rows = self.first.numpy()[:, None] + done + np.arange(steps)
        over = rows - (series.starts[self.owner + 1][:, None] - 1)
        rows = rows - np.where(over > 0, -(-over // longest) * longest, 0)
        rows = np.maximum(rows, series.starts[self.owner][:, None])  # of a series shorter than the season
        known = self.part.futr_exog[torch.from_numpy(rows)].clone()
        first = self.steps[self.first.numpy()]
        for place, season in enumerate(self.seasons):
            turn = (first[:, place, None] + done + np.arange(steps)) % season
            known[:, :, place - len(self.seasons)] = _angles(turn, season)
        return known

    def effect(self, index: int, place: int) -> np.ndarray:
        """The forecast as a function of the step of one season, less its mean, averaged over windows of a series."""
        effect = self._effects[place][self.owner == index].mean(axis=0)
        return np.asarray(effect - effect.mean())

    @cached_property
    def _effects(self) -> list[np.ndarray]:
        """Of every season, the forecasts of every window as if the clock stood at each step, (windows, season)."""
        inputs, futr_exog = self.arguments
        context, horizon = self.config.context, self.config.trained_horizon
        found = []
        for place, season in enumerate(self.seasons):
            channel = place - len(self.seasons)
            sums, inputs_, ahead = np.zeros((len(inputs), season)), inputs.clone(), futr_exog.clone()
            for step in range(season):
                inputs_[:, :, channel] = _angles(step + np.arange(1 - context, 1), season)
                ahead[:, :, channel] = _angles(step + np.arange(horizon), season)
                with torch.inference_mode():
                    out = self.model(inputs_, ahead)
                out = out if out.dim() == 2 else out[:, :, out.shape[2] // 2]
                np.add.at(sums.T, (step + np.arange(horizon)) % season, self.data.inverse(out.numpy(), self.owner).T)
            found.append(sums / horizon)
        return found

    def term(self, index: int, place: int) -> np.ndarray:
        """What is added to the forecast of a series at every step of a season, with mean 0, original units."""
        season = self.seasons[place]
        phases = torch.zeros(season, len(self.seasons), dtype=torch.float64)
        phases[:, place] = torch.arange(season, dtype=torch.float64) * (2 * math.pi / season)
        features, weights = self._shared()
        with torch.no_grad():
            term = phases.new_zeros(season)
            if features is not None:
                term = deepcopy(features).double()(phases) @ weights * self._scale(index)
            if self.model.cycle is not None and season == self.seasons[-1]:
                term = term + self.model.cycle * self._scale(index)
            own = self._own(index)
            if own is not None:
                term = term * own.factor[0] + own.season(phases.unsqueeze(0))[0]
            if self.model.mean is not None:
                term = term + deepcopy(self.model.mean).double()(phases)
        course = term.numpy() * self.data.scaler.scale[index] * self._gate
        return np.asarray(course - course.mean())

    def formulas(self, index: int) -> dict[int, Polynomial]:
        """The closed forms of :meth:`term` by season, but for the constant; none for a table."""
        features, weights = self._shared()
        nothing = [(np.zeros(0), np.zeros(0))] * len(self.seasons)
        closed = nothing if features is None else features.closed_forms(weights)
        if closed is None:
            return {}
        own, mean, found = self._own(index), self._mean_waves(), {}
        factor = self._scale(index) * (1.0 if own is None else float(own.factor))
        for place, season in enumerate(self.seasons):
            parts = [Polynomial(season, *closed[place]).times(factor)]
            if own is not None:
                waves = own.turns[place] > 0
                parts.append(Polynomial(season, own.cosines[0, waves].numpy(), own.sines[0, waves].numpy()))
            parts += [Polynomial(season, *mean[place])] if mean else []
            found[season] = sum_of(parts).times(self.data.scaler.scale[index] * self._gate)
        if self.model.cycle is not None:
            del found[self.seasons[-1]]  # it is a table
        return found

    def _shared(self) -> tuple[SeasonFeatures | None, Tensor]:
        """The features of the season that all series share, and their weights in the linear part of the forecast, of
        several quantiles the middle; ``None`` if there are none."""
        features, known = self.model.season, self.model.known
        if features is None or known is None or not features.channels:
            return None, torch.zeros(0, dtype=torch.float64)
        sizes = self.config.category_sizes
        others = self.config.futr_exog_channels - len(self.seasons) - bool(self.config.per_series) - len(sizes)
        before = others + category_channels(sizes)
        weights = known.weight[known.weight.shape[0] // 2, before : before + features.channels]
        return features, weights.detach().double()

    def _mean_waves(self) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """Cosines and sines of the mean season by season; ``None`` where it is not the level."""
        mean = self.model.mean
        return None if mean is None else mean.circuits.closed_forms(mean.weights.weight[0])

    @property
    def _gate(self) -> float:
        """1, or 0 where the last value has taken the place of the forecast."""
        return 1.0 if self.model.gate is None else float(self.model.gate)

    def _own(self, index: int) -> OwnParts | None:
        """What a series has beside the shared model; ``None`` without ``per_series``."""
        if self.model.own is None:
            return None
        with torch.no_grad():
            number = torch.tensor([self.data.scaler.numbers[index]], dtype=torch.float64)
            return deepcopy(self.model.own).double().of(number)

    def _scale(self, index: int) -> float:
        """The mean scale of the windows of a series, where each is divided by its own; else 1."""
        if self.config.level != "window":
            return 1.0
        rows = torch.from_numpy(np.flatnonzero(self.data.train.series == index))
        first = self.part.first[rows] + self.config.context - self.config.window
        steps, own = first[:, None] + torch.arange(self.config.window), self._own(index)
        values = self.part.values[steps, 0].double()
        if own is not None:  # the model takes the season of the series away before it measures the window
            values = values - own.season(self.part.futr_exog[steps][..., -len(self.seasons) :].double())
        level = Level.of(values, "window")
        return 1.0 if level is None or level.scale is None else float(level.scale.mean())


def _by_step(values: np.ndarray, steps: np.ndarray, season: int) -> np.ndarray:
    """Means of values by the step of a season, NaN for a step without one."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(steps, values, season) / np.bincount(steps, minlength=season))


def _angles(steps: np.ndarray, season: int) -> Tensor:
    return torch.from_numpy((steps % season) * (2 * math.pi / season)).float()
