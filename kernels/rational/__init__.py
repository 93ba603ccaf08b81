"""Rational functions shared by groups of channels (GR-KAN), and their engines."""

#: The modules that other folders import.
__all__ = ["api", "pytorch", "types"]
