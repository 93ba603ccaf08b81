"""The tests of the GPU's kernels, run on the card: one process a core, the outcome of each test written down."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.gpu.record import Cases
from benchmarks.gpu.tree import ROOT

#: Files, and what takes minutes to compile.
FILES = (
    "tests/kernels/circuits/bloch/test_triton_gpu.py",
    "tests/kernels/spectral/test_triton_gpu.py",
    "tests/kernels/recurrence/test_triton_gpu.py",
    "tests/kernels/rational/test_triton_gpu.py",
)
LEFT_OUT = "not many_repetitions"


def run(files: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Outcomes by name: how many passed, and the first line of what failed."""
    if find_spec("pytest") is None:
        return {"outcome": "skipped", "reason": "pytest is not installed"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-k", LEFT_OUT, f"--junitxml={report}", *files]
        command += ["-p", "no:cacheprovider"]
        if find_spec("xdist") is not None:
            command += ["--numprocesses", str(max(1, (os.cpu_count() or 2) - 2)), "--dist", "worksteal"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, timeout=seconds, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return {"outcome": "failed", "error": f"the tests of {files} took more than {seconds:.0f} s"}
        if not report.exists():
            raise RuntimeError(f"pytest wrote no report: {done.stdout[-300:]} {done.stderr[-300:]}")
        return outcomes(report)


def outcomes(report: Path) -> dict[str, Any]:
    """What a JUnit report says."""
    passed, skipped, failed = 0, 0, {}
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [child for child in case if child.tag in ("failure", "error")]
        if wrong:
            failed[f"{case.get('classname')}::{case.get('name')}"] = (wrong[0].get("message") or "")[:300]
        elif any(child.tag == "skipped" for child in case):
            skipped += 1
        else:
            passed += 1
    return {"outcome": "failed" if failed else "done", "passed": passed, "skipped": skipped, "failed": failed}


def cases(options: Any) -> Cases:
    """A case a file: one that hangs costs itself alone."""
    for file in FILES[-1:] if options.small else FILES:
        yield file, lambda file=file: run((file,), 45.0)
