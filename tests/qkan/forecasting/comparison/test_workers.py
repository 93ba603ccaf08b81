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

from qkan.forecasting.comparison import workers
from qkan.forecasting.comparison.plan import FoldRun
from qkan.forecasting.data.load import load_windows
from qkan.forecasting.training import worker_processes
from qkan.forecasting.training.process_state import one_thread


def test_prepared_worker_ignores_ctrl_c_watches_its_parent_and_trains(monkeypatch):
    handlers, threads = {}, []

    def thread(target, daemon):
        threads.append((target, daemon))
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(workers, "_folds", None)
    before = torch.get_num_threads()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(signal, "signal", handlers.__setitem__)
            patched.setattr(threading, "Thread", thread)
            workers.start([load_windows(tiny_comparison(out="o"))])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert handlers == {signal.SIGINT: signal.SIG_IGN}
    assert threads == [(worker_processes._end_with_parent, True)]
    assert workers.work(FoldRun(1, tiny_config())).record["parameters"] == 43


def test_workers_are_forked_where_no_device_forbids_it(monkeypatch):
    """What they import is imported once; a fork could not use CUDA."""
    expected = "forkserver" if sys.platform == "linux" else "spawn"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert workers.training_context().get_start_method() == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert workers.training_context().get_start_method() == "spawn"


def _imported(run):
    before = set(sys.modules)
    workers.work(run)
    return sorted(name for name in set(sys.modules) - before if name.startswith("qkan.") or "." not in name)


@pytest.mark.skipif(sys.platform != "linux", reason="no fork server is used")
def test_a_worker_imports_nothing_that_takes_long():
    """Names of modules that do not exist any more would be ignored."""
    pool = warm_context().Pool(1, initializer=workers.start, initargs=([load_windows(tiny_comparison(out="o"))],))
    with pool:
        imported = pool.apply(_imported, (FoldRun(1, tiny_config()),))
    assert imported == []


def test_worker_that_was_not_prepared_says_so():
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        workers.work(FoldRun(1, tiny_config()))


def test_worker_ends_when_its_parent_has_ended(monkeypatch):
    waited, codes = [], []
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: waited.append(True)))
    monkeypatch.setattr(os, "_exit", lambda code: codes.append((code, list(waited))))
    worker_processes._end_with_parent()
    assert codes == [(1, [True])]


def test_process_without_a_parent_stays(monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    worker_processes._end_with_parent()
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
