"""Models of other packages: checkpoints of the original QKAN package and of KAT, exports, other frameworks."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.interop.export_kat import export_kat as export_kat
    from qkan.interop.export_peft import PeftExport as PeftExport
    from qkan.interop.export_peft import export_peft as export_peft
    from qkan.interop.kat import load_kat_state_dict as load_kat_state_dict
    from qkan.interop.original_qkan import load_original as load_original

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "export_kat": ("export_kat",),
        "export_peft": ("PeftExport", "export_peft"),
        "original_qkan": ("load_original",),
        "kat": ("load_kat_state_dict",),
    },
)
