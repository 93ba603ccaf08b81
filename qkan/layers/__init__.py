"""Layers: DARUAN activations, QKAN layers with access to their edges, rational activations."""

#: The modules that other folders import.
__all__ = [
    "daruan",
    "edge_formula",
    "edge_mask",
    "extend_reps",
    "free_edges",
    "frequencies",
    "frozen",
    "init",
    "kan_layer",
    "options",
    "qkan_layer",
    "rational",
    "rational_init",
    "spline_layer",
]
