"""What a model, a baseline or a metric is called: in columns of forecasts, tables, plots, pages and JSON alike.

The names are those that forecasting libraries give their columns; none has ``-lo-`` or ``-hi-``, which begin the names
of intervals. The names of what a run can be exported to stand here, too.
"""

from __future__ import annotations

CELL_NAMES: dict[str, str] = {
    "qkan": "QKAN-LSTM",
    "hqkan": "HQKAN-LSTM",
    "lowrank": "low-rank LSTM",
    "lstm": "LSTM",
    "gru": "GRU",
    "qlstm": "QLSTM",
    "fwp": "QKAN-FWP",
    "fwp-linear": "FWP",
    "gr-kan": "GR-KAN-LSTM",
    "fourier": "Fourier-LSTM",
    "rff": "RFF-LSTM",
    "spline": "Spline-LSTM",
    "chebyshev": "Chebyshev-LSTM",
    "mlp": "MLP-LSTM",
    "linear": "Linear",
    "cycle": "CycleNet",
    "sparse": "SparseTSF",
}
"""Names of trained models by cell."""

BASELINE_NAMES: dict[str, str] = {
    "naive": "Naive",
    "drift": "Drift",
    "seasonal-naive": "SeasonalNaive",
    "seasonal-mean": "SeasonalMean",
    "ridge": "Ridge",
    "ets": "ETS",
    "sarima": "SARIMA",
    "theta": "Theta",
    "double-sarima": "DoubleSARIMA",
    "lightgbm": "LightGBM",
    "autoarima": "AutoARIMA",
    "autoets": "AutoETS",
    "mstl": "MSTL",
    "dlinear": "DLinear",
    "nhits": "NHITS",
    "patchtst": "PatchTST",
}
"""Names of baselines by the word that asks for them; those of a season have its length behind the name."""

METRIC_NAMES: dict[str, str] = {
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "r2": "R2",
    "smape": "sMAPE %",
    "mase": "MASE",
    "scaled_mse": "scaled MSE",
    "quantile_loss": "quantile loss",
}
"""What metrics are called in tables, sentences and plots."""

BASELINE_PACKAGES: dict[str, tuple[str, str]] = {
    "lightgbm": ("lightgbm", "baselines"),
    **dict.fromkeys(("autoarima", "autoets", "mstl"), ("statsforecast", "baselines")),
    **dict.fromkeys(("dlinear", "nhits", "patchtst"), ("neuralforecast", "neuralforecast")),
}
"""The package that a baseline needs beyond those of qkan, and the extra that installs it."""


EXPORT_FORMATS: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2", "c": ".c"}
"""What a run can be exported to, with the ending of the file.

Examples:
    >>> from qkan.forecasting import EXPORT_FORMATS
    >>> EXPORT_FORMATS
    {'onnx': '.onnx', 'torch-export': '.pt2', 'c': '.c'}
"""

EXPORT_EDGES: tuple[str, ...] = ("exact", "cubic", "int8")
"""How a C file holds circuits: as they are, or from tables of float32 or 8-bit numbers with cubic splines between."""


def model_name(asked: str, season: int | None = None) -> str:
    """Return what a model is called.

    Args:
        asked: A cell or a baseline as options name it: ``"qkan"``, ``"seasonal-naive"``.
        season: Length of its season in steps, where several may stand beside each other: ``SeasonalNaive(24)``.

    Raises:
        KeyError: there is no such cell or baseline.
    """
    name = CELL_NAMES[asked] if asked in CELL_NAMES else BASELINE_NAMES[asked]
    return name if season is None else f"{name}({season})"
