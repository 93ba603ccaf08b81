"""Numbers and pictures that describe a series."""
