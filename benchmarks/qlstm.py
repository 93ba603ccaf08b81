"""A training step of QLSTM beside the usual way to write one: PennyLane, one QNode per gate and time step.

    pip install 'qkan-seq[pennylane]'
    python -m benchmarks.qlstm

Both run the same circuits with the same weights; their outputs and gradients are compared before anything is timed.
"""

import statistics
import sys
import time
from collections.abc import Callable

import click
import torch
from torch import Tensor, nn

from qkan import QLSTM
from qkan.kernels.multiqubit.circuit import cnots


class UsualQLSTM(nn.Module):
    """An LSTM whose gates are PennyLane TorchLayers between linear layers, called one after the other."""

    def __init__(self, input_size: int, hidden_size: int, qubits: int, layers: int) -> None:
        super().__init__()
        import pennylane as qml

        def circuit(inputs: Tensor, weights: Tensor) -> list:
            for qubit in range(qubits):
                qml.Hadamard(qubit)
                qml.RY(torch.atan(inputs[:, qubit]), wires=qubit)
                qml.RZ(torch.atan(inputs[:, qubit] ** 2), wires=qubit)
            for layer in range(layers):
                for control, target in cnots(qubits):
                    qml.CNOT([control, target])
                for qubit in range(qubits):
                    qml.Rot(*weights[layer, qubit], wires=qubit)
            return [qml.expval(qml.PauliZ(qubit)) for qubit in range(qubits)]

        device = qml.device("default.qubit", wires=qubits)
        shapes = {"weights": (layers, qubits, 3)}
        self.encoder = nn.Linear(input_size + hidden_size, qubits)
        self.circuits = nn.ModuleList(
            qml.qnn.TorchLayer(qml.QNode(circuit, device, interface="torch"), shapes) for _ in range(4)
        )
        self.decoders = nn.ModuleList(nn.Linear(qubits, hidden_size) for _ in range(4))
        self.hidden_size = hidden_size

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for step in x:
            z = self.encoder(torch.cat((step, h), 1))
            i, f, g, o = (decode(circuit(z)) for circuit, decode in zip(self.circuits, self.decoders, strict=True))
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), (h, c)


def give_weights(ours: QLSTM, usual: UsualQLSTM) -> None:
    """Copy the weights of ``ours``; the angle that no value depends on becomes 0."""
    gates = ours.directions[0].gates
    with torch.no_grad():
        usual.encoder.weight.copy_(torch.cat((gates.input_encoder.weight, gates.hidden_encoder.weight), 1))
        usual.encoder.bias.copy_(gates.input_encoder.bias)
        for gate, (circuit, decode) in enumerate(zip(usual.circuits, usual.decoders, strict=True)):
            angles = nn.functional.pad(gates.theta[gate], (0, 1)).unflatten(1, (-1, 3)).transpose(0, 1)
            circuit.weights.copy_(angles)
            decode.weight.copy_(gates.decoder.chunk(4)[gate])
            decode.bias.copy_(gates.bias.chunk(4)[gate])


def largest_differences(ours: QLSTM, usual: UsualQLSTM, x: Tensor) -> tuple[float, float]:
    """Of the outputs, and of the gradients of the sum of their squares with respect to the inputs."""
    inputs = x.clone().requires_grad_()
    outputs = [module(inputs)[0] for module in (ours, usual)]
    gradients = [torch.autograd.grad(output.square().sum(), inputs)[0] for output in outputs]
    return tuple((a - b).abs().max().item() for a, b in (outputs, gradients))  # type: ignore[return-value]


def step_of(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """A training step with Adam towards zero."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        module(x)[0].square().mean().backward()
        optimizer.step()

    return step


def milliseconds(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Medians; the candidates take turns, so that both see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(measured[2:]) for name, measured in times.items()}


@click.command()
@click.option("--qubits", default=4, show_default=True)
@click.option("--circuit-layers", default=1, show_default=True)
@click.option("--window", default=4, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--hidden-size", default=4, show_default=True)
@click.option("--rounds", default=11, show_default=True, help="Timed steps; medians are shown.")
@click.option("--threads", default=1, show_default=True)
def main(
    qubits: int, circuit_layers: int, window: int, batch: int, hidden_size: int, rounds: int, threads: int
) -> None:
    """Compare, then time."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(window, batch, 1)
    size = {"qubits": qubits, "circuit_layers": circuit_layers}
    ours, broadcast = QLSTM(1, hidden_size, **size), QLSTM(1, hidden_size, **size, backend="pennylane")
    usual = UsualQLSTM(1, hidden_size, qubits, circuit_layers)
    broadcast.load_state_dict(ours.state_dict())
    give_weights(ours, usual)
    output, gradient = largest_differences(ours, usual, x)
    print(f"largest difference: outputs {output:.1e}, gradients {gradient:.1e} (single precision)")
    if not max(output, gradient) < 1e-5:
        sys.exit("the implementations disagree; nothing was timed")
    usual_name = "PennyLane, a QNode per gate and step"
    candidates = {usual_name: usual, "QLSTM(backend='pennylane')": broadcast, "QLSTM": ours}
    candidates["nn.LSTM"] = nn.LSTM(1, hidden_size)
    found = milliseconds({name: step_of(module, x) for name, module in candidates.items()}, rounds)
    print(f"training step: window {window}, batch {batch}, hidden size {hidden_size}, qubits {qubits}, ", end="")
    print(f"layers {circuit_layers}, {threads} threads, medians of {rounds}\n")
    print("| implementation | milliseconds | share |\n|---|---|---|")
    for name, ms in found.items():
        print(f"| {name} | {ms:.2f} | 1/{found[usual_name] / ms:.1f} |")


if __name__ == "__main__":
    main()
