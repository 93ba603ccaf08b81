"""Worker processes: Ctrl-C is left to the process that started them, and none of them outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading

from qkan._util.own_warnings import print_own_warnings


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
