"""Proof that the fast path equals the circuit: backends against PennyLane, the price of shots and noise.

Importing this package loads neither torch nor PennyLane: its names load when they are first used.
"""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.validation.circuit_layers import with_backend as with_backend
    from qkan.validation.hardware_demand import Demand as Demand
    from qkan.validation.hardware_demand import demand as demand
    from qkan.validation.layers import Case as Case
    from qkan.validation.layers import Difference as Difference
    from qkan.validation.layers import validate_layers as validate_layers
    from qkan.validation.machine import examine as examine
    from qkan.validation.runs import noise_curve as noise_curve
    from qkan.validation.runs import shot_errors as shot_errors
    from qkan.validation.runs import validate_run as validate_run

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "circuit_layers": ("with_backend",),
        "hardware_demand": (
            "Demand",
            "demand",
        ),
        "layers": (
            "Case",
            "Difference",
            "validate_layers",
        ),
        "machine": ("examine",),
        "runs": (
            "noise_curve",
            "shot_errors",
            "validate_run",
        ),
    },
)
