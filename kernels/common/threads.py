"""Plain Python threads for kernels that release the GIL.

Not OpenMP and not Numba's own pool: a second pool of spinning workers would take the cores from PyTorch's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock

import torch

_pool: ThreadPoolExecutor | None = None
_workers = 0


def _forget() -> None:
    """A child of fork has none of its parent's threads."""
    global _pool, _workers
    _pool, _workers = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _executor(workers: int) -> ThreadPoolExecutor:
    global _pool, _workers
    if _pool is None or _workers < workers:
        # The old pool, if any, may still be at work for another thread: its workers end when it is collected.
        _pool, _workers = ThreadPoolExecutor(workers, thread_name_prefix="qkan-kernels"), workers
    return _pool


def run_shards(function: Callable[[int], object], count: int) -> None:
    """Call ``function(0)``, ..., ``function(count - 1)`` on up to ``torch.get_num_threads()`` threads.

    The calling thread is one of them.

    Which thread runs a shard is left open, so shards must not depend on each other, nor results on who ran them.

    Raises:
        Exception: what a shard raised (the first of them), after all shards have ended.
    """
    threads = min(count, torch.get_num_threads())
    if threads <= 1:
        for shard in range(count):
            function(shard)
        return
    left, guard = iter(range(count)), Lock()

    def work() -> None:
        while True:
            with guard:
                shard = next(left, None)
            if shard is None:
                return
            function(shard)

    try:
        helpers = [_executor(threads - 1).submit(work) for _ in range(threads - 1)]
    except RuntimeError:  # the interpreter is shutting down and starts no threads any more
        helpers = []
    try:
        work()
    finally:
        running = [helper for helper in helpers if not helper.cancel()]  # one that has not begun is not needed any more
        wait(running)
    for helper in running:
        helper.result()
