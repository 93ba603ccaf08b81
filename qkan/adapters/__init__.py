"""Adapters of linear layers: low-rank changes of a weight that a circuit shapes, and nonlinear ones beside it."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.adapters.adapter import Adapter as Adapter
    from qkan.adapters.circuit_lora import CircuitLoRA as CircuitLoRA
    from qkan.adapters.nonlinear_lora import NonlinearLoRA as NonlinearLoRA

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "adapter": ("Adapter",),
        "circuit_lora": ("CircuitLoRA",),
        "nonlinear_lora": ("NonlinearLoRA",),
    },
)
