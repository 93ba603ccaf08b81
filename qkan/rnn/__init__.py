"""Recurrent layers with the contracts of nn.LSTM, nn.GRU and nn.LSTMCell, whose gates are circuits."""

#: The modules that other folders import.
__all__ = ["backend", "gates", "lstm", "lstm_cell", "qlstm"]
