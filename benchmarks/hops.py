"""How many Python calls, through how many files, one warm forward pass makes: ``python -m benchmarks.hops [-v]``.

Counted are all ``call`` events of ``sys.setprofile`` in modules of qkan, on the third call; ``-v`` lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch

import qkan


def calls_of(function: Callable[[], object]) -> list[tuple[str, str]]:
    """File and name of every call into qkan that the third call of ``function`` makes."""
    for _ in range(2):
        function()
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("qkan"):
            calls.append((frame.f_code.co_filename, frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    """Print the counts of a layer and of a recurrence."""
    torch.set_num_threads(2)
    layer, x = qkan.QKANLayer(64, 64, 3), torch.rand(256, 64) * 2 - 1
    lstm, steps = qkan.QKANLSTM(1, 16, reps=2), torch.rand(12, 64, 1) * 2 - 1
    cases = {
        "QKANLayer(64, 64, 3), (256, 64)": lambda: layer(x),
        "QKANLSTM(1, 16, reps=2), (12, 64, 1)": lambda: lstm(steps),
    }
    for name, run in cases.items():
        calls = calls_of(run)
        print(f"{name}: {len(calls)} calls through {len({file for file, _ in calls})} files")
        if "-v" in sys.argv[1:]:
            for file, function in calls:
                print(f"    {Path(file).parent.name}/{Path(file).name} {function}")


if __name__ == "__main__":
    main()
