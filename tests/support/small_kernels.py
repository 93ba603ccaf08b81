"""Kernels that compile in a moment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

from qkan.kernels.common.numba_runtime import Kernel

SOURCE = """
from qkan.kernels.common.numba_runtime import ARGUMENTS, DOUBLE, SINGLE, as_frame, take

def _fill_single(frame):
    frame = as_frame(frame)
    take(frame, ARGUMENTS, SINGLE)[0] = {value}

def _fill_double(frame):
    frame = as_frame(frame)
    take(frame, ARGUMENTS, DOUBLE)[0] = {value}
"""


def kernel_of(folder: Path, value: float) -> Kernel:
    """A kernel that writes a number, of a module with a name that others have as well."""
    folder.mkdir(exist_ok=True)
    path = folder / "numba_kernels.py"
    if not path.exists():
        path.write_text(SOURCE.format(value=value))
    # Python takes bytecode for current by second and length of the source, which a test may rewrite at once.
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    spec = importlib.util.spec_from_file_location(f"{folder.name}.numba_kernels", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # machine code names the module it was made of
    spec.loader.exec_module(module)
    return Kernel(module._fill_single, module._fill_double)


def written_by(kernel: Kernel, dtype: torch.dtype) -> float:
    number = torch.zeros(1, dtype=dtype)
    kernel(dtype, (number.data_ptr(), 1))
    return number.item()
