"""What kernels ask of the devices that Triton compiles for, on machines that have none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import qkan.kernels
from qkan.kernels.common import triton_device

KERNELS = sorted(Path(qkan.kernels.__path__[0]).rglob("triton_*.py"))


def test_registers_are_bound_on_nvidia_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMD's compiler raises KeyError for the option, also where warps have 32 lanes (RDNA)."""
    assert triton_device.register_bound(168, 32) == {"maxnreg": 168}
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert triton_device.register_bound(168, 32) == {}
    assert triton_device.register_bound(168, 64) == {}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_unrolled_loops_have_bounds_that_every_triton_takes(path: Path) -> None:
    """``max(M, N)`` of constants is a tensor before Triton 3.6, which is no bound of ``tl.static_range``."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("static_range"):
            inner = [node for bound in call.args for node in ast.walk(bound) if isinstance(node, ast.Call)]
            assert not inner, f"{path}:{call.lineno} {ast.unparse(call)}"
