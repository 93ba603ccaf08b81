"""Noise against closed forms of the Bloch vector."""

import math

import pytest
import torch

from qkan import Noise, PennyLane, QKANLayer
from qkan.validation.layers import distance, results

GATES = {"rx": 0, "ry": 1, "rz": 2}


def noisy_z(layer: QKANLayer, x: float, noise: Noise) -> float:
    """<Z> of edge (0, 0), the Bloch vector followed by hand: every gate, the preparation too, then its noise."""
    shrink, decay = 1 - 4 * noise.depolarizing / 3, 1 - noise.amplitude_damping

    def disturbed(v: list[float]) -> list[float]:
        v = [shrink * component for component in v]
        return [math.sqrt(decay) * v[0], math.sqrt(decay) * v[1], decay * v[2] + noise.amplitude_damping]

    v = disturbed([1.0, 0.0, 0.0])
    theta = layer.theta[0, 0].detach()
    for gate, entry, _ in layer.ansatz.gates(layer.reps):
        angle = x if entry is None else float(theta[entry])
        first, second = (GATES[gate] + 1) % 3, (GATES[gate] + 2) % 3
        a, b = v[first], v[second]
        v[first], v[second] = math.cos(angle) * a - math.sin(angle) * b, math.sin(angle) * a + math.cos(angle) * b
        v = disturbed(v)
    return (1 - 2 * noise.readout) * v[2]


@pytest.mark.parametrize(
    "noise",
    [Noise(), Noise(depolarizing=0.1), Noise(amplitude_damping=0.2), Noise(readout=0.05), Noise(0.02, 0.03, 0.04)],
    ids=str,
)
@pytest.mark.parametrize("ansatz", ["pz", "mix"])
def test_noise_follows_its_closed_form(noise: Noise, ansatz: str) -> None:
    layer = QKANLayer(1, 1, 2, ansatz=ansatz, init="normal", base_activation=None, dtype=torch.float64)
    layer.backend = PennyLane(noise=noise)
    x = torch.tensor([[-1.3], [0.2], [2.0]], dtype=torch.float64)
    expected = [noisy_z(layer, value, noise) for value in x[:, 0].tolist()]
    assert layer(x)[:, 0].tolist() == pytest.approx(expected, abs=1e-12)


def test_gradients_with_noise_agree_between_the_two_ways() -> None:
    torch.manual_seed(0)
    layer = QKANLayer(2, 3, 2, preact_trainable=True, init="normal", dtype=torch.float64)
    x = torch.rand(2, 2, dtype=torch.float64)
    noise = "depolarizing=0.05,amplitude_damping=0.1,readout=0.02"
    by_backprop, by_shift = (
        results(layer, PennyLane(noise=noise, diff_method=way), x, None) for way in ("backprop", "parameter-shift")
    )
    assert all(distance(by_shift[name], value) < 1e-12 for name, value in by_backprop.items())
    assert distance(by_backprop["d theta"], results(layer, "bloch", x, None)["d theta"]) > 0.01
