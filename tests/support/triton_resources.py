"""What the Triton kernels need on each device: compile them as they are launched and read the compiled artefacts.

By hand, the whole grid (a few minutes): ``python tests/support/triton_resources.py``. With case names as arguments,
such as ``sm_90/pz/3/trained``, only those. Prints one JSON object a kernel; ``spilled`` counts bytes of stack
on NVIDIA and bytes of scratch, spilled scalar, vector and accumulation registers on AMD.

Needs neither a GPU nor a CUDA or ROCm installation, but a process of its own: kernels are compiled here, not
interpreted.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.circuits.bloch import triton_kernels as bloch_triton_kernels

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
    "gfx1100": GPUTarget("hip", "gfx1100", 32),
}
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}
POINTERS |= {torch.float64: "*fp64", torch.int32: "*i32"}


class Recorder:
    """Stands in for a kernel and keeps the arguments of its launches."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.launches = kernel, []

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **options: self.launches.append((args, options))


def launches(ansatz: str, reps: int, trained: bool, lanes: int) -> Iterator[tuple[str, Any, tuple[Any, ...], dict]]:
    """Name, kernel, arguments and options of the forward and the backward launch of one layer."""
    bloch_triton.lanes = lambda device: lanes
    circuit = ANSATZE[ansatz]
    x, edge_weight = torch.zeros(1024, 16, requires_grad=True), torch.zeros(128, 16)
    theta = torch.zeros(128, 16, circuit.rows(reps), circuit.angles, requires_grad=True)
    weight = torch.zeros(128, 16, reps) if trained else None

    def layer() -> None:
        bloch_triton.circuits(
            x, theta, weight, weight, edge_weight, ansatz=circuit, reps=reps, readout="z"
        ).sum().backward()

    return recorded(bloch_triton_kernels, layer)


def recorded(
    module: Any, run: Callable[[], None], kernels: Sequence[str] = ("forward", "backward")
) -> Iterator[tuple[str, Any, tuple[Any, ...], dict[str, Any]]]:
    """Name, kernel, arguments and options of the first launches of a module's kernels that ``run`` makes."""
    names = [f"{name}_kernel" for name in kernels]
    recorders = {name: Recorder(getattr(module, name)) for name in names}
    for name, recorder in recorders.items():
        setattr(module, name, recorder)
    os.environ["TRITON_INTERPRET"] = "1"  # nothing is run, but tensors here are on the CPU
    run()
    os.environ.pop("TRITON_INTERPRET")
    for name, recorder in recorders.items():
        setattr(module, name, recorder.kernel)
        (args, options), *_ = recorder.launches
        yield name.removesuffix("_kernel"), recorder.kernel, args, options


def compiled(
    kernel: Any, args: tuple[Any, ...], options: dict[str, Any], target: GPUTarget, *, aligned: bool = False
) -> Any:
    """Compile one launch for ``target``; ``aligned`` if all its tensors begin at multiples of 16 bytes.

    Then multiples of 16 among its numbers are known as such too, as in a real launch.
    """
    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    settings = {name: value for name, value in options.items() if name not in constants}
    signature = {name: _type(arg) for name, arg in zip(kernel.arg_names, args, strict=False)}
    places = [place for place, arg in enumerate(args) if aligned and _whole(arg, kernel.params[place])]
    attributes = {(place,): [["tt.divisibility", 16]] for place in places}
    signature |= dict.fromkeys(constants, "constexpr")
    return triton.compile(ASTSource(kernel, signature, constants, attributes), target=target, options=settings)


def _type(arg: Any) -> str:
    if isinstance(arg, torch.Tensor):
        return POINTERS[arg.dtype]
    return "fp32" if isinstance(arg, float) else "i32"


def _whole(arg: Any, parameter: Any) -> bool:
    """Whether a launch tells the compiler that an argument is a multiple of 16."""
    return isinstance(arg, torch.Tensor) or (isinstance(arg, int) and arg % 16 == 0 and not parameter.do_not_specialize)


def resources(binary: Any, target: GPUTarget) -> dict[str, Any]:
    """Registers a lane, what was spilled from them, and how much of that are scalars kept in vector registers."""
    if target.backend == "hip":
        listed = dict(re.findall(r"\.(\w+(?:_count|_fixed_size)):\s*(\d+)", binary.asm["amdgcn"]))
        spills = ("private_segment_fixed_size", "sgpr_spill_count", "vgpr_spill_count", "agpr_count")
        used = {"registers": int(listed["vgpr_count"]), "spilled": sum(int(listed.get(name, 0)) for name in spills)}
        return {**used, "scalars": int(listed["sgpr_spill_count"])}
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        text = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", text.stdout))
    return {"registers": int(found["REG"]), "spilled": int(found["STACK"]) + int(found["LOCAL"]), "scalars": 0}


def main(cases: list[str]) -> None:
    grid = itertools.product(TARGETS, ANSATZE, ("1", "3", "8"), ("fixed", "trained"))
    for case in cases or map("/".join, grid):
        device, ansatz, reps, kind = case.split("/")
        target = TARGETS[device]
        for name, kernel, args, options in launches(ansatz, int(reps), kind == "trained", target.warp_size):
            used = resources(compiled(kernel, args, options, target), target)
            print(json.dumps({"case": case, "kernel": name, **used}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
