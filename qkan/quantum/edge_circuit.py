"""The circuit of one edge in PennyLane: run it, draw it, export it, count its gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan._util.optional import require_pennylane
from qkan.kernels.circuits.ansatz import GATES, Ansatz
from qkan.quantum import runtime_estimate as workload
from qkan.quantum.execution import Circuit, gate_angles, preparation
from qkan.quantum.pennylane import PennyLane

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Edge:
    """One circuit with its trained values.

    Attributes:
        ansatz, reps: the circuit.
        theta: (rows, angles) in radians.
        weight, bias: (reps,), or None for weight 1 and bias 0.
        settings: how PennyLane runs it.

    Raises:
        ModuleNotFoundError: PennyLane is not installed.
    """

    ansatz: Ansatz
    reps: int
    theta: Tensor
    weight: Tensor | None
    bias: Tensor | None
    settings: PennyLane

    @cached_property
    def qnode(self) -> Callable[..., Any]:
        """The QNode from x, a number or a batch (N,), to <Z>; of a tensor it gives tensors, differentiable in x."""
        qml = require_pennylane()
        circuit, settings = Circuit(self.ansatz, self.reps), self.settings

        def edge(x: Any) -> Any:
            circuit.apply(self.angles(x), settings.noise, density=settings.noise is not None)  # type: ignore[arg-type]
            return qml.expval(qml.PauliZ(0))

        qnode = qml.QNode(edge, settings.open_device(), diff_method=settings.diff_method)
        return qnode if settings.shots is None else qml.set_shots(qnode, settings.shots)

    def angles(self, x: Any) -> list[Any]:
        """The angle of every rotation for x: tensors if x is one, else numbers or arrays; float64."""
        is_tensor = isinstance(x, Tensor)
        given = x if is_tensor else torch.as_tensor(x, dtype=torch.float64)
        angles = gate_angles(given, self.theta, self.weight, self.bias, ansatz=self.ansatz, reps=self.reps)
        if is_tensor:
            return angles
        return [angle.item() if angle.dim() == 0 else angle.numpy() for angle in angles]

    def text(self, x: float) -> str:
        """The circuit for ``x`` drawn with characters."""
        return require_pennylane().draw(self.qnode, decimals=3, max_length=110)(x)

    def figure(self, x: float) -> Figure:
        """The circuit for ``x`` as a matplotlib figure."""
        from matplotlib import pyplot as plt

        figure, _ = require_pennylane().draw_mpl(self.qnode, decimals=2)(x)
        plt.close(figure)  # out of pyplot's hands, so that drawing many does not pile them up
        return figure

    def openqasm(self, x: float) -> str:
        """The circuit for ``x`` with a measurement of the qubit, in OpenQASM 2.0.

        Raises:
            ValueError: an angle that is not finite: acos(w x + b) beyond [-1, 1].
        """
        angles = self.angles(float(x))
        if not all(torch.isfinite(torch.tensor(angles))):
            raise ValueError(f"ansatz {self.ansatz.name!r} has no angle acos(w x + b) at x={x}; take x nearer to 0")
        lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', "qreg q[1];", "creg c[1];"]
        remaining = iter(angles)
        gates = preparation(self.ansatz.initial) + [
            (gate, next(remaining) if GATES[gate].rotates else None) for gate, _, _ in self.ansatz.gates(self.reps)
        ]
        lines += [f"{gate} q[0];" if angle is None else f"{gate}({angle!r}) q[0];" for gate, angle in gates]
        return "\n".join([*lines, "measure q[0] -> c[0];"]) + "\n"

    def gate_counts(self) -> dict[str, int]:
        """How often each gate occurs, the state preparation included, by its OpenQASM name."""
        names = [gate for gate, _ in preparation(self.ansatz.initial)]
        return dict(Counter(names + [gate for gate, _, _ in self.ansatz.gates(self.reps)]))

    @property
    def parameters(self) -> int:
        """Trained numbers of the circuit."""
        return sum(0 if tensor is None else tensor.numel() for tensor in (self.theta, self.weight, self.bias))


class EdgeByEdge:
    """A backend that runs the QNode of every edge by itself, as one would on hardware; no gradients.

    Args:
        settings: how PennyLane runs each.
    """

    def __init__(self, settings: PennyLane | None = None) -> None:
        self.settings = PennyLane() if settings is None else settings

    def check(self, ansatz: Ansatz, readout: str) -> None:
        """Refuse what :class:`PennyLane` refuses."""
        self.settings.check(ansatz, readout)

    def phi(
        self,
        x: Tensor,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str = "z",
    ) -> Tensor:
        """Evaluate circuits (outputs, inputs, ...) at x (samples, 1, inputs), an edge at a time.

        Raises:
            ValueError: circuits that differ between samples, or so many that they would take too long.
        """
        if theta.dim() != 4:
            raise ValueError(
                f"theta of {theta.dim()} dimensions has circuits of its own for every sample, which do not run edge "
                "by edge; use backend=PennyLane(), which runs them at once"
            )
        outputs, inputs = theta.shape[:2]
        work = workload.Workload(len(x) * outputs * inputs, workload.QNODE * outputs * inputs)
        workload.refuse_too_long(work, self.settings.force)
        y = x.new_empty(len(x), outputs, inputs)
        for o in range(outputs):
            for i in range(inputs):
                weight, bias = (None if p is None else p[o, i].detach() for p in (preact_weight, preact_bias))
                edge = Edge(ansatz, reps, theta[o, i].detach(), weight, bias, self.settings)
                y[:, o, i] = torch.as_tensor(edge.qnode(x[:, 0, i].detach().double().numpy()))
        return y


class Tally:
    """A backend that computes in double precision and counts the circuits that were needed.

    Attributes:
        circuits: one for every edge and sample so far.
        gates: the gates of all of them.
    """

    def __init__(self) -> None:
        self.circuits = self.gates = 0

    def check(self, ansatz: Ansatz, readout: str) -> None:
        """Nothing is refused."""

    def phi(self, x: Tensor, theta: Tensor, *preacts: Tensor | None, ansatz: Ansatz, reps: int, readout: str) -> Tensor:
        """As :func:`qkan.kernels.circuits.statevector.phi`."""
        from qkan.kernels.circuits import statevector as reference

        y = reference.phi(x, theta, *preacts, ansatz=ansatz, reps=reps, readout=readout)
        self.circuits += y.numel()
        self.gates += y.numel() * (len(preparation(ansatz.initial)) + len(ansatz.gates(reps)))
        return y
