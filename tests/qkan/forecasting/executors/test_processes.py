import multiprocessing
import os
import signal
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import tiny_comparison, tiny_config
from warm_processes import warm_context

from qkan.forecasting.comparison.plan import FoldRun
from qkan.forecasting.comparison.workers import train_fold
from qkan.forecasting.data.load import load_windows
from qkan.forecasting.executors import processes, start_executor
from qkan.forecasting.io.files import RunError
from qkan.forecasting.training.process_state import one_thread


def test_prepared_worker_ignores_ctrl_c_watches_its_parent_and_trains(monkeypatch):
    handlers, threads = {}, []

    def thread(target, daemon):
        threads.append((target, daemon))
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(processes, "_prepared", None)
    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", handlers.__setitem__)
        patched.setattr(threading, "Thread", thread)
        processes.prepare(train_fold, [load_windows(tiny_comparison(out="o"))])
    assert handlers == {signal.SIGINT: signal.SIG_IGN}
    assert threads == [(processes._end_with_parent, True)]
    before = torch.get_num_threads()
    assert processes.work_on(FoldRun(1, tiny_config())).record["parameters"] == 43
    assert torch.get_num_threads() == before


def test_workers_are_forked_where_no_device_forbids_it(monkeypatch):
    """What they import is imported once; a fork could not use CUDA."""
    expected = "forkserver" if sys.platform == "linux" else "spawn"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processes.training_context().get_start_method() == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert processes.training_context().get_start_method() == "spawn"


def _imported(run):
    before = set(sys.modules)
    processes.work_on(run)
    return sorted(name for name in set(sys.modules) - before if name.startswith("qkan.") or "." not in name)


@pytest.mark.skipif(sys.platform != "linux", reason="no fork server is used")
def test_a_worker_imports_nothing_that_takes_long():
    """Names of modules that do not exist any more would be ignored."""
    data = [load_windows(tiny_comparison(out="o"))]
    pool = warm_context().Pool(1, initializer=processes.prepare, initargs=(train_fold, data))
    with pool:
        imported = pool.apply(_imported, (FoldRun(1, tiny_config()),))
    assert imported == []


def test_worker_that_was_not_prepared_says_so():
    with pytest.raises(RuntimeError, match=r"call prepare\(\) first"):
        processes.work_on(FoldRun(1, tiny_config()))


def test_worker_ends_when_its_parent_has_ended(monkeypatch):
    waited, codes = [], []
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: waited.append(True)))
    monkeypatch.setattr(os, "_exit", lambda code: codes.append((code, list(waited))))
    processes._end_with_parent()
    assert codes == [(1, [True])]


def test_process_without_a_parent_stays(monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    processes._end_with_parent()
    assert codes == []


def test_one_thread_only_for_a_while():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch):
    assert processes._cores() >= 1
    monkeypatch.delattr(processes.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: None)
    assert processes._cores() == 1


def _square_unless_first(folder, number):
    """Be killed, as for want of memory, where a job comes for the first time and the folder says so."""
    mark = folder / f"{number}"
    if mark.exists():
        mark.rename(folder / f"{number}-was-there") if number < 10 else None
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_the_job_of_a_killed_worker_is_done_again(tmp_path):
    (tmp_path / "3").touch()
    with (
        start_executor(_square_unless_first, tmp_path, workers=2, name=lambda job: f"job {job}") as run,
        pytest.warns(UserWarning, match="^job 3 lost its worker process and is done again$"),
    ):
        assert dict(run([1, 2, 3, 4, 5])) == {0: 1, 1: 4, 2: 9, 3: 16, 4: 25}
    assert (tmp_path / "3-was-there").exists()


def test_a_job_that_kills_every_worker_is_given_up(tmp_path):
    (tmp_path / "10").touch()
    said = "^job 10 lost its worker process 3 times, as happens where memory runs out; use fewer workers$"
    with (
        pytest.warns(UserWarning, match="^job 10 lost"),
        pytest.raises(RunError, match=said),
        start_executor(_square_unless_first, tmp_path, workers=2, name=lambda job: f"job {job}") as run,
    ):
        list(run([10]))
    assert multiprocessing.active_children() == []
