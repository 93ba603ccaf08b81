"""Fast weights on the backend that fits the device.

Backends (see :mod:`qkan.kernels.fast_weights.types` for what they compute):

* ``numba``: CPU kernels that walk over a sequence in one call, with a hand-written backward pass.
* ``torch``: pieces of time as matrix products in plain PyTorch; every device and dtype, compilers and exporters.
* ``reference``: one step after the other, as the equations stand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.fast_weights import numba_cpu, pytorch
from qkan.kernels.fast_weights.types import Spec
from qkan.kernels.recurrence.types import Layout
from qkan.kernels.registry import Registry

#: ``auto`` asks them in this order.
BACKENDS = Registry("these fast weights", (numba_cpu.ENGINE, pytorch.ENGINE))


def run(
    spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """The outputs of a fast layer at all time steps, and its weights at the end of every sequence.

    Args:
        spec: the layer.
        layout: where the rows of time steps lie.
        emitted: (rows, sum(spec.parts)): A (rows x O), B (L x angles) and the logits of gates at every step.
        x: (rows, L), the layer's inputs.
        theta: (B, spec.size), the weights in front of the first step.
        backend: one of ``BACKENDS.names``.

    Returns:
        (rows, O), and (B, spec.size).

    Raises:
        ValueError: sizes that do not fit, an unknown backend, or one that cannot run; the message says why.
    """
    rows, batch = layout.offsets[-1], layout.sizes[0]
    expected = ((rows, sum(spec.parts)), (rows, spec.inputs), (batch, spec.size))
    for name, tensor, shape in zip(("emitted", "x", "theta"), (emitted, x, theta), expected, strict=True):
        if not torch.compiler.is_compiling() and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} does not fit: this layer needs {shape}")
    if backend == "reference":
        return pytorch.run_steps(spec, layout, emitted, x, theta)
    return BACKENDS.choose(backend, spec, (emitted, x, theta)).run(spec, layout, emitted, x, theta)
