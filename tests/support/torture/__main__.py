"""The command: ``python -m torture``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter

from torture.runner import outcomes

KINDS = ("files", "options", "tensors", "kills")


def main() -> None:
    """Run what the arguments name; exit code 1 if something ended wrong."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"what to run: {', '.join(KINDS)}", default=KINDS)
    parser.add_argument("--case", type=int, action="append", help="run this one only; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="print every case")
    options = parser.parse_args()
    jobs = []
    for kind in options.kinds:
        count = importlib.import_module(f"torture.{kind}").COUNT
        jobs += [(kind, index) for index in (options.case or range(count))]
    if os.path.isdir("/dev/shm"):  # where it costs nothing that every file of a run is synced
        os.environ.setdefault("TMPDIR", "/dev/shm")
    began, counts = time.monotonic(), Counter[tuple[str, str]]()
    for kind, index, outcome, words in outcomes(jobs):
        counts[kind, outcome] += 1
        if outcome == "wrong" or options.verbose:
            print(f"{outcome}: {kind} {index}: {words}", flush=True)
    for kind in options.kinds:
        found = {outcome: counts[kind, outcome] for outcome in ("right", "refused", "wrong")}
        print(f"{kind}: " + ", ".join(f"{count} {outcome}" for outcome, count in found.items()))
    print(f"{sum(counts.values())} cases in {time.monotonic() - began:.0f} s")
    sys.exit(any(outcome == "wrong" for _, outcome in counts))


if __name__ == "__main__":
    main()
