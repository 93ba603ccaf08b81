"""Band-limited circuits as one matrix product: bases, coefficients, the fused product and its engines."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kernels.spectral.basis import BASES as BASES
    from qkan.kernels.spectral.basis import Basis as Basis
    from qkan.kernels.spectral.coefficients import Expansion as Expansion
    from qkan.kernels.spectral.coefficients import chebyshev as chebyshev
    from qkan.kernels.spectral.coefficients import fourier as fourier
    from qkan.kernels.spectral.matmul import operands_sum as operands_sum
    from qkan.kernels.spectral.matmul import weighted_sum as weighted_sum
    from qkan.kernels.spectral.operands import Operands as Operands
    from qkan.kernels.spectral.sum_frequencies import SumExpansion as SumExpansion

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "basis": (
            "BASES",
            "Basis",
        ),
        "coefficients": (
            "Expansion",
            "chebyshev",
            "fourier",
        ),
        "matmul": (
            "operands_sum",
            "weighted_sum",
        ),
        "operands": ("Operands",),
        "sum_frequencies": ("SumExpansion",),
    },
)
