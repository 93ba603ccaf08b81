"""The forecaster: a cell that reads the window, and around it level, linear skip and season."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.forecasting.config import context_steps
from qkan.forecasting.model.parts import Level, SeasonFeatures, Skip, season_channels
from qkan.forecasting.model.per_series import OwnParts, PerSeries


class Surroundings(NamedTuple):
    """What stands around a cell.

    Attributes:
        window: Steps that the cell and the skip read; the inputs may begin earlier, for seasonal lags.
        futr_exog_channels: Channels known in advance, behind the others: covariates, calendar, the number of
            the series (if they have parts of their own) and one phase a season.
        level: What is taken from every window and put back: ``last``, ``mean``, ``window`` or ``none``.
        skip: Rank of the linear map of the window; 0 for none.
        seasons: Lengths of the seasons, in steps.
        season_encoding, season_terms: As of :class:`SeasonFeatures`.
        seasonal_lags: Whether values one season back are inputs, known in advance.
        series: How many series have seasonal circuits, level and amplitude of their own; 0 for none.
        decoder: ``last`` maps the cell's last output to all target steps; ``steps`` lets the cell read the last step of
            the window once for every target step, with what is known of that one and its position among them.
    """

    window: int
    futr_exog_channels: int = 0
    level: str = "none"
    skip: int = 0
    seasons: tuple[int, ...] = ()
    season_encoding: str = "circuit"
    season_terms: int = 5
    seasonal_lags: bool = False
    series: int = 0
    decoder: str = "last"

    @property
    def context(self) -> int:
        """Input steps: the window, before it those that its seasonal lags need."""
        return context_steps(self.window, self.seasons if self.seasonal_lags else ())

    def decodes_steps(self, horizon: int) -> bool:
        """Whether target steps are read one by one; a single one is the same either way."""
        return self.decoder == "steps" and horizon > 1

    def known_channels(self, horizon: int) -> int:
        """Return how many numbers are known of every target step."""
        features = season_channels(self.seasons, self.season_encoding, self.season_terms)
        lags = len(self.seasons) if self.seasonal_lags else 0
        own = self.futr_exog_channels - len(self.seasons) - bool(self.series)
        return own + features + lags + self.decodes_steps(horizon)

    def features(self) -> SeasonFeatures:
        """Return new channels of the season."""
        return SeasonFeatures(self.seasons, self.season_encoding, self.season_terms)


class RecurrentForecaster(nn.Module):
    """A recurrent cell that reads the window, a linear head, and what stands around them.

    The forecast of a target step is level + scale * (head of the cell + linear skip of the window + linear map of what
    is known in advance of the step: covariates, calendar, season, values one season back). Everything but the cell and
    its head starts at zero or at "repeat the last value".

    Args:
        cell: Module with the call contract of ``nn.LSTM(batch_first=True)``: (B, window, channels) ->
            ((B, window, hidden_size), state).
        channels: Input channels, the scaled value first and those known in advance last.
        hidden_size: Width of the cell's output.
        horizon: Steps to predict.
        around: What stands around the cell.
        quantiles: Quantiles to predict of every step, an odd number; 1 predicts the value alone.
    """

    one_step: Tensor

    def __init__(
        self, cell: nn.Module, channels: int, hidden_size: int, horizon: int, around: Surroundings, quantiles: int = 1
    ) -> None:
        super().__init__()
        self.cell, self.channels, self.horizon, self.around, self.quantiles = cell, channels, horizon, around, quantiles
        self.decodes_steps = around.decodes_steps(horizon)
        self.head = nn.Linear(hidden_size, quantiles if self.decodes_steps else horizon * quantiles)
        self.season = around.features() if around.seasons else None
        self.own = PerSeries(around.series, around.seasons, around.season_terms) if around.series else None
        one_step = torch.tensor([2 * math.pi / season for season in around.seasons])
        self.register_buffer("one_step", one_step, persistent=False)
        self.skip: Skip | None = None
        if around.skip:
            self.skip = Skip(around.window, horizon, around.skip, last_is_zero=around.level == "last")
            with torch.no_grad():  # the cell starts as a small correction of the skip
                self.head.weight.mul_(0.1)
                self.head.bias.zero_()
        known = around.known_channels(horizon)
        self.known = nn.Linear(known, quantiles, bias=False) if known else None
        if self.known is not None:
            nn.init.zeros_(self.known.weight)  # training starts from the forecast of the window alone

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Arguments of zeros: what :meth:`forward` takes for ``batch`` windows."""
        inputs = torch.zeros(batch, self.around.context, self.channels)
        if not self.around.futr_exog_channels:
            return (inputs,)
        return inputs, torch.zeros(batch, self.horizon, self.around.futr_exog_channels)

    def forward(self, inputs: Tensor, futr_exog: Tensor | None = None) -> Tensor:
        """Map scaled windows to scaled predictions.

        Args:
            inputs: (B, context, channels); what is known in advance is that of the step after.
            futr_exog: What is known in advance of the target steps, (B, horizon, future channels).

        Returns:
            (B, horizon), or with several quantiles (B, horizon, quantiles), not sorted.
        """
        window, seasons = self.around.window, len(self.around.seasons)
        values, others = inputs[..., 0], inputs[:, -window:, 1:]
        own = None if futr_exog is None else self._own(futr_exog)
        if own is not None:
            values = values - own.season(inputs[..., inputs.shape[2] - seasons :] - self.one_step)
        level = self._level(values[:, -window:], own)
        values = values if level is None else level.remove(values)
        read = [values[:, -window:, None], self._encoded(others), *self._lags_of_window(values)]
        known = [] if futr_exog is None else [self._encoded(futr_exog)]
        known += self._lags_of_targets(values)
        if self.decodes_steps:  # every step of the window is one step before what it tells of
            read.append(torch.zeros_like(read[0]))
            position = torch.arange(self.horizon, device=values.device) / (self.horizon - 1)
            known.append(position.to(values.dtype).expand(values.shape[0], -1).unsqueeze(2))
        predicted = self._decoded(torch.cat(read, dim=2), known)
        if self.skip is not None:
            predicted = predicted + self.skip(values[:, -window:]).unsqueeze(2)
        if self.known is not None:
            predicted = predicted + self.known(torch.cat(known, dim=2))
        if own is not None:
            predicted = predicted * own.factor.unsqueeze(2)
        predicted = predicted if level is None else level.restore(predicted)
        if own is not None and futr_exog is not None:
            predicted = predicted + own.season(futr_exog[..., futr_exog.shape[2] - seasons :]).unsqueeze(2)
        return predicted if self.quantiles > 1 else predicted.squeeze(2)

    def _decoded(self, read: Tensor, known: list[Tensor]) -> Tensor:
        """What the cell says of the target steps, (B, horizon, quantiles)."""
        if not self.decodes_steps:
            output, _ = self.cell(read)
            return self.head(output[:, -1]).unflatten(1, (self.horizon, self.quantiles))
        batch, steps = read.shape[0], self.horizon
        of_step = torch.cat(known, dim=2)
        past = read.shape[2] - of_step.shape[2]
        last = torch.cat([read[:, -1:, :past].expand(-1, steps, -1), of_step], dim=2)
        state = self.cell(read[:, :-1])[1] if self.around.window > 1 else None
        if isinstance(state, tuple):
            state = tuple(part.repeat_interleave(steps, dim=1) for part in state)
        elif state is not None:
            state = state.repeat_interleave(steps, dim=1)
        output, _ = self.cell(last.flatten(0, 1).unsqueeze(1), state)
        return self.head(output[:, -1]).view(batch, steps, self.quantiles)

    def _own(self, futr_exog: Tensor) -> OwnParts | None:
        """What the series of the windows have of their own; their numbers stand before the phases."""
        if self.own is None:
            return None
        return self.own.of(futr_exog[:, 0, futr_exog.shape[2] - len(self.around.seasons) - 1])

    def _level(self, values: Tensor, own: OwnParts | None) -> Level | None:
        """Level of windows (B, window); a series that has its own smooths its last values."""
        if own is not None and self.around.level == "last":
            return own.level(values)
        return Level.of(values, self.around.level)

    def _encoded(self, channels: Tensor) -> Tensor:
        """Channels (B, steps, n) without numbers, with features of the season in place of the phases at their end."""
        phases = channels.shape[2] - len(self.around.seasons)
        others = channels[..., : phases - bool(self.around.series)]
        return others if self.season is None else torch.cat([others, self.season(channels[..., phases:])], dim=2)

    def _lags_of_window(self, values: Tensor) -> list[Tensor]:
        """Values one season before the step after every step of the window: (B, window, 1) for every season."""
        if not self.around.seasonal_lags:
            return []
        window, end = self.around.window, values.shape[1]
        starts = [end - window + 1 - season for season in self.around.seasons]
        return [values[:, start : start + window, None] for start in starts]

    def _lags_of_targets(self, values: Tensor) -> list[Tensor]:
        """The latest known values whole seasons before the target steps: (B, horizon, 1) for every season."""
        if not self.around.seasonal_lags:
            return []
        steps, last = torch.arange(self.horizon, device=values.device), values.shape[1] - 1
        return [values[:, last - (season - 1) + steps % season, None] for season in self.around.seasons]
