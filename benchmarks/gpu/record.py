"""Cases, what became of them, and the file that they are written to."""

from __future__ import annotations

import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: What a case may raise: it is written down, and the next case runs.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    subprocess.SubprocessError,
    TypeError,
    ValueError,
)

#: Names of cases and what they give: numbers, texts, lists and dictionaries of these.
Cases = Iterable[tuple[str, Callable[[], dict[str, Any]]]]


class Record:
    """The JSON of a run: ``phases``, each with its ``cases`` by name and its ``seconds``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"phases": {}}

    def phase(self, name: str) -> dict[str, Any]:
        """What is written of a phase, empty at first."""
        found: dict[str, Any] = self.data["phases"].setdefault(name, {"cases": {}, "seconds": 0.0})
        return found

    def write(self) -> None:
        """Write everything, so that a reader never finds half of it."""
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(beside, self.path)


def run_cases(record: Record, phase: str, cases: Cases, until: float) -> None:
    """Run the cases of a phase that have not begun yet; those behind the time ``until`` are written as not run.

    A case is written down before it begins: where it ends the process, the next process goes on behind it.
    """
    found = record.phase(phase)
    for name, case in cases:
        if name in found["cases"]:
            continue
        start = time.time()
        if start > until:
            found["cases"][name] = {"outcome": "not run: the phase had no time left"}
            continue
        found["cases"][name] = {"outcome": "begun, and ended the process"}
        record.write()
        try:
            result = {"outcome": "done", **case()}
        except FAILURES as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:300]
            place = f"{Path(last.filename).name}:{last.lineno}"
            result = {"outcome": "failed", "error": f"{type(error).__name__}: {line}", "at": place}
        spent = time.time() - start
        found["cases"][name] = {**result, "seconds": round(spent, 3)}
        found["seconds"] = round(found["seconds"] + spent, 3)
        record.write()
        if device_is_lost(result):
            raise SystemExit(f"{name}: {result['error']}")
    record.write()


def device_is_lost(result: dict[str, Any]) -> bool:
    """Whether nothing else will run on the device in this process."""
    text = str(result.get("error", ""))
    return any(words in text for words in ("illegal memory access", "unspecified launch failure", "misaligned address"))
