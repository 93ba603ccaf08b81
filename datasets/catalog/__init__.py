"""Series by name."""

from qkan.datasets.catalog.registry import SPECS, SeriesSpec, available_series, load_series, names_file, resolve_series

__all__ = ["SPECS", "SeriesSpec", "available_series", "load_series", "names_file", "resolve_series"]
