"""Circuits on quantum simulators: the backend of PennyLane, and what a circuit is made of.

``import qkan.quantum`` does not import PennyLane; running a circuit does.
"""

from qkan.kernels.backends import Simulator as Simulator
from qkan.quantum.noise import Noise as Noise
from qkan.quantum.pennylane import PennyLane as PennyLane

__all__ = ["Noise", "PennyLane", "Simulator"]
