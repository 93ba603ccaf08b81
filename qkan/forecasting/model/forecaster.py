"""The forecaster: a cell that reads the window, and around it level, linear skip and season."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.forecasting.config import context_steps
from qkan.forecasting.model.parts import (
    CategoryFeatures,
    Level,
    SeasonFeatures,
    Skip,
    category_channels,
    season_channels,
)


class Surroundings(NamedTuple):
    """What stands around a cell.

    Attributes:
        window: Steps that the cell and the skip read; the inputs may begin earlier, for seasonal lags.
        futr_exog_channels: Channels known in advance, behind the others: covariates, calendar, one code a category
            and one phase a season.
        category_sizes: How many names every category has.
        level: What is taken from every window and put back: ``last``, ``mean``, ``window`` or ``none``.
        skip: Rank of the linear map of the window; 0 for none.
        seasons: Lengths of the seasons, in steps.
        season_encoding, season_terms, season_reps: As of :class:`SeasonFeatures`.
        seasonal_lags: Whether values one season back are inputs, known in advance.
        decoder: ``last`` maps the cell's last output to all target steps; ``steps`` lets the cell read the last step of
            the window once for every target step, with what is known of that one and its position among them.
    """

    window: int
    futr_exog_channels: int = 0
    category_sizes: tuple[int, ...] = ()
    level: str = "none"
    skip: int = 0
    seasons: tuple[int, ...] = ()
    season_encoding: str = "circuit"
    season_terms: int = 3
    season_reps: int = 3
    seasonal_lags: bool = False
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
        others = self.futr_exog_channels - len(self.seasons) - len(self.category_sizes)
        names = category_channels(self.category_sizes)
        return others + names + features + lags + self.decodes_steps(horizon)

    def features(self) -> SeasonFeatures:
        """Return new channels of the season."""
        return SeasonFeatures(self.seasons, self.season_encoding, self.season_terms, self.season_reps)


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

    def __init__(
        self, cell: nn.Module, channels: int, hidden_size: int, horizon: int, around: Surroundings, quantiles: int = 1
    ) -> None:
        super().__init__()
        self.cell, self.channels, self.horizon, self.around, self.quantiles = cell, channels, horizon, around, quantiles
        self.decodes_steps = around.decodes_steps(horizon)
        self.head = nn.Linear(hidden_size, quantiles if self.decodes_steps else horizon * quantiles)
        self.season = around.features() if around.seasons else None
        self.categories = CategoryFeatures(around.category_sizes) if around.category_sizes else None
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
        window = self.around.window
        values, others = inputs[..., 0], inputs[:, -window:, 1:]
        level = Level.of(values[:, -window:], self.around.level)
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
        predicted = predicted if level is None else level.restore(predicted)
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

    def _encoded(self, channels: Tensor) -> Tensor:
        """Channels (B, steps, n) with features in place of the codes of categories and the phases, which come last."""
        end, encoded = channels.shape[-1] - len(self.around.seasons), []
        if self.season is not None:
            encoded.append(self.season(channels[..., end:]))
        if self.categories is not None:
            begin = end - len(self.around.category_sizes)
            encoded.insert(0, self.categories(channels[..., begin:end]))
            end = begin
        return torch.cat([channels[..., :end], *encoded], dim=2) if encoded else channels

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
