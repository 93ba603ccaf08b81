"""A layer as one node of autograd's graph: which layers the CPU kernels of :mod:`.spectral.whole_layer` run, and how.

A small layer costs what Python does around the kernels, so what rules a layer out is asked in the order of its price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkan.kernels import backend_cost as cost
from qkan.kernels.backend_choice import Case, Plan, cheapest, chebyshev_plan, fourier_plan
from qkan.kernels.backends import ON_CPU
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.spectral.numba_coefficients import bounds
from qkan.kernels.spectral.sum_frequencies import MAX_REPS
from qkan.kernels.spectral.whole_layer import Expanded, whole_layer

if TYPE_CHECKING:
    from qkan.kernels.layer import CircuitLayer


def one_node(layer: CircuitLayer, x: Tensor) -> Tensor | None:
    """Apply a layer as one node of the graph where the CPU kernels run it so.

    Args:
        layer: the circuits.
        x: (..., inputs), on the CPU.

    Returns:
        (..., outputs), or None where other engines have to.

    Raises:
        ValueError: a tensor of another size than the circuits need; kernels would read memory that is not its own.
    """
    theta, weight, bias = layer.theta, layer.weight, layer.bias
    if (
        not (layer.backend == "auto" or layer.backend == "spectral")
        or layer.readout != "z"
        or theta.dim() != 4
        or layer.ansatz.encoding_map != "identity"
        or (layer.edge_weight is not None and layer.edge_weight.shape[0] != theta.shape[0])
        or (weight is not None and weight.shape[0] != theta.shape[0])
        or (weight is not None and layer.harmonics is None and theta.shape[0] == 1 and layer.reps <= MAX_REPS)
    ):
        return None
    base, base_weight = (None, None) if layer.base is None else layer.base
    bias = bias if bias is None or bias.shape[0] == theta.shape[0] else layer.expand_to_outputs(bias)
    tensors = (theta, weight, bias, layer.edge_weight, base_weight, layer.offset)
    if not numba_supported(x, *tensors, dtype=theta.dtype):
        return None
    outputs, inputs = theta.shape[:2]
    if x.shape[-1] != inputs or (layer.offset is not None and layer.offset.shape != (outputs,)):
        raise ValueError(
            f"inputs {tuple(x.shape)} or offset do not fit circuits of {outputs} outputs and {inputs} inputs"
        )
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    samples = flat.shape[0]
    if layer.backend == "auto" and samples < 3:
        return None
    plan: Plan | str | None = Plan("fourier", 2 * layer.reps + 1) if weight is None else fourier_plan(layer.harmonics)
    if plan is None and weight is not None:
        sizes = bounds(flat.contiguous(), weight.contiguous())
        plan = chebyshev_plan(*sizes, torch.finfo(theta.dtype).eps)
    if plan is None or isinstance(plan, str):
        return None
    work = cost.Work(samples, inputs, outputs, outputs * inputs, layer.reps, weight is not None)
    if layer.backend == "auto" and cheapest(Case(work, "cpu", plan, ON_CPU)) != "spectral":
        return None
    radius = 1.0 if plan.kind == "fourier" else plan.radius
    y = whole_layer(Expanded(plan.kind, plan.points, radius, layer.ansatz, layer.reps, base), flat, tensors)
    return y if x.dim() == 2 else y.reshape(*x.shape[:-1], y.shape[-1])
