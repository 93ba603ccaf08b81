"""Cells compared with equal tuning."""

#: The modules that other folders import.
__all__ = ["comparison", "folds", "significance", "tables"]
