"""The circuits of QLSTM on PennyLane: independent of our simulators, for comparing them, and slow."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan._util.optional import require_pennylane
from qkan.kernels.multiqubit.circuit import Engine, Prepared, cnots, encoding_angles, layers_of


def expectations(z: Tensor, theta: Tensor) -> Tensor:
    """<Z_q> of all qubits behind all circuits, in one broadcast call for all circuits and samples.

    Args:
        z: real, (batch, qubits).
        theta: angles in radians, (circuits, qubits, 3 layers - 1).

    Returns:
        (batch, circuits * qubits).
    """
    angles = layers_of(theta)
    circuits, layers, qubits, _ = angles.shape
    batch = z.shape[0]
    if not batch:  # PennyLane cannot broadcast over nothing
        return (z.sum() + angles.sum()) * z.new_zeros(0, circuits * qubits)
    tilt, phase = (angle.to(angles.dtype).repeat(circuits, 1) for angle in encoding_angles(z))
    values = _circuit(qubits, layers)(tilt, phase, angles.repeat_interleave(batch, 0))
    per_circuit = torch.stack(values, -1).view(circuits, batch, qubits)
    return per_circuit.transpose(0, 1).flatten(1).to(angles.dtype)


@lru_cache(maxsize=64)
def _circuit(qubits: int, layers: int) -> Any:
    """A QNode of (tilt, phase, angles), shapes (N, qubits), (N, qubits) and (N, layers, qubits, 3)."""
    qml = require_pennylane()

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch", diff_method="backprop")
    def circuit(tilt: Tensor, phase: Tensor, angles: Tensor) -> list[Any]:
        for qubit in range(qubits):
            qml.Hadamard(qubit)
            qml.RY(tilt[:, qubit], wires=qubit)
            qml.RZ(phase[:, qubit], wires=qubit)
        for layer in range(layers):
            for control, target in cnots(qubits):
                qml.CNOT([control, target])
            for qubit in range(qubits):
                qml.Rot(*angles[:, layer, qubit].unbind(-1), wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(qubits)]

    return circuit


def _prepare(theta: Tensor, tables: tuple[Tensor, ...]) -> Prepared:
    return lambda z: expectations(z, theta), None


ENGINE = Engine("pennylane", lambda size, tensors: None, lambda qubits, layers: (), _prepare)
