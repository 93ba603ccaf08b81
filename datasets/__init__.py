"""Time series as data frames, splits, scalers and windows."""
