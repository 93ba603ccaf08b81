"""Networks of layers (KAN, QKAN, JHCG Net) and their toolbox: fit, prune, refine, plot, closed forms."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.kan.fit_history import FitHistory as FitHistory
    from qkan.kan.fitting import fit as fit
    from qkan.kan.importance import Attribution as Attribution
    from qkan.kan.jhcg import HQKAN as HQKAN
    from qkan.kan.jhcg import JHCGNet as JHCGNet
    from qkan.kan.kan import KAN as KAN
    from qkan.kan.network import QKAN as QKAN
    from qkan.kan.pruning import Pruned as Pruned
    from qkan.kan.symbolic_fit import SymbolicKAN as SymbolicKAN
    from qkan.kan.symbolic_functions import LIBRARY as LIBRARY
    from qkan.kan.symbolic_functions import SymbolicFunction as SymbolicFunction
    from qkan.kan.symbolic_search import Suggestion as Suggestion
    from qkan.kan.symbolic_search import Suggestions as Suggestions

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "fit_history": ("FitHistory",),
        "fitting": ("fit",),
        "importance": ("Attribution",),
        "jhcg": (
            "HQKAN",
            "JHCGNet",
        ),
        "kan": ("KAN",),
        "network": ("QKAN",),
        "pruning": ("Pruned",),
        "symbolic_fit": ("SymbolicKAN",),
        "symbolic_functions": (
            "LIBRARY",
            "SymbolicFunction",
        ),
        "symbolic_search": (
            "Suggestion",
            "Suggestions",
        ),
    },
)
