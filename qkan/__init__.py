"""Quantum-inspired sequence models for PyTorch.

Public names are loaded on first use, so that ``qkan --help`` and the other commands that need no tensors do not
pay for importing torch.
"""

from typing import TYPE_CHECKING

from qkan._conflict import check_no_conflict

check_no_conflict()

from qkan._util.lazy import lazy_exports  # noqa: E402  (the check must come before anything else of the package)
from qkan._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from qkan import interop as interop
    from qkan.adapters.circuit_lora import CircuitLoRA as CircuitLoRA
    from qkan.adapters.nonlinear_lora import NonlinearLoRA as NonlinearLoRA
    from qkan.compiling import compile as compile
    from qkan.compiling import largest_difference as largest_difference
    from qkan.edges.mixture import KANMixture as KANMixture
    from qkan.graphing import graphed as graphed
    from qkan.interop.kat import load_kat_state_dict as load_kat_state_dict
    from qkan.interop.sklearn import QKANSelector as QKANSelector
    from qkan.kan.fitting import fit as fit
    from qkan.kan.jhcg import HQKAN as HQKAN
    from qkan.kan.jhcg import JHCGNet as JHCGNet
    from qkan.kan.kan import KAN as KAN
    from qkan.kan.network import QKAN as QKAN
    from qkan.kan.symbolic_fit import SymbolicKAN as SymbolicKAN
    from qkan.kan.symbolic_functions import SymbolicFunction as SymbolicFunction
    from qkan.kernels.circuits.ansatz import Ansatz as Ansatz
    from qkan.kernels.edges.own_functions import BasisFunctions as BasisFunctions
    from qkan.layers.daruan import DARUAN as DARUAN
    from qkan.layers.kan_layer import KANLayer as KANLayer
    from qkan.layers.qkan_layer import QKANLayer as QKANLayer
    from qkan.layers.rational import GRKAN as GRKAN
    from qkan.layers.rational import GroupRational as GroupRational
    from qkan.layers.spline_layer import SplineLayer as SplineLayer
    from qkan.quantum.noise import Noise as Noise
    from qkan.quantum.pennylane import PennyLane as PennyLane
    from qkan.replace.adapt import add_adapters as add_adapters
    from qkan.replace.adapt import merge_adapters as merge_adapters
    from qkan.replace.adapt import remove_adapters as remove_adapters
    from qkan.replace.adapter_files import load_adapters as load_adapters
    from qkan.replace.adapter_files import save_adapters as save_adapters
    from qkan.replace.api import replace_linear as replace_linear
    from qkan.replace.api import replace_mlp as replace_mlp
    from qkan.replace.api import replace_recurrent as replace_recurrent
    from qkan.rnn.fwp import QKANFWP as QKANFWP
    from qkan.rnn.lstm import HQKANLSTM as HQKANLSTM
    from qkan.rnn.lstm import QKANGRU as QKANGRU
    from qkan.rnn.lstm import QKANLSTM as QKANLSTM
    from qkan.rnn.lstm_cell import QKANGRUCell as QKANGRUCell
    from qkan.rnn.lstm_cell import QKANLSTMCell as QKANLSTMCell
    from qkan.rnn.qlstm import QLSTM as QLSTM
    from qkan.vision.attention import AttentionOperator as AttentionOperator
    from qkan.vision.attention import KArAttention as KArAttention
    from qkan.vision.conv import QKANConv2d as QKANConv2d

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "adapters.circuit_lora": ("CircuitLoRA",),
        "adapters.nonlinear_lora": ("NonlinearLoRA",),
        "compiling": ("compile", "largest_difference"),
        "edges.mixture": ("KANMixture",),
        "graphing": ("graphed",),
        "interop.kat": ("load_kat_state_dict",),
        "interop.sklearn": ("QKANSelector",),
        "kan.fitting": ("fit",),
        "kan.jhcg": ("HQKAN", "JHCGNet"),
        "kan.kan": ("KAN",),
        "kan.network": ("QKAN",),
        "kan.symbolic_fit": ("SymbolicKAN",),
        "kan.symbolic_functions": ("SymbolicFunction",),
        "kernels.circuits.ansatz": ("Ansatz",),
        "kernels.edges.own_functions": ("BasisFunctions",),
        "layers.daruan": ("DARUAN",),
        "layers.kan_layer": ("KANLayer",),
        "layers.qkan_layer": ("QKANLayer",),
        "layers.rational": ("GRKAN", "GroupRational"),
        "layers.spline_layer": ("SplineLayer",),
        "quantum.noise": ("Noise",),
        "quantum.pennylane": ("PennyLane",),
        "replace.adapt": ("add_adapters", "merge_adapters", "remove_adapters"),
        "replace.adapter_files": ("load_adapters", "save_adapters"),
        "replace.api": ("replace_linear", "replace_mlp", "replace_recurrent"),
        "rnn.fwp": ("QKANFWP",),
        "rnn.lstm": ("HQKANLSTM", "QKANGRU", "QKANLSTM"),
        "rnn.lstm_cell": ("QKANGRUCell", "QKANLSTMCell"),
        "rnn.qlstm": ("QLSTM",),
        "vision.attention": ("AttentionOperator", "KArAttention"),
        "vision.conv": ("QKANConv2d",),
    },
    packages=("interop",),
)
__all__ = ["__version__", *(name for name in __all__ if name != "QKANSelector")]  # which needs the extra `sklearn`
