"""Layers: DARUAN activations, QKAN layers with access to their edges, rational activations."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.layers.daruan import DARUAN as DARUAN
    from qkan.layers.frozen import FrozenActivation as FrozenActivation
    from qkan.layers.frozen import FrozenLayer as FrozenLayer
    from qkan.layers.options import BaseActivation as BaseActivation
    from qkan.layers.options import LayerOptions as LayerOptions
    from qkan.layers.qkan_layer import QKANLayer as QKANLayer

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "daruan": ("DARUAN",),
        "frozen": (
            "FrozenActivation",
            "FrozenLayer",
        ),
        "options": (
            "BaseActivation",
            "LayerOptions",
        ),
        "qkan_layer": ("QKANLayer",),
    },
)
