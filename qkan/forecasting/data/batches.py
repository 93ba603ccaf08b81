"""Windows on the training device: positions in shared arrays, gathered a batch at a time and never all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
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


class OnDemand:
    """An array of a panel on disk as a tensor, computed where it is looked at.

    Args:
        source: Such as :class:`qkan.datasets.windows.lazy.Channels`.
        device: Where what is looked at is put.
    """

    def __init__(self, source: Any, device: torch.device | None = None) -> None:
        self.source, self.device = source, device or torch.device("cpu")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of it."""
        return tuple(self.source.shape)

    def __getitem__(self, key: Any) -> Tensor:
        parts = key if isinstance(key, tuple) else (key,)
        own = tuple(part.cpu().numpy() if isinstance(part, Tensor) else part for part in parts)
        found = self.source[own if len(own) > 1 else own[0]]
        return torch.from_numpy(np.ascontiguousarray(found)).to(self.device)

    def to(self, device: torch.device) -> OnDemand:
        """The same for another device."""
        return OnDemand(self.source, device)

    def cpu(self) -> OnDemand:
        """The same for the CPU."""
        return OnDemand(self.source)

    def numpy(self) -> np.ndarray:
        """All of it, in memory."""
        return np.asarray(self.source)

    def only(self, begin: int, end: int) -> OnDemand:
        """What belongs to some neighbouring series."""
        return OnDemand(self.source.only(begin, end), self.device)


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

    values: Tensor | OnDemand
    futr_exog: Tensor | OnDemand
    weights: Tensor | None
    first: Tensor | OnDemand
    window: int
    horizon: int
    masked: bool = False
    series: Tensor | OnDemand | None = None

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
        if isinstance(self.values, OnDemand) or isinstance(self.futr_exog, OnDemand):
            return self.pick(torch.nonzero(chosen)[:, 0])
        first = self.first[chosen]
        read = self.rows_of(first)
        place = read.cumsum(0) - 1
        values, futr_exog = self.values[read], self.futr_exog[read]
        weights = None if self.weights is None else self.weights[read]
        series = None if self.series is None else self.series[chosen]
        return replace(self, values=values, futr_exog=futr_exog, weights=weights, first=place[first], series=series)

    def pick(self, index: Tensor) -> WindowTensors:
        """Some of the windows, on the same rows; ``index`` is int64 (N,)."""
        series = None if self.series is None else self.series[index]
        return replace(self, first=self.first[index], series=series)

    def series_count(self) -> int:
        """How many series there are."""
        if self.series is None:
            return 1
        if isinstance(self.series, OnDemand):
            return len(self.series.source.counts)
        return int(self.series.max()) + 1

    def counts(self, series: int) -> Tensor:
        """How many windows each of so many series has, int64 (series,); they come series by series."""
        if isinstance(self.series, OnDemand):
            return torch.from_numpy(self.series.source.counts)
        if self.series is None:
            return torch.tensor([len(self)])
        return torch.bincount(self.series.cpu(), minlength=series)

    def of_series(self, begin: int, end: int) -> WindowTensors:
        """The windows of neighbouring series, with the rows that they read and no others."""
        if isinstance(self.first, OnDemand) and isinstance(self.series, OnDemand):
            own = {name: getattr(self, name) for name in ("values", "futr_exog", "first", "series")}
            return replace(self, **{name: array.only(begin, end) for name, array in own.items()})
        before = torch.cat([torch.zeros(1, dtype=torch.int64), self.counts(end).cumsum(0)])
        chosen = torch.zeros(len(self), dtype=torch.bool)
        chosen[int(before[begin]) : int(before[end])] = True
        kept = self.keep(chosen)
        if isinstance(self.values, OnDemand) and isinstance(self.futr_exog, OnDemand):
            return replace(kept, values=self.values.only(begin, end), futr_exog=self.futr_exog.only(begin, end))
        return kept

    def evenly(self, most: int) -> WindowTensors:
        """At most so many windows, evenly spread; all if there are no more."""
        if len(self) <= most:
            return self
        return self.pick(torch.linspace(0, len(self) - 1, most, dtype=torch.float64).round().long())

    def rows_of(self, first: Tensor, rows: int | None = None) -> Tensor:
        """Which of so many rows windows read that begin at some of them, bool (rows,); ``None`` stands for all rows."""
        length, rows = self.window + self.horizon, len(self.values) if rows is None else rows
        # The windows that have begun before a row, less those that have ended: above zero where one reads the row.
        starts = torch.bincount(first, minlength=rows + 1)
        ends = torch.bincount(first + length, minlength=rows + 1)
        return (starts - ends).cumsum(0)[:-1] > 0

    def batch(self, index: Tensor) -> Batch:
        """Gather the windows ``index``, int64 (B,) on any device."""
        past, future = self._rows(index)
        targets = self.values[future][..., 0]
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
    if windows.series is None:
        return torch.arange(len(windows))
    whole = windows.series.cpu()
    own = torch.from_numpy(whole.numpy()) if isinstance(whole, OnDemand) else whole
    counts = torch.bincount(own)
    place = torch.arange(len(own)) - (counts.cumsum(0) - counts)[own]
    return ((place + 0.5) / counts[own]).argsort(stable=True)


def in_order(windows: int) -> Sequence[Tensor]:
    """Index batches of all windows in their order, for evaluation."""
    return torch.arange(windows).split(EVALUATION_BATCH)
