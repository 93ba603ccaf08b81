"""Small circuits of several entangled qubits, simulated exactly."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kernels.multiqubit.circuit import MAX_LAYERS as MAX_LAYERS
    from qkan.kernels.multiqubit.circuit import MAX_QUBITS as MAX_QUBITS
    from qkan.kernels.multiqubit.circuit import angles_of as angles_of
    from qkan.kernels.multiqubit.circuit import check_size as check_size

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "circuit": (
            "MAX_LAYERS",
            "MAX_QUBITS",
            "angles_of",
            "check_size",
        ),
    },
)
