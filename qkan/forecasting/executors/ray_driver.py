"""The process that is Ray's driver, and what runs in Ray's workers.

Nothing but :func:`run_job` and what a job imports by its name runs in a worker: no code is sent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from queue import Queue
from typing import Any, NamedTuple

from qkan._version import __version__
from qkan.forecasting.io.files import RunError

_LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: it listens on the loopback interface only
    "RAY_AUTH_MODE": "token",  # which other users of the machine do not know
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # where it ended on one machine, nobody starts it again
}
_TOKEN = "RAY_AUTH_TOKEN"
_TOLD = (ValueError, OSError, ImportError, MemoryError)  # what of a job's errors is raised as it is
_shared: dict[str, tuple[Any, Any]] = {}  # of this worker process: what it does, and what its jobs share


@contextlib.contextmanager
def local_environment() -> Iterator[None]:
    """Give processes that are started meanwhile what Ray on this machine reads when it is imported.

    The driver cannot set it: before it runs, it imports the script that started all, which may import Ray.
    """
    before = {name: os.environ.get(name) for name in (*_LOCAL, _TOKEN)}
    os.environ.update(_LOCAL, **{_TOKEN: secrets.token_hex(32)})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Cluster(NamedTuple):
    """What a driver has to know.

    Args:
        address: Of a cluster as ``ray.init`` takes it; ``local`` starts Ray on this machine.
        workers: How many jobs at a time; ``None`` for as many as the cluster has cores or GPUs.
        gpus: GPUs of each job.
        folder: Where Ray on this machine keeps its sockets and logs; empty for a cluster.
        content: The pickled function that does jobs, and what they share.
    """

    address: str
    workers: int | None
    gpus: int
    folder: str
    content: bytes


def drive(pipe: Connection, cluster: Cluster) -> None:
    """Be the driver: take numbers and jobs from a pipe, and send kinds of answers, numbers and contents back.

    The end of the pipe, or of the process behind it, ends the driver, and Ray where it was started here.
    """
    _leave_terminal()
    with contextlib.ExitStack() as ends:
        import ray

        try:
            ends.enter_context(_connected(cluster))
            room = _room(cluster)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            pipe.send(("refused", 0, " ".join(str(error).split()) or type(error).__name__))
            return
        pipe.send(("ready", 0, room))
        with contextlib.suppress(OSError):  # nobody reads any more
            _hand_on(pipe, cluster)


def _hand_on(pipe: Connection, cluster: Cluster) -> None:
    """Give jobs to Ray, and results to the pipe, whichever comes next."""
    import ray

    events: Queue[Any] = Queue()
    threading.Thread(target=_read, args=(pipe, events), daemon=True).start()
    remote = ray.remote(num_cpus=1, num_gpus=cluster.gpus, max_retries=0)(run_job)
    content, under_way = [ray.put(cluster.content)], {}
    key = secrets.token_hex(8)
    while (event := events.get()) is not None:
        kind, number, what = event
        if kind == "job":
            under_way[number] = remote.remote(__version__, key, content, what)
            under_way[number].future().add_done_callback(lambda done, own=number: events.put(("done", own, done)))
        else:
            del under_way[number]
            pipe.send(_answer(number, what))


def _read(pipe: Connection, events: Queue[Any]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            events.put(("job", *pipe.recv()))
    events.put(None)


def _answer(number: int, done: Any) -> tuple[str, int, Any]:
    """Return what to tell of a job that is done, one way or another."""
    from ray import exceptions

    error = done.exception()
    if error is None:
        return "done", number, done.result()
    if isinstance(error, exceptions.RayTaskError):
        cause = error.cause
        told = cause if isinstance(cause, _TOLD) else RuntimeError(f"{type(cause).__name__}: {cause}")
        return "raised", number, told
    lost = exceptions.WorkerCrashedError, exceptions.OutOfMemoryError, exceptions.NodeDiedError
    return ("lost" if isinstance(error, (*lost, exceptions.ObjectLostError)) else "gone"), number, None


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """Start Ray, or join a cluster, for a while."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if cluster.folder:
            local = {"num_cpus": cluster.workers, "include_dashboard": False, "_temp_dir": cluster.folder}
            ray.init(address="local", **local, **quiet)
        else:
            ray.init(address=cluster.address, **quiet)
        yield
    finally:
        ray.shutdown()


def _room(cluster: Cluster) -> int:
    """Return how many jobs may be there at a time.

    Raises:
        RunError: no node can do any.
    """
    import ray

    there = ray.cluster_resources()
    cores, cards = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    if cluster.gpus and not cards:
        raise RunError("none of its nodes has a GPU; use device='cpu'")
    if cluster.workers is not None:
        return cluster.workers
    return max(1, min(cores, cards // cluster.gpus) if cluster.gpus else cores)


def _leave_terminal() -> None:
    """Leave Ctrl-C to the process that started this one, and write nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


def run_job(release: str, key: str, content: list[Any], job: Any) -> Any:
    """Do one job in a worker of Ray; what jobs share is taken once.

    Args:
        release: Of this package where the jobs come from.
        key: Of what they share.
        content: The reference to :attr:`Cluster.content`, in a list so that Ray does not bring it for every job.
        job: What to do.

    Raises:
        RunError: this node has another release, or cannot read the data.
    """
    if key not in _shared:
        import ray

        node = ray.util.get_node_ip_address()
        if release != __version__:
            raise RunError(
                f"the Ray node {node} has qkan-seq {__version__}, and {release} asks it; install one release on all"
            )
        _shared.clear()
        try:
            _shared[key] = pickle.loads(ray.get(content[0]))
        except OSError as error:
            raise RunError(
                f"the Ray node {node} cannot read {error.filename}: {error.strerror}; "
                "put the data on a file system that all nodes share"
            ) from error
    work, shared = _shared[key]
    return work(shared, job)
