"""The circuit of one edge: run, drawn, exported, counted."""

import re

import numpy as np
import pytest
import torch
from truth import HADAMARD, PAULI, rotation

from qkan import Ansatz, PennyLane, QKANLayer
from qkan.quantum.edge_circuit import EdgeByEdge, Tally
from qkan.validation.layers import Case, random_layer

BENT = Ansatz("bent", ("rx", "z", "ry"), "ry", ("x", "y", "rz", "rx"), initial=(0.48, -0.6, 0.64))


def run_qasm(program: str) -> float:
    """<Z> of an OpenQASM program on one qubit, by matrices."""
    state = np.array([1, 0], dtype=complex)
    for line in program.splitlines():
        if not line.endswith(" q[0];"):
            continue
        gate, angle = re.fullmatch(r"(\w+)(?:\((.*)\))? q\[0\];", line).groups()  # type: ignore[union-attr]
        if gate == "h":
            state = HADAMARD @ state
        else:
            state = (PAULI[gate] if angle is None else rotation(gate[1], float(angle))) @ state
    return float(abs(state[0]) ** 2 - abs(state[1]) ** 2)


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix", BENT], ids=lambda a: getattr(a, "name", a))
@pytest.mark.parametrize("group", [None, 2])
def test_qnode_and_openqasm_compute_the_edge(ansatz: str | Ansatz, group: int | None) -> None:
    layer, x, _ = random_layer(Case(ansatz, 2, 3, 2, preact=True, group=group), 0)
    with torch.no_grad():
        layer.postact_weight.fill_(1.0)
        layer.postact_bias.zero_()
        layer.base_weight.zero_()
    layer.backend = "reference"
    expected = layer.edge_outputs(x).detach()
    for o in range(2):
        for i in range(3):
            qnode = layer.circuit(o, i)
            assert np.allclose(qnode(x[:, i].numpy()), expected[:, o, i], rtol=0, atol=1e-12)
            assert float(qnode(float(x[0, i]))) == pytest.approx(float(expected[0, o, i]), abs=1e-12)
            assert run_qasm(layer.edge(o, i).openqasm(float(x[0, i]))) == pytest.approx(
                float(expected[0, o, i]), abs=1e-12
            )


def test_qnode_is_differentiable_and_holds_the_values_of_now() -> None:
    layer, x, _ = random_layer(Case("pz", 2, 1, 1), 0)
    qnode = layer.circuit(0, 0)
    at = x[0, 0].clone().requires_grad_()
    y = qnode(at)
    y.backward()
    here, step = at.item(), 1e-6
    slope = (qnode(here + step) - qnode(here - step)) / (2 * step)
    assert at.grad.item() == pytest.approx(float(slope), abs=1e-8)
    with torch.no_grad():
        layer.theta.zero_()
    assert float(qnode(here)) == pytest.approx(y.item(), abs=1e-14)


def test_openqasm_is_what_pennylane_exports() -> None:
    import pennylane as qml

    layer, _, _ = random_layer(Case("pz", 2, 1, 1, preact=True), 0)
    ours = layer.edge(0, 0).openqasm(0.3)
    theirs = qml.to_openqasm(layer.circuit(0, 0))(0.3)
    assert ours.split() == theirs.split()


def test_noise_and_shots_reach_the_circuit() -> None:
    layer, _, _ = random_layer(Case("pz", 1, 1, 1), 0)
    exact = float(layer.circuit(0, 0)(0.3))
    assert float(layer.circuit(0, 0, PennyLane(noise="readout=0.25"))(0.3)) == pytest.approx(exact / 2, abs=1e-12)
    ones = (float(layer.circuit(0, 0, PennyLane(shots=8, seed=1))(0.3)) + 1) * 4
    assert ones == pytest.approx(round(ones), abs=1e-12)


def test_text_and_figure_show_every_gate() -> None:
    layer, _, _ = random_layer(Case("mix", 1, 1, 1), 0)
    edge = layer.edge(0, 0)
    a, b, c, d = layer.theta.detach().flatten().tolist()
    gates = [f"RZ({a:.3f})", f"RX({b:.3f})", "RY(0.300)", f"RZ({c:.3f})", f"RX({d:.3f})"]
    assert edge.text(0.3) == f"0: ──H──{'──'.join(gates)}─┤  <Z>"
    drawn = [text.get_text().split("\n")[0] for axes in edge.figure(0.3).axes for text in axes.texts]
    assert [text for text in drawn if text[:1] in "HR" and text] == ["H", "RZ", "RX", "RY", "RZ", "RX"]


def test_gates_and_parameters_are_counted() -> None:
    layer, _, _ = random_layer(Case("real", 3, 1, 1, preact=True), 0)
    edge = layer.edge(0, 0)
    assert edge.gate_counts() == {"h": 1, "x": 3, "ry": 6, "z": 3}
    assert edge.parameters == 3 + 3 + 3
    assert sum(edge.gate_counts().values()) == edge.openqasm(0.0).count(" q[0];")


@pytest.mark.parametrize(
    ("place", "sentence"), [((2, 0), r"output 2 is outside \[0, 1\]"), ((0, -1), "input -1 is out")]
)
def test_edges_that_are_not_there_are_refused(place: tuple[int, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"{sentence}.*: the layer has no such edge"):
        QKANLayer(3, 2, 1).edge(*place)


def test_openqasm_has_no_angle_beyond_the_domain_of_acos() -> None:
    with pytest.raises(ValueError, match=r"ansatz 'px' has no angle acos\(w x \+ b\) at x=1.5; take x nearer to 0"):
        QKANLayer(1, 1, 1, ansatz="px").edge(0, 0).openqasm(1.5)


@pytest.mark.parametrize("group", [None, 2, "input"])
def test_edge_by_edge_gives_the_layer(group: int | str | None) -> None:
    layer, x, _ = random_layer(Case("pz", 2, 3, 2, preact=True, group=group), 0)  # type: ignore[arg-type]
    layer.backend = "bloch"
    expected = layer(x).detach()
    layer.backend = EdgeByEdge()
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)
    layer.backend = tally = Tally()
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)
    circuits = {None: 6, 2: 3, "input": 3}[group] * len(x)
    assert (tally.circuits, tally.gates) == (circuits, circuits * 9)


def test_edge_by_edge_takes_no_circuits_of_samples() -> None:
    layer, x, theta = random_layer(Case("pz", 1, 2, 1, per_sample=True), 0)
    layer.backend = EdgeByEdge()
    with pytest.raises(ValueError, match="theta of 5 dimensions has circuits of its own for every sample"):
        layer(x, theta)
