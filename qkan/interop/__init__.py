"""Checkpoints of other packages, and our models in neuralforecast, darts, sktime and scikit-learn."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.interop.kat import load_kat_state_dict as load_kat_state_dict
    from qkan.interop.original_qkan import load_original as load_original

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "original_qkan": ("load_original",),
        "kat": ("load_kat_state_dict",),
    },
)
