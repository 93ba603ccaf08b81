"""What the Triton kernels of recurrences need on each device, as :mod:`triton_resources` finds it for those of layers.

By hand: ``python tests/support/recurrence_triton_resources.py``, with case names as arguments such as
``sm_90/qkan/64/low`` only those. Prints one JSON object a kernel.
"""

import itertools
import json
import sys
from typing import Any

import torch
from recurrences import Kind, make
from triton_resources import TARGETS, compiled, recorded, resources

from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence import triton_gpu as recurrence_triton
from qkan.kernels.recurrence import triton_kernels as recurrence_triton_jit
from qkan.kernels.spectral.basis import Basis

KINDS = {
    "classical": Kind(basis=Basis("fourier", 0, base="identity")),
    "qkan": Kind(basis=Basis("fourier", 2, base="silu")),
    "chebyshev": Kind(basis=Basis("chebyshev", 12, base="silu"), reverse=True),
    "shaped": Kind(basis=Basis("chebyshev", 12, base="silu"), shaped=True),
    "hybrid": Kind(basis=Basis("chebyshev", 12), encoder=True, projection=True),
    "gru": Kind(cell="gru", basis=Basis("fourier", 2, base="silu")),
}


def rows(case: str) -> list[dict[str, Any]]:
    """Registers, spills and shared memory of both kernels of a case: device/kind/hidden size/fp32 or low."""
    device, name, hidden, precision = case.split("/")
    target = TARGETS[device]
    recurrence_triton.lanes = lambda device: target.warp_size
    torch.version.hip = "6.4" if target.backend == "hip" else None
    given = make(KINDS[name], (64,) * 3, int(hidden), dtype=torch.float32)
    spec = given.spec if precision == "fp32" else type(given.spec)(given.spec.cell, given.spec.basis, torch.bfloat16)
    steps = given.steps.requires_grad_()

    def run() -> None:
        found = recurrence.run(spec, given.layout, steps, given.weights, given.h_0, given.c_0, backend="triton")
        found[0].sum().backward()

    found = []
    for kernel, function, args, options in recorded(recurrence_triton_jit, run):
        options["PRECISION"] = "ieee"
        binary = compiled(function, args, options, target, aligned=True)
        used = {
            **resources(binary, target),
            "shared": binary.metadata.shared,
            "tf32": "tf32" in binary.asm.get("ptx", ""),
        }
        found.append({"case": case, "kernel": kernel, **used})
    return found


def main(cases: list[str]) -> None:
    for case in cases or map("/".join, itertools.product(TARGETS, KINDS, ("5", "32", "64", "100"), ("fp32", "low"))):
        for row in rows(case):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
