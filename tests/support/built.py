"""What a module of this folder says of kernels that it compiles for GPUs, in a process of its own.

Those of the calling process may be interpreted. A module runs once a session: the workers of pytest-xdist share its
rows. The suite builds some cases of every kernel; ``make test-builds`` those of :func:`cases` that are more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from warm_processes import WarmProcess


def cases(always: Sequence[str], more: Sequence[str]) -> list[str]:
    """The cases of a test: some always, and more where the environment variable TRITON_BUILDS is "all"."""
    return [*always, *(more if os.environ.get("TRITON_BUILDS") == "all" else ())]


def rows(module: str, cases: Sequence[str], factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """The module's rows by case and kernel; everything is compiled, with a cache of Triton's that was empty before."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the session; a worker's own is in it
    output = folder / f"{module}.jsonl"
    with FileLock(output.with_suffix(".lock")):
        if not output.exists():
            output.write_text(_run(module, cases, factory.mktemp("triton-cache")))
    found = [json.loads(line) for line in output.read_text().splitlines()]
    return {(row["case"], row["kernel"]): row for row in found}


def _run(module: str, cases: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder)}
    with WarmProcess([module, *cases], environment=environment) as process:
        assert process.stdout is not None
        output, errors = (stream.read().decode() for stream in (process.stdout, process.stderr))
        process.wait(60)
    assert process.returncode == 0, errors
    return output
