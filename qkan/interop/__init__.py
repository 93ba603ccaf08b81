"""Models of other packages, exports for them, and ours in neuralforecast, darts, sktime and scikit-learn."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.interop.kat import load_kat_state_dict as load_kat_state_dict
    from qkan.interop.kat_export import export_kat as export_kat
    from qkan.interop.original_qkan import load_original as load_original
    from qkan.interop.peft_export import PeftExport as PeftExport
    from qkan.interop.peft_export import export_peft as export_peft
    from qkan.interop.spline_kans import load_efficient_kan as load_efficient_kan
    from qkan.interop.spline_kans import load_pykan as load_pykan

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "kat_export": ("export_kat",),
        "peft_export": ("PeftExport", "export_peft"),
        "original_qkan": ("load_original",),
        "kat": ("load_kat_state_dict",),
        "spline_kans": ("load_efficient_kan", "load_pykan"),
    },
)
