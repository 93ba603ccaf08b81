"""Splits, scalers, calendar channels and forecasting windows."""
