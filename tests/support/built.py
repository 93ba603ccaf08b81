"""What a script of this folder says of kernels that it compiles for GPUs, in a process of its own.

Those of the calling process may be interpreted. A script runs once a session: the workers of pytest-xdist share its
rows. The suite builds some cases of every kernel; ``make test-builds`` those of :func:`cases` that are more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


def cases(always: Sequence[str], more: Sequence[str]) -> list[str]:
    """The cases of a test: some always, and more where the environment variable TRITON_BUILDS is "all"."""
    return [*always, *(more if os.environ.get("TRITON_BUILDS") == "all" else ())]


def rows(script: str, cases: Sequence[str], factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """The script's rows by case and kernel; everything is compiled, with a cache of Triton's that was empty before."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the session; a worker's own is in it
    output = folder / f"{script}.jsonl"
    with FileLock(output.with_suffix(".lock")):
        if not output.exists():
            output.write_text(_run(script, cases, factory.mktemp("triton-cache")))
    found = [json.loads(line) for line in output.read_text().splitlines()]
    return {(row["case"], row["kernel"]): row for row in found}


def _run(script: str, cases: Sequence[str], folder: Path) -> str:
    command = [sys.executable, Path(__file__).with_name(script), *cases]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
