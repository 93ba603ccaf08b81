"""Jobs that take no time, for workers of Ray, which import them by this name."""

import os
import signal
from pathlib import Path


def square(folder: str, number: int) -> int:
    """Square a number; the first worker that is to square 3 is killed."""
    marker = Path(folder, "killed")
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
