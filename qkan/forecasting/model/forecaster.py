"""The forecaster: a cell that reads the window, and around it level, linear skip and season."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.forecasting.config import context_steps
from qkan.forecasting.model.orders import Order, padded
from qkan.forecasting.model.parts import (
    CategoryFeatures,
    Level,
    MeanSeason,
    PeriodSkip,
    SeasonFeatures,
    Skip,
    Smoothing,
    Unit,
    category_channels,
    entry,
    season_channels,
)
from qkan.forecasting.model.per_series import OwnParts, PerSeries

MOST_PERIODS = 10
"""The newest periods that a cell reads of a window; the linear skip reads all of them."""
_POSITIONS = 4  # trained numbers of the position of every target segment


class Surroundings(NamedTuple):
    """What stands around a cell.

    Attributes:
        window: Steps that the cell and the skip read; the inputs may begin earlier, for seasonal lags.
        futr_exog_channels: Channels known in advance, behind the others: covariates, calendar, one code a category,
            the number of the series (if they have parts of their own) and one phase a season.
        category_sizes: How many names every category has.
        level: What is taken from every window and put back: ``last``, ``mean``, ``window``, ``season``
            (:class:`MeanSeason`) or ``none``.
        skip: Rank of the linear map of the window; 0 for none. In order of periods, any rank is the whole map.
        newest: Rank of a linear map of the newest period to all target steps, beside that of the periods; 0 for none.
        seasons: Lengths of the seasons, in steps.
        season_encoding, season_terms: As of :class:`SeasonFeatures`.
        seasonal_lags: Whether values one season back are inputs, known in advance.
        series: How many series have seasonal circuits, level and amplitude of their own; 0 for none.
        decoder: ``last`` maps the cell's last output to all target steps; ``steps`` lets the cell read the last step of
            its sequence once for every target step of it, with what is known of that one and its position among them.
        order: ``steps``, ``segments`` or ``periods``; see :class:`Order`.
        stride: Length of a segment or of a period.
        gate: Whether the forecast can be turned off for the last value; see :mod:`qkan.forecasting.training.gate`.
        dropout: Share of the window's values that training hides from the linear skip at random.
        cycle: Whether a trained table of the longest season is taken from the values, too, and put back (CycleNet).
    """

    window: int
    futr_exog_channels: int = 0
    category_sizes: tuple[int, ...] = ()
    level: str = "none"
    skip: int = 0
    newest: int = 0
    seasons: tuple[int, ...] = ()
    season_encoding: str = "circuit"
    season_terms: int = 6
    seasonal_lags: bool = False
    series: int = 0
    decoder: str = "last"
    order: str = "steps"
    stride: int = 1
    cycle: bool = False
    gate: bool = False
    dropout: float = 0.0

    @property
    def context(self) -> int:
        """Input steps: the window, before it those that its seasonal lags need."""
        return context_steps(self.window, self.seasons if self.seasonal_lags else ())

    def sequences(self, horizon: int) -> Order:
        """Return how windows become sequences for the cell."""
        return Order(self.order, self.stride, self.window, horizon)

    def decodes_steps(self, horizon: int) -> bool:
        """Whether target steps of a sequence are read one by one; a single one is the same either way."""
        return self.decoder == "steps" and self.sequences(horizon).targets > 1

    def known_channels(self, horizon: int) -> int:
        """Return how many numbers are known of every target step."""
        features = season_channels(self.seasons, self.season_encoding, self.season_terms)
        lags = len(self.seasons) if self.seasonal_lags else 0
        position = self.decodes_steps(horizon) and self.order != "segments"
        others = self.futr_exog_channels - len(self.seasons) - len(self.category_sizes) - bool(self.series)
        names = category_channels(self.category_sizes)
        return others + names + features + lags + position

    def read_channels(self, past: int, horizon: int) -> int:
        """Return how many numbers a cell reads a step, with ``past`` channels that are not known in advance."""
        width = self.sequences(horizon).width
        positions = _POSITIONS * (self.order == "segments" and self.decodes_steps(horizon))
        return width * (past + self.known_channels(horizon)) + positions

    def features(self) -> SeasonFeatures:
        """Return new channels of the season."""
        return SeasonFeatures(self.seasons, self.season_encoding, self.season_terms)


class RecurrentForecaster(nn.Module):
    """A recurrent cell that reads the window, a linear head, and what stands around them.

    The forecast of a target step is level + scale * (head of the cell + linear skip of the window + linear map of what
    is known in advance of the step: covariates, calendar, season, values one season back). Everything but the cell and
    its head starts at zero or at "repeat the last value" (in order of periods: "repeat the last period").

    Args:
        cell: Module with the call contract of ``nn.LSTM(batch_first=True)``: (B, steps, channels) ->
            ((B, steps, hidden_size), state); or ``None`` for the forecast of what stands around a cell.
        channels: Input channels, the scaled value first and those known in advance last.
        hidden_size: Width of the cell's output.
        horizon: Steps to predict.
        around: What stands around the cell.
        quantiles: Quantiles to predict of every step, an odd number; 1 predicts the value alone.

    Examples:
        >>> import torch
        >>> from qkan.forecasting import load_run
        >>> model = load_run("runs/demo").model
        >>> sum(p.numel() for p in model.parameters()) > 0
        True
    """

    gate: Tensor | None
    one_step: Tensor

    def __init__(
        self,
        cell: nn.Module | None,
        channels: int,
        hidden_size: int,
        horizon: int,
        around: Surroundings,
        quantiles: int = 1,
    ) -> None:
        super().__init__()
        self.cell, self.channels, self.horizon, self.around, self.quantiles = cell, channels, horizon, around, quantiles
        self.order, self.decodes_steps = around.sequences(horizon), around.decodes_steps(horizon)
        most = MOST_PERIODS * around.stride if around.order == "periods" else around.window
        self.reads = min(most, around.window)  # newest steps of the window that are the cell's
        self.head = None if cell is None else self._new_head(hidden_size)
        self.reads_in, self.says_in = Unit(), Unit()
        self.season = around.features() if around.seasons else None
        self.mean = MeanSeason(around.seasons) if around.level == "season" else None
        self.own = PerSeries(around.series, around.seasons, around.season_terms) if around.series else None
        one_step = torch.tensor([2 * math.pi / season for season in around.seasons])
        self.register_buffer("one_step", one_step, persistent=False)
        self.categories = CategoryFeatures(around.category_sizes) if around.category_sizes else None
        self.smoothing: Smoothing | None = None
        self.skip: Skip | PeriodSkip | None = None
        self.newest = Skip(around.stride, horizon, around.newest, last_is_zero=True) if around.newest else None
        if around.skip and around.order == "periods":
            self.smoothing, self.skip = Smoothing(around.stride), PeriodSkip(self.order)
        elif around.skip:
            self.skip = Skip(around.window, horizon, around.skip, last_is_zero=around.level in ("last", "season"))
        self.dropout = nn.Dropout(around.dropout)
        self.cycle = nn.Parameter(torch.zeros(around.seasons[-1])) if around.cycle else None
        self.positions: nn.Parameter | None = None
        if self.head is not None and self.decodes_steps and around.order == "segments":
            self.positions = nn.Parameter(_courses(self.order.targets))
        self.register_buffer("gate", torch.ones(()) if around.gate else None)
        known = around.known_channels(horizon)
        self.known = nn.Linear(known, quantiles, bias=False) if known else None
        if self.known is not None:
            nn.init.zeros_(self.known.weight)  # training starts from the forecast of the window alone

    def _new_head(self, hidden_size: int) -> nn.Linear:
        targets = 1 if self.decodes_steps else self.order.targets
        head = nn.Linear(hidden_size, targets * self.order.width * self.quantiles)
        if self.around.skip:
            with torch.no_grad():  # the cell starts as a small correction of the skip
                head.weight.mul_(0.0 if self.around.order == "periods" else 0.1)
                head.bias.zero_()
        return head

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
        window, past = self.around.window, self.channels - self.around.futr_exog_channels
        values, others, ahead = inputs[..., 0], inputs[:, -window:, 1:past], inputs[:, -window:, past:]
        own = None if futr_exog is None else self._own(futr_exog)
        if own is not None:
            values = values - own.season(self._phases(inputs) - self.one_step)
        mean_ahead = None
        if self.mean is not None and futr_exog is not None:
            mean, mean_ahead = self.mean_of(inputs, futr_exog)
            values = values - mean
        level = self._level(values[:, -window:], own)
        values = values if level is None else level.remove(values)
        if self.cycle is not None and futr_exog is not None:
            values = values - _cycle_of_window(self.cycle, ahead)
        smooth = values if self.smoothing is None else self.smoothing(values)
        known = self.known_of_targets(smooth, futr_exog)
        predicted = values.new_zeros(values.shape[0], self.horizon, self.quantiles)
        if self.cell is not None:
            read = torch.cat([self.reads_in(smooth)[:, -self.reads :, None], others[:, -self.reads :]], dim=2)
            predicted = self.says_in(self._said_by_cell(read, self._known_of_window(smooth, ahead, futr_exog), known))
        if self.skip is not None:
            predicted = predicted + self.skip(self.dropout(smooth[:, -window:])).unsqueeze(2)
        if self.newest is not None:
            predicted = predicted + self.newest(self.dropout(values[:, -self.around.stride :])).unsqueeze(2)
        if self.known is not None:
            predicted = predicted + self.known(known)
        if own is not None:
            predicted = predicted * own.factor.unsqueeze(2)
        if self.cycle is not None and futr_exog is not None:
            predicted = predicted + entry(self.cycle, len(self.cycle), futr_exog[..., -1:])
        predicted = predicted if level is None else level.restore(predicted)
        if mean_ahead is not None:
            predicted = predicted + mean_ahead.unsqueeze(2)
        if own is not None and futr_exog is not None:
            predicted = predicted + own.season(self._phases(futr_exog)).unsqueeze(2)
        if self.gate is not None:  # the last value takes the place of the middle quantile
            middle = predicted[..., self.quantiles // 2 :][..., :1]
            predicted = predicted + (1 - self.gate) * (inputs[:, -1:, :1] - middle)
        return predicted if self.quantiles > 1 else predicted.squeeze(2)

    def _said_by_cell(self, read: Tensor, read_known: Tensor, known: Tensor) -> Tensor:
        """What the cell says of the target steps, (B, horizon, quantiles).

        Args:
            read: What the newest steps of the window hold, (B, reads, channels).
            read_known: What is known at each of them of the target that is one stride behind it.
            known: What is known of the target steps, (B, horizon, channels).
        """
        order, cell, head = self.order, self.cell, self.head
        if cell is None or head is None:
            raise ValueError("this forecaster has no cell")
        past, of_step = order.of_window(read), order.of_targets(known)
        of_past = order.of_window(read_known)
        if self.positions is not None:
            of_past = nn.functional.pad(of_past, (0, _POSITIONS))
            of_step = torch.cat([of_step, self.positions.expand(of_step.shape[0], -1, -1)], dim=2)
        sequences = torch.cat([past, of_past], dim=2)
        if not self.decodes_steps:
            output, _ = cell(sequences)
            return order.to_targets(head(output[:, -1]).unflatten(1, (order.targets, -1)))
        count, steps = of_step.shape[:2]
        last = torch.cat([past[:, -1:].expand(-1, steps, -1), of_step], dim=2)
        state = cell(sequences[:, :-1])[1] if sequences.shape[1] > 1 else None
        if isinstance(state, tuple):
            state = tuple(part.repeat_interleave(steps, dim=1) for part in state)
        elif state is not None:
            state = state.repeat_interleave(steps, dim=1)
        output, _ = cell(last.flatten(0, 1).unsqueeze(1), state)
        return order.to_targets(head(output[:, -1]).view(count, steps, -1))

    def known_of_targets(self, values: Tensor, futr_exog: Tensor | None) -> Tensor:
        """What is known of every target step, (B, horizon, channels): covariates, names, season, lags, position.

        Args:
            values: What the inputs hold, less the level, (B, context).
            futr_exog: As of :meth:`forward`.
        """
        known = [values.new_zeros(values.shape[0], self.horizon, 0) if futr_exog is None else self._encoded(futr_exog)]
        known += self._lags_of_targets(values)
        if self._counts_steps:
            position = torch.arange(self.horizon, device=values.device) / (self.horizon - 1)
            known.append(position.to(values.dtype).expand(values.shape[0], -1).unsqueeze(2))
        return torch.cat(known, dim=2)

    def _known_of_window(self, values: Tensor, ahead: Tensor, futr_exog: Tensor | None) -> Tensor:
        """What is known, at every step that the cell reads, of the step one stride behind it: (B, reads, channels)."""
        stride, reads = self.order.stride, self.reads
        if stride > 1 and futr_exog is not None:  # ``ahead`` tells of the next step, the first target for the last one
            ahead = torch.cat([ahead[:, stride - 1 : -1], padded(futr_exog[:, :stride], stride)], dim=1)
        known = [self._encoded(ahead[:, -reads:]), *(lag[:, -reads:] for lag in self._lags_of_window(values))]
        if self._counts_steps:
            known.append(torch.zeros_like(values[:, -reads:, None]))
        return torch.cat(known, dim=2)

    @property
    def _counts_steps(self) -> bool:
        """Whether a number tells the position of a target step; of segments, trained ones do."""
        return self.decodes_steps and self.order.kind != "segments"

    def _own(self, futr_exog: Tensor) -> OwnParts | None:
        """What the series of the windows have of their own; their numbers stand before the phases."""
        if self.own is None:
            return None
        return self.own.of(futr_exog[:, 0, futr_exog.shape[2] - len(self.around.seasons) - 1])

    def _phases(self, channels: Tensor) -> Tensor:
        """The phases at the end of channels (B, steps, n)."""
        return channels[..., channels.shape[2] - len(self.around.seasons) :]

    def mean_of(self, inputs: Tensor, futr_exog: Tensor) -> tuple[Tensor, Tensor]:
        """The mean season at the steps of windows and at their target steps, (B, context) and (B, horizon).

        Raises:
            ValueError: this forecaster has none.
        """
        if self.mean is None:
            raise ValueError("this forecaster has no mean season")
        return self.mean(self._phases(inputs) - self.one_step), self.mean(self._phases(futr_exog))

    def _level(self, values: Tensor, own: OwnParts | None) -> Level | None:
        """Level of windows (B, window); a series that has its own smooths its last values."""
        if own is not None and self.around.level == "last":
            return own.level(values)
        return Level.of(values, self.around.level)

    def _encoded(self, channels: Tensor) -> Tensor:
        """Channels (B, steps, n) with features in place of the codes of categories and the phases, which come last, and
        without the number of the series between them."""
        end, encoded = channels.shape[-1] - len(self.around.seasons), []
        if self.season is not None:
            encoded.append(self.season(channels[..., end:]))
        end -= bool(self.around.series)
        if self.categories is not None:
            begin = end - len(self.around.category_sizes)
            encoded.insert(0, self.categories(channels[..., begin:end]))
            end = begin
        return torch.cat([channels[..., :end], *encoded], dim=2)

    def _lags_of_window(self, values: Tensor) -> list[Tensor]:
        """The latest known values whole seasons before the step one stride behind every step of the window.

        Returns:
            (B, window, 1) for every season.
        """
        if not self.around.seasonal_lags:
            return []
        window, end, stride = self.around.window, values.shape[1], self.order.stride
        starts = [end - window + stride - season * -(-stride // season) for season in self.around.seasons]
        return [self.reads_in(values)[:, start : start + window, None] for start in starts]

    def _lags_of_targets(self, values: Tensor) -> list[Tensor]:
        """The latest known values whole seasons before the target steps: (B, horizon, 1) for every season."""
        if not self.around.seasonal_lags:
            return []
        steps, last = torch.arange(self.horizon, device=values.device), values.shape[1] - 1
        read = self.reads_in(values)
        return [read[:, last - (season - 1) + steps % season, None] for season in self.around.seasons]


def _courses(count: int) -> Tensor:
    """Where the trained positions of ``count`` target segments start: cosines over them, (count, numbers)."""
    places = (torch.arange(count, dtype=torch.float32) + 0.5) / count
    return torch.cos(math.pi * torch.outer(places, torch.arange(1.0, _POSITIONS + 1)))


def _cycle_of_window(cycle: Tensor, ahead: Tensor) -> Tensor:
    """The table of the cycle at every step of the window, (B, window), from the phases of the steps after, last."""
    own, following = cycle.shape[0], ahead[..., -1]
    first = following[:, :1] + 2 * math.pi * (1 - 1 / own)
    return entry(cycle, own, torch.cat([first, following[:, :-1]], dim=1))
