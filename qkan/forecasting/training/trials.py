"""Trainings at the same time that are compared with each other: what comparisons and the search of a run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qkan.forecasting.executors import start_executor
from qkan.forecasting.executors.start import Results
from qkan.forecasting.training.distributed import resolve_device


@contextmanager
def start_trials(
    work: Callable[[Any, Any], Any],
    shared: Any,
    *,
    executor: str,
    workers: int | None,
    device: str,
    name: Callable[[Any], str],
) -> Iterator[tuple[str, Results]]:
    """Give the device that trials train on and, as of :func:`start_executor`, what does them.

    Args:
        work, shared, executor, workers, name: As of :func:`start_executor`.
        device: That was asked for. Nodes of Ray may differ in what ``auto`` means to them, and Ray says which card it
            is, so there it is the kind of this machine's.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        RunError: no Ray cluster answers, or it is gone, or a worker was lost too often.
    """
    gpus = 0
    if executor != "processes":
        device = resolve_device(device).type
        gpus = 1 if device == "cuda" else 0
    with start_executor(work, shared, executor=executor, workers=workers, gpus=gpus, name=name) as do_all:
        yield device, do_all
