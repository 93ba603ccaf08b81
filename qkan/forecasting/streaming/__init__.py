"""Forecasts of series that go on value by value, at constant work a value."""

#: The modules that other folders import.
__all__ = ["follow", "forecaster_stream", "stream"]
