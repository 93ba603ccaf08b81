"""What the Triton kernels of group-rational activations need on each device, as :mod:`triton_resources` finds it.

By hand: ``python tests/support/rational_triton_builds.py``, with case names as arguments such as
``sm_90/5,4/abs_terms/bf16/96`` (device, order, denominator, dtype, run) only those. Prints one JSON object a kernel;
``vectors`` says, on NVIDIA, whether 16 bytes of x are loaded at once, and ``element`` what an element costs where they
are: bytes loaded and stored, multiply-adds and divisions in single precision.
"""

import itertools
import json
import re
import sys
from typing import Any

import torch
from triton_resources import TARGETS, compiled, recorded, resources

from qkan.kernels.rational import triton_gpu as rational_triton
from qkan.kernels.rational import triton_kernels as rational_triton_jit
from qkan.kernels.rational.types import Spec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def rows(case: str) -> list[dict[str, Any]]:
    """Registers, spills and vector loads of the kernels of a case."""
    device, order, denominator, dtype, run = case.split("/")
    target = TARGETS[device]
    rational_triton.lanes = lambda device: target.warp_size
    torch.version.hip = "6.4" if target.backend == "hip" else None
    m, n = map(int, order.split(","))
    spec = Spec(8, (m, n), denominator)
    x = torch.zeros((32, 8, int(run)), dtype=DTYPES[dtype])
    a, b = torch.zeros(8, m + 1), torch.zeros(8, n)

    def call() -> None:
        rational_triton.forward(spec, x, a, b)
        rational_triton.backward(spec, x, a, b, x, True)

    found = []
    for kernel, function, args, options in recorded(rational_triton_jit, call, ("forward", "backward", "total")):
        binary = compiled(function, args, options, target, aligned=True)
        text = binary.asm.get("ptx", "")
        vectors = bool(re.search(r"ld\.global\.v4\.b32", text))
        row = {"case": case, "kernel": kernel, "vectors": vectors, **resources(binary, target)}
        if vectors:
            row["element"] = _of_an_element(text, options, x.itemsize, reads=1 + (kernel == "backward"))
        found.append(row)
    return found


def _of_an_element(text: str, options: dict[str, Any], itemsize: int, reads: int) -> dict[str, float]:
    """Instructions of a lane over its elements, without those of tiles that are computed in double precision."""
    lanes = 32 * options["num_warps"]
    count, wide = options["BLOCK"] // lanes, options["PART"] // lanes * itemsize
    wide = wide if wide >= 16 else 0  # shorter ones are not counted
    loaded, stored = (16 * len(re.findall(rf"\b{name}\.global\.v4\.b32", text)) for name in ("ld", "st"))
    return {
        "loaded": (loaded - reads * wide) / count,
        "stored": (stored - wide) / count,
        "multiply_adds": len(re.findall(r"\bfma\.rn\.f32", text)) / count,
        "divisions": len(re.findall(r"\bdiv\.full\.f32", text)) / count,
    }


def main(cases: list[str]) -> None:
    grid = itertools.product(
        TARGETS, ("5,4", "8,8", "3,2", "0,1"), ("abs_terms", "abs_sum"), DTYPES, ("96", "7", "4096")
    )
    for case in cases or map("/".join, grid):
        for row in rows(case):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
