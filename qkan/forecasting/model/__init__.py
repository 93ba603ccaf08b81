"""From a cell's name to a forecaster, and what it minimises."""
