"""Circuits of one qubit: their ansätze, a readable state-vector reference, and the fast simulation as rotations."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kernels.circuits.ansatz import ANSATZE as ANSATZE
    from qkan.kernels.circuits.ansatz import Ansatz as Ansatz
    from qkan.kernels.circuits.ansatz import Rotation as Rotation
    from qkan.kernels.circuits.ansatz import get_ansatz as get_ansatz
    from qkan.kernels.circuits.statevector import phi as phi

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ansatz": (
            "ANSATZE",
            "Ansatz",
            "Rotation",
            "get_ansatz",
        ),
        "statevector": ("phi",),
    },
)
