"""NVIDIA's compute-sanitizer over a small training step of every family of kernels: stray accesses, and races."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

from benchmarks.gpu.record import Cases
from benchmarks.gpu.tree import ROOT

TOOLS = ("memcheck", "racecheck")
#: What is run, by family of kernels.
STEPS = {
    "circuits": "qkan.QKANLayer(5, 7, 2, backend='triton'), (70, 5)",
    "expansions": "qkan.QKANLayer(9, 70, 2, backend='spectral'), (300, 9)",
    "recurrences": "qkan.QKANLSTM(3, 17, reps=1, backend='triton'), (4, 20, 3)",
    "rational": "qkan.GroupRational(24, 8, backend='triton'), (40, 24)",
}
STEP = """
import torch, qkan
layer, shape = {make}
x = torch.randn(shape, device="cuda", requires_grad=True)
y = layer.cuda()(x)
y = y[0] if isinstance(y, tuple) else y
y.sum().backward()
torch.cuda.synchronize()
"""


def check(tool: str, make: str, seconds: float) -> dict[str, Any]:
    """Run a step under a tool; it failed if the tool found something."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"outcome": "skipped", "reason": "compute-sanitizer is not installed"}
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", STEP.format(make=make)]
    done = subprocess.run(command, cwd=ROOT, timeout=seconds, capture_output=True, text=True)
    if done.returncode == 0:
        return {}
    return {"outcome": "failed", "error": done.stdout[-1500:] + done.stderr[-500:]}


def cases(options: Any) -> Cases:
    """Every family under both tools."""
    for tool in TOOLS if options.device == "cuda" else ():
        for family, make in STEPS.items():
            yield f"{tool} {family}", lambda tool=tool, make=make: check(tool, make, 30.0)
