"""Recurrent layers with the contracts of nn.LSTM, nn.GRU and nn.LSTMCell, whose gates or fast weights are circuits."""

#: The modules that other folders import.
__all__ = ["backend", "fwp", "gates", "lstm", "lstm_cell", "qlstm", "unidirectional"]
