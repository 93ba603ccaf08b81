"""From a cell's name to a forecaster, and what it minimises."""

#: The modules that other folders import.
__all__ = ["build", "cell_maps", "losses", "packed", "parts", "per_series"]
