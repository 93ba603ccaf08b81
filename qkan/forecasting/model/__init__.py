"""From a cell's name to a forecaster, and what it minimises."""

#: The modules that other folders import.
__all__ = ["build", "losses", "packed", "parts", "per_series"]
