"""Whole recurrences in one call: a walk over time whose gates are features times a matrix."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kernels.recurrence.api import ENGINES as ENGINES
    from qkan.kernels.recurrence.api import run as run
    from qkan.kernels.recurrence.types import Layout as Layout
    from qkan.kernels.recurrence.types import Spec as Spec
    from qkan.kernels.recurrence.types import Weights as Weights

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "api": (
            "ENGINES",
            "run",
        ),
        "types": (
            "Layout",
            "Spec",
            "Weights",
        ),
    },
)
