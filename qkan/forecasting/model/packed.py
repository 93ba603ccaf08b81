"""One step of a trained forecaster as plain arrays: what a stream and an exported program compute, in which order.

:func:`pack` describes a forecaster that reads its window step by step (``order="steps"``). All arrays are float32. For
a window of values v, scaled by the run, oldest first, a forecast is

1. **Mean season** (level ``season``): the mean at a value's own step is taken from every value of the context.
2. **Level**: offset (and scale, level ``window``) of the window's last ``window`` values; w = (v - offset) / scale.
3. **Known of a step**, in this order: ``covariates`` numbers (covariates, calendar, categories), ``features`` numbers
   of the season, the sum of a row of every table of ``season_tables``, then with ``lags`` for every season
   ``reads_in`` * w one season before the step, then with ``counts_steps`` the position: 0 in the window,
   j / (horizon - 1) at target j. A lag of target j is the newest known one: w[-season + j % season].
4. **Cell**: it reads, at every step of the window, [reads_in * w, the other past channels, what is known of the *next*
   step]. Without ``decodes_steps`` the head maps its last output to all targets. With it, the last step is read once
   for every target, from the state behind the step before it, with what is known of that target in the place of that
   of the next step, and the head maps each output to its own target.
5. **Forecast** = level + scale * (head + ``skip`` @ w of the window + ``known`` @ known of the target), plus the mean
   season of the target; with ``repeats_last`` it is the last value instead, in the place of the middle quantile.
6. Quantiles are sorted, and the run's scaler is undone: value * scale + offset of the series, in float64.

A step of the cell is that of :mod:`qkan.forecasting.model.cell_maps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qkan.forecasting.model.cell_maps import Layer, cell_layers
from qkan.forecasting.model.forecaster import RecurrentForecaster
from qkan.forecasting.model.parts import SMALLEST_SCALE, Skip


@dataclass(frozen=True, eq=False)
class Packed:
    """A forecaster as arrays; the order of its operations stands at the head of this module.

    Attributes:
        layers: The cell, which reads the window.
        window, context, horizon, quantiles: Steps of the window, of the window with the lags before it, of the
            forecast, and numbers of every step of it.
        past: Channels that are known up to now, the value first.
        level: ``none``, ``season``, ``last``, ``mean`` or ``window``.
        smallest_scale: What is added to the variance of a window, squared, before the root (level ``window``).
        reads_in: Factor of values that the cell reads.
        decodes_steps, counts_steps, lags: Whether targets are read one by one, whether a channel counts them, and
            whether values one season back are known.
        covariates, features: Numbers of covariates, calendar and categories, and of the season, known of a step.
        seasons: Lengths in steps.
        season_tables: For every season (season, features + 1): what is known of its steps, zero in the columns of
            other seasons, and, last, its part of the mean season.
        season_channels: For every season which of the features are its own, int64.
        head_weight, head_bias: (targets * quantiles, H) and (targets * quantiles,), targets 1 where they are read one
            by one; the unit that the cell says values in is multiplied in.
        skip: (horizon, window), or ``None``.
        known: (quantiles, covariates + features + lags + position), or ``None``.
        repeats_last: Whether the gate is closed.
    """

    layers: tuple[Layer, ...]
    window: int
    context: int
    horizon: int
    quantiles: int
    past: int
    level: str
    smallest_scale: float
    reads_in: float
    decodes_steps: bool
    counts_steps: bool
    lags: bool
    covariates: int
    features: int
    seasons: tuple[int, ...]
    season_tables: tuple[np.ndarray, ...]
    season_channels: tuple[np.ndarray, ...]
    head_weight: np.ndarray
    head_bias: np.ndarray
    skip: np.ndarray | None
    known: np.ndarray | None
    repeats_last: bool

    @property
    def hidden(self) -> int:
        """Width of a layer's state."""
        return self.layers[0].hidden


def pack(model: RecurrentForecaster) -> Packed:
    """Return a trained forecaster as arrays.

    Raises:
        ValueError: it is of a kind that this description does not cover; the message says which.
    """
    reason = _unsupported(model)
    if reason is not None:
        raise ValueError(reason)
    with torch.inference_mode():
        return _packed(model)


def _unsupported(model: RecurrentForecaster) -> str | None:
    """Why a forecaster has no such description, or ``None``."""
    around = model.around
    if model.cell is None:
        return "a linear forecaster has no cell"
    if around.order != "steps":
        return f"a window that is read in {around.order} has no state that goes from one value to the next"
    if around.series:
        return "series have parts of their own"
    return None


def _packed(model: RecurrentForecaster) -> Packed:
    around, head, cell = model.around, model.head, model.cell
    if head is None or cell is None:
        raise ValueError("a linear forecaster has no cell")
    season = 0 if model.season is None else model.season.channels
    with_lags, counts = len(around.seasons) * around.seasonal_lags, model.decodes_steps
    known = around.known_channels(model.horizon)
    says_in, skip = float(model.says_in.factor), model.skip
    return Packed(
        layers=tuple(layer.without_circuits() for layer in cell_layers(cell)),
        window=around.window,
        context=around.context,
        horizon=model.horizon,
        quantiles=model.quantiles,
        past=_past(model),
        level=around.level,
        smallest_scale=SMALLEST_SCALE,
        reads_in=float(model.reads_in.factor),
        decodes_steps=model.decodes_steps,
        counts_steps=counts,
        lags=around.seasonal_lags,
        covariates=known - season - with_lags - counts,
        features=season,
        seasons=around.seasons,
        season_tables=tuple(_season_table(model, place, season) for place in range(len(around.seasons))),
        season_channels=tuple(_channels(model, place) for place in range(len(around.seasons))),
        head_weight=_array(head.weight * says_in),
        head_bias=_array(head.bias * says_in),
        skip=_array(_skip_matrix(skip)) if isinstance(skip, Skip) else None,
        known=None if model.known is None else _array(model.known.weight),
        repeats_last=model.gate is not None and not float(model.gate),
    )


def _channels(model: RecurrentForecaster, place: int) -> np.ndarray:
    """Features of a season."""
    return np.zeros(0, np.int64) if model.season is None else np.flatnonzero(model.season.of_season(place).numpy())


def _past(model: RecurrentForecaster) -> int:
    return model.channels - model.around.futr_exog_channels


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def _skip_matrix(skip: Any) -> Tensor:
    """(horizon, window): the courses times the patterns."""
    patterns: Tensor = skip.patterns.weight
    return patterns if skip.courses is None else skip.courses.weight @ patterns


def _season_table(model: RecurrentForecaster, place: int, channels: int) -> np.ndarray:
    """What is known of the steps of a season, and its part of the mean season: (season, channels + 1)."""
    from qkan.datasets.windows import phases_of_steps

    season = model.around.seasons[place]
    phases = torch.zeros(season, len(model.around.seasons))
    phases[:, place] = torch.from_numpy(phases_of_steps(np.arange(season), season))
    table = torch.zeros(season, channels + 1)
    if model.season is not None:
        table[:, :channels] = model.season(phases) * model.season.of_season(place)
    if model.mean is not None:
        weights = model.mean.weights.weight[0] * model.mean.circuits.of_season(place)
        table[:, -1] = model.mean.circuits(phases) @ weights
        if place == 0:
            table[:, -1] += model.mean.weights.bias
    return _array(table)
