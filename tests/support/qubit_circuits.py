"""QLSTM's circuit from the words of arXiv 2009.01783 alone: whole matrices of all qubits, one gate after the other."""

import math

import torch
from torch import Tensor

#: CNOTs (control, target) of one layer, first to last, from the figure for 4 qubits and by hand for the others.
CNOTS = {
    1: [],
    2: [(0, 1), (1, 0)],
    3: [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1)],
    4: [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3), (2, 0), (3, 1)],
}
X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
Y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)
HADAMARD = (X + Z) / math.sqrt(2)


def on(matrix: Tensor, qubit: int, qubits: int) -> Tensor:
    """A gate of one qubit as a matrix of all."""
    factors = [torch.eye(2, dtype=torch.complex128)] * qubits
    factors[qubit] = matrix
    product = factors[0]
    for factor in factors[1:]:
        product = torch.kron(product, factor)
    return product


def cnot(control: int, target: int, qubits: int) -> Tensor:
    """|0><0| on the control leaves the target alone, |1><1| flips it."""
    up, down = (torch.eye(2, dtype=torch.complex128) + s * Z for s in (1, -1))
    return on(up / 2, control, qubits) + on(down / 2, control, qubits) @ on(X, target, qubits)


def turn(pauli: Tensor, angle: Tensor) -> Tensor:
    """exp(-i angle pauli / 2)."""
    return torch.cos(angle / 2) * torch.eye(2, dtype=torch.complex128) - 1j * torch.sin(angle / 2) * pauli


def values(z: Tensor, theta: Tensor) -> Tensor:
    """<Z_q> of one sample z (qubits,) behind one circuit of angles (qubits, 3 layers - 1), float64."""
    qubits, layers = len(z), (theta.shape[1] + 1) // 3
    state = torch.zeros(2**qubits, dtype=torch.complex128)
    state[0] = 1
    for q in range(qubits):
        gate = turn(Z, torch.atan(z[q] ** 2)) @ turn(Y, torch.atan(z[q])) @ HADAMARD
        state = on(gate, q, qubits) @ state
    for layer in range(layers):
        for control, target in CNOTS[qubits]:
            state = cnot(control, target, qubits) @ state
        for q in range(qubits):
            angles = list(theta[q, 3 * layer : 3 * layer + 3])
            axes = (Z, Y, Z)[: len(angles)]
            for axis, angle in zip(axes, angles, strict=True):
                state = on(turn(axis, angle), q, qubits) @ state
    return torch.stack([torch.vdot(state, on(Z, q, qubits) @ state).real for q in range(qubits)])
