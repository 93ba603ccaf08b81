"""Replace MLPs, linear and recurrent layers of a model by layers of this package; adapt its linear layers."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.replace.adapt import add_adapters as add_adapters
    from qkan.replace.adapt import merge_adapters as merge_adapters
    from qkan.replace.adapt import remove_adapters as remove_adapters
    from qkan.replace.adapter_files import load_adapters as load_adapters
    from qkan.replace.adapter_files import save_adapters as save_adapters
    from qkan.replace.api import replace_linear as replace_linear
    from qkan.replace.api import replace_mlp as replace_mlp
    from qkan.replace.api import replace_recurrent as replace_recurrent
    from qkan.replace.find_layers import Block as Block
    from qkan.replace.swap import Replaced as Replaced
    from qkan.replace.swap import Replacements as Replacements

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "adapt": (
            "add_adapters",
            "merge_adapters",
            "remove_adapters",
        ),
        "adapter_files": (
            "load_adapters",
            "save_adapters",
        ),
        "api": (
            "replace_linear",
            "replace_mlp",
            "replace_recurrent",
        ),
        "find_layers": ("Block",),
        "swap": (
            "Replaced",
            "Replacements",
        ),
    },
)
