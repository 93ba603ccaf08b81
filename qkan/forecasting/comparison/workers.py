"""One training run of a comparison, and the processes that do many of them at a time."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any, NamedTuple

from qkan.forecasting.comparison.plan import FoldRun, Record
from qkan.forecasting.comparison.significance import origin_losses, squares
from qkan.forecasting.config import CompareConfig, TrainConfig
from qkan.forecasting.training.worker_processes import start_alone

if TYPE_CHECKING:
    import numpy as np

    from qkan.datasets import ForecastData

_TEST_METRICS = ("mae", "mse", "rmse", "r2", "mase", "scaled_mse")
_MOST_DEFAULT_WORKERS = 8
TRAINING_MODULES = (
    "lightning.pytorch",
    "qkan.forecasting.comparison.panel_scores",
    "qkan.forecasting.comparison.workers",
    "qkan.forecasting.evaluation.protocols",
    "qkan.forecasting.runs.inference",
    "qkan.forecasting.training.fitting",
    "qkan.forecasting.training.loop",
)
"""What :func:`train_and_score` imports, in seconds, and without starting a thread of Python, OpenMP or Numba."""
_folds: list[ForecastData] | None = None  # of this worker process; set once by `start`


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
    record: Record = {
        "fold": fold,
        "cell": config.cell,
        "hidden_size": config.hidden_size,
        "parameters": fitted.metrics()["parameters"],
        "lr": config.lr,
        "seed": config.seed,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "diverged": result.diverged,
        "seconds": round(result.seconds, 3),
    }
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


def start(folds: list[ForecastData]) -> None:
    """Prepare a worker process: one thread, the data in memory, Ctrl-C left to the parent, no life after it."""
    import torch

    global _folds
    start_alone()
    torch.set_num_threads(1)
    _folds = folds


def work(run: FoldRun) -> Outcome:
    """Do one run in a worker process that :func:`start` prepared."""
    if _folds is None:
        raise RuntimeError("this process was not prepared; call start() first")
    return train_and_score(run.config, _folds[run.fold - 1], run.fold)


def training_context() -> BaseContext:
    """Return how the worker processes start.

    On Linux a server imports :data:`TRAINING_MODULES` once and forks every worker: they share its memory, and only the
    first pool waits for the imports. The server is a process of its own, so no lock and no pool of threads of this one
    is copied. It is the one of ``multiprocessing``: if none runs yet, the list replaces what
    ``set_forkserver_preload`` was told. With a CUDA device, which a fork could not use, and on other systems every
    worker is a new interpreter.
    """
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(TRAINING_MODULES))
    return context


@contextmanager
def trainer(config: CompareConfig, folds: list[ForecastData]) -> Iterator[Callable[[list[FoldRun]], Iterator[Outcome]]]:
    """Give a function that trains a list of runs, here or in worker processes, and yields outcomes as they come."""
    processes = processes_of(config)
    if processes == 1:
        from qkan.forecasting.training.process_state import one_thread

        with one_thread():
            yield lambda runs: (train_and_score(run.config, folds[run.fold - 1], run.fold) for run in runs)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, training_context(), initializer=start, initargs=(folds,))
    try:
        yield lambda runs: (done.result() for done in as_completed([pool.submit(work, run) for run in runs]))
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()  # they write nothing, and the finished runs are on disk
        pool.shutdown(cancel_futures=True)  # its own thread reaps the workers, so the pool is what to wait for
        raise
    pool.shutdown()


def processes_of(config: CompareConfig) -> int:
    """Return how many processes a comparison may use: as asked for, or one per core, at most 8."""
    return config.workers or min(_MOST_DEFAULT_WORKERS, _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
