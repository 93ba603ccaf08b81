"""Recurrent layers with the contracts of nn.LSTM, nn.GRU and nn.LSTMCell, whose gates are circuits."""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.rnn.lstm import HQKANLSTM as HQKANLSTM
    from qkan.rnn.lstm import QKANGRU as QKANGRU
    from qkan.rnn.lstm import QKANLSTM as QKANLSTM
    from qkan.rnn.lstm_cell import QKANLSTMCell as QKANLSTMCell
    from qkan.rnn.qlstm import QLSTM as QLSTM

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "lstm": (
            "HQKANLSTM",
            "QKANGRU",
            "QKANLSTM",
        ),
        "lstm_cell": ("QKANLSTMCell",),
        "qlstm": ("QLSTM",),
    },
)
