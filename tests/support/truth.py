"""An independent simulator: gates as matrix exponentials in NumPy, circuits written out by hand, no code of qkan."""

import numpy as np
from scipy.linalg import expm

PAULI = {
    "x": np.array([[0, 1], [1, 0]], dtype=complex),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.array([[1, 0], [0, -1]], dtype=complex),
}
HADAMARD = np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2)


def rotation(axis: str, angle: float) -> np.ndarray:
    return expm(-0.5j * angle * PAULI[axis])


def circuit(name: str, x: float, theta: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The state behind one circuit; theta (rows, angles), weight and bias (reps,)."""
    state = HADAMARD @ np.array([1, 0], dtype=complex)
    for rep in range(len(weight)):
        angle, data = theta[rep], weight[rep] * x + bias[rep]
        if name == "pz":
            gates = [rotation("z", angle[0]), rotation("y", angle[1]), rotation("z", data)]
        elif name == "rpz":
            gates = [rotation("y", angle[0]), rotation("z", data)]
        elif name == "px":
            gates = [rotation("z", angle[0]), rotation("x", np.arccos(data))]
        elif name == "real":
            gates = [PAULI["x"], rotation("y", angle[0]), PAULI["z"], rotation("y", data)]
        else:
            gates = [rotation("z", angle[0]), rotation("x", angle[1]), rotation("y", data)]
        for gate in gates:
            state = gate @ state
    if name == "pz":
        state = rotation("y", theta[-1, 1]) @ rotation("z", theta[-1, 0]) @ state
    elif name == "rpz":
        state = rotation("y", theta[-1, 0]) @ state
    elif name == "px":
        state = rotation("z", theta[-1, 0]) @ state
    elif name == "mix":
        state = rotation("x", theta[-1, 1]) @ rotation("z", theta[-1, 0]) @ state
    return state


def phi(name: str, readout: str, x: float, theta: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    alpha, beta = np.abs(circuit(name, x, theta, weight, bias))
    return float(alpha - beta if readout == "amplitude" else alpha**2 - beta**2)
