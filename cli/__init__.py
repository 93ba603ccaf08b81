"""The command line: parse, call qkan.forecasting, print."""

#: The modules that other folders import.
__all__ = ["errors", "lazy_groups", "main", "options", "progress", "sections", "streams", "tables"]
