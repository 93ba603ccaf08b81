"""Files of runs: written whole or not at all, by one writer at a time."""

#: The modules that other folders import.
__all__ = ["files"]
