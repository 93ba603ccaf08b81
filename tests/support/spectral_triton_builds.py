"""What the spectral Triton kernels need on each device: registers that spill, and shared memory in bytes.

By hand: ``python tests/support/spectral_triton_builds.py sm_90/fp32/fourier/gelu/64`` (device, dtype, basis, base,
inputs and outputs), one or more cases. Prints one JSON object a kernel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import torch

from qkan.kernels.spectral import triton_gpu as spectral_triton

#: What a launch passes as pointers (of the dtype of the products unless it is named here) and as numbers.
POINTERS = {"x": None, "g": None, "y": None, "dx": None, "matrix": None, "slopes": None, "slope0": None}
FLOATS = {"const": "*fp32", "partials": "*fp32", "radius": "fp32"}
TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
ALIGNED = ("inputs", "outputs", "plane", "share", "x_row", "g_row")


def build(kernel: str, target: tuple[str, Any, int], dtype: str, kind: str, base: str, extent: int) -> dict[str, int]:
    """Compile a kernel for a GPU that need not be there; spilled registers and shared memory in bytes."""
    import triton
    from triton import language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from qkan.kernels.spectral import triton_kernels as spectral_triton_jit

    inputs = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    blocks = spectral_triton.tile(kernel, inputs, extent, extent)
    constants = {
        "KIND": kind,
        "BASE": base,
        "OPERAND": tl.bfloat16 if dtype == "bf16" else tl.float32,
        "PRECISION": spectral_triton.precision(
            inputs, (target[1] // 10, target[1] % 10) if target[0] == "cuda" else None
        ),
        "HAS_CONST": True,
        "HAS_SLOPE0": True,
        "x_column": 1,
        "g_column": 1,
        **dict(zip(("BLOCK_B", "BLOCK_I", "BLOCK_O"), blocks, strict=True)),
    }
    function = getattr(spectral_triton_jit, f"{kernel}_kernel")
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    signature, attributes = {}, {}
    for place, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            wide = dtype == "fp16" and name in ("matrix", "slopes", "slope0")
            signature[name] = "*fp32" if wide else f"*{dtype}"
        else:
            signature[name] = FLOATS.get(name, "i32")
        if extent % 16 == 0 and (signature[name].startswith("*") or name in ALIGNED):
            attributes[(place,)] = [["tt.divisibility", 16]]
    made = triton.compile(
        ASTSource(function, signature, constants, attributes),
        target=GPUTarget(*target),
        options=spectral_triton.OPTIONS,
    )
    spilled = _spilled_cuda(made.asm["ptx"], target[1]) if target[0] == "cuda" else _spilled_hip(made.asm["amdgcn"])
    return {"spilled": spilled, "shared": made.metadata.shared}


def _spilled_cuda(ptx: str, capability: int) -> int:
    import triton.backends.nvidia as backend

    assembler = Path(backend.__path__[0]) / "bin" / "ptxas"
    suffix = "a" if capability >= 90 else ""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        done = subprocess.run(
            [assembler, "-v", f"--gpu-name=sm_{capability}{suffix}", "-o", "/dev/null", file.name],
            capture_output=True,
            text=True,
            check=True,
        )
    (stores,) = re.findall(r"(\d+) bytes spill stores", done.stderr)
    return int(stores)


def _spilled_hip(assembly: str) -> int:
    return sum(int(count) for count in re.findall(r"\.[sv]gpr_spill_count:\s+(\d+)", assembly))


def main(cases: list[str]) -> None:
    for case in cases:
        device, dtype, kind, base, extent = case.split("/")
        for kernel in ("forward", "input_gradient", "matrix_gradient"):
            made = build(kernel, TARGETS[device], dtype, kind, base, int(extent))
            print(json.dumps({"case": case, "kernel": kernel, **made}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
