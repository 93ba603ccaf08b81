"""Windows on the training device: positions in shared arrays, gathered a batch at a time and never all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

EVALUATION_BATCH = 4096
"""Windows of a batch that is not trained on."""


class Forward(Protocol):
    """What :func:`recursive_forecast` needs of a model, a :class:`RecurrentForecaster` or an exported program.

    Called with inputs (B, window, channels) and, if anything is known in advance, (B, horizon, future channels), it
    returns (B, horizon), or (B, horizon, quantiles) with an odd number of them.
    """

    @property
    def horizon(self) -> int:
        """Steps that it predicts."""

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Scaled forecasts of scaled windows."""


class Batch(NamedTuple):
    """Some windows, B of them.

    Args:
        arguments: of the model: inputs (B, window, channels) and, where something is known in advance, that of the
            target steps, (B, horizon, future channels). Future channels of an input step are those of the step after.
        targets: scaled values (B, horizon).
        weights: 1 for an observed target, 0 for a filled one, (B, horizon); None if all were observed.
        counts: False for a stand-in: the process that holds it has no share of a batch of several processes.
    """

    arguments: tuple[Tensor, ...]
    targets: Tensor
    weights: Tensor | None
    counts: bool = True

    def observed(self) -> Tensor:
        """How many targets count in the loss: float64, of shape (), on the device of the targets."""
        if not self.counts:
            return self.targets.new_zeros((), dtype=torch.float64)
        if self.weights is None:
            return self.targets.new_full((), self.targets.numel(), dtype=torch.float64)
        return self.weights.sum(dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class WindowTensors:
    """The windows of one part; see :class:`qkan.datasets.Windows` for the arrays behind them.

    Args:
        values: Channels known up to now, the scaled value first, float32 (rows, channels).
        futr_exog: Channels known in advance, at their own times, float32 (rows, future channels); none is (rows, 0).
        weights: 1 for observed values, 0 for filled ones, float32 (rows,); None if all were observed.
        first: Row of the first input of every window, int64 (N,).
        window: Input steps.
        horizon: Target steps, right after the inputs.
        masked: Whether the second channel of ``values`` says if a value was observed.
        series: Number of the series of every window, int64 (N,); None if nobody will ask.
    """

    values: Tensor
    futr_exog: Tensor
    weights: Tensor | None
    first: Tensor
    window: int
    horizon: int
    masked: bool = False
    series: Tensor | None = None

    def __len__(self) -> int:
        return len(self.first)

    def to(self, device: torch.device) -> WindowTensors:
        """The same windows on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        values, futr_exog, first = (own.to(device) for own in (self.values, self.futr_exog, self.first))
        return replace(self, values=values, futr_exog=futr_exog, weights=weights, first=first)

    def keep(self, chosen: Tensor) -> WindowTensors:
        """Some of the windows, with copies of the rows that they read and no others.

        Args:
            chosen: bool (N,).
        """
        first = self.first[chosen]
        read = self.rows_of(first)
        place = read.cumsum(0) - 1
        values, futr_exog = self.values[read], self.futr_exog[read]
        weights = None if self.weights is None else self.weights[read]
        series = None if self.series is None else self.series[chosen]
        return replace(self, values=values, futr_exog=futr_exog, weights=weights, first=place[first], series=series)

    def rows_of(self, first: Tensor) -> Tensor:
        """Which rows windows read that begin at some rows, bool (rows,)."""
        length = self.window + self.horizon
        # The windows that have begun before a row, less those that have ended: above zero where one reads the row.
        starts = torch.bincount(first, minlength=len(self.values) + 1)
        ends = torch.bincount(first + length, minlength=len(self.values) + 1)
        return (starts - ends).cumsum(0)[:-1] > 0

    def batch(self, index: Tensor) -> Batch:
        """Gather the windows ``index``, int64 (B,) on any device."""
        past, future = self._rows(index)
        targets = self.values[:, 0][future]
        weights = None if self.weights is None else self.weights[future]
        if self.futr_exog.shape[1] == 0:
            return Batch((self.values[past],), targets, weights)
        inputs = torch.cat([self.values[past], self.futr_exog[past + 1]], dim=2)
        return Batch((inputs, self.futr_exog[future]), targets, weights)

    def stretches(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Gather what forecasts of the windows ``index`` may see, for :func:`recursive_forecast`.

        Returns:
            ``values`` of the input steps, (B, window, channels), and ``futr_exog`` of input and target steps,
            (B, window + horizon, future channels).
        """
        past, future = self._rows(index)
        return self.values[past], self.futr_exog[torch.cat([past, future], dim=1)]

    def _rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first[index.to(self.first.device)][:, None]
        steps = torch.arange(self.window + self.horizon, device=first.device)
        return first + steps[: self.window], first + steps[self.window :]


def recursive_forecast(
    model: Forward, values: Tensor, futr_exog: Tensor, steps: int, *, masked: bool = False
) -> Tensor:
    """Forecast ``steps`` steps; beyond the model's own horizon, forecasts become inputs, block by block.

    The middle quantile is fed back. A forecast that is fed back counts as observed, and past covariates keep their last
    value.

    Args:
        model: What forecasts.
        values: Channels known up to now, (B, window, channels).
        futr_exog: Channels known in advance, at their own times, (B, window + steps, future channels).
        steps: How many steps to forecast.
        masked: Whether the second channel says if a value was observed.

    Returns:
        Scaled quantiles in ascending order, (B, steps, quantiles); a single one for a model without quantiles. They
        are sorted: quantiles that cross are estimates of one distribution in the wrong order (Chernozhukov,
        Fernandez-Val and Galichon 2010, "Quantile and probability curves without crossing").
    """
    window, blocks, done = values.shape[1], [], 0
    while done < steps:
        arguments = [torch.cat([values[:, -window:], futr_exog[:, done + 1 : done + window + 1]], dim=2)]
        if futr_exog.shape[2]:
            arguments.append(_padded(futr_exog[:, done + window :], model.horizon))
        output = model(*arguments)
        block = output.unsqueeze(2) if output.dim() == 2 else output.sort(dim=2).values
        blocks.append(block)
        done += block.shape[1]
        following = values[:, -1:].repeat(1, block.shape[1], 1)
        following[:, :, 0] = block[:, :, block.shape[2] // 2]
        if masked:
            following[:, :, 1] = 1
        values = torch.cat([values, following], dim=1)
    return torch.cat(blocks, dim=1)[:, :steps]


def _padded(futr_exog: Tensor, horizon: int) -> Tensor:
    """The first ``horizon`` steps; zeros for those beyond the end, whose forecasts nobody asked for."""
    missing = horizon - futr_exog.shape[1]
    return nn.functional.pad(futr_exog, (0, 0, 0, missing)) if missing > 0 else futr_exog[:, :horizon]


def predict_windows(model: nn.Module, windows: WindowTensors) -> Tensor:
    """Return the model's predictions for all windows, computed on the model's device.

    Returns:
        Scaled quantiles, ascending, (N, horizon, quantiles) on the CPU, as of :func:`recursive_forecast`.
    """
    device = next(model.parameters()).device
    was_training, windows = model.training, windows.to(device)
    model.eval()
    forward = cast("Forward", model)
    with torch.inference_mode():
        parts = [
            recursive_forecast(forward, *windows.stretches(index), windows.horizon, masked=windows.masked).cpu()
            for index in in_order(len(windows))
        ]
    model.train(was_training)
    return torch.cat(parts)


def by_time(windows: WindowTensors) -> Tensor:
    """Windows, (N,), by their place among those of their series, the oldest of every series first."""
    own = windows.series
    if own is None:
        return torch.arange(len(windows))
    own = own.cpu()
    counts = torch.bincount(own)
    place = torch.arange(len(own)) - (counts.cumsum(0) - counts)[own]
    return ((place + 0.5) / counts[own]).argsort(stable=True)


def in_order(windows: int) -> Sequence[Tensor]:
    """Index batches of all windows in their order, for evaluation."""
    return torch.arange(windows).split(EVALUATION_BATCH)
