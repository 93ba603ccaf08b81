"""What a forecast would need on quantum hardware."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch

from qkan.forecasting.model.build import RecurrentForecaster, count_parameters
from qkan.quantum.edge_circuit import Tally
from qkan.validation.circuit_layers import with_backend


@dataclass(frozen=True)
class Demand:
    """The price of one forecast of one window.

    Attributes:
        circuits: single-qubit circuits to run: one for every edge and time step.
        gates: of all of them, state preparations included.
        parameters: trained numbers of the whole model.
        shots_per_circuit: measurements for the wanted precision.

    Examples:
        >>> from qkan.validation import Demand
        >>> Demand(circuits=48, gates=8, parameters=6, shots_per_circuit=10_000).circuits
        48
    """

    circuits: int
    gates: int
    parameters: int
    shots_per_circuit: int

    @property
    def shots(self) -> int:
        """Measurements of all circuits."""
        return self.circuits * self.shots_per_circuit


def demand(model: RecurrentForecaster, precision: float = 0.01) -> Demand:
    """Count the circuits, gates and shots of one forecast.

    Args:
        model: the forecaster.
        precision: the standard error of every <Z>, at most; 1 / precision^2 shots reach it whatever <Z> is.

    Raises:
        ValueError: a precision outside (0, 1], or a model without circuits.

    Examples:
        >>> from qkan.forecasting import load_run
        >>> from qkan.validation import demand
        >>> demand(load_run("runs/demo").model, precision=0.01).shots_per_circuit
        10000
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision {precision} must be a standard error in (0, 1]; <Z> lies between -1 and 1")
    tally = Tally()
    counted = with_backend(copy.deepcopy(model), tally)
    like = next(model.parameters())
    with torch.inference_mode():
        counted(*(zeros.to(like) for zeros in model.example(1)))
    # Rounded first: 1 / 0.01^2 is a hair above 10,000.
    shots = math.ceil(round(precision**-2, 6))
    return Demand(tally.circuits, tally.gates, count_parameters(model), shots)
