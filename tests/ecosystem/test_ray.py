"""Trials on a Ray that is started here: a worker is killed, then Ray itself; results are those of the process pool."""

import contextlib
import math
import multiprocessing
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_runs import tiny_comparison

from qkan.forecasting import RunError, compare
from qkan.forecasting.executors import ray_cluster
from qkan.forecasting.training.progress import SilentCompare

pytest.importorskip("ray")
LONG = {"epochs": 8, "batch_size": 8}  # long enough that a worker is killed in the middle


def processes(*names: str) -> list[int]:
    """The processes of Ray, which are behind its driver, and that behind this one; of a name only, if one is given."""
    rows = subprocess.check_output(["ps", "-eo", "pid=,ppid=,args="], text=True).splitlines()
    found = {int(pid): (int(parent), args) for pid, parent, args in (row.split(None, 2) for row in rows)}

    def depth(pid: int) -> float:
        return 0 if pid == os.getpid() else 1 + depth(found[pid][0]) if pid in found else -math.inf

    named = [pid for pid, (_, args) in found.items() if not names or args.startswith(names)]
    return [pid for pid in named if depth(pid) > 1]


class Watcher(SilentCompare):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.begun: tuple[int, int] | None = None

    def start(self, runs: int, done: int = 0) -> None:
        self.begun = (runs, done)

    def run(self, record: Any) -> None:
        self.records.append(record)


class Killer(Watcher):
    """Kills a worker that trains when the first result is there, and Ray when the fourth is."""

    def run(self, record: Any) -> None:
        super().run(record)
        if len(self.records) == 1:
            os.kill(processes("ray::run_job")[0], signal.SIGKILL)
        if len(self.records) == 4:
            for pid in processes():
                with contextlib.suppress(ProcessLookupError):  # it ended with another one
                    os.kill(pid, signal.SIGKILL)


def test_trials_on_ray_survive_a_worker_and_what_was_finished_survives_ray(tmp_path: Path) -> None:
    options = {**LONG, "out": str(tmp_path / "c")}
    killer, watcher = Killer(), Watcher()
    before = set(Path("/tmp").glob("qkan-ray-*"))
    with (
        pytest.warns(
            UserWarning, match=r"the training (lstm|gru)-2-0.0[13]-0 lost its worker process and is done again"
        ),
        pytest.raises(
            RunError,
            match=r"^Ray on this machine is gone; the finished runs are kept, and the same command goes on there, "
            r"also with executor='processes'$",
        ),
    ):
        compare(tiny_comparison(**options, workers=2, executor="ray"), progress=killer)
    assert len(pd.read_csv(tmp_path / "c" / "runs.csv")) == len(killer.records) == 4
    assert multiprocessing.active_children() == []
    assert set(Path("/tmp").glob("qkan-ray-*")) == before
    assert processes() == []

    found = compare(tiny_comparison(**options), progress=watcher).runs
    assert watcher.begun == (6, 4)
    expected = compare(tiny_comparison(**{**options, "out": str(tmp_path / "one")})).runs
    clocks = ["seconds", "predict_seconds"]
    pd.testing.assert_frame_equal(found.drop(columns=clocks), expected.drop(columns=clocks), check_exact=True)


def test_what_listens_and_is_not_ray_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "START_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        sentence = f"^the Ray cluster at {address} did not answer within 2 s; check that it is Ray, and well$"
        with pytest.raises(RunError, match=sentence):
            compare(tiny_comparison(out=str(tmp_path / "c"), executor=address))
