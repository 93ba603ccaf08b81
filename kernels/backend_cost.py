"""What a layer costs on each backend: the model behind ``backend="auto"``.

The model counts the work of one forward and backward pass and prices it with a handful of constants per device type.
Backends are compared with each other only, so the constants need to be right in proportion. ``python -m
benchmarks.calibrate`` measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Work(NamedTuple):
    """One call of a layer.

    Attributes:
        samples, inputs, outputs: B, I and O.
        circuits: different circuits: O I, or I where one per input serves all outputs.
        reps: R.
        trained: whether pre-activation weights are trained.
    """

    samples: int
    inputs: int
    outputs: int
    circuits: int
    reps: int
    trained: bool


@dataclass(frozen=True)
class Prices:
    """Seconds per unit of work, forward and backward together.

    Attributes:
        step: one repetition of circuits at samples, whatever its size: the operations that are started.
        fixed, trained: one repetition of one circuit at one sample, at fixed and at trained pre-activations.
        fused: the same in one Triton kernel.
        feature: one feature of one input of one sample.
        product: one multiply-add of a matrix product (a training step has three products).
        call: starting the product of an expansion.
        point_step, point_fixed, point_trained: as step, fixed and trained, at the points of an expansion.
        launch: starting one kernel, where every one costs time of its own; see :data:`LAUNCHES`.
    """

    step: float
    fixed: float
    trained: float
    fused: float
    feature: float
    product: float
    call: float
    point_step: float
    point_fixed: float
    point_trained: float
    launch: float = 0.0


#: Kernels that a training step starts on a GPU, by backend, with fixed and with trained pre-activations:
#: ``tests/kernels/test_launches.py`` counts them. Those of ``bloch`` are in the price of a step.
LAUNCHES = {"spectral": (10, 14), "triton": (41, 51), "bloch": (0, 0)}

#: By device type. ``cpu``: measured on two cores; 8 of 10 estimates are 0.55 to 1.22 times the measured time. ``cuda``:
#: not measured yet but reckoned from an A100's data sheet, 1.5 TB/s for what goes through memory (six passes over a
#: feature), 19.5 Tflop/s for a kernel and for products in single precision, 6 us for a launch from Python. ``other``:
#: the same card where PyTorch's operations do what Triton's kernels would.
PRICES = {
    "cpu": Prices(2.0e-4, 5.4e-9, 9.5e-9, 5.4e-9, 4.6e-10, 1.1e-11, 1.5e-4, 0.0, 4.5e-9, 6.7e-9),
    "other": Prices(4.0e-4, 4.0e-10, 4.4e-10, 1.5e-11, 3.0e-11, 1.0e-13, 1.0e-4, 4.0e-4, 4.0e-10, 4.4e-10),
    "cuda": Prices(4.0e-4, 4.0e-10, 4.4e-10, 1.5e-11, 1.6e-11, 1.0e-13, 0.0, 0.0, 6.0e-11, 6.0e-11, 6.0e-6),
}


def seconds(work: Work, backend: str, device: str, points: int = 0) -> float:
    """Estimated time of forward and backward of ``backend`` on a device of that type.

    ``points`` are the circuit evaluations per circuit that an expansion needs, 2 R + 1 or K: one more than its terms.
    """
    price = PRICES.get(device, PRICES["other"])
    rotate = price.trained if work.trained else price.fixed
    mixes = work.circuits < work.inputs * work.outputs
    linear = 3 * work.samples * work.inputs * work.outputs * price.product if mixes else 0.0
    linear += price.launch * LAUNCHES.get(backend, (0, 0))[work.trained]
    if backend == "spectral":
        terms = points - 1
        rotations = points * work.circuits * work.reps
        features = work.samples * work.inputs * terms
        products = features * (1 if mixes else work.outputs)
        return (
            price.point_step * work.reps
            + (price.point_trained if work.trained else price.point_fixed) * rotations
            + price.feature * features
            + 3 * price.product * products
            + price.call
            + linear
        )
    rotations = work.samples * work.circuits * work.reps
    if backend == "triton":
        return price.call + price.fused * rotations + linear
    return price.step * work.reps + rotate * rotations + linear
