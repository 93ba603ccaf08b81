"""What a trained run says: errors on the test part, and values beyond the end of the data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from qkan.forecasting.baselines import baseline_forecasts
from qkan.forecasting.cells import RecurrentForecaster
from qkan.forecasting.config import LIMITS
from qkan.forecasting.data import cut_windows, load_series_of, tensors
from qkan.forecasting.files import RunError
from qkan.forecasting.metrics import forecast_metrics

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Scaler, Series
    from qkan.datasets.windows import Part
    from qkan.forecasting.runs import Run

Scores = dict[str, dict[str, float | None]]
"""Metrics by forecast: ``"model"`` first, then the baselines."""


def forecast_windows(model: RecurrentForecaster, data: ForecastData, part: Part = "test") -> np.ndarray:
    """Return the model's forecast of every target of a part; float64 (N, horizon), original units."""
    from qkan.forecasting.training import predict_windows

    inputs, _ = tensors(data.part(part))
    return data.inverse(predict_windows(model, inputs).numpy(), data.part(part).series)


def score(data: ForecastData, predictions: np.ndarray, part: Part = "test") -> Scores:
    """Return the metrics of a model's predictions (original units) and of every baseline on the same targets."""
    forecasts = {"model": predictions, **baseline_forecasts(data, part)}
    return {name: forecast_metrics(data, values, part) for name, values in forecasts.items()}


def evaluate(run: Run, data: str | Path | Series | None = None) -> Scores:
    """Return the metrics of the test part, beside those of naive forecasts of the same targets.

    Args:
        run: A loaded run.
        data: Name or file of other data with the same series, split and windowed as in training and scaled by the
            run's scaler; ``None`` takes the data that the run was trained on.

    Returns:
        For ``"model"`` and every baseline the metrics of :func:`qkan.forecasting.metrics.forecast_metrics`.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or other data holds series that the run does not know.
    """
    windows = windows_for(run, data)
    return score(windows, forecast_windows(run.model, windows))


def windows_for(run: Run, data: str | Path | Series | None = None) -> ForecastData:
    """Return the windows of the run's data or of other data, scaled as in training; raises as :func:`evaluate`."""
    series = _series_for(run, data)
    return cut_windows(series, run.config, _scaler_for(run, series))


def predict(run: Run, *, data: str | Path | Series | None = None, horizon: int | None = None) -> pd.DataFrame:
    """Forecast what follows the last value of every series.

    A horizon beyond the trained one is reached recursively: predictions become inputs. Times go on as
    ``Series.future_times`` says, so a series with daily sessions goes on in the next session.

    Args:
        run: A loaded run.
        data: Name or file of other data with the same series, at least one window long; ``None`` takes the data that
            the run was trained on.
        horizon: Steps to predict; ``None`` takes the trained horizon.

    Returns:
        Columns ``unique_id``, ``ds``, ``yhat`` (original units), sorted by series and time.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or other data holds series that the run does not know or that are
            shorter than the window.
        ValueError: the horizon is out of range.
    """
    import pandas as pd

    steps = run.config.horizon if horizon is None else horizon
    low, high = LIMITS["horizon"]
    if isinstance(steps, bool) or not isinstance(steps, int) or not low <= steps <= high:
        raise ValueError(f"horizon must be an integer between {low} and {high}, got {steps!r}")
    series = _series_for(run, data)
    scaler = _scaler_for(run, series)
    window = run.config.window
    for name, length in zip(series.ids, series.lengths, strict=True):
        if length < window:
            raise RunError(f"series {name!r} has {length} values, the model needs the last {window}; give more data")
    index = range(len(series.ids))
    last = np.stack([series.values_of(i)[-window:] for i in index])
    yhat = scaler.inverse_transform(_roll(run.model, scaler.transform(last, np.array(index)), steps), np.array(index))
    frames = [
        pd.DataFrame({"unique_id": series.ids[i], "ds": series.future_times(i, steps), "yhat": yhat[i]}) for i in index
    ]
    return pd.concat(frames, ignore_index=True)


def _roll(model: RecurrentForecaster, scaled: np.ndarray, steps: int) -> np.ndarray:
    """Predict ``steps`` scaled values (series, steps) after scaled windows (series, window), block by block."""
    from qkan.forecasting.training import predict_windows

    window = scaled.shape[1]
    values = torch.from_numpy(scaled.astype(np.float32))
    while values.shape[1] < window + steps:
        values = torch.cat([values, predict_windows(model, values[:, -window:, None])], dim=1)
    return values[:, window : window + steps].numpy()


def _series_for(run: Run, data: str | Path | Series | None) -> Series:
    from qkan.datasets import Series, names_file

    if isinstance(data, Series):
        return data
    own = run.config.data
    if data is None and names_file(own) and not Path(own).exists():
        raise RunError(
            f"the file {own!r} that {run.path} was trained on is not there any more; "
            "to use other values, name them: data=... (--data on the command line)"
        )
    series = load_series_of(run.config, data)
    if data is None and series.fingerprint() != run.data["fingerprint"]:
        raise RunError(
            f"the data {run.config.data!r} has changed since {run.path} was trained; "
            "to use the new values, name them: data=... (--data on the command line)"
        )
    return series


def _scaler_for(run: Run, series: Series) -> Scaler:
    """Return the run's scaler in the order of the series' ids. One series alone may have any name."""
    from qkan.datasets import Scaler

    known = run.scaler
    if len(known.ids) == len(series.ids) == 1:
        return Scaler(known.kind, series.ids, known.offset, known.scale)
    place = {name: index for index, name in enumerate(known.ids)}
    unknown = [name for name in series.ids if name not in place]
    if unknown:
        raise RunError(
            f"the run {run.path} was not trained on series {unknown[0]!r}; it knows {len(place)} series, "
            f"{known.ids[0]!r} the first of them: leave out the others or train on them"
        )
    chosen = [place[name] for name in series.ids]
    offset, scale = (tuple(numbers[i] for i in chosen) for numbers in (known.offset, known.scale))
    return Scaler(known.kind, series.ids, offset, scale)
