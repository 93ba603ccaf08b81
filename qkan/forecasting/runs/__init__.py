"""Run folders: what training leaves behind, read again for predictions and reports."""

#: The modules that other folders import.
__all__ = ["environment", "inference", "plots", "record", "run", "write"]
