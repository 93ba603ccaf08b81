"""The circuit as a complex state vector: slow, readable, the ground truth of every other route.

Equation (arXiv 2509.14026): phi(x) = <0| U(x)* Z U(x) |0> with
U(x) = W_(R+1) S(w_R x + b_R) W_R ... S(w_1 x + b_1) W_1, S and W made of the rotations exp(-i t sigma / 2) that the
ansatz names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import GATES, Ansatz, Gate


def _sigma(gate: Gate, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The Pauli matrix of a gate's axis times the state."""
    (s00, s01), (s10, s11) = gate.sigma
    return s00 * alpha + s01 * beta, s10 * alpha + s11 * beta


def _rotated(gate: Gate, angle: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-i angle sigma / 2) = cos(angle / 2) - i sin(angle / 2) sigma times the state."""
    cos, sin = torch.cos(angle / 2), -1j * torch.sin(angle / 2)
    turned = _sigma(gate, alpha, beta)
    return cos * alpha + sin * turned[0], cos * beta + sin * turned[1]


def _initial_state(vector: tuple[float, float, float], like: Tensor) -> tuple[Tensor, Tensor]:
    """A state whose Bloch vector is ``vector``: cos(p/2)|0> + exp(i q) sin(p/2)|1> with polar angle p, azimuth q."""
    x, y, z = (torch.full_like(like, component) for component in vector)
    polar, azimuth = torch.atan2(torch.hypot(x, y), z), torch.atan2(y, x)  # acos would lose half the digits at poles
    return torch.cos(polar / 2) + 0j, torch.polar(torch.sin(polar / 2), azimuth)


def phi(
    x: Tensor,
    theta: Tensor,
    preact_weight: Tensor | None,
    preact_bias: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
) -> Tensor:
    """Evaluate one circuit per element, in complex128, differentiable by autograd to any order.

    Args:
        x: real, any shape S; the angle in radians before the pre-activation.
        theta: (*P, rows, angles), P broadcastable with S.
        preact_weight, preact_bias: (*P, reps), or None for weight 1 and bias 0.
        ansatz, reps: the circuit.
        readout: ``"z"``, the expectation <Z>, or ``"amplitude"``, |alpha| - |beta|.

    Returns:
        Tensor of the broadcast shape of S and P, in the dtype of ``theta``.
    """
    out_dtype = theta.dtype
    x, theta = x.double(), theta.double()
    shape = torch.broadcast_shapes(x.shape, theta.shape[:-2])
    alpha, beta = _initial_state(ansatz.initial, x.new_zeros(shape))
    for gate, entry, encoding in ansatz.gates(reps):
        if encoding is None:
            if entry is None:
                alpha, beta = _sigma(GATES[gate], alpha, beta)
                continue
            row, column = entry
            angle = theta[..., row, column]
        else:
            angle = x if preact_weight is None else x * preact_weight[..., encoding].double()
            if preact_bias is not None:
                angle = angle + preact_bias[..., encoding].double()
            if ansatz.encoding_map == "acos":
                angle = torch.acos(angle)
        alpha, beta = _rotated(GATES[gate], angle, alpha, beta)
    if readout == "amplitude":
        return (alpha.abs() - beta.abs()).to(out_dtype)
    return (alpha.real**2 + alpha.imag**2 - beta.real**2 - beta.imag**2).to(out_dtype)
