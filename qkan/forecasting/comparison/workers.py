"""One training run of a comparison, and the processes that do many of them at a time."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from qkan.forecasting.config.options import CompareConfig, TrainConfig

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

_TEST_METRICS = ("mae", "mse", "rmse", "r2", "scaled_mse")
_data: ForecastData | None = None  # of this worker process; set once by `start`


def train_and_score(config: TrainConfig, data: ForecastData) -> dict[str, Any]:
    """Train one model in memory and return its row of ``runs.csv``.

    A run whose loss stops being finite counts as infinitely bad, whatever it was before.
    """
    import torch

    from qkan.forecasting.data.load import tensors
    from qkan.forecasting.evaluation.metrics import forecast_metrics
    from qkan.forecasting.evaluation.panel_scores import METRICS, panel_scores
    from qkan.forecasting.model.build import build_forecaster, count_parameters
    from qkan.forecasting.runs.inference import forecast_windows
    from qkan.forecasting.training.distributed import resolve_device
    from qkan.forecasting.training.loop import fit

    model = build_forecaster(config, torch.Generator().manual_seed(config.seed)).to(resolve_device(config.device))
    result = fit(model, tensors(data.train), tensors(data.validation), config)
    record: dict[str, Any] = {
        "cell": config.cell,
        "hidden_size": config.hidden_size,
        "parameters": count_parameters(model),
        "lr": config.lr,
        "seed": config.seed,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "diverged": result.diverged,
        "seconds": round(result.seconds, 3),
    }
    panel = METRICS if len(data.ids) > 1 else ()
    if result.diverged:
        errors = dict.fromkeys((*_TEST_METRICS, *panel), math.inf) | {
            "r2": -math.inf,
            **dict.fromkeys(panel[1:], math.nan),
        }
        return {**record, "validation_loss": math.inf, **{f"test_{name}": value for name, value in errors.items()}}
    forecasts = forecast_windows(model, data)
    found = forecast_metrics(data, forecasts)
    scores: dict[str, Any] = {name: found[name] for name in _TEST_METRICS}
    if panel:
        scores |= panel_scores(data, {"model": (forecast_windows(model, data, "validation"), forecasts)})["model"]
    return {**record, "validation_loss": result.best_loss, **{f"test_{name}": value for name, value in scores.items()}}


def start(config: CompareConfig) -> None:
    """Prepare a worker process: one thread, the data in memory, Ctrl-C left to the parent, no life after it."""
    import torch

    from qkan.forecasting.data.load import cut_windows, load_series_of

    global _data
    start_alone()
    torch.set_num_threads(1)
    _data = cut_windows(load_series_of(config), config)


def start_alone() -> None:
    """Prepare any worker process: Ctrl-C left to the parent, no life after it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def work(config: TrainConfig) -> dict[str, Any]:
    """Do one run in a worker process that :func:`start` prepared."""
    if _data is None:
        raise RuntimeError("this process was not prepared; call start() first")
    return train_and_score(config, _data)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
