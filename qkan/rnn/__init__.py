"""Recurrent layers with nn.LSTM's contract."""
