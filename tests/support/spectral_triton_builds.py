"""What the Triton kernels of expansions need on each device: compile them as a training step of a layer starts them.

By hand: ``python tests/support/spectral_triton_builds.py sm_90/fp32/trained``, one or more cases (device, dtype of
products, pre-activations, ``small`` or ``splines``). Prints one JSON object a kernel.
"""

from __future__ import annotations

import json
import sys

import torch
from triton_resources import TARGETS, compiled, recorded, resources

from qkan import KANLayer, QKANLayer
from qkan.kernels.circuits.bloch import numba_cpu
from qkan.kernels.edges import triton_kernels as edges_kernels
from qkan.kernels.spectral import triton_gpu, triton_kernels

KERNELS = ("coefficients", "coefficients_gradient", "features", "input_gradient")
SMALL = ("small_forward", "small_backward")
SPLINES = ("family_features", "family_input_gradient")


def main(cases: list[str]) -> None:
    numba_cpu._DTYPES = ()
    triton_gpu.INTERPRETED = True  # nothing is: launches are only recorded
    for case in cases:
        device, dtype, kind = case.split("/")
        target = TARGETS[device]
        triton_gpu.lanes = lambda device, target=target: target.warp_size
        torch.version.hip = "6.4" if target.backend == "hip" else None
        inputs, outputs = (8, 20) if kind == "small" else (64, 64)
        layer: torch.nn.Module = QKANLayer(inputs, outputs, 3, preact_trainable=kind == "trained", backend="spectral")
        if kind == "splines":
            layer = KANLayer(inputs, outputs, base_activation="silu")
        x = torch.rand(256, inputs, requires_grad=True)

        def step(layer: torch.nn.Module = layer, x: torch.Tensor = x, narrow: bool = dtype == "bf16") -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                y = layer(x)
            y.sum().backward()

        started = (*KERNELS[:2], *SMALL) if kind == "small" else SPLINES if kind == "splines" else KERNELS
        module = edges_kernels if kind == "splines" else triton_kernels
        for name, kernel, args, options in recorded(module, step, started):
            if kind == "small" and name not in SMALL:
                continue  # other cases build them
            binary = compiled(kernel, args, options, target, aligned=True)
            used = resources(binary, target) | {"shared": binary.metadata.shared}
            print(json.dumps({"case": case, "kernel": name, **used}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
