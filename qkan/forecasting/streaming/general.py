"""The engine of streams for any forecaster: its own modules read the newest steps again at every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from qkan.forecasting.data.batches import EVALUATION_BATCH, recursive_forecast
from qkan.forecasting.streaming.rings import Rings

if TYPE_CHECKING:
    from qkan.datasets import Scaler
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.model.forecaster import RecurrentForecaster


class GeneralEngine:
    """As of :class:`qkan.forecasting.streaming.rings.Engine`.

    Args:
        model: The forecaster.
        config: Its options.
        scaler: Of the series.
    """

    carried = False

    def __init__(self, model: RecurrentForecaster, config: TrainConfig, scaler: Scaler) -> None:
        self.model, self.config = model, config
        self.shift, self.scale = np.array(scaler.offset), np.array(scaler.scale)
        self.quantiles, self._past = model.quantiles, config.channels - config.futr_exog_channels
        stored = self._past - 1 + config.futr_exog_channels - len(config.seasons)
        self.rings = Rings(len(scaler.ids), config.context, config.context, stored, 0)

    def append(
        self, rows: np.ndarray, values: np.ndarray, others: np.ndarray, covariates: np.ndarray, numbers: np.ndarray
    ) -> None:
        """As of the protocol."""
        scaled = ((values - self.shift[rows]) / self.scale[rows]).astype(np.float32)
        self.rings.append(rows, scaled, np.concatenate([others, covariates], axis=1), numbers[:, 0])

    def forecast(
        self, rows: np.ndarray, covariates: np.ndarray, numbers: np.ndarray, *, begin: bool, moved: bool
    ) -> np.ndarray:
        """As of the protocol."""
        parts = [
            self._forecast(rows[own], covariates[own], numbers[own])
            for own in (slice(first, first + EVALUATION_BATCH) for first in range(0, len(rows), EVALUATION_BATCH))
        ]
        scaled = np.concatenate(parts).astype(np.float64)
        return scaled * self.scale[rows][:, None, None] + self.shift[rows][:, None, None]

    def _forecast(self, rows: np.ndarray, covariates: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        value, extra, number = self.rings.newest(rows)
        others, own = extra[:, :, : self._past - 1], extra[:, :, self._past - 1 :]
        values = np.concatenate([value[:, :, None], others], axis=2)
        known = np.concatenate([own, covariates], axis=1)
        phases = self._phases(np.concatenate([number, numbers[:, 1:]], axis=1))
        with torch.inference_mode():
            given = torch.from_numpy(values), torch.from_numpy(np.concatenate([known, phases], axis=2))
            masked = self.config.missing == "mask"
            return recursive_forecast(self.model, *given, self.config.horizon, masked=masked).numpy()

    def _phases(self, numbers: np.ndarray) -> np.ndarray:
        from qkan.datasets.windows import phases_of_steps

        seasons = self.config.seasons
        found = [phases_of_steps(numbers, season) for season in seasons]
        return np.stack(found, axis=2) if seasons else np.zeros((*numbers.shape, 0), dtype=np.float32)
