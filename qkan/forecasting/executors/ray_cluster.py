"""Jobs on Ray: this side hands them to a process of its own that is Ray's driver.

Ray ends its driver without an exception when its cluster is gone, so that the driver is a process whose end can be told
in a sentence. Its logs and its signals stay apart, too.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from contextlib import ExitStack, nullcontext
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from qkan._util.optional import require_release
from qkan.forecasting.executors.interface import LOST, ExecutorError
from qkan.forecasting.executors.processes import Work, worker_count
from qkan.forecasting.executors.ray_driver import Cluster, drive, local_environment
from qkan.forecasting.io.files import RunError

OLDEST, OLDEST_GRPC = "2.52", "1.32"
"""The first release that lets nobody into a cluster without its token; what Ray's client speaks through."""
CONNECT_SECONDS, START_SECONDS, END_SECONDS = 5.0, 90.0, 15.0
"""How long a machine may take to answer, Ray to start or to let this one in, and its driver to end."""


class RayCluster:
    """Does jobs on Ray.

    Args:
        work: Does a job.
        shared: What all jobs share; every worker gets a copy.
        executor: As of :func:`start_executor`.
        workers: How many jobs at a time; ``None`` for one per core, at most 8, or for all of a cluster.
        gpus: GPUs that Ray reserves for each job.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        RunError: no cluster answers.
    """

    def __init__(self, work: Work, shared: Any, executor: str, workers: int | None, gpus: int) -> None:
        address = address_of(executor)
        local = address == "local"
        self._place = "Ray on this machine" if local else f"the Ray cluster at {address}"
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._ends = ExitStack()
        folder = self._ends.enter_context(_short_folder()) if local else ""
        number = worker_count(workers) if local else workers
        cluster = Cluster(address, number, gpus, folder, pickle.dumps((work, shared)))
        self._driver = context.Process(target=drive, args=(theirs, cluster), daemon=True)
        with local_environment() if local else nullcontext():
            self._driver.start()
        theirs.close()
        try:
            self.room: int = self._receive(START_SECONDS)[1]
        except BaseException:
            if not local:  # it has nothing to end but itself, and may wait for whoever does not answer
                self._driver.kill()
            self.cancel()
            raise

    def submit(self, number: int, job: Any) -> None:
        """As of :class:`Executor`."""
        try:
            self._pipe.send((number, job))
        except OSError as error:
            raise self._gone() from error

    def wait(self) -> list[tuple[int, Any]]:
        """As of :class:`Executor`."""
        found = [self._receive()]
        while self._pipe.poll():
            found.append(self._receive())
        return found

    def cancel(self) -> None:
        """As of :class:`Executor`."""
        self._pipe.close()  # the driver ends its jobs, and Ray if it has started it
        self._driver.join(END_SECONDS)
        self._driver.kill()
        self._driver.join()
        self._ends.close()

    close = cancel

    def _receive(self, seconds: float | None = None) -> tuple[int, Any]:
        try:
            if not self._pipe.poll(seconds):
                raise RunError(f"{self._place} did not answer within {seconds:.0f} s; check that it is Ray, and well")
            kind, number, content = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if kind == "refused":
            raise RunError(f"{self._place} cannot be used: {content}")
        if kind == "gone":
            raise self._gone()
        if kind == "raised":
            raise content
        return number, LOST if kind == "lost" else content

    def _gone(self) -> ExecutorError:
        return ExecutorError(f"{self._place} is gone")


def _short_folder() -> TemporaryDirectory[str]:
    """Return a folder for Ray's sockets, whose paths must be short: in the system's own one where there is such."""
    place = "/tmp" if os.path.isdir("/tmp") else None
    return TemporaryDirectory(prefix="qkan-ray-", dir=place, ignore_cleanup_errors=True)


def address_of(executor: str) -> str:
    """Return the address of an executor's cluster, at which something listens; ``local`` for Ray on this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed, or for ``ray://`` what its client needs.
        RunError: nothing listens there; Ray itself would ask again for minutes.
    """
    require_release("ray", OLDEST, "ray")
    address = os.environ.get("RAY_ADDRESS", "local") if executor == "ray" else executor
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = place.port
    except ValueError:
        where = "RAY_ADDRESS" if executor == "ray" else "the executor"
        raise RunError(f"{where} is {address!r}, whose port is no number up to 65535; use HOST:PORT") from None
    if place.scheme == "ray":
        require_release("grpcio", OLDEST_GRPC, "ray")
    if port is None:
        return address  # a name, such as local or auto
    try:
        socket.create_connection((place.hostname, port), CONNECT_SECONDS).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise RunError(
            f"no Ray cluster is at {address} ({reason}); check the address, or start one there with ray start --head"
        ) from error
    return address
