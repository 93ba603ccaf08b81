"""QKAN-LSTM, HQKAN-LSTM and QKAN-GRU in darts: ``NeuralForecastModel(24, 12, model=QKANLSTM)``.

The classes are those of :mod:`qkan.interop.neuralforecast`. Importing them from here enters them into the list of
classes that darts loads from a file, so that ``NeuralForecastModel.load`` needs no ``trusted=True``.
"""

from __future__ import annotations

from qkan._util.optional import require_release

require_release("darts", "0.48", extra="darts")

from darts.utils.serialization import add_safe_globals  # noqa: E402  (the check above must come first)

from qkan.interop.neuralforecast import HQKANLSTM, QKANGRU, QKANLSTM  # noqa: E402

__all__ = ["HQKANLSTM", "QKANGRU", "QKANLSTM"]

add_safe_globals([QKANLSTM, HQKANLSTM, QKANGRU])
