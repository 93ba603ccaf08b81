"""Jobs in this process, or in processes of this machine.

Ctrl-C is left to the process that started the others, and none of them outlives it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

from qkan._util.own_warnings import print_own_warnings
from qkan.forecasting.executors.interface import LOST

Work = Callable[[Any, Any], Any]
"""From what all jobs share, and a job, to its result; workers import it by its name."""

TRAINING_MODULES = (
    "lightning.pytorch",
    "qkan.forecasting.comparison.panel_scores",
    "qkan.forecasting.comparison.workers",
    "qkan.forecasting.evaluation.protocols",
    "qkan.forecasting.runs.inference",
    "qkan.forecasting.runs.tuning",
    "qkan.forecasting.training.fitting",
    "qkan.forecasting.training.loop",
)
"""What a training and its scores import, in seconds, and without starting a thread of Python, OpenMP or Numba."""
_MOST_DEFAULT_WORKERS = 8
_prepared: tuple[Work, Any] | None = None  # of this worker process; set once by `prepare`


class ThisProcess:
    """Does one job after the other, here.

    Args:
        work: Does a job.
        shared: What all jobs share.
    """

    room = 1

    def __init__(self, work: Work, shared: Any) -> None:
        self._work, self._shared = work, shared
        self._next: tuple[int, Any] = (0, None)

    def submit(self, number: int, job: Any) -> None:
        """As of :class:`Executor`."""
        self._next = number, job

    def wait(self) -> list[tuple[int, Any]]:
        """Do the job."""
        number, job = self._next
        return [(number, self._work(self._shared, job))]

    def cancel(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ProcessPool:
    """Does jobs in processes of this machine.

    Args:
        work: Does a job.
        shared: What all jobs share; every process gets a copy.
        workers: How many processes.
    """

    def __init__(self, work: Work, shared: Any, workers: int) -> None:
        self.room = workers
        self._others = set(multiprocessing.active_children())
        self._start = partial(
            ProcessPoolExecutor, workers, training_context(), initializer=prepare, initargs=(work, shared)
        )
        self._pool = self._start()
        self._running: dict[Future[Any], int] = {}

    def submit(self, number: int, job: Any) -> None:
        """As of :class:`Executor`."""
        try:
            future = self._pool.submit(work_on, job)
        except BrokenProcessPool:  # an idle process was lost
            self._pool = self._start()
            future = self._pool.submit(work_on, job)
        self._running[future] = number

    def wait(self) -> list[tuple[int, Any]]:
        """As of :class:`Executor`. A pool that lost one process loses all, so their jobs are lost with it."""
        found: list[tuple[int, Any]] = []
        broken = False
        while self._running and (broken or not found):
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                number = self._running.pop(future)
                try:
                    found.append((number, future.result()))
                except BrokenProcessPool:
                    broken = True
                    found.append((number, LOST))
        if broken:
            self._pool.shutdown()
            self._pool = self._start()
        return found

    def cancel(self) -> None:
        """As of :class:`Executor`."""
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._pool.shutdown(cancel_futures=True)  # its own thread reaps the workers, so the pool is what to wait for

    def close(self) -> None:
        """As of :class:`Executor`."""
        self._pool.shutdown()


def prepare(work: Work, shared: Any) -> None:
    """Prepare a worker process of this machine for its jobs."""
    global _prepared
    start_alone()
    _prepared = work, shared


def work_on(job: Any) -> Any:
    """Do one job in a worker process that :func:`prepare` prepared."""
    if _prepared is None:
        raise RuntimeError("this process was not prepared; call prepare() first")
    work, shared = _prepared
    return work(shared, job)


def start_alone() -> None:
    """Prepare any worker process: Ctrl-C left to the parent, no life after it, warnings in plain lines."""
    print_own_warnings(lambda line: print(line, file=sys.stderr))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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


def worker_count(asked: int | None) -> int:
    """Return how many processes may work at a time: as asked for, or one per core, at most 8."""
    return asked or min(_MOST_DEFAULT_WORKERS, _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
