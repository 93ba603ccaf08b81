"""Circuits in PennyLane: from an ansatz to gates, from angles to expectations and their gradients.

All circuits of a call have the same gates, so they are one circuit with broadcast angles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qkan._util.optional import require_pennylane
from qkan.kernels.circuits.ansatz import GATES, Ansatz
from qkan.quantum import runtime_estimate as workload
from qkan.quantum.noise import Noise

if TYPE_CHECKING:
    from qkan.quantum.pennylane import PennyLane

#: Circuits of one execution, and numbers that an execution with shots may sample: both bound its memory.
PIECE_CIRCUITS = 2**15
PIECE_SAMPLES = 2**23


@dataclass(frozen=True)
class Circuit:
    """The gates of an ansatz with ``reps`` repetitions."""

    ansatz: Ansatz
    reps: int

    def apply(self, angles: Sequence[Any], noise: Noise | None = None, *, density: bool = False) -> None:
        """Put the state preparation and all gates on wire 0 of the circuit that PennyLane is recording.

        Args:
            angles: of every rotation in order, each a number or a batch (N,).
            noise: channels that follow every gate, and the flip before the measurement.
            density: whether density matrices are simulated.
        """
        qml = require_pennylane()
        operations = {name: getattr(qml, gate.pennylane) for name, gate in GATES.items()}
        if density:  # PennyLane 0.42 cannot broadcast RZ on density matrices, nor differentiate PhaseShift there.
            operations["rz"] = _rot

        def then_noise() -> None:
            if noise is not None and noise.depolarizing:
                qml.DepolarizingChannel(noise.depolarizing, wires=0)
            if noise is not None and noise.amplitude_damping:
                qml.AmplitudeDamping(noise.amplitude_damping, wires=0)

        for gate, angle in preparation(self.ansatz.initial):
            if angle is None:
                qml.Hadamard(wires=0)
            else:
                operations[gate](angle, wires=0)
            then_noise()
        remaining = iter(angles)
        for gate, _, _ in self.ansatz.gates(self.reps):
            arguments = (next(remaining),) if GATES[gate].rotates else ()
            operations[gate](*arguments, wires=0)
            then_noise()
        if noise is not None and noise.readout:
            qml.BitFlip(noise.readout, wires=0)


def _rot(angle: Any, wires: int) -> None:
    """RZ as the general rotation that it is a case of."""
    require_pennylane().Rot(angle, 0 * angle, 0 * angle, wires=wires)


def preparation(initial: tuple[float, float, float]) -> list[tuple[str, float | None]]:
    """Gates (name, angle) that turn |0> into the state with the Bloch vector ``initial``."""
    x, y, z = initial
    if math.isclose(x, 1.0):
        return [("h", None)]
    polar, azimuth = math.atan2(math.hypot(x, y), z), math.atan2(y, x)
    return [(gate, angle) for gate, angle in (("ry", polar), ("rz", azimuth)) if angle]


def gate_angles(
    x: Tensor, theta: Tensor, weight: Tensor | None, bias: Tensor | None, *, ansatz: Ansatz, reps: int
) -> list[Tensor]:
    """The angle of every rotation in order, float64, differentiable; arguments as
    :func:`qkan.kernels.circuits.statevector.phi`.

    An encoding rotation turns by w_l x + b_l or, for the map ``"acos"``, by its arc cosine (arXiv 2509.14026).
    """
    x, theta = x.double(), theta.double()
    angles = []
    for _, entry, encoding in ansatz.gates(reps):
        if entry is not None:
            angles.append(theta[..., entry[0], entry[1]])
        elif encoding is not None:
            angle = x if weight is None else x * weight[..., encoding].double()
            angle = angle if bias is None else angle + bias[..., encoding].double()
            angles.append(torch.acos(angle) if ansatz.encoding_map == "acos" else angle)
    return angles


def expectations(circuit: Circuit, angles: Tensor, settings: PennyLane) -> Tensor:
    """<Z> of N circuits, (N,) float64, from their angles (rotations, N) float64; gradients as the settings say.

    Raises:
        ValueError: they would take too long and are not forced.
    """
    backward = torch.is_grad_enabled() and angles.requires_grad
    work = workload.estimate(
        angles.shape[1],
        len(angles),
        str(settings.device),
        str(settings.diff_method),
        settings.shots,
        backward=backward,
    )
    workload.refuse_too_long(work, settings.force)
    if not backward:
        return _measured(circuit, angles, settings)
    if settings.diff_method == "backprop":
        return _differentiable(circuit, angles, settings)
    function = _Adjoint if settings.diff_method == "adjoint" else _ParameterShift
    return function.apply(angles, circuit, settings)


def _pieces(angles: Tensor, shots: int | None) -> Iterator[Tensor]:
    size = PIECE_CIRCUITS if shots is None else max(1, min(PIECE_CIRCUITS, PIECE_SAMPLES // shots))
    return iter(angles.split(size, dim=1))


def _joined(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.cat(parts) if parts else like.new_zeros(0)


def _qnode(circuit: Circuit, settings: PennyLane, interface: str, diff_method: str | None) -> Callable[..., Any]:
    qml = require_pennylane()

    def run(*angles: Any) -> Any:
        circuit.apply(angles, settings.noise, density=settings.device == "default.mixed")  # type: ignore[arg-type]
        return qml.expval(qml.PauliZ(0))

    qnode = qml.QNode(run, settings.open_device(), interface=interface, diff_method=diff_method)
    return qnode if settings.shots is None else qml.set_shots(qnode, settings.shots)


def _measured(circuit: Circuit, angles: Tensor, settings: PennyLane) -> Tensor:
    """Expectations without gradients."""
    qnode = _qnode(circuit, settings, "numpy", None)
    parts = []
    for piece in _pieces(angles.detach(), settings.shots):
        if piece.shape[1]:
            value = torch.as_tensor(qnode(*piece.cpu().numpy()), dtype=torch.float64)
            parts.append(value.to(angles.device).expand(piece.shape[1]))
    return _joined(parts, angles)


def _differentiable(circuit: Circuit, angles: Tensor, settings: PennyLane) -> Tensor:
    """Expectations that autograd follows through PennyLane's simulation."""
    qnode = _qnode(circuit, settings, "torch", "backprop")
    pieces = [piece for piece in _pieces(angles, None) if piece.shape[1]]
    if len(pieces) == 1:
        return qnode(*pieces[0])
    # Many pieces are simulated again in the backward pass, so that the states of only one are held at a time.
    parts = [checkpoint(lambda piece: qnode(*piece), piece, use_reentrant=False) for piece in pieces]
    return _joined(parts, angles)


class _ParameterShift(torch.autograd.Function):
    """d <Z> / d t = (<Z>(t + pi/2) - <Z>(t - pi/2)) / 2 for every angle of a rotation exp(-i t sigma / 2).

    PennyLane's own transform refuses broadcast circuits, so the shifted ones are broadcast here: both shifts of one
    angle of all circuits are one execution. Schuld et al., arXiv 1811.11184.
    """

    @staticmethod
    def forward(ctx: Any, angles: Tensor, circuit: Circuit, settings: PennyLane) -> Tensor:
        ctx.save_for_backward(angles)
        ctx.circuit, ctx.settings = circuit, settings
        return _measured(circuit, angles, settings)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (angles,) = ctx.saved_tensors
        slopes = []
        for gate in range(len(angles)):
            shift = torch.zeros_like(angles[:, :1])
            shift[gate] = math.pi / 2
            both = torch.cat([angles + shift, angles - shift], dim=1)
            # The function itself, so that higher derivatives are shifts of shifts.
            above, below = _ParameterShift.apply(both, ctx.circuit, ctx.settings).chunk(2)
            slopes.append((above - below) / 2)
        return grad * torch.stack(slopes), None, None


class _Adjoint(torch.autograd.Function):
    """The device's adjoint gradients: it computes them with the values, one circuit after the other.

    The circuits go to the device as one batch, because a QNode would return lightning.qubit's double precision
    values in single precision. Jones and Gacon, arXiv 2009.02823.
    """

    @staticmethod
    def forward(ctx: Any, angles: Tensor, circuit: Circuit, settings: PennyLane) -> Tensor:
        qml = require_pennylane()
        device = settings.open_device()
        config = qml.devices.ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
        tapes = []
        for row in angles.detach().cpu().T.tolist():
            with qml.queuing.AnnotatedQueue() as queue:
                circuit.apply(row)
                qml.expval(qml.PauliZ(0))
            tape = qml.tape.QuantumScript.from_queue(queue)
            first = len(preparation(circuit.ansatz.initial)) - (circuit.ansatz.initial[0] == 1.0)
            tape.trainable_params = list(range(first, first + len(row)))
            tapes.append(tape)
        if not tapes:
            ctx.save_for_backward(torch.zeros_like(angles))
            return angles.new_zeros(0)
        config = device.setup_execution_config(config, tapes[0])
        values, slopes = device.execute_and_compute_derivatives(tuple(tapes), config)
        jacobian = angles.new_tensor([[float(slope) for slope in circuit_slopes] for circuit_slopes in slopes])
        ctx.save_for_backward(jacobian.T)
        return angles.new_tensor([float(value) for value in values])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "diff_method 'adjoint' gives first derivatives only; use 'parameter-shift' or 'backprop'"
            )
        (slopes,) = ctx.saved_tensors
        return grad * slopes, None, None
