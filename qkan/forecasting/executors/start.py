"""The choice of an executor, and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qkan.forecasting.executors.interface import Executor, results
from qkan.forecasting.executors.processes import ProcessPool, ThisProcess, Work, worker_count

Results = Callable[[Sequence[Any]], Iterator[tuple[int, Any]]]
"""From jobs to their places and results, as they come."""


def check_executor(executor: str) -> None:
    """Refuse an executor that is not there, before anything is read or computed.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        RunError: nothing listens at the address of the cluster.
    """
    if executor != "processes":
        from qkan.forecasting.executors.ray_cluster import address_of

        address_of(executor)


@contextmanager
def start_executor(
    work: Work,
    shared: Any,
    *,
    executor: str = "processes",
    workers: int | None = None,
    gpus: int = 0,
    name: Callable[[Any], str] = str,
) -> Iterator[Results]:
    """Give a function that does jobs and yields places and results as they come; whatever happens, its workers end.

    Every executor does ``work(shared, job)``, so results do not depend on it.

    Args:
        work: Does a job; a function that workers import by its name.
        shared: What all jobs share.
        executor: ``processes`` for this machine, here where there is one worker; ``ray`` for Ray on this machine, or
            on the cluster of the variable ``RAY_ADDRESS``; else the address of a Ray cluster.
        workers: How many jobs at a time; ``None`` for one per core, at most 8, or for all of a cluster.
        gpus: GPUs that Ray reserves for each job.
        name: What a job is called in messages.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        RunError: no cluster answers.
        ExecutorError: the cluster is gone, or a job lost its worker too often.
    """
    started = _start(work, shared, executor, workers, gpus)
    try:
        yield lambda jobs: results(started, jobs, name)
    except BaseException:
        started.cancel()  # workers write nothing, and finished jobs were handed over
        raise
    started.close()


def _start(work: Work, shared: Any, executor: str, workers: int | None, gpus: int) -> Executor:
    if executor != "processes":
        from qkan.forecasting.executors.ray_cluster import RayCluster

        return RayCluster(work, shared, executor, workers, gpus)
    number = worker_count(workers)
    return ThisProcess(work, shared) if number == 1 else ProcessPool(work, shared, number)
