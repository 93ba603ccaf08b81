"""One module a command."""

#: The modules that other folders import.
__all__ = [
    "circuit",
    "compare",
    "data",
    "data_milan",
    "evaluate",
    "export",
    "info",
    "predict",
    "report",
    "train",
    "validate",
]
