"""One table of gates: the state vector, the Bloch sphere and PennyLane read the same from it."""

import numpy as np
import pennylane as qml
import pytest
import torch

from qkan.kernels.circuits.ansatz import GATES
from qkan.quantum.spectrum import bloch_parts

SIGMA = [np.array(GATES[name].sigma) for name in ("x", "y", "z")]
ANGLE = 0.7


def unitary(name: str) -> np.ndarray:
    """exp(-i t sigma / 2), or sigma."""
    sigma = np.array(GATES[name].sigma)
    if not GATES[name].rotates:
        return sigma
    return np.cos(ANGLE / 2) * np.eye(2) - 1j * np.sin(ANGLE / 2) * sigma


@pytest.mark.parametrize("name", GATES)
def test_pennylane_knows_the_gate_by_its_name_there(name: str) -> None:
    angles = (ANGLE,) if GATES[name].rotates else ()
    operation = getattr(qml, GATES[name].pennylane)(*angles, wires=0)
    assert np.abs(qml.matrix(operation) - unitary(name)).max() < 1e-15


@pytest.mark.parametrize("name", GATES)
def test_the_bloch_vector_turns_as_the_state_does(name: str) -> None:
    u, gate = unitary(name), GATES[name]
    turned = np.array([[np.trace(a @ u @ b @ u.conj().T) / 2 for b in SIGMA] for a in SIGMA])
    still, turning, crossing = (part.numpy() for part in bloch_parts(gate.axis))
    angle = ANGLE if gate.rotates else np.pi
    assert np.abs(turned - (still + np.cos(angle) * turning + np.sin(angle) * crossing)).max() < 1e-15
    assert all(part.dtype == torch.float64 for part in bloch_parts(gate.axis))
