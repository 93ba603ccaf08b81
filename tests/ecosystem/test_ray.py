"""Trials on a Ray that is started here, and on a cluster by its address: results are those of one process.

The cluster starts while the first test works on a Ray of its own, for starts are what takes the time.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from jobs_of_rays import square
from tiny_runs import tiny_comparison, tiny_config

from benchmarks.harness.memory import descendants
from qkan.forecasting import RunError, Tuning, compare, train
from qkan.forecasting.executors import ray_cluster, start_executor
from qkan.forecasting.training.progress import Silent

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")  # one process runs them, so that there is one cluster at a time
SUPPORT = Path(__file__).parents[1] / "support"
SETTINGS = {
    "PYTHONPATH": str(SUPPORT),  # workers import what they run
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "7" * 64,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def kill_all(pids: list[int]) -> None:
    for pid in reversed(pids):
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether a process is there, and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)
    pytest.fail(f"nothing listens at port {port} after a minute")


class Head(NamedTuple):
    """A cluster of one machine."""

    process: subprocess.Popen[bytes]
    port: int
    client_port: int

    def kill(self) -> None:
        kill_all(descendants(self.process.pid))
        self.process.wait()


@pytest.fixture(scope="module", autouse=True)
def head() -> Iterator[Head]:
    """A cluster that starts, for whoever has its token."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        port, client_port = free_port(), free_port()
        options = {"port": port, "ray-client-server-port": client_port, "num-cpus": 1, "temp-dir": folder}
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*command, "--include-dashboard=false", *words], **silent)
        started = Head(process, port, client_port)
        yield started
        started.kill()


def test_jobs_on_this_machine_survive_a_worker_and_nothing_of_ray_survives_its_end(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("qkan-ray-*"))
    started: list[int] = []
    found: dict[int, int] = {}

    def kill_ray_behind_the_fourth() -> None:
        with start_executor(square, str(tmp_path), executor="ray", workers=1, name="the number {}".format) as do_all:
            [driver] = multiprocessing.active_children()
            for number, result in do_all(range(200)):
                found[number] = result
                if len(found) == 4:
                    started.extend(descendants(driver.pid)[1:])
                    kill_all(started)

    with (
        pytest.warns(UserWarning, match=r"^the number \d+ lost its worker process and is done again$"),
        pytest.raises(RunError, match=r"^Ray on this machine is gone$"),
    ):
        kill_ray_behind_the_fourth()
    assert {number: number**2 for number in found} == found
    assert 3 in found
    assert len(started) > 2  # what keeps the cluster, what starts workers, and a worker
    assert multiprocessing.active_children() == []
    assert [pid for pid in started if runs(pid)] == []
    assert set(Path("/tmp").glob("qkan-ray-*")) == before


def test_jobs_go_through_the_client(head: Head, tmp_path: Path) -> None:
    wait_for(head.client_port)
    (tmp_path / "killed").touch()  # nobody is
    address = f"ray://127.0.0.1:{head.client_port}"
    with start_executor(square, str(tmp_path), executor=address, workers=1) as do_all:
        assert sorted(do_all([3, 4, 5])) == [(0, 9), (1, 16), (2, 25)]


class KillsTheHead(Silent):
    """Kills the cluster when the first trial is done."""

    def __init__(self, head: Head) -> None:
        self.head, self.rows = head, 0

    def trials_start(self, trials: int, done: int = 0) -> None: ...

    def trials_finish(self) -> None: ...

    def trial(self, row: Any) -> None:
        self.rows += 1
        self.head.kill()


def test_learning_rates_that_a_cluster_found_survive_it(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, here = f"127.0.0.1:{head.port}", Tuning(trials=2, workers=1)
    wait_for(head.port)
    monkeypatch.setenv("RAY_ADDRESS", address)
    killer = KillsTheHead(head)
    sentence = rf"^the Ray cluster at {address} is gone; the finished trials are kept, and resume=True goes on there"
    with pytest.raises(RunError, match=sentence):
        train(tiny_config(), tmp_path / "r", tune=Tuning(trials=2, workers=1, executor="ray"), progress=killer)
    assert killer.rows == 1
    found = train(tiny_config(), tmp_path / "r", resume=True, tune=here)
    expected = train(tiny_config(), tmp_path / "one", tune=here)
    tables = [run.tuning.drop(columns="seconds") for run in (found, expected)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert found.config.lr == expected.config.lr


def test_what_listens_and_is_not_ray_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "START_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        sentence = f"^the Ray cluster at {address} did not answer within 2 s; check that it is Ray, and well$"
        with pytest.raises(RunError, match=sentence):
            compare(tiny_comparison(out=str(tmp_path / "c"), executor=address))
