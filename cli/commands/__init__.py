"""One module a command."""

#: The modules that other folders import.
__all__ = [
    "circuit",
    "compare",
    "completion",
    "data",
    "data_milan",
    "doctor",
    "evaluate",
    "export",
    "predict",
    "report",
    "train",
    "validate",
]
