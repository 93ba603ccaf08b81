"""Recurrent layers with nn.LSTM's contract."""

#: The modules that other folders import.
__all__ = ["backend", "lstm", "lstm_cell", "qlstm"]
