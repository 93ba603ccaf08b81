"""Helpers that know nothing of the package: files, training modes, optional libraries, lazy names."""
