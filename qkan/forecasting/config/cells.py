"""The cells that can be trained, and which options each of them has."""

from __future__ import annotations

CONTROL_CELLS: tuple[str, ...] = ("fourier", "rff", "spline", "chebyshev", "mlp")
"""HQKAN-LSTM with other functions in its latent: sums of fixed functions with free coefficients, or an MLP."""

COMPARED_CELLS: tuple[str, ...] = ("qkan", "hqkan", "lowrank", "lstm", "gru")
"""What ``compare`` compares unless asked for other cells."""

CELLS: tuple[str, ...] = (*COMPARED_CELLS, "qlstm", "fwp", "fwp-linear", "gr-kan", *CONTROL_CELLS)
"""Every recurrent cell that can be trained. ``lowrank`` is HQKAN-LSTM with a linear latent: the same bottleneck, no
circuit; ``gr-kan`` has a GR-KAN there: rational functions and linear maps.

Examples:
    >>> from qkan.forecasting import CELLS
    >>> CELLS[:3]
    ('qkan', 'hqkan', 'lowrank')
"""

LINEAR_CELLS: tuple[str, ...] = ("linear", "cycle", "sparse")
"""Linear forecasters that stand in the place of a cell: a map of the window, the same beside a trained table of the
season (CycleNet), and one of the periods of the season (SparseTSF)."""

_CIRCUIT_OPTIONS = frozenset({"reps", "ansatz", "preact_trainable", "preact_init", "base_activation", "lr_frequencies"})

CELL_OPTIONS: dict[str, frozenset[str]] = {
    "qkan": _CIRCUIT_OPTIONS | {"group"},
    "hqkan": _CIRCUIT_OPTIONS | {"latent_features"},
    "lowrank": frozenset({"latent_features"}),
    "lstm": frozenset(),
    "gru": frozenset(),
    "qlstm": frozenset({"qubits", "circuit_layers"}),
    "fwp": frozenset({"reps", "ansatz", "base_activation", "latent_features"}),
    "fwp-linear": frozenset({"latent_features"}),
    "gr-kan": frozenset({"latent_features"}),
    **{cell: frozenset({"latent_features", "terms"}) for cell in CONTROL_CELLS},
    **{cell: frozenset() for cell in LINEAR_CELLS},
}
"""The options that shape one cell only, by cell. All other options but :data:`RECURRENT_OPTIONS` apply to every
cell."""

RECURRENT_OPTIONS: frozenset[str] = frozenset(
    {
        *("num_layers", "bias", "decoder", "order", "skip"),
        *("seasonal_lags", "season_encoding", "season_terms", "per_series", "restarts"),
    }
)
"""The options that have no effect on :data:`LINEAR_CELLS`, which are what they are called and nothing more."""
