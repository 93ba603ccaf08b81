"""One training run of a comparison, and many of them at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from qkan.forecasting.comparison.plan import FoldRun, Record, run_name
from qkan.forecasting.comparison.significance import origin_losses, squares
from qkan.forecasting.config import CompareConfig, TrainConfig
from qkan.forecasting.executors import ExecutorError

if TYPE_CHECKING:
    import numpy as np

    from qkan.datasets import ForecastData

_TEST_METRICS = ("mae", "mse", "rmse", "r2", "mase", "scaled_mse")


class Outcome(NamedTuple):
    """What a training run of a comparison gives.

    Args:
        record: Its row of ``runs.csv``.
        losses: As of :func:`origin_losses`; ``None`` if it diverged.
    """

    record: Record
    losses: np.ndarray | None


def train_and_score(config: TrainConfig, data: ForecastData, fold: int = 1) -> Outcome:
    """Train one model in memory on the data of a fold, and score it on the test part.

    A run whose loss stops being finite counts as infinitely bad, whatever it was before.
    """
    from qkan.forecasting.comparison.panel_scores import METRICS, panel_scores
    from qkan.forecasting.evaluation.metrics import forecast_metrics
    from qkan.forecasting.evaluation.protocols import official_metrics, official_scores
    from qkan.forecasting.runs.evaluation import forecast_windows
    from qkan.forecasting.training.fitting import fit_forecaster

    fitted = fit_forecaster(config, data)
    model, result = fitted.model, fitted.result
    record: Record = {"fold": fold, **fitted.outline()}
    panel, official = METRICS if len(data.ids) > 1 else (), official_metrics(config.protocol)
    if result.diverged:
        errors = dict.fromkeys((*_TEST_METRICS, *official, *panel), math.inf) | {
            "r2": -math.inf,
            **dict.fromkeys(panel[1:], math.nan),
        }
        lost = {f"test_{name}": value for name, value in errors.items()}
        return Outcome({**record, "predict_seconds": 0.0, "validation_loss": math.inf, **lost}, None)
    begin = time.perf_counter()
    forecasts = forecast_windows(model, data)
    record["predict_seconds"] = round(time.perf_counter() - begin, 6)
    found = forecast_metrics(data, forecasts)
    scores: dict[str, Any] = {name: found[name] for name in _TEST_METRICS}
    scores |= official_scores(config.protocol, data, {"model": forecasts}).get("model", {})
    if panel:
        scores |= panel_scores(data, {"model": (forecast_windows(model, data, "validation"), forecasts)})["model"]
    record |= {"validation_loss": result.best_loss, **{f"test_{name}": value for name, value in scores.items()}}
    return Outcome(record, origin_losses(data, forecasts, squared=squares(config)))


def train_fold(folds: list[ForecastData], run: FoldRun) -> Outcome:
    """Do one run with one thread, wherever it is done."""
    from qkan.forecasting.training.process_state import one_thread

    with one_thread():
        return train_and_score(run.config, folds[run.fold - 1], run.fold)


@contextmanager
def trainer(config: CompareConfig, folds: list[ForecastData]) -> Iterator[Callable[[list[FoldRun]], Iterator[Outcome]]]:
    """Give a function that trains a list of runs with the executor of a comparison, and yields outcomes as they come.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        RunError: no Ray cluster answers, or it is gone, or a worker was lost too often.
    """
    from qkan.forecasting.training.trials import start_trials

    where: dict[str, Any] = {"executor": config.executor, "workers": config.workers, "device": config.device}
    try:
        with start_trials(train_fold, folds, **where, name=_name_of) as (device, train_all):
            yield lambda runs: (
                outcome
                for _, outcome in train_all([run._replace(config=replace(run.config, device=device)) for run in runs])
            )
    except ExecutorError as error:
        here = ", also with executor='processes'" if config.executor != "processes" else ""
        raise ExecutorError(f"{error}; the finished runs are kept, and the same command goes on there{here}") from error


def _name_of(run: FoldRun) -> str:
    return f"the training {run_name(vars(run.config))}"
