"""Runs in memory whose weights are as drawn: what does not depend on training needs none."""

from pathlib import Path

import torch

from qkan.forecasting import Run, TrainConfig, build_forecaster
from qkan.forecasting.data.load import as_cut, load_windows


def untrained_run(config: TrainConfig, path: str = "untrained") -> Run:
    """The run of a model that was built and never trained, on the data of its configuration."""
    data = load_windows(config)
    config = as_cut(config, data)
    model = build_forecaster(config, torch.Generator().manual_seed(1)).eval()
    if model.known is not None:
        with torch.no_grad():  # it starts at zero, which would hide whether it is read
            weight = model.known.weight
            weight.copy_(torch.linspace(-0.5, 0.5, weight.numel()).view_as(weight))
    return Run(Path(path), config, model, data.scaler, data.series.describe(), {})
