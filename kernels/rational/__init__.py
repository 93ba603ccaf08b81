"""Rational functions shared by groups of channels (GR-KAN), and their engines."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kernels.rational.api import BACKENDS as BACKENDS
    from qkan.kernels.rational.api import group_rational as group_rational
    from qkan.kernels.rational.types import DENOMINATORS as DENOMINATORS
    from qkan.kernels.rational.types import Spec as Spec

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "api": (
            "BACKENDS",
            "group_rational",
        ),
        "types": (
            "DENOMINATORS",
            "Spec",
        ),
    },
)
