"""Quantum-inspired sequence models for PyTorch.

Public names are loaded on first use, so that ``qkan --help`` and the other commands that need no tensors do not
pay for importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkan._conflict import check_no_conflict

check_no_conflict()

from qkan._version import __version__  # noqa: E402  (the check must come before anything else of the package)

if TYPE_CHECKING:
    from qkan import interop as interop
    from qkan.cells import QKANLSTMCell as QKANLSTMCell
    from qkan.compiling import compile as compile
    from qkan.compiling import largest_difference as largest_difference
    from qkan.daruan import DARUAN as DARUAN
    from qkan.fitting import fit as fit
    from qkan.hybrid import HQKAN as HQKAN
    from qkan.hybrid import JHCGNet as JHCGNet
    from qkan.kat import load_kat_state_dict as load_kat_state_dict
    from qkan.kernels.ansatz import Ansatz as Ansatz
    from qkan.layers import QKANLayer as QKANLayer
    from qkan.network import QKAN as QKAN
    from qkan.qlstm import QLSTM as QLSTM
    from qkan.quantum.noise import Noise as Noise
    from qkan.quantum.settings import PennyLane as PennyLane
    from qkan.rational import GRKAN as GRKAN
    from qkan.rational import GroupRational as GroupRational
    from qkan.recurrent import HQKANLSTM as HQKANLSTM
    from qkan.recurrent import QKANGRU as QKANGRU
    from qkan.recurrent import QKANLSTM as QKANLSTM
    from qkan.replace import replace_linear as replace_linear
    from qkan.replace import replace_mlp as replace_mlp
    from qkan.replace import replace_recurrent as replace_recurrent
    from qkan.selector import QKANSelector as QKANSelector
    from qkan.symbolic_library import SymbolicFunction as SymbolicFunction
    from qkan.symbolic_network import SymbolicQKAN as SymbolicQKAN

#: public name -> the module that defines it
_EXPORTS: dict[str, str] = {
    "Ansatz": "qkan.kernels.ansatz",
    "DARUAN": "qkan.daruan",
    "GRKAN": "qkan.rational",
    "GroupRational": "qkan.rational",
    "HQKAN": "qkan.hybrid",
    "HQKANLSTM": "qkan.recurrent",
    "JHCGNet": "qkan.hybrid",
    "Noise": "qkan.quantum.noise",
    "PennyLane": "qkan.quantum.settings",
    "QKAN": "qkan.network",
    "QKANGRU": "qkan.recurrent",
    "QKANLSTM": "qkan.recurrent",
    "QKANLSTMCell": "qkan.cells",
    "QKANLayer": "qkan.layers",
    "QLSTM": "qkan.qlstm",
    "SymbolicFunction": "qkan.symbolic_library",
    "SymbolicQKAN": "qkan.symbolic_network",
    "compile": "qkan.compiling",
    "fit": "qkan.fitting",
    "largest_difference": "qkan.compiling",
    "load_kat_state_dict": "qkan.kat",
    "replace_linear": "qkan.replace",
    "replace_mlp": "qkan.replace",
    "replace_recurrent": "qkan.replace",
}

#: names that need an extra; they are no part of ``from qkan import *``, which works without it
_WITH_EXTRA: dict[str, str] = {"QKANSelector": "qkan.selector"}
#: Modules whose functions are used under the module's name, such as ``qkan.interop.load_original``.
_MODULES = ("interop",)

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    module = _EXPORTS.get(name) or _WITH_EXTRA.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_MODULES})
