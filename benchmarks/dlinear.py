"""DLinear (Zeng et al. 2023, arXiv 2205.13504) as its authors train it, for the tables of public benchmarks.

A moving average of 25 steps is the trend, and one linear map for it and one for the rest are shared by all channels.
Window 336, Adam, batches of 32 moments of all channels, learning rate 0.005, halved after every epoch but the first, at
most 10 epochs, three without a lower validation error end it: the script of the authors for hourly ETT files. The
package's own baseline of that name is neuralforecast's, which takes minutes on panels of this length.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qkan.datasets import ForecastData
from qkan.forecasting.data.batches import WindowTensors, in_order
from qkan.forecasting.data.load import tensors
from qkan.forecasting.evaluation.protocols import protocol_scores

OPTIONS: dict[str, Any] = {"cell": "linear", "season": "none", "window": 336}
"""How its windows are cut."""
AVERAGED, MOMENTS, RATE, EPOCHS, PATIENCE = 25, 32, 5e-3, 10, 3


class DLinear(nn.Module):
    """Linear maps of trend and rest: (B, window) to (B, horizon)."""

    def __init__(self, window: int, horizon: int) -> None:
        super().__init__()
        self.trend, self.rest = nn.Linear(window, horizon), nn.Linear(window, horizon)
        self.average = nn.Sequential(nn.ReplicationPad1d(AVERAGED // 2), nn.AvgPool1d(AVERAGED, stride=1))

    def forward(self, values: Tensor) -> Tensor:
        trend = self.average(values.unsqueeze(1)).squeeze(1)
        return self.trend(trend) + self.rest(values - trend)


def score_dlinear(protocol: str, data: ForecastData, seed: int) -> dict[str, Any]:
    """Train it on windows and return the errors of its test part, parameters and seconds.

    Args:
        protocol: Which errors.
        data: Windows that were cut with :data:`OPTIONS`.
        seed: Of weights and batches.
    """
    begun = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DLinear(data.window, data.horizon)
    train, validation = tensors(data.train), tensors(data.validation)
    alike = len(set(data.series.lengths)) == 1  # channels, of which a batch has the same moments
    moments = torch.arange(len(train)).view(len(data.ids) if alike else 1, -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    best, state, waited = float("inf"), copy.deepcopy(model.state_dict()), 0
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * 0.5 ** max(0, epoch - 1)
        for index in torch.randperm(moments.shape[1], generator=generator).split(MOMENTS):
            batch = train.batch(moments[:, index].flatten())
            optimizer.zero_grad()
            nn.functional.mse_loss(model(batch.arguments[0][..., 0]), batch.targets).backward()
            optimizer.step()
        error = float((predict(model, validation) - targets(validation)).square().mean())
        best, state, waited = (
            (error, copy.deepcopy(model.state_dict()), 0) if error < best else (best, state, waited + 1)
        )
        if waited == PATIENCE:
            break
    model.load_state_dict(state)
    seconds = time.perf_counter() - begun
    forecasts = data.inverse(predict(model, tensors(data.test)).numpy().astype(np.float64), data.test.series)
    errors = protocol_scores(protocol, data, {"DLinear": forecasts})["DLinear"]
    parameters = sum(own.numel() for own in model.parameters())
    return {"parameters": parameters, "validation": best, "seconds": seconds, "gate": "-", **errors}


def predict(model: DLinear, windows: WindowTensors) -> Tensor:
    """Scaled forecasts of all windows, (N, horizon)."""
    with torch.inference_mode():
        return torch.cat([model(windows.batch(index).arguments[0][..., 0]) for index in in_order(len(windows))])


def targets(windows: WindowTensors) -> Tensor:
    """Scaled targets of all windows, (N, horizon)."""
    return torch.cat([windows.batch(index).targets for index in in_order(len(windows))])
