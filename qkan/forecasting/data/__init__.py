"""From options to series, windows and batches."""

#: The modules that other folders import.
__all__ = ["batches", "defaults", "load", "loaders", "reasons"]
