"""Networks of neuralforecast on our windows: DLinear, NHITS and PatchTST.

They are trained by their own package on the scaled values of the training part, stop early by the validation part, and
then forecast from the windows before every origin, as our networks do.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.baselines.interface import (
    ALL_SERIES,
    Baseline,
    CannotFit,
    Fitting,
    Forecasts,
    Origins,
    Tuned,
    best_of_trials,
    validation_origins,
)
from qkan.forecasting.config import model_name
from qkan.forecasting.training.process_state import one_thread

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData

LEARNING_RATES = (1e-3, 1e-2, 3e-3, 3e-4, 1e-4, 3e-2, 3e-5, 1e-1)
"""What is tried; the first is the package's usual one."""
MOST_STEPS, BATCH = 500, 1024
"""Training steps at most, and windows that are forecast at a time."""


class Neural(Tuned):
    """A trained network of neuralforecast; it takes one window length for all, that of the data or two horizons."""

    def __init__(self, asked: str, data: ForecastData, lr: float) -> None:
        super().__init__(model_name(asked))
        self.data, self.size = data, max(data.window, 2 * data.horizon)
        self.values = data.train.values[:, 0].astype(np.float32)
        self.model = self._trained(model_name(asked), lr)  # called like the classes of neuralforecast.models
        self.parameters = sum(one.numel() for one in self.model.parameters() if one.requires_grad)
        self.settings = {"lr": lr}
        self.choices = {ALL_SERIES: f"learning rate {lr:g}, window {self.size}"}
        held = validation_origins(data)
        self.error = 0.0
        if held is not None:
            errors = np.abs(self.forecast(held[0]).mean - held[1]) * held[2]
            self.error = float((errors / np.asarray(data.scaler.scale)[held[0].series][:, None]).sum() / held[2].sum())

    def _trained(self, kind: str, lr: float) -> Any:
        from neuralforecast import NeuralForecast, models

        validation = int((self.data.boundaries[:, 1] - self.data.boundaries[:, 0]).min())
        stop = validation >= self.data.horizon
        model = getattr(models, kind)(
            h=self.data.horizon, input_size=self.size, max_steps=MOST_STEPS, learning_rate=lr, random_seed=0,
            scaler_type="identity", start_padding_enabled=True, val_check_steps=50, accelerator="cpu", devices=1,
            early_stop_patience_steps=4 if stop else -1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        with _quietly(), one_thread():
            network = NeuralForecast(models=[model], freq=1)
            network.fit(self._table(), val_size=validation if stop else 0)
        return network.models[0].eval()

    def _table(self) -> pd.DataFrame:
        """Scaled values of the training and the validation part of every series, in whole steps."""
        import pandas as pd

        starts, ends = self.data.series.starts[:-1], self.data.boundaries[:, 1]
        parts = [
            pd.DataFrame({"unique_id": name, "ds": np.arange(end), "y": self.values[start : start + end]})
            for name, start, end in zip(self.data.ids, starts, ends, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast from every origin; a series repeats its first value before it begins."""
        import torch

        begin = self.data.series.starts[origins.series][:, None]
        rows = np.maximum(origins.rows(self.data.series)[:, None] + np.arange(-self.size, 0), begin)
        found = []
        with torch.inference_mode():
            for part in np.array_split(rows, max(1, -(-len(rows) // BATCH))):
                window = torch.from_numpy(self.values[part])[:, :, None]
                batch = dict.fromkeys(("futr_exog", "hist_exog", "stat_exog"))
                batch |= {"insample_y": window, "insample_mask": torch.ones_like(window)}
                found.append(self.model(batch).reshape(len(part), self.data.horizon).numpy())
        return Forecasts(self.data.inverse(np.concatenate(found).astype(np.float64), origins.series))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what Lightning says about a training, and the random numbers that it takes, to itself."""
    import torch

    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def fit_neural(asked: str, data: ForecastData, fitting: Fitting) -> list[Baseline]:
    """Train a network with the learning rate that has the smallest validation error.

    Raises:
        CannotFit: a training part is shorter than a window and a horizon.
    """
    name, given = model_name(asked), fitting.settings.get(asked)
    if int(data.boundaries[:, 0].min()) < data.horizon + 1:
        raise CannotFit("a training part is shorter than the horizon")
    if given is not None:
        return [Neural(asked, data, float(given["lr"]))]
    return best_of_trials(name, LEARNING_RATES, lambda lr: Neural(asked, data, lr), data, fitting)
